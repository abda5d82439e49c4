"""Ways in which a study could be lost, sent twice, or be called what it is not; each was found by reading the code."""

import errno
import logging
import os
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerAway

from accounts.models import Role, User
from relaypacs.logs import IdsFilter, JsonFormatter
from tests import factories
from tests.handin import KIB256, HandIn, work
from tests.loopback import free_port
from tests.scripted import scripted_scp
from tests.uploads.test_delivery import only, study, to
from uploads import hints
from uploads.dicom.fence import FenceFailed
from uploads.models import Chunk, Proof, Upload
from uploads.pipeline import destinations, durability, legs, retention, settling
from uploads.states import DeliveryState, UploadState
from uploads.storage import pack_of

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def user() -> User:
    return factories.person(Role.RADIOGRAPHER)


# --- Received ----------------------------------------------------------------------------------------


def test_a_file_that_is_not_what_was_declared_is_never_left_out_unasked(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs)
        hand_in = HandIn(user, study(3))
        files = hand_in.manifest()["files"]
        files[1]["sha256"] = "0" * 64
        hand_in.open(files=files)
        hand_in.send_all()
        hand_in.complete()
        work()
        truth = hand_in.truth()
        assert truth["state"] == "held"
        [hold] = truth["holds"]
        assert (hold["code"], hold["files"]) == ("bad_files", [1])
        assert pacs.received == []
        answer = {"hold": hold["id"], "decision": "proceed"}
        assert hand_in.client.post(f"{hand_in.url}/confirm", answer, "application/json").status_code == 200
        work()
    assert hand_in.truth()["state"] == "verified"
    assert len(pacs.received) == 2


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EIO, 503)])
def test_octets_that_could_not_be_put_on_the_medium_are_asked_for_again(
    user: User, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    hand_in = HandIn(user, {"a": os.urandom(3 * KIB256)})
    hand_in.open()
    hand_in.put(0)
    durability.sync_all()
    hand_in.put(1)
    hand_in.put(2)

    def fails(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fails)
        response = hand_in.complete()
    assert response.status_code == status
    assert int(response["Retry-After"]) >= 1
    assert hand_in.truth()["progress"]["missing"] == [[1, 2]], "the kernel reports such a loss once, and never again"
    assert hand_in.upload.received_bytes == KIB256
    again = hand_in.complete()
    assert (again.status_code, again.json()["code"]) == (409, "chunks_missing")
    hand_in.put(1)
    hand_in.put(2)
    assert hand_in.complete().status_code == 202


def test_the_group_sync_goes_on_with_other_uploads_after_a_bad_one(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = (HandIn(user, {"a": os.urandom(1000)}) for _ in range(2))
    for one in (bad, good):
        one.open()
        one.put(0)
    real, inode = os.fdatasync, pack_of(bad.upload.pk).path.stat().st_ino

    def fails(fd: int) -> None:
        if os.fstat(fd).st_ino == inode:
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fails)
    assert durability.sync_all() == 1
    assert not Chunk.objects.filter(upload=bad.upload).exists()
    assert Chunk.objects.get(upload=good.upload).synced


# --- Delivered and verified --------------------------------------------------------------------------


def test_an_answer_that_the_image_is_there_already_counts_only_when_it_was_seen(user: User) -> None:
    with scripted_scp(statuses=[0x0111], find=lambda query, scp: [(0x0000, None)]) as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        while legs.advance():
            pass
        legs.relay()
        assert hand_in.truth()["state"] == "delivering"
        assert only(hand_in)["stored"] == 0


def test_an_image_that_is_there_already_and_is_seen_is_stored_and_not_sent_again(user: User) -> None:
    with scripted_scp(statuses=[0x0111]) as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        work()
    assert hand_in.truth()["state"] in ("verified", "delivering")
    assert len(pacs.received) == 1


def test_nothing_is_delivered_where_there_was_nothing_to_deliver() -> None:
    assert settling.verdict([]) == UploadState.DELIVERING


def test_a_failed_upload_is_delivering_again_while_a_required_delivery_still_moves() -> None:
    upload = factories.UploadFactory.create(state="failed", failed_from="delivering", problem_code="refused")
    one = factories.StudyFactory.create(upload=upload)
    factories.DeliveryFactory.create(study=one, upload=upload, state="refused", due_at=None)
    other = factories.DeliveryFactory.create(study=one, upload=upload, state="stored")
    other.move(DeliveryState.WAITING, because="not_kept", due_at=timezone.now())
    settling.settle(upload.pk)
    upload.refresh_from_db()
    assert (upload.state, upload.problem_code) == ("delivering", "")


def test_a_cancelled_upload_stays_cancelled_whatever_its_deliveries_do() -> None:
    upload = factories.UploadFactory.create(state="cancelled", failed_from="delivering")
    one = factories.StudyFactory.create(upload=upload)
    factories.DeliveryFactory.create(study=one, upload=upload, state="waiting")
    settling.settle(upload.pk)
    upload.refresh_from_db()
    assert upload.state == "cancelled"


def test_a_reader_that_cannot_be_started_makes_the_study_wait_and_is_no_crash(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*args: Any, **kwargs: Any) -> None:
        raise FenceFailed("The process that reads uploaded files could not be started.")

    hand_in = HandIn(user, study(1)).everything()
    with monkeypatch.context() as patched:
        patched.setattr("uploads.dicom.fence.Inspector.inspect", unavailable)
        while legs.advance():
            pass
    upload = hand_in.upload
    assert (upload.state, upload.last_error_code, upload.lease_until) == ("validating", "reader_unavailable", None)
    assert upload.due_at is not None
    assert upload.due_at > timezone.now()


# --- Destinations and retention ----------------------------------------------------------------------


def test_resuming_a_destination_wakes_what_was_optional_and_left_behind(user: User) -> None:
    upload = factories.UploadFactory.create(state="verified")
    one = factories.StudyFactory.create(upload=upload)
    optional = factories.DeliveryFactory.create(study=one, upload=upload, required=False, state="paused", due_at=None)
    assert destinations.resume(optional.destination, user) == 1
    optional.refresh_from_db()
    assert optional.state == "pending"


def test_resuming_a_destination_wakes_nothing_that_was_cancelled(user: User) -> None:
    upload = factories.UploadFactory.create(state="cancelled")
    one = factories.StudyFactory.create(upload=upload)
    paused = factories.DeliveryFactory.create(study=one, upload=upload, state="paused", due_at=None)
    assert destinations.resume(paused.destination, user) == 0


def test_a_destination_that_is_down_is_probed_by_what_waits_for_its_proof() -> None:
    now = timezone.now()
    destination = factories.DestinationFactory.create(down_since=now, probe_at=now)
    delivery = factories.DeliveryFactory.create(destination=destination, state="stored")
    claimed = destinations.claim()
    assert claimed is not None
    assert claimed.pk == delivery.pk
    assert destinations.claim() is None


@pytest.mark.parametrize(
    ("proofs", "due", "removed"),
    [
        (["none"], True, 0),
        (["none"], False, 1),
        (["query", "none"], False, 1),
        (["query", "none"], True, 0),
    ],
)
def test_bytes_are_kept_while_the_pacs_can_still_be_asked(proofs: list[str], due: bool, removed: int) -> None:
    now = timezone.now()
    upload = factories.UploadFactory.create(state="delivered", delivered_at=now - timedelta(days=30))
    one = factories.StudyFactory.create(upload=upload)
    for proof in proofs:
        proven = proof == Proof.QUERY
        factories.DeliveryFactory.create(
            study=one,
            upload=upload,
            state="verified" if proven else "stored",
            proof=proof,
            due_at=now if due and not proven else None,
        )
    assert retention.retention() == removed


def test_an_image_that_a_cancelled_upload_had_brought_to_the_pacs_is_remembered(user: User) -> None:
    files = study(1)
    with scripted_scp() as pacs:
        to(pacs, name="up")
        factories.DestinationFactory.create(name="down", url=f"dicom://PACS@127.0.0.1:{free_port()}")
        first = HandIn(user, files).everything()
        work()
        first.client.delete(first.url)
        Upload.objects.filter(pk=first.id).update(state="cancelled")
        other = {"IM1": files["IM1"].replace(b"CompressedSamples", b"CompressedSampleX")}
        second = HandIn(user, other).everything()
        work()
    assert "uid_reused" in {hold["code"] for hold in second.truth()["holds"]}
    assert len(pacs.received) == 1


def test_a_study_that_another_upload_has_overtaken_is_asked_about(user: User) -> None:
    files = study(1)
    with scripted_scp() as pacs:
        to(pacs)
        slow = HandIn(user, files)
        slow.open()
        HandIn(user, files).everything()
        work()
        slow.send_all()
        slow.complete()
        work()
    assert [hold["code"] for hold in slow.truth()["holds"]] == ["duplicate_study"]
    assert len(pacs.received) == 1


# --- Hints -------------------------------------------------------------------------------------------


def test_a_broker_that_does_not_answer_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    calls: list[Any] = []

    def frozen(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        raise BrokerAway

    monkeypatch.setattr(hints, "_quiet_until", {})
    monkeypatch.setattr("celery.Celery.send_task", frozen)
    upload = factories.UploadFactory.create()
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(3):
            hints.nudge("upload", upload.pk)
    assert len(calls) == 1, "a frozen broker holds each caller for seconds"
    monkeypatch.setattr(hints, "_quiet_until", {})
    with django_capture_on_commit_callbacks(execute=True):
        hints.nudge("upload", upload.pk)
    assert len(calls) == 2


# --- Logs --------------------------------------------------------------------------------------------


def test_no_log_line_holds_what_an_exception_said() -> None:
    first, second = "Doe^John", "Roe^Jane"
    try:
        try:
            raise ValueError(first)
        except ValueError as error:
            raise KeyError(second) from error
    except KeyError:
        info = sys.exc_info()
    context = {"exc": repr(second), "name": "uploads.tasks.advance", "traceback": second, "id": "7"}
    record = logging.LogRecord("celery.app.trace", 40, "x", 1, "Task %(name)s raised: %(exc)s", (context,), info)
    record.__dict__["data"] = context
    IdsFilter().filter(record)
    line = JsonFormatter().format(record)
    assert "Doe" not in line
    assert "Roe" not in line
    assert "KeyError" in line
    assert "ValueError" in line
    assert "uploads.tasks.advance" in line
