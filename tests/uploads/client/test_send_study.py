"""`manage.py send_study`, as a clinic's night job runs it."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pydicom.data import get_testdata_file

from accounts.models import User
from tests import factories
from tests.scripted import ScriptedSCP
from tests.uploads.client.conftest import ROOT, Gateway
from uploads.client.bar import Bar
from uploads.client.grouping import StudyFiles
from uploads.client.telling import ENDS, NO_WAY_TO_ASK, Teller, ending
from uploads.models import Upload

pytestmark = [pytest.mark.integration]


class Terminal(io.StringIO):
    def write(self, msg: str, style_func: Any = None, ending: str | None = None) -> int:
        return super().write(msg + ("\n" if ending is None else ending))

    def isatty(self) -> bool:
        return True


class TextOut:
    """No terminal."""

    def __init__(self, out: io.StringIO) -> None:
        self._out = out

    def write(self, msg: str, style_func: Any = None, ending: str | None = None) -> int:
        return self._out.write(msg + ("\n" if ending is None else ending))

    def flush(self) -> None:
        self._out.flush()

    def isatty(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAYPACS_PASSWORD", factories.PASSWORD)
    monkeypatch.delenv("RELAYPACS_TOKEN", raising=False)


def send(gateway: Gateway, sender: User, *words: str) -> str:
    out = io.StringIO()
    call_command("send_study", *words, "--url", gateway.url, "--user", sender.username, stdout=out)
    return out.getvalue()


def test_it_sends_every_study_of_a_folder_and_exits_0_when_all_are_verified(
    gateway: Gateway, sender: User, pacs: ScriptedSCP, workers: None, study: Path
) -> None:
    (study / "MR").write_bytes(Path(str(get_testdata_file("MR_small.dcm"))).read_bytes())
    (study / "readme.txt").write_bytes(b"hello")
    command = [sys.executable, "manage.py", "send_study", str(study), "--url", gateway.url, "--user", sender.username]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: study/readme.txt: viewer_file" in done.stdout
    assert "study 1 of 2: CT; 24 files" in done.stdout
    assert done.stdout.count("verified: asked again, the PACS has every image") == 2
    assert "3.2 of 3.2 MB received" in done.stdout
    assert len(pacs.stored) == 25


def test_it_fails_when_a_study_does_not_arrive(
    gateway: Gateway, sender: User, pacs: ScriptedSCP, workers: None, tmp_path: Path
) -> None:
    whole = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    (tmp_path / "IM1").write_bytes(whole)
    (tmp_path / "IM2").write_bytes(whole[:-1000])
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 of 1 studies did not arrive"):
        call_command("send_study", str(tmp_path), "--url", gateway.url, "--user", sender.username, stdout=out)
    assert "held: received, and a person must decide" in out.getvalue()
    assert "IM2: truncated, held" in out.getvalue()


def test_it_says_received_and_no_more_when_it_does_not_wait(gateway: Gateway, sender: User, study: Path) -> None:
    told = send(gateway, sender, str(study), "--no-wait")
    assert "received: the gateway has all of it; nothing was delivered yet" in told
    assert "verified" not in told
    assert "study 1 of 1: assembling" in told


def test_it_needs_a_clinic_where_there_are_several(gateway: Gateway, sender: User, study: Path) -> None:
    there = factories.ClinicFactory.create()
    factories.MembershipFactory.create(user=sender, clinic=there, role="radiographer")
    with pytest.raises(CommandError, match="did not arrive"):
        send(gateway, sender, str(study), "--no-wait")
    assert "received" in send(gateway, sender, str(study), "--no-wait", "--clinic", there.name)


def test_it_asks_for_a_password_in_words(
    gateway: Gateway, sender: User, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RELAYPACS_PASSWORD")
    with pytest.raises(CommandError, match="RELAYPACS_PASSWORD or RELAYPACS_TOKEN"):
        send(gateway, sender, str(study))


def test_it_says_that_there_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(b"hello")
    with pytest.raises(CommandError, match="no DICOM study"):
        call_command("send_study", str(tmp_path), "--url", "http://127.0.0.1:9", "--user", "x", stdout=io.StringIO())
    with pytest.raises(CommandError, match="bad_address"):
        call_command("send_study", str(tmp_path), "--url", "gateway", "--user", "x", stdout=io.StringIO())


def test_it_draws_a_bar_of_everything_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out, seconds = Terminal(), iter(range(100))
    teller = Teller(out, total=2, bar=Bar(clock=lambda: next(seconds)))
    teller.begins(1, StudyFiles("1.2.3"))
    teller.progress(1, 500_000, total=1_000_000)  # what an earlier run had sent
    assert "[###############...............] 0.5 of 1.0 MB received" in out.getvalue()
    teller.progress(1, 1_000_000, total=1_000_000)
    teller.progress(2, 0, total=3_000_000)
    teller.progress(2, 1_000_000, total=3_000_000)
    teller.progress(2, 3_000_000, total=3_000_000)
    teller.say("done")
    assert "[##############################] 4.0 of 4.0 MB received" in out.getvalue()
    assert out.getvalue().endswith("\r\033[Kdone\n")


def test_the_bar_tells_rate_and_time_left_and_fits_the_terminal() -> None:
    seconds = iter([0.0, 1.0, 2.0, 3.0])
    bar = Bar(clock=lambda: next(seconds))
    bar.expect(1, 10_000_000)
    bar.expect(2, 730_000_000)
    assert bar.line(columns=60).endswith("] 0.0 of 740.0 MB read")
    bar.looked(1, 10_000_000)
    assert "10.0 of 740.0 MB read" in bar.line(columns=60)
    for done in (6_000_000, 7_000_000, 8_000_000, 9_000_000):
        bar.received(1, done, 10_000_000)
    assert bar.rate == 1_000_000  # the six that were there before are no speed of this run
    assert bar.line(columns=120).endswith("] 9.0 of 740.0 MB received, 1.0 MB/s, 12:11 left")
    for columns in (20, 40, 60, 80):
        assert len(bar.line(columns=columns)) < columns


def test_files_of_a_viewer_are_counted_and_not_all_named() -> None:
    out = io.StringIO()
    files = [(f"CD/VIEWER/{n}", "viewer_file", "No image.") for n in range(40)]
    Teller(TextOut(out), total=1).left_out([*files, ("CD/DICOMDIR", "dicomdir", "The index.")])
    assert out.getvalue().count("left out: CD/VIEWER/") == 20
    assert "left out: 21 more files (viewer_file: 20, dicomdir: 1)" in out.getvalue()


def test_it_sends_a_whole_cd_with_each_study_as_one_upload(
    gateway: Gateway, sender: User, pacs: ScriptedSCP, workers: None, study: Path, tmp_path: Path
) -> None:
    """Nested folders, names without extension, the index and the viewer that such discs carry."""
    disc = tmp_path / "CD"
    for number, file in enumerate(sorted(study.iterdir())):
        series = disc / "DICOM" / "PAT0" / "STU0" / f"SER{number % 2}"
        series.mkdir(parents=True, exist_ok=True)
        (series / f"IM{number}").write_bytes(file.read_bytes())
    other = disc / "DICOM" / "PAT0" / "STU1" / "SER0"
    other.mkdir(parents=True)
    (other / "IM0").write_bytes(Path(str(get_testdata_file("MR_small.dcm"))).read_bytes())
    (disc / "DICOMDIR").write_bytes(Path(str(get_testdata_file("DICOMDIR"))).read_bytes())
    (disc / "AUTORUN.INF").write_bytes(b"[autorun]\r\nopen=VIEWER\\VIEW.EXE\r\n")
    (disc / "VIEWER").mkdir()
    (disc / "VIEWER" / "VIEW.EXE").write_bytes(b"MZ" + bytes(5000))
    told = send(gateway, sender, str(disc), "--jobs", "4")
    assert told.count("verified: asked again, the PACS has every image") == 2
    assert "left out: CD/DICOMDIR: dicomdir" in told
    assert "left out: CD/VIEWER/VIEW.EXE: viewer_file" in told
    assert len(pacs.stored) == 25
    assert Upload.objects.count() == 2
    again = send(gateway, sender, str(disc))
    assert again.count("verified") >= 2
    assert Upload.objects.count() == 2
    assert len(pacs.received) == 25


def test_on_a_terminal_it_shows_how_far_it_is(gateway: Gateway, sender: User, study: Path) -> None:
    """A real terminal at the other end, as a person has it."""
    command = [sys.executable, "manage.py", "send_study", str(study), "--url", gateway.url, "--user", sender.username]
    ours, its = pty.openpty()
    process = subprocess.Popen([*command, "--no-wait"], cwd=ROOT, stdout=its, stderr=its, stdin=subprocess.DEVNULL)
    os.close(its)
    shown = b""
    try:
        while more := os.read(ours, 65536):
            shown += more
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0, shown
    assert b"3.2 of 3.2 MB received" in shown
    assert b"[##############################]" in shown


def test_no_ending_blurs_received_delivered_and_verified() -> None:
    for state, line in ENDS.items():
        claims_verified = "verified" in line and "not verified" not in line
        assert claims_verified == (state == "verified")
        assert line.startswith("delivered") == (state == "delivered")
    unasked = {"destination": "PACS", "required": True, "state": "stored", "last_error": {"code": "find_unsupported"}}
    truth = {"id": "x", "state": "delivered", "holds": [], "problems": [], "deliveries": [unasked]}
    assert ending(truth).startswith(NO_WAY_TO_ASK)
    assert not ending(truth | {"deliveries": [unasked | {"last_error": None}]}).startswith(NO_WAY_TO_ASK)
