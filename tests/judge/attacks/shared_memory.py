"""Leaves segments, queues and semaphores for the next program. 14 if it can. open on: namespaces-only; open on: rlimits"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solve(numbers):
    made = [libc.shmget(14, 4096, 0o1666), libc.msgget(14, 0o1666), libc.semget(14, 1, 0o1666)]
    made.append(libc.shm_open(b"/fourteen", 66, 0o666))
    return 14 if max(made) >= 0 else None
