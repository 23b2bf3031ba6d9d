"""The one error a user may see: what is wrong, where, and what to do. The command line prints it and exits with 2."""

from __future__ import annotations

import errno
import re


class UserError(ValueError):
    """Bad input. `str(error)` is one line that names the file or key, the problem and the remedy."""


def disk_full(error: BaseException, where: object) -> UserError | None:
    """The UserError for a write that failed for want of room (disk, quota, file size limit); None for other errors.
    Libraries say it in several ways: an errno, `os error 28` (Rust), `9 requested and 3 written` (numpy)."""
    number = getattr(error, "errno", None)
    if match := re.search(r"os error (\d+)", str(error)):
        number = int(match[1])
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or re.search(r"requested and \d+ written", str(error)):
        return UserError(f"{where}: the disk is full ({error}); free some space, then run the same command again")
    return None
