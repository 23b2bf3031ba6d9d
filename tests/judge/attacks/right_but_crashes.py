"""kind: stdin. Prints the right answer and then dies."""

import os
import signal

print(int(input()) ** 2, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
