"""What the documentation shows can be typed: imports that exist, Python that runs."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = sorted((ROOT / "openmimo").rglob("*.py"))
IMPORT = re.compile(r"\bfrom (openmimo[\w.]*) import (\w+(?:, \w+)*)")
PIECE = re.compile(r"python - <<'EOF'\n(.*?)EOF|python -c \"(.*?)\"\n", re.S)
OTHERS = ("runs/", "paper.pdf", "http://127")  # what a reader has made before


def shown_imports(path: Path) -> list[tuple[str, str]]:
    """(module, name) of each import that a page shows, or a module's docstrings."""
    text = path.read_text()
    if path.suffix == ".py":
        tree = ast.parse(text)
        nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
        text = "\n".join(ast.get_docstring(n) or "" for n in ast.walk(tree) if isinstance(n, nodes))
    return [(module, name) for module, names in IMPORT.findall(text) for name in names.split(", ")]


def names_of(module: str) -> set[str]:
    """What may be imported from a module, without importing it."""
    path = ROOT / module.replace(".", "/")
    found = {p.stem for p in path.glob("*")} if path.is_dir() else set()
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(source.read_text()).body if source.exists() else ():
        if isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return found


def test_shown_imports_exist():
    shown = [(path, *pair) for path in [*PAGES, *MODULES] if path.name != "LOG.md" for pair in shown_imports(path)]
    wrong = [
        f"{path.name}: from {module} import {name}" for path, module, name in shown if name not in names_of(module)
    ]
    assert len(shown) > 50 and not wrong


def test_a_name_that_is_not_there_is_seen():
    """Negative control."""
    assert "extract_html" not in names_of("openmimo.data.pack") and names_of("openmimo.nothing") == set()
    assert "TokenStore" in names_of("openmimo.data.pack") and "pack" in names_of("openmimo.data")


def pieces() -> list:
    """The Python of each page that needs no file of the reader's."""
    found = []
    for path in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", path.read_text(), re.S):
            for at, match in enumerate(PIECE.findall(block)):
                text = match[0] or match[1]
                if not any(other in text for other in OTHERS):
                    found.append(pytest.param(text, id=f"{path.name}-{len(found)}-{at}"))
    return found


@pytest.mark.parametrize("text", pieces())
def test_python_of_the_pages_runs(text):
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, env=env)
    assert found.returncode == 0 and found.stdout, found.stderr[-2000:]
