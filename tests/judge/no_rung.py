"""Runs a command where the kernel offers no isolation, as in a container that forbids it: without new namespaces and
without Landlock, by a seccomp filter that all its processes inherit.

    python no_rung.py COMMAND ...
"""

import ctypes
import os
import sys

from openmimo.judge import seccomp

LANDLOCK = 444  # landlock_create_ruleset
opening, column = seccomp.opening()
clone = seccomp.CLONE[column]
code = [
    *opening,
    *seccomp.deny(seccomp.CALLS["unshare"][column]),
    *seccomp.deny(LANDLOCK),
    *seccomp.deny_where(clone, 0, [(seccomp.ANY_BIT, seccomp.NAMESPACES)]),
    seccomp.ACCEPT,
]
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # no_new_privs
seccomp.install(b"".join(code))
os.execvp(sys.argv[1], sys.argv[1:])
