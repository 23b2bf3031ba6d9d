"""After a program: nothing of it stays, neither processes nor files. Loaded by the worker without the package."""

import os
import signal
import time


def end_all(pid, walls):
    """Kills the child and everything that it has started, wherever it went. Returns (exit code, CPU seconds with its
    own dead children's, peak memory in MB) of the child."""
    if walls.in_namespaces:
        kill(-1)  # we are PID 1: that is every process in here but us, at once
    else:
        kill(pid)
        kill(-pid)
    _, status, usage = os.wait4(pid, 0)
    end_orphans(walls)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def end_orphans(walls):
    """Waits until the worker has no children: orphans become ours."""
    while True:
        try:
            if os.waitpid(-1, 0 if walls.in_namespaces else os.WNOHANG)[0] == 0:
                for orphan in family(walls.proc):
                    kill(orphan)
                time.sleep(0.001)
        except ChildProcessError:
            return


def kill(pid):
    """SIGKILL to a process, a group (-pid) or all (-1), if there still is one."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def family(proc):
    """Process ids of the worker's descendants, by the /proc open at `proc`; none where there is no /proc."""
    found, waiting = [], [os.getpid()] if proc is not None else []
    for pid in waiting:
        try:
            for thread in entries(proc, f"{pid}/task"):
                with open(os.open(f"{pid}/task/{thread}/children", os.O_RDONLY, dir_fd=proc)) as file:
                    waiting += map(int, file.read().split())
            found.append(pid)
        except OSError:  # it has just ended
            continue
    return found[1:]


def entries(proc, path):
    """The names in a folder of /proc."""
    folder = os.open(path, os.O_RDONLY, dir_fd=proc)
    try:
        return os.listdir(folder)
    finally:
        os.close(folder)


def clear(box):
    """Empties the folder of working folders. Deep trees are made flat first: no recursion, no path too long."""
    os.chmod(box, 0o711)
    try:
        os.rmdir(f"{box}/work")  # most programs leave nothing in it
    except OSError:
        pass
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
