"""The client against a real server, over lines that break."""

import os
import signal
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import User
from tests import factories
from tests.loopback import LOOPBACK, wait_until
from tests.scripted import ScriptedSCP, scripted_scp
from tests.uploads.client.conftest import ROOT, Gateway
from tests.uploads.client.lines import line_to
from uploads.client import Client, ClientError, group
from uploads.models import Chunk, Upload

pytestmark = [pytest.mark.integration]

KIB256 = 256 * 1024
SMALL: dict[str, Any] = {"password": factories.PASSWORD, "chunk_size": KIB256}


def the_upload() -> Upload:
    return Upload.objects.get()


def test_it_brings_a_study_to_verified_and_fetches_the_receipt(
    gateway: Gateway, sender: User, pacs: ScriptedSCP, workers: None, study: Path
) -> None:
    states: list[str] = []
    bytes_received: list[tuple[int, int]] = []
    with Client(gateway.url, username=sender.username, **SMALL) as client:
        sent = client.send(
            [study],
            service_level="stat",
            clinical_history="phantom",
            on_truth=lambda truth: states.append(truth["state"]),
            on_progress=lambda done, total: bytes_received.append((done, total)),
        )
        receipt = client.receipt(sent.id)
    total = sum(path.stat().st_size for path in study.iterdir())
    assert (sent.truth["state"], sent.arrived, sent.resumed) == ("verified", True, False)
    assert states[0] == "receiving"
    assert states[-1] == "verified"
    assert bytes_received[0] == (0, total)
    assert bytes_received[-1] == (total, total)
    assert sent.truth["service_level"] == "stat"
    assert sent.truth["chunk_size"] == KIB256
    assert len(pacs.stored) == 24
    assert receipt.startswith(b"%PDF")


def test_it_is_content_with_delivered_where_the_pacs_cannot_be_asked(
    gateway: Gateway, sender: User, workers: None, study: Path
) -> None:
    with scripted_scp(find=False) as scp:
        factories.DestinationFactory.create(name="PACS", url=f"dicom://{scp.ae}@{LOOPBACK}:{scp.port}")
        with Client(gateway.url, username=sender.username, **SMALL) as client:
            sent = client.send([study])
    assert sent.truth["state"] == "delivered"
    assert sent.truth["deliveries"][0]["proof"] == "none"
    assert sent.arrived


def test_it_sends_again_what_a_cut_line_has_lost(gateway: Gateway, sender: User, study: Path) -> None:
    # the first connection carries log-in and list; later ones are cut within their first or second chunk
    with (
        line_to(gateway.port, up=(200_000, 100_000, 300_000, 1, 150_000)) as line,
        Client(line.url, username=sender.username, **SMALL) as client,
    ):
        sent = client.send([study], wait="received")
    assert line.cuts == 5
    upload = the_upload()
    assert sent.truth["state"] == upload.state == "assembling"
    assert upload.received_bytes == upload.total_size
    assert Chunk.objects.filter(upload=upload).count() == upload.chunk_count


def test_it_takes_a_chunk_acknowledged_twice_for_one(gateway: Gateway, sender: User, study: Path) -> None:
    with (
        line_to(gateway.port, mute=(2, 5, 6)) as line,
        Client(line.url, username=sender.username, **SMALL) as client,
    ):
        client.send([study], wait="received")
    upload = the_upload()
    assert line.cuts == 3
    assert line.answers == upload.chunk_count + 3
    assert upload.received_bytes == upload.total_size


def test_it_goes_on_where_a_killed_program_stopped(gateway: Gateway, sender: User, study: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from uploads.client import Client\n"
        f"Client(sys.argv[1], username=sys.argv[2], password={factories.PASSWORD!r}, chunk_size={KIB256})"
        ".send([Path(sys.argv[3])])"
    )
    with line_to(gateway.port, pace=0.1) as line:
        first = subprocess.Popen(
            [sys.executable, "-c", program, line.url, sender.username, str(study)], cwd=ROOT, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: Chunk.objects.count() >= 3, "three chunks of the first program")
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    before = set(Chunk.objects.values_list("pk", flat=True))
    received: list[int] = []
    with line_to(gateway.port) as line, Client(line.url, username=sender.username, **SMALL) as client:
        sent = client.send([study], wait="received", on_progress=lambda done, total: received.append(done))
    upload = the_upload()
    assert sent.resumed
    assert received[0] >= 3 * KIB256
    assert line.answers == upload.chunk_count - received[0] // KIB256
    assert upload.state == "assembling"
    assert before <= set(Chunk.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("how", ["same size and time", "longer", "gone"])
def test_it_refuses_a_file_that_changed_after_it_was_chosen(
    gateway: Gateway, sender: User, study: Path, how: str
) -> None:
    file = sorted(study.iterdir())[12]

    def spoil(truth: dict[str, Any]) -> None:
        before, octets = file.stat(), bytearray(file.read_bytes())
        octets[-100] ^= 1
        if how == "gone":
            file.unlink()
            return
        file.write_bytes(octets + (b"\0\0" if how == "longer" else b""))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    with Client(gateway.url, username=sender.username, **SMALL) as client, pytest.raises(ClientError) as refused:
        client.send([study], on_truth=spoil)
    assert refused.value.code == "file_changed"
    assert file.name in refused.value.detail
    upload = the_upload()
    first = sum(path.stat().st_size for path in sorted(study.iterdir())[:12]) // KIB256
    assert upload.state == "receiving"
    assert not Chunk.objects.filter(index=first).exists()


def test_it_renews_a_token_that_has_run_out(gateway: Gateway, sender: User, study: Path) -> None:
    with Client(gateway.url, username=sender.username, **SMALL) as client:
        with pytest.raises(ClientError, match="not_found"):
            client.truth(str(uuid.uuid4()))
        old = AccessToken.for_user(sender)
        old.set_exp(lifetime=-timedelta(minutes=1))
        client._wire._access = str(old)
        client.send([study], wait="received")
    assert the_upload().state == "assembling"
    assert OutstandingToken.objects.count() == 1, "refreshed, not logged in anew"


def test_it_logs_in_again_where_its_sign_in_has_ended(gateway: Gateway, sender: User, study: Path) -> None:
    def end_sign_in(truth: dict[str, Any]) -> None:
        if truth["state"] == "receiving":
            BlacklistedToken.objects.get_or_create(token=OutstandingToken.objects.get())

    with Client(gateway.url, username=sender.username, **SMALL) as client:
        client.send([study], wait="received", on_truth=end_sign_in)
    assert the_upload().state == "assembling"
    assert OutstandingToken.objects.count() == 2


def test_it_does_not_try_a_wrong_password_again(gateway: Gateway, sender: User, study: Path) -> None:
    with (
        Client(gateway.url, username=sender.username, password="wrong") as client,
        pytest.raises(ClientError) as refused,
    ):
        client.send([study])
    assert (refused.value.code, refused.value.status) == ("invalid_credentials", 401)


def test_it_tells_of_a_duplicate_before_anything_is_sent(
    gateway: Gateway, sender: User, pacs: ScriptedSCP, workers: None, study: Path
) -> None:
    with Client(gateway.url, username=sender.username, **SMALL) as client:
        first = client.send([study])
        with group([study]) as found, pytest.raises(ClientError) as refused:
            client.send(found.studies[0], service_level="stat")
        again = client.send([study])
    assert refused.value.code == "duplicate_study"
    assert refused.value.extra["upload_id"] == first.id
    assert refused.value.extra["kind"] == "same"
    assert (again.id, again.resumed) == (first.id, True)


def test_it_opens_another_upload_after_one_was_cancelled(gateway: Gateway, sender: User, study: Path) -> None:
    with Client(gateway.url, username=sender.username, **SMALL) as client:
        first = client.send([study], wait="received")
        client._wire.request("DELETE", f"/uploads/{first.id}")
        second = client.send([study], wait="received")
    assert second.id != first.id
    assert second.truth["state"] == "assembling"


def test_it_stops_when_asked(gateway: Gateway, sender: User, study: Path) -> None:
    client = Client(gateway.url, username=sender.username, **SMALL)
    with client, pytest.raises(ClientError, match="stopped"):
        client.send([study], on_progress=lambda done, total: client.stop() if done else None)
    assert the_upload().state == "receiving"
