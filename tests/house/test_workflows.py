"""The workflows are thin: a job runs make targets and scripts of this repository, and every action is pinned."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.conftest import ROOT, Run

pytestmark = pytest.mark.unit

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
# What a job may say beside them: how a developer installs.
INSTALL = 'python -m venv .venv && .venv/bin/pip install --quiet --editable ".[dev]"'


def jobs(path: Path) -> list[tuple[str, dict[str, Any]]]:
    return list(yaml.safe_load(path.read_text())["jobs"].items())


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for _, job in jobs(path) for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_it_runs_nothing_that_does_not_run_on_a_laptop(path: Path, run: Run) -> None:
    for command in [step["run"] for step in steps(path) if "run" in step and step["run"] != INSTALL]:
        words = command.split()
        if words[0] == "make":
            targets = re.sub(r"[A-Z_]+='[^']*'", "", command).split()[1:]
            assert run("make", "--dry-run", *targets, "PYTHON=python3", env={"MAKEFLAGS": ""}).returncode == 0, command
        else:
            assert (ROOT / words[0]).stat().st_mode & 0o111, command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_and_says_its_version(path: Path) -> None:
    for line in path.read_text().splitlines():
        if "uses:" in line:
            assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_it_asks_for_little_and_ends(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for name, job in jobs(path):
        assert job["timeout-minutes"] <= 30, name


def test_development_is_told_quickly() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    triggers = workflow[True]  # YAML 1.1 reads the key `on` as true
    assert triggers == {"push": {"branches": ["development"]}, "pull_request": None}
    assert set(workflow["jobs"]) == {"lint", "unit", "smoke", "security", "image"}
    assert workflow["jobs"]["security"]["continue-on-error"] is True
    assert workflow["jobs"]["unit"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
