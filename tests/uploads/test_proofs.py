"""What proves that a PACS has a study, strongest first; and what an older copy at the PACS may never pass for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.utils import timezone
from pydicom.data import get_testdata_file

from accounts.models import Role, User
from relaypacs.management.commands.dicom_listener import visiting
from tests import factories
from tests.handin import HandIn, let_leases_lapse, make_due, work
from tests.loopback import LOOPBACK, wait_until
from tests.peers import Orthanc, orthanc
from tests.scripted import scripted_scp
from tests.uploads.pacs.packs import Sample, pack_of
from tests.uploads.pacs.packs import send as send_items
from tests.uploads.pacs.webpeers import web_orthanc
from tests.uploads.test_delivery import only, study, to
from tests.uploads.test_validation import changed
from uploads.models import (
    Commitment,
    CommitmentState,
    Delivery,
    Destination,
    LeaseLost,
    LedgerEntry,
    Receipt,
    Transition,
)
from uploads.pacs.address import Peer
from uploads.pacs.listener import Listener
from uploads.pacs.outcomes import Kind
from uploads.pipeline import commitments, legs, reports
from uploads.pipeline.delivery import Trouble
from uploads.pipeline.verification import rest

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db(transaction=True)]

SECOND = str(pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).SOPInstanceUID) + ".2"


@pytest.fixture
def user() -> User:
    return factories.person(Role.RADIOGRAPHER)


@pytest.fixture
def ear() -> Iterator[int]:
    """Our listener, taking reports and instances into the database; its port."""
    listener = Listener(
        LOOPBACK,
        0,
        callers=lambda calling_ae, address: calling_ae == "ORTHANC",
        on_report=visiting(reports.take_report),
        on_instance=visiting(reports.take_instance),
    )
    thread = threading.Thread(target=listener.serve)
    thread.start()
    try:
        yield listener.port
    finally:
        listener.close()
        thread.join(10)


@contextmanager
def pacs_that_knows_us(place: Path, ear: int) -> Iterator[Orthanc]:
    with orthanc(place, DicomModalities={"relay": ["RELAYPACS", LOOPBACK, ear]}) as pacs:
        yield pacs


def send(user: User, files: dict[str, bytes]) -> HandIn:
    hand_in = HandIn(user, files).everything()
    work()
    return hand_in


def reported() -> None:
    wait_until(lambda: Commitment.objects.exists() and not commitments_open(), "the report", seconds=20)


# --- Storage commitment ------------------------------------------------------------------------------


def test_a_report_on_an_association_of_the_pacs_s_own_verifies_the_study(
    user: User, tmp_path: Path, ear: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitments, "WAIT_SECONDS", 0.0)
    with pacs_that_knows_us(tmp_path, ear) as pacs:
        to(pacs, proof_wanted="commitment")
        hand_in = send(user, study())
        # between the request and the report no worker knows of it but by its rows
        reported()
        work()
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["proof"]) == ("verified", "commitment")
    assert Commitment.objects.get().state == CommitmentState.READ
    assert "Storage commitment" in Delivery.objects.get().proof_detail


def test_without_being_told_the_strongest_proof_that_is_offered_is_found_and_taken(
    user: User, tmp_path: Path, ear: int
) -> None:
    with pacs_that_knows_us(tmp_path, ear) as pacs:
        destination = to(pacs)
        first = send(user, study())
        assert (first.truth()["state"], only(first)["proof"]) == ("verified", "query"), "nobody waits to find out"
        reported()
        destination.refresh_from_db()
        assert destination.offers["commitment"] is True
        second = HandIn(user, study()).everything(allow_duplicate=True)
        work()
        wait_until(lambda: not commitments_open(), "the second report", seconds=20)
        work()
    assert (second.truth()["state"], only(second)["proof"]) == ("verified", "commitment")


def test_an_image_that_the_pacs_lost_is_reported_sent_again_and_committed(
    user: User, tmp_path: Path, ear: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitments, "WAIT_SECONDS", 0.0)
    with pacs_that_knows_us(tmp_path, ear) as pacs:
        to(pacs, proof_wanted="commitment")
        hand_in = HandIn(user, study()).everything()
        lost: list[str] = []
        original = commitments.advance

        def lose_one_first(delivery: Delivery, entries: Any) -> Any:
            if not lost:
                [gone] = [i for i in pacs.instances() if pydicom_uid(pacs, i) == SECOND]
                pacs.delete(gone)
                lost.append(gone)
            return original(delivery, entries)

        monkeypatch.setattr(commitments, "advance", lose_one_first)
        work()
        reported()
        work()
        wait_until(lambda: not commitments_open(), "the second report", seconds=20)
        work()
        assert pacs.sop_instance_uids() == {entry.instance.sop_instance_uid for entry in ledger()}
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["proof"], found["verified"]) == ("verified", "commitment", 3)
    assert [row.report["failed"] for row in Commitment.objects.order_by("id")] == [[[SECOND, 0x0112]], []]
    assert {entry.instance.sop_instance_uid: entry.attempts for entry in ledger()}[SECOND] == 2
    assert Transition.objects.filter(because="not_kept").count() == 1


def pydicom_uid(pacs: Orthanc, instance: str) -> str:
    return str(pacs.get(f"/instances/{instance}")["MainDicomTags"]["SOPInstanceUID"])


def ledger() -> list[LedgerEntry]:
    return list(LedgerEntry.objects.select_related("instance"))


def commitments_open() -> bool:
    return Commitment.objects.filter(state__in=commitments.OPEN).exists()


def test_a_pacs_that_accepts_and_never_reports_is_asked_by_a_query_in_the_end(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitments, "WAIT_SECONDS", 0.0)
    nobody = 9
    with pacs_that_knows_us(tmp_path, nobody) as pacs:
        destination = to(pacs, proof_wanted="commitment")
        hand_in = send(user, study(1))
        delivery = Delivery.objects.get()
        assert (hand_in.truth()["state"], delivery.last_error_code) == ("delivered", "commitment_awaited")
        assert delivery.due_at is not None
        assert delivery.due_at > timezone.now() + timedelta(hours=23)
        make_due()
        work()
        assert hand_in.truth()["state"] == "delivered", "it is not given up before its time"
        Commitment.objects.update(ends_at=timezone.now())
        make_due()
        work()
    assert (hand_in.truth()["state"], only(hand_in)["proof"]) == ("verified", "query")
    destination.refresh_from_db()
    assert destination.offers["commitment"] is False


def test_a_pacs_without_commitment_is_asked_by_a_query_at_once(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs)
        hand_in = send(user, study(1))
    assert (hand_in.truth()["state"], only(hand_in)["proof"]) == ("verified", "query")
    assert "C-FIND" in Delivery.objects.get().proof_detail


def test_a_request_whose_answer_was_lost_is_asked_anew(
    user: User, tmp_path: Path, ear: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pacs_that_knows_us(tmp_path, ear) as pacs:
        to(pacs, proof_wanted="commitment")

        def dies(*_: Any, **__: Any) -> None:
            raise ConnectionResetError("the worker is gone")

        with monkeypatch.context() as patch:
            patch.setattr(commitments, "ask", dies)
            with pytest.raises(ConnectionResetError):
                send(user, study(1))
        lost = Commitment.objects.get()
        assert lost.state == CommitmentState.ASKED
        let_leases_lapse()
        work()
        due_at = Delivery.objects.get().due_at
        assert due_at is not None
        assert due_at < timezone.now() + timedelta(minutes=2), "it may never have been asked"
        Commitment.objects.update(asked_at=timezone.now() - timedelta(minutes=5))
        Delivery.objects.update(lease_until=timezone.now())
        make_due()
        work()
        wait_until(lambda: not commitments_open(), "the report", seconds=20)
        work()
    assert Delivery.objects.get().proof == "commitment"
    assert Commitment.objects.exclude(pk=lost.pk).get().transaction_uid != lost.transaction_uid


def test_a_destination_that_is_not_to_be_asked_leaves_the_study_delivered(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, proof_wanted="none")
        hand_in = send(user, study(1))
        assert pacs.finds == []
    assert (hand_in.truth()["state"], only(hand_in)["proof"]) == ("delivered", "none")


def test_where_nothing_will_prove_it_the_receipt_is_printed_anew_and_says_so(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, proof_wanted="none")
        send(user, study(1))
    delivery = Delivery.objects.get()
    printing = Receipt.claim(Receipt.objects.all())
    assert printing is not None
    rest(delivery, Trouble("find_unsupported", "The PACS offers no C-FIND."))
    with pytest.raises(LeaseLost):
        printing.renew()
    receipt = Receipt.objects.get()
    assert receipt.rendered_at is None
    assert receipt.due_at is not None
    assert receipt.due_at <= timezone.now()


# --- An older copy -----------------------------------------------------------------------------------


def older(files: dict[str, bytes]) -> bytes:
    """The second file as an earlier sender cut it: half of its pixels, which a PACS takes as they are."""
    pixels = pydicom.dcmread(BytesIO(files["IM2"])).PixelData
    return changed(files["IM2"], PixelData=pixels[: len(pixels) // 2])


def put(pacs: Orthanc, file: bytes, place: Path) -> None:
    """Into the PACS as another sender did, which it answers with success."""
    meta = pydicom.dcmread(BytesIO(file), stop_before_pixels=True).file_meta
    names = (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID)
    items = pack_of([Sample("", file, *map(str, names))], place / "earlier")
    sent = send_items(Peer(pacs.ae, LOOPBACK, pacs.port), items)
    assert sent.kinds() == [Kind.STORED]


def test_a_pacs_that_keeps_an_older_truncated_copy_is_never_verified(user: User, tmp_path: Path) -> None:
    files = study()
    with orthanc(tmp_path) as pacs:
        put(pacs, older(files), tmp_path)
        to(pacs, proof_wanted="query")
        hand_in = send(user, files)
        found = only(hand_in)
        assert (hand_in.truth()["state"], found["state"], found["proof"]) == ("failed", "partial", "none")
        assert found["last_error"]["code"] == "other_copy_kept"
        [wrong] = [e for e in ledger() if e.answer == "refused"]
        assert wrong.instance.sop_instance_uid == SECOND
        # its administrator removes the old one, and somebody asks for a retry
        [gone] = [i for i in pacs.instances() if pydicom_uid(pacs, i) == SECOND]
        pacs.delete(gone)
        assert hand_in.client.post(f"{hand_in.url}/retry").status_code == 202
        work()
        assert hand_in.truth()["state"] == "verified"


def test_the_same_bytes_under_the_same_name_are_no_older_copy(user: User, tmp_path: Path) -> None:
    files = study()
    with orthanc(tmp_path) as pacs:
        put(pacs, files["IM2"], tmp_path)
        to(pacs, proof_wanted="query")
        hand_in = send(user, files)
    assert hand_in.truth()["state"] == "verified"
    assert "1 fetched back by C-GET" in Delivery.objects.get().proof_detail


def test_where_a_copy_cannot_be_fetched_back_nothing_is_claimed(user: User) -> None:
    files = study()
    with scripted_scp() as pacs:
        to(pacs, name="first")
        send(user, files)
        Destination.objects.update(active=False)
        to(pacs, name="second")  # it lists them, and it was not we who showed them to this destination
        hand_in = HandIn(user, files).everything(allow_duplicate=True)
        work()
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["state"], found["proof"]) == ("delivered", "stored", "none")
    assert found["last_error"]["code"] == "copy_unproved"


def test_what_this_destination_showed_to_have_from_us_before_counts_as_ours(user: User) -> None:
    files = study()
    with scripted_scp() as pacs:
        to(pacs)
        send(user, files)
        hand_in = HandIn(user, files).everything(allow_duplicate=True)
        work()
    assert hand_in.truth()["state"] == "verified"
    assert not LedgerEntry.objects.filter(was_there=True).exists()


def test_a_sample_is_fetched_back_where_it_is_asked_for(user: User, tmp_path: Path) -> None:
    with orthanc(tmp_path) as pacs:
        to(pacs, proof_wanted="query", fetch_sample=2)
        hand_in = send(user, study(5))
    assert hand_in.truth()["state"] == "verified"
    assert LedgerEntry.objects.exclude(fetched_sha256="").count() == 2
    assert "2 fetched back by C-GET" in Delivery.objects.get().proof_detail


def test_a_sample_comes_back_by_c_move_to_our_listener(user: User, tmp_path: Path, ear: int) -> None:
    with pacs_that_knows_us(tmp_path, ear) as pacs:
        to(pacs, proof_wanted="query", fetch_sample=1, fetch_by="move")
        hand_in = send(user, study(3))
        make_due()
        work()
    assert hand_in.truth()["state"] == "verified"
    assert "1 fetched back by C-MOVE" in Delivery.objects.get().proof_detail


# --- What a commitment covers ------------------------------------------------------------------------


def test_what_a_query_listed_before_is_committed_to_with_the_rest(user: User, tmp_path: Path, ear: int) -> None:
    with pacs_that_knows_us(tmp_path, ear) as pacs:
        to(pacs, proof_wanted="commitment")
        hand_in = HandIn(user, study(3)).everything()
        while legs.advance():
            pass
        assert legs.relay()
        seen = LedgerEntry.objects.exclude(instance__sop_instance_uid=SECOND)
        assert seen.update(verified_at=timezone.now()) == 2
        work()
        reported()
        work()
    assert (hand_in.truth()["state"], only(hand_in)["proof"]) == ("verified", "commitment")
    assert len(Commitment.objects.get().report["committed"]) == 3


def test_an_image_sent_again_for_an_older_copy_is_committed_to_anew(user: User, tmp_path: Path, ear: int) -> None:
    files = study()
    with pacs_that_knows_us(tmp_path, ear) as pacs:
        put(pacs, older(files), tmp_path)
        to(pacs, proof_wanted="commitment")
        hand_in = send(user, files)
        reported()
        work()
        assert only(hand_in)["last_error"]["code"] == "other_copy_kept"
        [gone] = [i for i in pacs.instances() if pydicom_uid(pacs, i) == SECOND]
        pacs.delete(gone)
        assert hand_in.client.post(f"{hand_in.url}/retry").status_code == 202
        work()
        reported()
        work()
    assert (hand_in.truth()["state"], only(hand_in)["proof"]) == ("verified", "commitment")
    assert LedgerEntry.objects.get(instance__sop_instance_uid=SECOND).attempts == 1


# --- DICOMweb ----------------------------------------------------------------------------------------


def web(pacs: Orthanc, **fields: Any) -> Destination:
    return factories.DestinationFactory.create(url=f"http://127.0.0.1:{pacs.http_port}/dicom-web", **fields)


def test_a_study_goes_by_stow_and_is_asked_for_by_qido(user: User, tmp_path: Path) -> None:
    with web_orthanc(tmp_path) as (pacs, _):
        web(pacs, fetch_sample=1)
        hand_in = send(user, study(12))
        assert len(pacs.instances()) == 12
    assert (hand_in.truth()["state"], only(hand_in)["proof"]) == ("verified", "query")
    detail = Delivery.objects.get().proof_detail
    assert "QIDO-RS" in detail
    assert "WADO-RS" in detail


def test_an_older_copy_behind_stow_is_never_verified_either(user: User, tmp_path: Path) -> None:
    files = study()
    with web_orthanc(tmp_path) as (pacs, _):
        put(pacs, older(files), tmp_path)
        web(pacs)
        hand_in = send(user, files)
    assert (hand_in.truth()["state"], only(hand_in)["last_error"]["code"]) == ("failed", "other_copy_kept")


def test_a_study_goes_by_stow_and_is_committed_to_by_dimse(user: User, tmp_path: Path, ear: int) -> None:
    with web_orthanc(tmp_path, DicomModalities={"relay": ["RELAYPACS", LOOPBACK, ear]}) as (pacs, _):
        web(pacs, query_url=f"dicom://ORTHANC@127.0.0.1:{pacs.port}", proof_wanted="commitment")
        hand_in = send(user, study(3))
        reported()
        work()
    assert (hand_in.truth()["state"], only(hand_in)["proof"]) == ("verified", "commitment")
