"""A run's folder: which stages are done, which must be redone, and carrying out the rest in child processes.

    openmimo run recipes/tiny.toml

Each stage is an artefact, a folder `runs/NAME/STAGE` with a manifest. Its key hashes the recipe's sections that it reads
and the keys of the stages it needs: a changed recipe key redoes exactly what depends on it. A stage works in
`runs/NAME/.work/STAGE` and is renamed when it is whole, so a run killed anywhere goes on from the last checkpoint.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from openmimo.errors import UserError
from openmimo.recipe import Recipe, canonical

SCAFFOLD = ("key", "checkpoint.pt", "rendezvous")  # files of an unfinished stage; they are no part of the artefact
FORMAT = 2  # raise it when a stage's artefacts change meaning: all runs are then redone


@dataclass(frozen=True)
class Stage:
    """function: `module:name`, called with a Context. reads: the recipe's sections (dotted paths) that it depends on.
    needs: stages whose artefacts it reads. wide: it runs as `workers` ranks (see train/parallel), else as one process."""

    name: str
    title: str
    function: str
    reads: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    wide: bool = False


@dataclass
class Context:
    """What a stage is given. folder: where it writes; inputs: the artefact folders of the stages it needs; rank: of a
    wide stage's processes, of which rank 0 alone writes."""

    recipe: Recipe
    stage: str
    folder: Path
    run: Path
    inputs: dict[str, Path]
    log: Any
    rank: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def section(recipe: Recipe, path: str) -> Any:
    """The value at a dotted path of the recipe."""
    value: Any = recipe
    for part in path.split("."):
        value = getattr(value, part)
    return value


def keys_of(stages: list[Stage], recipe: Recipe) -> dict[str, str]:
    """Stage -> key. `stages` is in an order in which needs come first."""
    keys: dict[str, str] = {}
    for stage in stages:
        parts: list[Any] = [FORMAT, stage.name, recipe.seed]
        for path in stage.reads:
            value = section(recipe, path)
            parts.append(canonical(value) if hasattr(value, "model_dump") else value)
        parts += [keys[name] for name in stage.needs]
        keys[stage.name] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return keys


class StageFailed(Exception):
    """A stage ended with an error that is not the user's; the message holds its traceback."""


class RunFolder:
    """`runs/NAME`: artefacts, work in progress, a lock."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.work = self.path / ".work"

    def lock(self) -> Any:
        """Takes the run for this process. Raises UserError where another one holds it."""
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            handle = (self.path / ".lock").open("w")
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot write there ({error.strerror}); choose another folder with --out"
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{self.path}: another openmimo is working there; wait for it, or use --out") from None
        return handle

    def is_done(self, stage: str, key: str) -> bool:
        """Whether the artefact is there, made with this key, and whole (every file present with its size). One that
        was finished but not yet moved when its run was killed is moved now."""
        if _manifest(self.work / stage).get("key") == key:
            self._publish(stage)
        manifest = _manifest(self.path / stage)
        if manifest.get("key") != key:
            return False
        sizes = {name: entry["bytes"] for name, entry in manifest["outputs"].items()}
        return all(_size(self.path / stage / name) == size for name, size in sizes.items())

    def open_again(self) -> None:
        """Before a stage is redone: what summed up the run no longer holds."""
        for name in ("results.json", "report.html"):
            (self.path / name).unlink(missing_ok=True)

    def add_cost(self, seconds: float, peak_memory_mb: float) -> None:
        """Adds a session's wall time, and its peak memory over all processes, to the run's `cost.json`."""
        path = self.path / "cost.json"
        was = json.loads(path.read_text()) if path.exists() else {"wall_seconds": 0.0, "peak_memory_mb": 0.0}
        cost = {
            "wall_seconds": round(was["wall_seconds"] + seconds, 1),
            "peak_memory_mb": round(max(was["peak_memory_mb"], peak_memory_mb), 1),
        }
        write_atomic(path, json.dumps(cost) + "\n")

    def begin(self, stage: str, key: str) -> Path:
        """The stage's work folder; what an unfinished attempt with the same key left there is kept, to go on from."""
        folder = self.work / stage
        marker = folder / "key"
        if folder.exists() and (not marker.exists() or marker.read_text() != key):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(marker, key)
        return folder

    def finish(self, stage: str, key: str, facts: dict[str, Any]) -> None:
        """Writes the manifest and moves the work folder into place; the older artefact goes."""
        folder = self.work / stage
        for part in folder.rglob("*.part"):
            part.unlink()
        outputs = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in SCAFFOLD):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            outputs[str(path.relative_to(folder))] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        manifest = {"stage": stage, "key": key, **facts, "outputs": outputs}
        write_atomic(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        self._publish(stage)

    def _publish(self, stage: str) -> None:
        """Renames a finished work folder into place, then drops what only an unfinished stage needs."""
        folder, target, old = self.work / stage, self.path / stage, self.work / f"{stage}.old"
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        folder.rename(target)
        for name in SCAFFOLD:
            (target / name).unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "manifest.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def run_facts(seed: int) -> dict[str, Any]:
    """What every manifest says of its origin."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "numpy", "tokenizers", "reasoning-gym", "math-verify", "selectolax"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return {"seed": seed, "commit": commit(), "versions": versions}


def commit() -> str:
    """The commit of the source tree, with + where it was changed; `unknown` outside a checkout."""
    root = Path(__file__).parent
    git: Callable[..., str] = lambda *a: subprocess.run(  # noqa: E731
        ["git", "-C", str(root), *a], capture_output=True, text=True, timeout=10, check=True
    ).stdout.strip()
    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def write_atomic(path: Path, text: str) -> None:
    """Writes a small file whole or not at all, flushed to disk."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
