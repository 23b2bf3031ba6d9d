"""Limits for problems of formats that say little or nothing of them; `openmimo judge run` can override both numbers."""

from __future__ import annotations

from collections.abc import Iterable

from openmimo.rows import Limits


def limits(cpu_s: float, memory_mb: int, outputs: Iterable[str] = ()) -> Limits:
    """wall_s: thrice the CPU time and two seconds, for a busy machine. output_kb: 1 MB, or four times what the longest
    expected text needs."""
    longest = max(map(len, outputs), default=0)
    return Limits(cpu_s, 3 * cpu_s + 2, memory_mb, max(1024, 4 * longest // 1024 + 1))
