"""Walls around a candidate: what the worker sets up once, and what each child puts on before it runs the program.

Rungs, the highest the machine allows is taken and named in `Judge.rung` and in every verdict:

    namespaces       own user, PID, mount, network and IPC namespaces (see `namespaces`), and the seccomp filters
    namespaces-only  the same where the kernel has no seccomp
    landlock         where namespaces are forbidden: Landlock for files, seccomp for the rest
    rlimits          limits only (and seccomp where there is). It does not stop a program from reading the machine's
                     files, and without a user id of its own (we are not root) not from reading its judge's memory:
                     `Judge` wants to be asked for it

On every rung: no_new_privs, no capabilities, its own user id when we are root, one CPU, limits on CPU time, address
space, file size, open files, processes; no core. Loaded by the worker without the package.
"""

import ctypes
import os
import resource
import signal
import sys

import landlock
import seccomp
from landlock import checked, libc
from namespaces import DEVICES, enter_namespaces

SET_PDEATHSIG, SET_DUMPABLE, SET_KEEPCAPS, SET_CHILD_SUBREAPER, SET_NO_NEW_PRIVS = 1, 4, 8, 36, 38
CAP_DAC_READ_SEARCH = 2
CHILD_LIMITS = resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC
TASKS, OPEN_FILES, FILE_BYTES, STACK_BYTES = 64, 64, 16 << 20, 64 << 20


def stdlib():
    """The standard library's files and folders, without installed packages (they may hold solutions)."""
    folders = [path for path in sys.path if os.path.isdir(path)]
    entries = [f"{folder}/{name}" for folder in folders for name in os.listdir(folder)]
    return [path for path in sys.path if os.path.isfile(path)] + [e for e in entries if not e.endswith("-packages")]


def library_is_hidden():
    """Whether the standard library lies below a folder that only its owner may enter, such as /root."""
    folder, hidden = os.path.dirname(os.__file__), False
    while folder != "/":
        hidden |= not os.stat(folder).st_mode & 1
        folder = os.path.dirname(folder)
    return hidden


class Walls:
    """What every child of this worker puts on. `Walls(rung, box, cpu)` in the worker, `enter(...)` in the child."""

    def __init__(self, rung, box, cpu):
        """rung: one of the four; box: the folder of working folders, used on the lower two; cpu: the one to run on.
        Raises OSError where the machine does not offer the rung."""
        self.rung, self.uid, self.ruleset = rung, None, None
        os.sched_setaffinity(0, {cpu})
        self.base_bytes = address_space()
        if os.getuid() == 0:  # an id of its own, so that its processes can be counted; nobody where there is none
            with open("/proc/self/uid_map") as ranges:
                self.uid = 1_000_000_000 + os.getpid() if "4294967295" in ranges.read() else 65534
            os.setgroups([])
        self.in_namespaces = rung.startswith("namespaces")
        self.box, self.proc = enter_namespaces(self.uid) if self.in_namespaces else (box, os.open("/proc", os.O_PATH))
        libc.mallopt(-8, 1)  # one arena: each further thread's would reserve 64 MB of address space
        libc.prctl(SET_CHILD_SUBREAPER, 1)
        checked(libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        if rung == "landlock":
            self.ruleset = landlock.ruleset(stdlib(), [box, *DEVICES])
        self.filter = install_filter(rung)
        set_limit(resource.RLIMIT_NOFILE, OPEN_FILES)
        set_limit(resource.RLIMIT_CORE, 0)
        set_limit(resource.RLIMIT_STACK, STACK_BYTES)
        tasks = TASKS
        if self.uid is None and not self.in_namespaces:  # the limit counts all of this user's processes: leave room
            tasks = 2048 + sum(name.isdigit() for name in os.listdir("/proc"))
        self.tasks = tasks
        self.hard = {limit: resource.getrlimit(limit)[1] for limit in CHILD_LIMITS}
        self.keep = 0  # capabilities: others' files can be read where only so the library can
        if self.uid is not None and not self.in_namespaces and library_is_hidden():
            self.keep = 1 << CAP_DAC_READ_SEARCH

    def enter(self, folder, cpu_s, memory_mb, file_bytes):
        """In a fresh child: moves into `folder` and gives up everything else. cpu_s: for the whole process."""
        os.setpgid(0, 0)
        os.chdir(folder)
        values = int(cpu_s) + 2, self.base_bytes + (memory_mb << 20), file_bytes, self.tasks
        for (limit, hard), value in zip(self.hard.items(), values):  # noqa: B905
            value = value if hard < 0 or value < hard else hard
            resource.setrlimit(limit, (value, value))
        if self.uid is not None:
            os.chown(folder, self.uid, self.uid)
            if self.keep:
                libc.prctl(SET_KEEPCAPS, 1)
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)  # drops all capabilities that are not kept
        if self.uid is None or self.keep:
            capabilities = (ctypes.c_uint32 * 6)(self.keep, self.keep, 0, 0, 0, 0)
            checked(libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), capabilities))
        if self.in_namespaces:
            libc.prctl(SET_DUMPABLE, 1)  # so that the worker may read how much memory it holds
        else:
            libc.prctl(SET_PDEATHSIG, signal.SIGKILL)
        if self.ruleset:
            landlock.restrict(self.ruleset)
        if self.filter:
            self.filter.install(os.getpid())


def install_filter(rung):
    """Installs the worker's seccomp filter and returns the one of its children, or None where there is no seccomp. The
    rungs that rest on it raise OSError then."""
    if rung == "namespaces-only":
        return None
    try:
        seccomp.install(seccomp.worker_filter())
        return seccomp.Filter(seccomp.child_filter())
    except OSError:
        if rung != "rlimits":
            raise
        return None


def set_limit(limit, value):
    """Sets a resource limit for good, or leaves a harder one that is there already."""
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def address_space():
    """This process's address space in bytes, as it is before a program uses any."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
