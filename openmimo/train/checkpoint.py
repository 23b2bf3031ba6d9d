"""A stage's own checkpoint while it is under way: one file, written whole or not at all.

Checkpointer(folder, every_s=10).save({...})      # then kill -9 at any moment; load() gives the last one whole
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

from openmimo.errors import UserError

FILE = "checkpoint.pt"


class Checkpointer:
    """`due()` says when the next save should happen; `save` replaces the last checkpoint; `load` returns it or None."""

    def __init__(self, folder: str | Path, every_s: float):
        self.path = Path(folder) / FILE
        self.every_s = every_s
        self.last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self.last >= self.every_s

    def save(self, state: dict[str, Any]) -> None:
        """Writes beside the last checkpoint, flushes to disk, renames. A full disk is a UserError; the last one stays."""
        import torch

        part = self.path.with_suffix(".part")
        try:
            with part.open("wb") as out:
                torch.save(state, out)
                out.flush()
                os.fsync(out.fileno())
            part.replace(self.path)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"{self.path}: could not write the checkpoint ({error}); free disk space, run again"
            ) from None
        self.last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None where there is none. A damaged file is a UserError."""
        if not self.path.exists():
            return None
        import torch

        try:
            return torch.load(self.path, weights_only=True)
        except Exception as error:
            reason = str(error).split("\n")[0][:100]
            raise UserError(
                f"{self.path}: damaged checkpoint ({reason}); delete this file, then run again: the stage starts over"
            ) from None

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
