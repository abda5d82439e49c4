"""`manage.py up` as a person meets it: start, second start, kills, stops, and each thing that may be in the way."""

import os
import re
import shutil
import signal
import socket
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from relaypacs.embedded.leftovers import wait_gone
from tests.stack import READY, Stack, prepare, stack
from uploads.pacs.address import Peer
from uploads.pacs.echo import echo

pytestmark = pytest.mark.integration

NAMES = {"web", "beat", "dicom-listener", "demo-pacs"}
NAMES |= {f"worker-{queue}" for queue in ("interactive", "early", "delivery", "rendering", "maintenance")}
# Another user that may pass, not write: the interpreter of this machine may lie under /root.
AS_NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests here; the folder above its own admits only the user who runs it."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o700)
    with stack(closed / "data") as running:
        yield running


@pytest.fixture
def ordinary(tmp_path: Path) -> tuple[str, ...]:
    """Words that make a command run as an ordinary user, who owns `tmp_path`."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    os.chown(tmp_path, 65534, 65534)
    return AS_NOBODY


def health(running: Stack) -> int:
    with urllib.request.urlopen(f"{running.base_url}/health", timeout=10) as answer:
        return int(answer.status)


def last_words(refused: Stack) -> str:
    """Start it to see it fail; answer its last line. Every refusal ends with status 1."""
    refused.start(wait=False)
    assert refused.process.wait(timeout=120) == 1
    with pytest.raises(AssertionError):
        refused.wait_for(READY)
    return refused.lines[-1]


def test_it_says_once_that_it_is_ready_and_then_it_is(up: Stack) -> None:
    assert [line for line in up.lines if "is ready" in line] == [f"RelayPACS is ready: {up.base_url}"]
    assert health(up) == 200
    assert set(up.pids()) == NAMES | {"postgres"}


def test_it_prints_demo_accounts_with_a_password_that_only_its_user_may_read(up: Stack) -> None:
    kept = up.data_dir / "demo-password"
    assert {"clinician", "admin"} <= set(up.accounts)
    assert {password for _, password in up.accounts.values()} == {kept.read_text()}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_only_its_user_may_look_into_the_data_folder(up: Stack) -> None:
    assert stat.S_IMODE(up.data_dir.stat().st_mode) == 0o700


def test_a_second_one_on_the_same_folder_is_told_so(up: Stack) -> None:
    refusal = last_words(prepare(up.data_dir))
    assert f"process {up.process.pid}" in refusal
    assert "RELAYPACS_DATA_DIR" in refusal


def test_a_port_in_use_is_named_with_the_variable_to_change(up: Stack, tmp_path: Path) -> None:
    port = up.environment["PORT"]
    assert re.search(rf"Port {port}, .*web server.* in use.* PORT\.$", last_words(prepare(tmp_path, PORT=port)))


def test_the_demo_pacs_port_in_use_is_named_with_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refusal = last_words(prepare(tmp_path, DEMO_PACS_PORT=port))
    assert re.search(rf"Port {port}, .*demo PACS.* in use.* DEMO_PACS_PORT\.$", refusal)


def test_the_listener_port_in_use_is_named_with_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refusal = last_words(prepare(tmp_path, DICOM_PORT=port))
    assert re.search(rf"Port {port}, .*DICOM listener.* in use.* DICOM_PORT\.$", refusal)


def test_the_listener_answers_the_demo_pacs_and_nobody_unknown(up: Stack) -> None:
    port = int(up.environment["DICOM_PORT"])
    assert echo(Peer("RELAYPACS", "127.0.0.1", port, "DEMOPACS")).ok
    assert echo(Peer("RELAYPACS", "127.0.0.1", port, "STRANGER")).code == "calling_ae_unknown"


@pytest.mark.parametrize("name", ["web", "worker-delivery", "beat", "dicom-listener"])
def test_what_falls_is_brought_back(up: Stack, name: str) -> None:
    fallen = up.kill(name)
    assert up.wait_back(name, old=fallen) != fallen
    up.wait_for(re.compile(rf"{name} ended \(status -9\); starting it again"))


def test_a_killed_run_takes_its_children_along_and_the_next_goes_on(up: Stack) -> None:
    children = up.tree()[1:]
    accounts = dict(up.accounts)
    up.process.kill()
    up.process.wait()
    up.start()
    assert wait_gone(children, seconds=0) == []
    assert health(up) == 200
    assert up.accounts == accounts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(up: Stack, number: signal.Signals) -> None:
    everything = up.tree()
    assert up.stop(number) == 0
    assert wait_gone(everything, seconds=10) == []
    assert not (up.data_dir / "children.json").exists()
    assert not (up.data_dir / "postgres" / "postmaster.pid").exists()
    up.start()


def test_an_ordinary_user_runs_it_too(tmp_path: Path, ordinary: tuple[str, ...]) -> None:
    with stack(tmp_path / "data", launcher=ordinary) as running:
        assert health(running) == 200
        assert {process.uids().real for process in running.tree()} == {65534 if ordinary else os.getuid()}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, ordinary: tuple[str, ...]) -> None:
    closed = tmp_path / "data"
    closed.mkdir(mode=0o500)
    refusal = last_words(prepare(closed, launcher=ordinary))
    assert f"{closed} cannot be written (Permission denied)" in refusal
    assert "RELAYPACS_DATA_DIR" in refusal
