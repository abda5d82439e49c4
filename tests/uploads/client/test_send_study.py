"""`manage.py send_study`, as a clinic's night job runs it."""

import io
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
from uploads.client.grouping import StudyFiles
from uploads.client.telling import ENDS, NO_WAY_TO_ASK, Teller, ending

pytestmark = [pytest.mark.integration]


class Terminal(io.StringIO):
    def write(self, msg: str, style_func: Any = None, ending: str | None = None) -> int:
        return super().write(msg + ("\n" if ending is None else ending))

    def isatty(self) -> bool:
        return True


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


def test_it_draws_a_bar_on_a_terminal() -> None:
    out = Terminal()
    teller = Teller(out, total=1)
    teller.begins(1, StudyFiles("1.2.3"))
    teller.progress(1, 500_000, total=1_000_000)
    teller.say("done")
    assert "[###############...............] 0.5 of 1.0 MB received" in out.getvalue()
    assert out.getvalue().endswith("\r\033[Kdone\n")


def test_no_ending_blurs_received_delivered_and_verified() -> None:
    for state, line in ENDS.items():
        claims_verified = "verified" in line and "not verified" not in line
        assert claims_verified == (state == "verified")
        assert line.startswith("delivered") == (state == "delivered")
    unasked = {"destination": "PACS", "required": True, "state": "stored", "last_error": {"code": "find_unsupported"}}
    truth = {"id": "x", "state": "delivered", "holds": [], "problems": [], "deliveries": [unasked]}
    assert ending(truth).startswith(NO_WAY_TO_ASK)
    assert not ending(truth | {"deliveries": [unasked | {"last_error": None}]}).startswith(NO_WAY_TO_ASK)
