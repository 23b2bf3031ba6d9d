"""After a program: nothing of it stays, neither processes nor files. Loaded by the worker without the package."""

import os
import signal
import time


def end_all(run, walls):
    """Kills the child and everything that it has started, wherever it went."""
    if walls.rung == "namespaces":
        kill(-1)  # we are PID 1: that is every process in here but us, at once
    else:
        kill(run.pid)
        kill(-run.pid)
    run.finish()
    while True:  # orphans become our children
        try:
            if os.waitpid(-1, 0 if walls.rung == "namespaces" else os.WNOHANG)[0] == 0:
                for pid in children():
                    kill(pid)
                time.sleep(0.001)
        except ChildProcessError:
            return


def kill(pid):
    """SIGKILL to a process, a group (-pid) or all (-1), if there still is one."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def children():
    """The worker's children by /proc."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == os.getpid():
                    yield int(name)
        except (FileNotFoundError, ProcessLookupError):
            pass


def clear(box):
    """Empties the folder of working folders. Deep trees are made flat first: no recursion, no path too long."""
    os.chmod(box, 0o711)
    count = 0
    while entries := list(os.scandir(box)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                count += 1
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)  # to be moved, a folder must be writable
                os.rename(inner.path, f"{box}/.{os.getpid()}-{count}")
            os.rmdir(entry.path)
