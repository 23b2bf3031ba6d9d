"""Landlock, the kernel's unprivileged access control: the judge's rung where namespaces are forbidden (containers).

A child under the ruleset opens only what it names, connects to and listens on no TCP port, and neither signals nor
traces a process outside (on kernels that know each rule). Loaded by the worker without the package.
"""

import ctypes
import os
import struct

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1, 2, 4, 8, 1 << 14
REMOVE_FILE, MAKE_REG = 1 << 5, 1 << 8
FLAT = WRITE_FILE | READ_FILE | READ_DIR | REMOVE_FILE | MAKE_REG | TRUNCATE
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same number on every architecture
libc = ctypes.CDLL(None, use_errno=True)


def abi():
    """The kernel's Landlock version, 0 where there is none."""
    return max(0, libc.syscall(CREATE_RULESET, None, 0, 1))


def ruleset(readable, writable):
    """A ruleset's file descriptor. readable: files and folders to read; writable: folders to keep files in, device files
    to read and write. Raises OSError where the kernel has no Landlock."""
    version = abi()
    if version < 1:
        raise OSError("no Landlock in this kernel")
    rights = (1 << 13) - 1
    rights |= (1 << 13) * (version >= 2) | TRUNCATE * (version >= 3) | (1 << 15) * (version >= 5)
    attributes = struct.pack("<QQQ", rights, 3, 3)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    fd = checked(libc.syscall(CREATE_RULESET, attributes, len(attributes), 0))
    for path in readable:
        allow(fd, path, EXECUTE | READ_FILE | READ_DIR)
    for path in writable:  # files, no folders or special files in it: what they hold can be counted
        allow(fd, path, FLAT & rights if os.path.isdir(path) else READ_FILE | WRITE_FILE)
    return fd


def allow(ruleset_fd, path, rights):
    """Adds one rule: `rights` on the file, or on everything below the folder."""
    if not os.path.isdir(path):
        rights &= EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    checked(libc.syscall(ADD_RULE, ruleset_fd, 1, struct.pack("<Qi", rights, fd), 0))
    os.close(fd)


def restrict(ruleset_fd):
    """Puts this process and all it will start under the ruleset, for ever. Needs no_new_privs."""
    checked(libc.syscall(RESTRICT_SELF, ruleset_fd, 0))


def checked(result):
    """A system call's result; OSError when it failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
