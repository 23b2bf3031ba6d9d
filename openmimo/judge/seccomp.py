"""Two seccomp filters of ours: which system calls a worker and the programs under it do not have. Denied by name: every
call that reaches other processes, the network, the kernel's configuration or a namespace, and every call that this list
is too old to know.

    install(worker_filter())               in a worker, once, when its walls stand: all that neither it nor a program needs
    Filter(child_filter()).install(pid)    in a child, last: signals to its own process group alone, no way out of it

A filter is inherited by all that the process starts and cannot be taken off. A denied call fails with EPERM (clone3 and
newer ones with ENOSYS, so that the C library falls back to clone, whose flags can be read); one of another architecture's
numbering ends the process. Loaded by the worker without the package. x86-64 and AArch64 only: `OSError` elsewhere.
"""

import ctypes
import errno
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
NEWEST = 462  # mseal, Linux 6.10; from 424 on the numbers are the same everywhere
NAMESPACES = 0x7E020080  # every CLONE_NEW* flag
AF_UNIX = 1

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
# name: (number on x86-64, on AArch64); -1 where it does not exist
CALLS = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # namespaces, mounts, roots
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    # the network (a pair of connected local sockets is all there is)
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242),
    # large or rarely needed doors into the kernel
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "memfd_secret": (447, 447), "personality": (135, 92), "modify_ldt": (154, -1),
    "io_setup": (206, 0), "vmsplice": (278, 75), "mbind": (237, 235), "set_mempolicy": (238, 237),
    # what outlives a process
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # the machine
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116), "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, -1), "ioperm": (173, -1), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "vhangup": (153, 58),
    "lookup_dcookie": (212, 18), "sysfs": (139, -1), "uselib": (134, -1), "nfsservctl": (180, 42),
    # scheduling
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
}  # fmt: skip
CHILD_CALLS = {
    "setsid": (112, 157), "setpgid": (109, 154), "memfd_create": (319, 279), "seccomp": (317, 277),
    "sched_setaffinity": (203, 122), "tkill": (200, 130), "setpriority": (141, 140), "splice": (275, 76),
}  # fmt: skip
CLONE, CLONE3, SOCKETPAIR, PRLIMIT = (56, 220), (435, 435), (53, 199), (302, 261)
KILL_CALLS = ((62, 129), (234, 131), (129, 138), (297, 240))  # kill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
PRCTL, FCNTL = (157, 167), (72, 25)
PR_SET = (1, 4, 22, 35, 36, 0x59616D61)  # death signal, dumpable, seccomp, mm, subreaper, ptracer
F_SETOWN = (8, 15)
WHO, GROUP = b"<me>", b"<us>"  # marks of the child's process id and of its negative


def operation(code, value, then=0, otherwise=0):
    """One BPF instruction; `then` and `otherwise`: how many instructions to jump over."""
    return struct.pack("<HBBI", code, then, otherwise, value)


DENY = operation(RETURN, ERRNO | errno.EPERM)
UNKNOWN = operation(RETURN, ERRNO | errno.ENOSYS)
ACCEPT = operation(RETURN, ALLOW)


def opening():
    """(instructions that end a process of another architecture and load the call's number, this machine's column)."""
    machine = os.uname().machine
    if machine not in MACHINES:
        raise OSError(f"no seccomp filter for {machine}")
    token, column = MACHINES[machine]
    return [
        operation(LOAD, ARCHITECTURE), operation(EQUAL, token, 1, 0), operation(RETURN, KILL), operation(LOAD, NUMBER),
    ], column  # fmt: skip


def deny(number, with_errno=DENY):
    """The call fails, whatever its arguments."""
    return [operation(EQUAL, number, 0, 1), with_errno] if number >= 0 else []


def deny_where(number, argument, tests, otherwise=ACCEPT):
    """The call fails where one of `tests` (code, value) holds for its argument; `otherwise`, what becomes of it else."""
    checks = [part for code, value in tests for part in (operation(code, value, 0, 1), DENY)]
    body = [operation(LOAD, ARGUMENTS + 8 * argument), *checks, otherwise]
    return [operation(EQUAL, number, 0, len(body)), *body]


def worker_filter():
    """The calls that neither a worker nor a program has."""
    code, column = opening()
    if column == 0:
        code += [operation(AT_LEAST, 0x40000000, 0, 1), operation(RETURN, KILL)]  # x32
    code += [operation(AT_LEAST, NEWEST + 1, 0, 1), UNKNOWN]
    for numbers in CALLS.values():
        code += deny(numbers[column])
    code += deny(CLONE3[column], UNKNOWN)
    code += deny_where(CLONE[column], 0, [(ANY_BIT, NAMESPACES)])
    code += [operation(EQUAL, SOCKETPAIR[column], 0, 4), operation(LOAD, ARGUMENTS)]
    code += [operation(EQUAL, AF_UNIX, 0, 1), ACCEPT, DENY]
    code += [operation(EQUAL, PRLIMIT[column], 0, 4), operation(LOAD, ARGUMENTS)]
    code += [operation(EQUAL, 0, 0, 1), ACCEPT, DENY]
    return b"".join([*code, ACCEPT])


def child_filter():
    """For a child that leads its process group: it and all it starts signal that group alone. WHO and GROUP stand where
    its process id and the negative of it belong."""
    code, column = opening()
    for numbers in CHILD_CALLS.values():
        code += deny(numbers[column])
    for numbers in KILL_CALLS:
        whom = (int.from_bytes(mark, "little") for mark in (WHO, bytes(4), GROUP))
        allowed = [part for who in whom for part in (operation(EQUAL, who, 0, 1), ACCEPT)]
        code += [operation(EQUAL, numbers[column], 0, len(allowed) + 2), operation(LOAD, ARGUMENTS), *allowed, DENY]
    code += deny_where(PRCTL[column], 0, [(EQUAL, option) for option in PR_SET])
    code += deny_where(FCNTL[column], 1, [(EQUAL, command) for command in F_SETOWN])
    return b"".join([*code, ACCEPT])


def install(code):
    """Puts this process, and all it will start, under the filter for ever. Needs no_new_privs. OSError: no seccomp."""
    Filter(code).install()


class Filter:
    """A filter in memory that the kernel can read; made in the worker, since every child pays for what it does itself."""

    def __init__(self, code):
        self.code, self.buffer = code, ctypes.create_string_buffer(code, len(code))
        self.program = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(self.buffer))

    def install(self, pid=None):
        """As `install`. pid: this process, where the code has marks in its place."""
        if pid:
            us = (1 << 32) - pid
            self.buffer.raw = self.code.replace(WHO, pid.to_bytes(4, "little")).replace(GROUP, us.to_bytes(4, "little"))
        if libc.prctl(22, 2, self.program, 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
            raise OSError(ctypes.get_errno(), "seccomp")
