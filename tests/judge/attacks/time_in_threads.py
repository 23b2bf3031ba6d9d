"""Burns CPU time in threads while the main one waits."""

import threading


def burn():
    while True:
        pass


def solve(numbers):
    threads = [threading.Thread(target=burn, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    threads[0].join()
