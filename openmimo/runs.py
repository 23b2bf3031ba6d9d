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

FORMAT = 1  # raise it when a stage's artefacts change meaning: all runs are then redone


@dataclass(frozen=True)
class Stage:
    """function: `module:name`, called with a Context. reads: the recipe's sections (dotted paths) that it depends on.
    needs: stages whose artefacts it reads. wide: it may use all workers' cores, else one."""

    name: str
    title: str
    function: str
    reads: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    wide: bool = False


@dataclass
class Context:
    """What a stage is given. folder: where it writes; inputs: the artefact folders of the stages it needs."""

    recipe: Recipe
    stage: str
    folder: Path
    run: Path
    inputs: dict[str, Path]
    log: Any
    threads: int = 1
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
        """Whether the artefact is there, made with this key, and whole (every file present with its size)."""
        try:
            manifest = json.loads((self.path / stage / "manifest.json").read_text())
        except (OSError, json.JSONDecodeError):
            return False
        if manifest.get("key") != key:
            return False
        sizes = {name: entry["bytes"] for name, entry in manifest["outputs"].items()}
        return all(_size(self.path / stage / name) == size for name, size in sizes.items())

    def begin(self, stage: str, key: str) -> Path:
        """The stage's work folder; what an unfinished attempt with the same key left there is kept, to go on from."""
        folder = self.work / stage
        marker = folder / "key"
        if folder.exists() and (not marker.exists() or marker.read_text() != key):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(marker, key)
        return folder

    def finish(self, stage: str, key: str, facts: dict[str, Any]) -> Path:
        """Writes the manifest and renames the work folder into place; the older artefact goes."""
        folder, target = self.work / stage, self.path / stage
        (folder / "key").unlink()
        outputs = {
            str(p.relative_to(folder)): {"bytes": p.stat().st_size, "sha256": sha256_of(p)}
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        }
        manifest = {"stage": stage, "key": key, **facts, "outputs": outputs}
        write_atomic(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        old = self.work / f"{stage}.old"
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        folder.rename(target)
        shutil.rmtree(old, ignore_errors=True)
        return target


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
