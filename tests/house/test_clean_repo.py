"""What must never stand in the repository is found, whatever it is called; what may stand there is not."""

from pathlib import Path

import pytest

from tests.house.conftest import ROOT, Run

pytestmark = pytest.mark.unit

SCRIPT = ROOT / "deploy/scripts/check-clean-repo.sh"

# Put together here, so that this file is clean itself.
NAMES = [".env", ".env.production", "keys/site.pem", "id_rsa", "study/IM1.dcm", "DICOMDIR", "dump.rdb", "a.log"]
CACHES = ["__pycache__/a.txt", "node_modules/a/index.js", ".mypy_cache/x.json", "relaypacs.egg-info/PKG-INFO"]
WORDS = {
    "a private key": "-----BEGIN RSA PRIVATE KE" + "Y-----",
    "an AWS key": "AKI" + "A" + "ABCDEFGHIJKLMNOP",
    "a GitHub token": "gh" + "p_" + "a" * 36,
    "a Slack token": "xox" + "b-" + "1" * 24,
    "a password in a URL": "postgresql://app:" + "a1B2c3D4" * 4 + "@db/relaypacs",
    "a registry of Node": "registry.np" + "mjs.org",
    "a registry of Python": "https://py" + "pi.org/simple",
    "a registry of Debian": "http://deb.deb" + "ian.org/debian",
    "somebody's home": "/ho" + "me/jo/relaypacs",
    "root's home": "cd /ro" + "ot/relaypacs",
    "a conflict": "<" * 7 + " HEAD",
}


def add(repository: Path, name: str, content: bytes = b"x\n") -> None:
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_it_finds_this_repository_clean(run: Run) -> None:
    done = run(SCRIPT)
    assert (done.returncode, done.stdout) == (0, "The repository is clean.\n")


def test_it_lets_ordinary_files_by(run: Run, repository: Path) -> None:
    add(repository, "a.py", b"URL = 'postgresql://app:secret@127.0.0.1/relaypacs'\nHOME = '/homes'\n")
    add(repository, "environment.md", b"DICM is four letters\n")
    add(repository, "image.png", b"\x89PNG\r\n" + bytes(5000))
    assert run(SCRIPT, repository).returncode == 0


@pytest.mark.parametrize("name", NAMES + CACHES)
def test_it_finds_a_bad_name(run: Run, repository: Path, name: str) -> None:
    add(repository, name)
    done = run(SCRIPT, repository)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{name}: ")


@pytest.mark.parametrize("what", WORDS)
def test_it_finds_a_bad_word(run: Run, repository: Path, what: str) -> None:
    add(repository, "notes.md", f"first line\nbefore {WORDS[what]} after\n".encode())
    if what == "a conflict":
        add(repository, "notes.md", f"first line\n{WORDS[what]}\n".encode())
    done = run(SCRIPT, repository)
    assert done.returncode == 1
    assert done.stdout.startswith("notes.md:2")


def test_it_does_not_print_the_secret_it_found(run: Run, repository: Path) -> None:
    add(repository, "notes.md", WORDS["a GitHub token"].encode())
    assert "a" * 30 not in run(SCRIPT, repository).stdout


def test_it_knows_dicom_by_its_bytes(run: Run, repository: Path) -> None:
    add(repository, "tests/data/innocent.bin", bytes(128) + b"DICM" + bytes(100))
    done = run(SCRIPT, repository)
    assert done.returncode == 1
    assert "a DICOM file" in done.stdout


def test_it_finds_a_file_too_large(run: Run, repository: Path) -> None:
    add(repository, "a.bin", bytes(1_048_577))
    assert "1048577 bytes" in run(SCRIPT, repository).stdout


def test_it_looks_at_what_is_tracked_although_ignored(run: Run, repository: Path) -> None:
    add(repository, ".gitignore", b".env\n")
    add(repository, ".env")
    assert run(SCRIPT, repository).returncode == 0
    run("git", "add", "--force", ".env", cwd=repository)
    assert run(SCRIPT, repository).returncode == 1


def test_it_does_not_call_a_folder_without_git_clean(run: Run, tmp_path: Path) -> None:
    assert run(SCRIPT, tmp_path, env={"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}).returncode == 2
