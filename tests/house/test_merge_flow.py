"""development -> staging -> main, and hotfix/<ticket>-... -> main: every pair of branches that matters."""

from pathlib import Path

import pytest

from tests.house.conftest import Run

pytestmark = pytest.mark.unit

OURS, FORK = "clinic/relaypacs", "somebody/relaypacs"

PAIRS = [
    # head, base, decision, label
    ("staging", "main", "allow", "production"),
    ("hotfix/RP-123-lost-chunk", "main", "allow", "hotfix"),
    ("hotfix/RP-123", "main", "block", "production"),
    ("hotfix/lost-chunk", "main", "block", "production"),
    ("hotfix", "main", "block", "production"),
    ("development", "main", "block", "production"),
    ("feature/RP-123-add-2fa", "main", "block", "production"),
    ("bugfix/RP-9-late", "main", "block", "production"),
    ("staging2", "main", "block", "production"),
    ("my/staging", "main", "block", "production"),
    ("development", "staging", "allow", "staging"),
    ("main", "staging", "allow", "back-merge"),
    ("feature/RP-123-add-2fa", "staging", "warn", "staging"),
    ("hotfix/RP-123-lost-chunk", "staging", "warn", "staging"),
    ("feature/RP-123-add-2fa", "development", "allow", "development"),
    ("feature/RP-123", "development", "allow", "development"),
    ("bugfix/RP-9-late", "development", "allow", "development"),
    ("staging", "development", "allow", "back-merge"),
    ("main", "development", "warn", "back-merge"),
    ("some-idea", "development", "warn", "development"),
    ("feature/no-ticket", "development", "warn", "development"),
    ("feature/RP-2-more", "feature/RP-1-first", "warn", "stacked"),
]

FROM_A_FORK = [
    ("staging", "main", "block", "production"),
    ("hotfix/RP-123-lost-chunk", "main", "block", "production"),
    ("development", "staging", "warn", "staging"),
    ("main", "staging", "warn", "staging"),
    ("feature/RP-123-add-2fa", "development", "allow", "development"),
    ("staging", "development", "warn", "development"),
]


def values(said: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in said.splitlines())


@pytest.mark.parametrize(("head", "base", "decision", "label"), PAIRS)
def test_it_judges_a_branch_of_this_repository(run: Run, head: str, base: str, decision: str, label: str) -> None:
    done = run("deploy/scripts/check-merge-flow.sh", head, base)
    assert (values(done.stdout)["decision"], values(done.stdout)["label"]) == (decision, label)
    assert values(done.stdout)["reason"]
    assert done.returncode == (1 if decision == "block" else 0)


@pytest.mark.parametrize(("head", "base", "decision", "label"), FROM_A_FORK)
def test_it_does_not_trust_the_names_of_a_fork(run: Run, head: str, base: str, decision: str, label: str) -> None:
    done = run("deploy/scripts/check-merge-flow.sh", head, base, FORK, OURS)
    assert (values(done.stdout)["decision"], values(done.stdout)["label"]) == (decision, label)
    assert done.returncode == (1 if decision == "block" else 0)


@pytest.mark.parametrize("words", [[], ["staging"], ["", "main"], ["staging", ""], ["a", "b", "c"]])
def test_it_tells_misuse_from_a_block(run: Run, words: list[str]) -> None:
    assert run("deploy/scripts/check-merge-flow.sh", *words).returncode == 2


def judge(run: Run, head: str, base: str, output: Path) -> tuple[int, str, str]:
    named = {"HEAD_REF": head, "BASE_REF": base, "HEAD_REPOSITORY": OURS, "BASE_REPOSITORY": OURS}
    done = run("deploy/scripts/judge-pull-request.sh", env={**named, "GITHUB_OUTPUT": str(output)})
    return done.returncode, done.stdout, output.read_text()


def test_the_job_passes_label_and_decision_on(run: Run, tmp_path: Path) -> None:
    code, said, output = judge(run, "staging", "main", tmp_path / "output")
    assert (code, output) == (0, "decision=allow\nlabel=production\n")
    assert "::" not in said


def test_the_job_fails_and_says_why_where_the_pull_request_shows_it(run: Run, tmp_path: Path) -> None:
    code, said, output = judge(run, "development", "main", tmp_path / "output")
    assert code == 1
    assert said.startswith("::error title=Merge flow::main takes staging")
    assert output == "decision=block\nlabel=production\n"


def test_the_job_warns_without_failing(run: Run, tmp_path: Path) -> None:
    code, said, _ = judge(run, "some-idea", "development", tmp_path / "output")
    assert code == 0
    assert said.startswith("::warning title=Merge flow::")
