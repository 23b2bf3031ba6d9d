"""The process in which Math-Verify runs: a line `[answer, gold]` in, a line `right`, `wrong` or `unparsable` out.

    python -P maths_worker.py          (`maths.MathJudge` starts it, watches its CPU time and kills it)

The answer must be LaTeX or a number as a whole: Math-Verify's search for the last thing that looks like a number is off,
since `9 \\to 10` and `9 | 10` would pass for 10 with it.
"""

import ctypes
import functools
import json
import logging
import os
import resource
import signal
import sys

from math_verify import LatexExtractionConfig, parse, verify

MEMORY_BYTES = 4 << 30
WHOLE = [LatexExtractionConfig(boxed_match_priority=0)]


def verdict(answer: str, gold: str) -> str:
    """Math-Verify's view of one pair. Where it cannot read the gold answer the text decides; whatever it raises on the
    answer means that it cannot read that."""
    expected = read_gold(gold)
    if not any(not isinstance(form, str) for form in expected):
        return "right" if answer == gold else "wrong"
    try:
        given = parse(
            f"\\boxed{{{answer}}}",
            WHOLE,
            fallback_mode="no_fallback",
            extraction_mode="first_match",
            parsing_timeout=None,
            raise_on_error=True,
        )
        if not given:
            return "unparsable"
        return "right" if verify(expected, given, timeout_seconds=None, raise_on_error=True) else "wrong"
    except Exception:
        return "unparsable"


@functools.lru_cache(1024)  # a group's answers share their gold
def read_gold(gold: str) -> list:
    """What Math-Verify makes of a gold answer; nothing where it cannot read it."""
    try:
        return parse(f"\\boxed{{{gold}}}", parsing_timeout=None, raise_on_error=True)
    except Exception:  # sympy and its parsers raise anything at all on text that they do not know
        return []


def end_with_parent() -> None:
    """Asks the kernel (Linux: PR_SET_PDEATHSIG) to kill this process when the one that started it dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() == 1:  # it died before we asked
        sys.exit(0)


def main() -> None:
    end_with_parent()
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    verdict("\\frac{1}{2}", "0.5")  # what is loaded on first use
    replies = os.dup(1)
    os.dup2(2, 1)  # nothing that a library prints may pass for a verdict
    os.write(replies, b"ready\n")
    for line in sys.stdin.buffer:
        os.write(replies, verdict(*json.loads(line)).encode() + b"\n")


if __name__ == "__main__":
    main()
