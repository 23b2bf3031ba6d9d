"""Arrows between the rooms point one way, and what answers at once loads no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "openmimo"
LIGHT = [
    "openmimo", "openmimo.errors", "openmimo.rows", "openmimo.model.config", "openmimo.recipe", "openmimo.runs",
    "openmimo.stages", "openmimo.train.schedule", "openmimo.train.memory", "openmimo.train.plan", "openmimo.cli",
    "openmimo.judge.pool", "openmimo.judge.maths", "openmimo.eval.metrics", "openmimo.eval.results",
    "openmimo.report.page",
]  # fmt: skip

FIRST_WITH = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
    if sys.argv[1] in sys.modules:
        sys.exit(f"{name} imports {sys.argv[1]}")
"""


def imports_of(path: Path) -> set[str]:
    """Modules of ours that a file imports, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] == "openmimo"}


def files() -> list[tuple[str, Path]]:
    """(path under openmimo, path) of every module."""
    return [(path.relative_to(ROOT).as_posix(), path) for path in sorted(ROOT.rglob("*.py"))]


def run(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", FIRST_WITH, *args], capture_output=True, text=True)


def test_what_answers_at_once_loads_no_torch():
    found = run("torch", *LIGHT)
    assert found.returncode == 0, found.stderr


def test_the_check_sees_torch():
    """Negative control."""
    assert "openmimo.train.optim imports torch" in run("torch", "openmimo.recipe", "openmimo.train.optim").stderr


def test_the_command_lines_help_loads_no_numbers():
    """`openmimo --help` needs none of the heavy packages."""
    for package in ("torch", "numpy", "transformers", "matplotlib", "pyarrow", "tokenizers"):
        found = run(package, "openmimo.cli")
        assert found.returncode == 0, found.stderr


def test_nothing_imports_the_command_line():
    assert [name for name, path in files() if "openmimo.cli" in imports_of(path)] == []


ALLOWED = {  # room -> what else of ours it may import
    "errors.py": set(),
    "rows.py": {"errors"},
    "sections.py": set(),
    "recipe.py": {"errors", "model.config", "sections"},
    "model/": {"errors", "recipe", "rows", "model"},
    "judge/": {"errors", "rows", "judge"},
    "infer/": {"errors", "rows", "recipe", "model", "infer"},
    "data/extract/": {"errors", "data.document", "data.extract"},
    "data/overlap/": {"errors", "rows", "runs", "progress", "data.document", "data.overlap"},
    "data/tags/": {
        "errors",
        "rows",
        "runs",
        "progress",
        "infer.oracle",
        "data.asking",
        "data.document",
        "data.overlap",
        "data.tags",
    },  # fmt: skip
    "train/": {"errors", "rows", "recipe", "model", "data", "train"},
    "report/": {  # fmt: skip
        "errors",
        "rows",
        "recipe",
        "report",
        "eval.results",
        "eval.metrics",
        "data.ledger",
        "rl.rollout.gantt",
        "rl.rollout.timeline",
        "rl.rollout.trace",
    },
}


@pytest.mark.parametrize("room", ALLOWED)
def test_arrows_point_one_way(room):
    allowed = {f"openmimo.{name}" for name in ALLOWED[room]}
    checked = 0
    for name, path in files():
        if name.startswith(room):
            checked += 1
            for module in imports_of(path):
                assert any(module == a or module.startswith(a + ".") or module == "openmimo" for a in allowed), (
                    f"{name} imports {module}"
                )
    assert checked


def test_the_stages_know_nothing_of_each_others_trainers():
    """Pre-training and SFT share the loop; neither imports RL, evaluation or release."""
    for name, path in files():
        if name.startswith(("pretrain/", "sft/", "data/")):
            later = ("openmimo.rl", "openmimo.eval", "openmimo.release", "openmimo.report", "openmimo.execute")
            assert not [m for m in imports_of(path) if m.startswith(later)], name
