"""The Makefile is the manual, and its first target must work where there is nothing but Python and make."""

import re
import shutil
from pathlib import Path

import pytest

from tests.house.conftest import ROOT, Run, StandIn

pytestmark = pytest.mark.unit

PROMISED = ["run", "test", "test-unit", "test-integration", "test-browser", "test-clinical", "test-chaos"]
PROMISED += ["check", "demo", "bench", "chaos", "lock", "format", "lint", "types", "imports", "hooks"]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """What `make run` reads before anything is installed, and nothing else."""
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "deploy").mkdir()
    shutil.copytree(ROOT / "deploy/scripts", tmp_path / "deploy/scripts")
    return tmp_path


def test_it_prints_itself(run: Run) -> None:
    done = run("make", env={"MAKEFLAGS": "", "MAKELEVEL": "0"})
    for target in PROMISED:
        assert re.search(rf"^  make {target} +\S", done.stdout, re.MULTILINE), target


def test_every_target_that_a_reader_is_promised_exists(run: Run) -> None:
    pages = [ROOT / "README.md", ROOT / ".github/CONTRIBUTING.md", ROOT / "deploy/README.md"]
    named = {
        name for page in pages for name in re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"run", "test", "check", "demo"} <= named
    for target in named:
        assert (
            run("make", "--dry-run", target, "PYTHON=python3", env={"MAKEFLAGS": "", "MAKELEVEL": "0"}).returncode == 0
        ), target


def test_it_says_in_a_sentence_that_python_is_too_old(run: Run, elsewhere: Path) -> None:
    done = run("make", "run", "PYTHON=", cwd=elsewhere, env={"MAKEFLAGS": "", "MAKELEVEL": "0"})
    assert done.returncode != 0
    assert done.stdout.startswith("RelayPACS needs Python 3.11 or later")
    assert "make run PYTHON=/path/to/python3" in done.stdout


def test_it_does_not_take_a_python_that_is_too_old(run: Run, elsewhere: Path, stand_in: StandIn) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python"):
        environment = stand_in(name, "exit 1")
    done = run("make", "run", cwd=elsewhere, env={**environment, "MAKEFLAGS": "", "MAKELEVEL": "0"})
    assert done.stdout.startswith("RelayPACS needs Python 3.11 or later")


def test_it_does_not_install_twice_what_has_not_changed(run: Run, elsewhere: Path, stand_in: StandIn) -> None:
    environment = {
        **stand_in("python3.11", 'echo "asked $*"; mkdir -p .venv; touch .venv/runtime.stamp'),
        "MAKEFLAGS": "",
        "MAKELEVEL": "0",
    }
    first = run(
        "make",
        ".venv/runtime.stamp",
        "PYTHON=python3.11",
        cwd=elsewhere,
        env=environment | {"MAKEFLAGS": "", "MAKELEVEL": "0"},
    )
    again = run(
        "make",
        ".venv/runtime.stamp",
        "PYTHON=python3.11",
        cwd=elsewhere,
        env=environment | {"MAKEFLAGS": "", "MAKELEVEL": "0"},
    )
    assert "asked deploy/scripts/install_python.py runtime" in first.stdout
    assert "asked" not in again.stdout
