"""What the tests of the scripts share: the checkout, a way to run a script, and a scratch repository."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], dict[str, str]]


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def run() -> Run:
    """Runs a command to its end, with both streams in stdout."""

    def run(
        *command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def repository(tmp_path: Path, run: Run) -> Path:
    """An empty git repository, told nothing by the settings of this machine."""
    run("git", "init", "--quiet", "--initial-branch=development", tmp_path)
    run("git", "config", "user.name", "Test", cwd=tmp_path)
    run("git", "config", "user.email", "test@example.org", cwd=tmp_path)
    return tmp_path


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """Puts a small shell script of that name before everything on PATH; answers the environment to run under."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def write(name: str, body: str) -> dict[str, str]:
        script = folder / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        return {"PATH": f"{folder}:{os.environ['PATH']}"}

    return write
