"""What several files of the suite share: one unbroken smoke run, and the command line as a user calls it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("fixed", derandomize=True)  # the same examples every time
settings.load_profile("fixed")
REPOSITORY = Path(__file__).parents[1]
SMOKE = REPOSITORY / "recipes" / "smoke.toml"
SMOKED = ("test_smoke.py", "test_interruption.py", "test_stages_alone.py", "test_stopped_runs.py")
COMMAND = (sys.executable, "-P", "-m", "openmimo.cli")  # as the script in the path: without the current folder


def environment() -> dict[str, str]:
    """Ours without what would change how rich prints."""
    return {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE")}


def openmimo(*args, cwd: Path | None = None, **more) -> subprocess.CompletedProcess:
    """Runs `openmimo ARGS` to its end."""
    command = [*COMMAND, *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment(), **more)


def start(*args, **more) -> subprocess.Popen:
    """Starts `openmimo ARGS` as a shell does: in a process group of its own, with Ctrl-C at work."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, *map(str, args)], stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **more,
    )  # fmt: skip


@dataclass(frozen=True)
class SmokeRun:
    """An unbroken run of recipes/smoke.toml: its folder, how long it took, what it printed."""

    path: Path
    seconds: float
    text: str


def pytest_collection_modifyitems(items):
    """The files that need the smoke run come first."""
    items.sort(key=lambda item: item.path.name not in SMOKED)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """For two workers (`make test`): a file's tests share one, and so do the files that need the smoke run."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0]
            return "smoke" if Path(path).name in SMOKED else path

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> SmokeRun:
    """One unbroken run for the whole suite. Nobody may write into its folder: copy it."""
    path, began = tmp_path_factory.mktemp("unbroken") / "smoke", time.monotonic()
    found = openmimo("run", SMOKE, "--out", path)
    assert found.returncode == 0, found.stderr[-3000:]
    return SmokeRun(path, time.monotonic() - began, found.stdout)
