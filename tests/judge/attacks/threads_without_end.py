"""kind: stdin. Prints nothing, and leaves threads that never end and would print later."""

import threading
import time


def later():
    time.sleep(30)
    print(49)


for _ in range(8):
    threading.Thread(target=later).start()
