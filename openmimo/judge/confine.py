"""Walls around a candidate: what the worker sets up once, and what each child puts on before it runs the program.

Rungs, the highest the machine allows is taken and named in `Judge.rung`:

    namespaces  own user (unless root), PID, mount, network and IPC namespaces. The file system is an empty one with the
                standard library (read-only), four device files and the working folders; there is no /proc, no network.
                The worker is PID 1 in there, so `kill(-1)` ends everything a program left, and all dies with it.
    landlock    where namespaces are forbidden: Landlock; TCP is shut, UDP is not
    rlimits     neither: limits only. It does not stop a program from reading the machine's files, and without a user
                id of its own (we are not root) not from reading or killing its judge: `Judge` wants to be asked for it.

On every rung: no_new_privs, no capabilities, its own user id when we are root, limits on CPU time, address space, file
size, open files, processes; no core. Loaded by the worker without the package.
"""

import ctypes
import os
import resource
import signal
import sys

import landlock
from landlock import checked, libc

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
SET_PDEATHSIG, SET_KEEPCAPS, SET_CHILD_SUBREAPER, SET_NO_NEW_PRIVS = 1, 8, 36, 38
CAP_DAC_READ_SEARCH = 2
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
TASKS, OPEN_FILES, FILE_BYTES, STACK_BYTES = 64, 64, 16 << 20, 64 << 20


def stdlib():
    """The standard library's files and folders, without installed packages (they may hold solutions)."""
    folders = [path for path in sys.path if os.path.isdir(path)]
    entries = [f"{folder}/{name}" for folder in folders for name in os.listdir(folder)]
    return [path for path in sys.path if os.path.isfile(path)] + [e for e in entries if not e.endswith("-packages")]


def enter_namespaces():
    """Moves the worker into its namespaces, as a new process that is PID 1 there; the old one only waits for it.
    Raises OSError where the machine forbids them."""
    uid, gid = os.getuid(), os.getgid()
    checked(libc.unshare(NEWNS | NEWIPC | NEWPID | NEWNET | (NEWUSER if uid else 0)))
    if uid:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    if pid := os.fork():
        os.closerange(0, 2)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGKILL))
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)
    libc.prctl(SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    return build_root()


def build_root():
    """Replaces the file system by a small read-only one; returns the folder for working folders."""
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
    checked(libc.pivot_root(root.encode(), f"{root}/old".encode()))
    os.chdir("/")
    checked(libc.umount2(b"/old", 2))
    os.rmdir("/old")
    mount("none", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    return "/box"


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


class Walls:
    """What every child of this worker puts on. `Walls(rung, box)` in the worker, `enter(...)` in the child."""

    def __init__(self, rung, box):
        """rung: one of the three; box: the folder of working folders, used on the lower two. Raises OSError where the
        machine does not offer the rung."""
        self.rung, self.uid, self.ruleset = rung, None, None
        self.base_bytes = address_space()
        if os.getuid() == 0:  # an id of its own, so that its processes can be counted; nobody where there is none
            with open("/proc/self/uid_map") as ranges:
                self.uid = 1_000_000_000 + os.getpid() if "4294967295" in ranges.read() else 65534
        self.box = enter_namespaces() if rung == "namespaces" else box
        libc.mallopt(-8, 1)  # one arena: each further thread's would reserve 64 MB of address space
        libc.prctl(SET_CHILD_SUBREAPER, 1)
        checked(libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        if rung == "landlock":
            self.ruleset = landlock.ruleset(stdlib(), [box, *DEVICES])
        set_limit(resource.RLIMIT_FSIZE, FILE_BYTES)
        set_limit(resource.RLIMIT_NOFILE, OPEN_FILES)
        set_limit(resource.RLIMIT_CORE, 0)
        set_limit(resource.RLIMIT_STACK, STACK_BYTES)
        self.tasks = TASKS
        if self.uid is None and rung != "namespaces":  # the limit counts all of this user's processes: leave room
            self.tasks = 2048 + sum(name.isdigit() for name in os.listdir("/proc"))

    def enter(self, folder, cpu_s, memory_mb):
        """In a fresh child: moves into `folder` and gives up everything else. cpu_s: for the whole process."""
        os.chdir(folder)
        set_limit(resource.RLIMIT_CPU, int(cpu_s) + 2)
        set_limit(resource.RLIMIT_AS, self.base_bytes + (memory_mb << 20))
        set_limit(resource.RLIMIT_NPROC, self.tasks)
        keep = 0
        if self.uid is not None:
            os.chown(folder, self.uid, self.uid)
            keep = 1 << CAP_DAC_READ_SEARCH if self.ruleset else 0  # the library may lie below /root
            libc.prctl(SET_KEEPCAPS, 1)
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
        capabilities = (ctypes.c_uint32 * 6)(keep, keep, 0, 0, 0, 0)
        checked(libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), capabilities))
        if self.rung != "namespaces":
            libc.prctl(SET_PDEATHSIG, signal.SIGKILL)
        if self.ruleset:
            landlock.restrict(self.ruleset)


def set_limit(limit, value):
    """Sets a resource limit for good, or leaves a harder one that is there already."""
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def address_space():
    """This process's address space in bytes, as it is before a program uses any."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
