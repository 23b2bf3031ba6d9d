"""kind: stdin. Prints nothing itself, but leaves a twice-forked process to print later, and exit code 0."""

import os
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.5)
        print(int(input()) ** 2, flush=True)
        time.sleep(1000)
    os._exit(0)
os._exit(0)
