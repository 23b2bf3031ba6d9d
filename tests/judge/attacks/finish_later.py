"""kind: stdin. A thread prints after the main thread has ended the process."""

import os
import threading
import time


def later():
    time.sleep(0.01)
    os.write(1, b"49")


threading.Thread(target=later).start()
os._exit(0)
