"""The worker's own namespaces and file system: the judge's highest rung. Loaded by the worker without the package.

The file system is an empty one with the standard library (read-only), four device files and a folder for working folders;
there is no /proc, no network. The worker is PID 1 in there, so `kill(-1)` ends everything a program left, and all dies
with it.
"""

import ctypes
import os
import signal
import sys

from landlock import checked, libc

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
SET_PDEATHSIG = 1
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def enter_namespaces(program_id):
    """Moves the worker into its namespaces, as a new process that is PID 1 there; the old one only waits for it.
    program_id: the user and group id that programs get; None where they keep ours (we are not root). Returns (the folder
    for working folders, a descriptor of a /proc that no path leads to or None where the machine forbids one). Raises
    OSError where the machine forbids namespaces."""
    unshare(program_id)
    if pid := os.fork():
        os.closerange(0, 2)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGKILL))
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)
    libc.prctl(SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    return build_root()


def unshare(program_id):
    """New namespaces. A user namespace of two ids is written from outside it, so by a helper; root can do without one
    where user namespaces are switched off."""
    flags, ids = NEWNS | NEWIPC | NEWPID | NEWNET, (os.getuid(), os.getgid())
    if program_id is None:
        checked(libc.unshare(flags | NEWUSER))
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{ids[0]} {ids[0]} 1"),
            ("gid_map", f"{ids[1]} {ids[1]} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        return
    listen, tell = os.pipe()
    if (helper := os.fork()) == 0:
        os.close(tell)  # or else our end of the pipe would keep it open
        if os.read(listen, 1):
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{os.getppid()}/{name}", "w") as file:
                    file.write(f"0 0 1\n{program_id} {program_id} 1")
        os._exit(0)
    own_user = libc.unshare(flags | NEWUSER) == 0
    os.write(tell, b"1" * own_user)
    os.close(tell)
    os.close(listen)
    checked(-os.waitpid(helper, 0)[1])
    if not own_user:
        checked(libc.unshare(flags))


def build_root():
    """Replaces the file system by a small read-only one; returns what `enter_namespaces` does."""
    root = "/sys"  # it is on every Linux, and nothing that we bind lies below it
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
    for path in [p for p in sys.path if os.path.exists(p)] + list(DEVICES):
        bind(path, root + path)
    for folder in sys.path:
        for packages in ("site-packages", "dist-packages"):
            if os.path.isdir(f"{root}{folder}/{packages}"):
                mount("tmpfs", f"{root}{folder}/{packages}", "tmpfs", MS_RDONLY, "size=4k")
    for folder in ("box", "old"):
        os.mkdir(f"{root}/{folder}")
    mount("tmpfs", f"{root}/box", "tmpfs", MS_NOSUID | MS_NODEV, "mode=711,size=64m,nr_inodes=4096")
    proc = hidden_proc(f"{root}/old")
    checked(libc.pivot_root(root.encode(), f"{root}/old".encode()))
    os.chdir("/")
    checked(libc.umount2(b"/old", 2))
    os.rmdir("/old")
    mount("none", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    return "/box", proc


def hidden_proc(place):
    """A descriptor of these namespaces' /proc, mounted and detached at once; None where the machine forbids that."""
    try:
        mount("proc", place, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        return None
    proc = os.open(place, os.O_PATH)
    checked(libc.umount2(place.encode(), 2))
    return proc


def bind(source, target):
    """Shows a file or folder at `target`; folders read-only, with all that is mounted in them."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    mount(source, target, None, MS_BIND | MS_REC)
    if os.path.isdir(source):
        attributes = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID, 0, 0, 0)
        checked(libc.syscall(442, -100, target.encode(), 0x8000, attributes, 32))  # mount_setattr, recursive


def mount(source, target, kind, flags, options=None):
    """mount(2) with text arguments."""
    encoded = [text.encode() if text else None for text in (source, target, kind)]
    checked(libc.mount(*encoded, ctypes.c_ulong(flags), options.encode() if options else None))
