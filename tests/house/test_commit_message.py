"""type(scope): subject, checked as git's hook and as CI over a range."""

from pathlib import Path

import pytest

from tests.house.conftest import ROOT, Run

pytestmark = pytest.mark.unit

SCRIPT = ROOT / "deploy/scripts/check-commit-message.sh"

GOOD = [
    "feat(auth): add TOTP two-factor authentication",
    "fix(upload): resolve chunk merge race condition",
    "docs(readme): update deployment instructions",
    "test(e2e): add upload resume scenario",
    "chore(deps): pin pydicom 3.0.2",
    "refactor(uploads/pacs): name outcomes",
    "feat(api)!: answer 409 to a second body",
    "fix(page): show ≥ 90 %\n\nBecause it was not.\n",
    'Revert "feat(auth): add TOTP"\n\nThis reverts commit 0.',
]
BAD = [
    "",
    "update things",
    "feat: no scope",
    "feat(auth) missing colon",
    "feat(auth):no space",
    "feat(auth): ",
    "feat(): empty scope",
    "feat(Auth): a capital in the scope",
    "Feat(auth): a capital in the type",
    "perf(auth): a type of another convention",
    "feat(auth): a full stop.",
    "feat(auth): the body begins at once\nlike this",
    "feat(auth): " + "x" * 100,
    " feat(auth): indented",
]


@pytest.mark.parametrize("message", GOOD)
def test_it_takes_a_well_formed_message(run: Run, message: str) -> None:
    done = run(SCRIPT, "--text", message)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("message", BAD)
def test_it_refuses_another_and_quotes_it(run: Run, message: str) -> None:
    done = run(SCRIPT, "--text", message)
    assert done.returncode == 1
    assert message.split("\n")[0] in done.stdout


def commit(run: Run, repository: Path, message: str, *, hooks: str = "/dev/null") -> int:
    (repository / "file").open("a").write("x")
    run("git", "add", "file", cwd=repository)
    return run("git", "-c", f"core.hooksPath={hooks}", "commit", "-q", "-m", message, cwd=repository).returncode


def test_it_finds_the_one_bad_commit_of_a_range(run: Run, repository: Path) -> None:
    for message in ("chore(house): begin", "fix(a): one", "whatever", "fix(b): two"):
        commit(run, repository, message)
    done = run(SCRIPT, "--range", "HEAD~3..HEAD", cwd=repository)
    assert done.returncode == 1
    assert done.stdout.count("commit ") == 1
    assert "whatever" in done.stdout
    assert run(SCRIPT, "--range", "HEAD~1..HEAD", cwd=repository).returncode == 0


def test_it_does_not_pass_over_a_range_that_does_not_exist(run: Run, repository: Path) -> None:
    commit(run, repository, "chore(house): begin")
    assert run(SCRIPT, "--range", "nowhere..HEAD", cwd=repository).returncode != 0


def test_the_hook_stops_a_bad_commit_and_lets_a_good_one_by(run: Run, repository: Path) -> None:
    (repository / "deploy").symlink_to(ROOT / "deploy")
    hooks = str(ROOT / "deploy/hooks")
    assert commit(run, repository, "whatever", hooks=hooks) != 0
    assert commit(run, repository, "fix(a): one", hooks=hooks) == 0
    assert commit(run, repository, "fixup! fix(a): one", hooks=hooks) == 0


@pytest.mark.parametrize("words", [[], ["--range"], ["--text"], ["--what"]])
def test_it_tells_misuse_from_a_bad_message(run: Run, words: list[str]) -> None:
    assert run(SCRIPT, *words).returncode == 2
