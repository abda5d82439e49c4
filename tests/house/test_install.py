"""What is installed before anything runs: Python packages into .venv, Debian packages that tests drive."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.conftest import ROOT, Run, StandIn

pytestmark = pytest.mark.unit


def load(folder: Path) -> ModuleType:
    """install_python.py, at work in that folder with requirements of its own."""
    spec = importlib.util.spec_from_file_location("install_python", ROOT / "deploy/scripts/install_python.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    paths = {"ROOT": folder, "VENV": folder / ".venv", "PYTHON": folder / ".venv/bin/python"}
    for name, path in paths.items():
        setattr(module, name, path)
    (folder / "requirements.txt").write_text("# nothing\n")
    (folder / "requirements-dev.txt").write_text("")
    return module


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One .venv for all of these tests: making it takes seconds."""
    folder = tmp_path_factory.mktemp("checkout")
    load(folder).main("dev")
    return folder


@pytest.fixture
def script(venv: Path) -> ModuleType:
    module = load(venv)
    module.main("dev")
    return module


def test_it_has_nothing_to_do_where_all_is_there(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.works()
    capsys.readouterr()
    script.main("dev")
    script.main("runtime")
    assert capsys.readouterr().out == ""


def test_it_installs_again_when_a_pin_changed(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    # pip itself is there already, so that nothing is fetched.
    (script.ROOT / "requirements-dev.txt").write_text("pip\n")
    script.main("dev")
    assert "Installing 1 pinned packages" in capsys.readouterr().out
    script.main("runtime")
    assert capsys.readouterr().out == ""


def test_a_failed_install_is_tried_again(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    (script.ROOT / "requirements.txt").write_text("./there-is-no-such-folder\n")
    for _ in range(2):
        with pytest.raises(SystemExit, match="pip could not install"):
            script.main("runtime")


def test_it_does_not_trust_a_venv_whose_python_has_vanished(tmp_path: Path) -> None:
    script = load(tmp_path)
    script.PYTHON.parent.mkdir(parents=True)
    script.PYTHON.symlink_to("/nowhere/python3")
    assert not script.works()


def test_it_names_the_debian_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load(tmp_path)
    monkeypatch.setattr(script, "can_make_venv", lambda: False)
    monkeypatch.setattr(script.os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        script.main("runtime")


def test_it_asks_for_runtime_or_dev(run: Run) -> None:
    done = run(sys.executable, "deploy/scripts/install_python.py", "everything")
    assert (done.returncode, done.stdout) == (1, "usage: install_python.py runtime|dev\n")


PACKAGES = "deploy/scripts/install-test-packages.sh"


def test_it_is_silent_where_every_package_is_there(run: Run, stand_in: StandIn) -> None:
    stand_in("dpkg-query", "printf installed")
    done = run(PACKAGES, env=stand_in("apt-get", "echo called; exit 1"))
    assert (done.returncode, done.stdout) == (0, "")


def test_it_says_what_will_be_skipped_where_it_may_not_install(run: Run, stand_in: StandIn) -> None:
    stand_in("dpkg-query", 'case "$*" in *orthanc) exit 1 ;; *) printf installed ;; esac')
    stand_in("apt-get", "echo called; exit 1")
    done = run(PACKAGES, env=stand_in("id", "echo 1000"))
    assert done.returncode == 0
    assert done.stdout.rstrip().endswith(": orthanc")


def test_it_installs_what_is_missing_and_lets_no_service_start(run: Run, stand_in: StandIn, tmp_path: Path) -> None:
    policy, log = tmp_path / "policy-rc.d", tmp_path / "log"
    stand_in("id", "echo 0")
    stand_in("dpkg-query", 'case "$*" in *dcmtk) exit 1 ;; *) printf installed ;; esac')
    stand_in("apt-get", f'echo "$*" >> {log}; "{policy}"; echo "policy $?" >> {log}')
    done = run(PACKAGES, env=stand_in("systemctl", "exit 0") | {"POLICY_RC_D": str(policy)})
    assert done.returncode == 0, done.stdout
    assert log.read_text().splitlines() == [
        "update -qq",
        "policy 101",
        "install -y -qq --no-install-recommends dcmtk",
        "policy 101",
    ]
    assert not policy.exists()


def test_it_shows_what_apt_said_when_apt_failed(run: Run, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("id", "echo 0")
    stand_in("dpkg-query", "exit 1")
    environment = stand_in("apt-get", "echo no such mirror; exit 100") | {"POLICY_RC_D": str(tmp_path / "policy")}
    done = run(PACKAGES, env=environment)
    assert done.returncode == 1
    assert "no such mirror" in done.stdout
