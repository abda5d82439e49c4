"""Cancelling is final, and what a PACS answered is written down: each case was found by reading the code."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from accounts.models import Role, User
from tests import factories
from tests.handin import HandIn, let_leases_lapse, make_due, work
from tests.loopback import free_port
from tests.scripted import ScriptedSCP, scripted_scp
from tests.uploads.test_delivery import only, study, to
from uploads.dicom.source import FileSlice
from uploads.models import Answer, Delivery, Destination, Instance, LeaseLost, LedgerEntry
from uploads.pacs import doors
from uploads.pacs.crew import LaneStuck
from uploads.pacs.dimse import Item, classify
from uploads.pacs.rules import DEFAULT_RULES
from uploads.pipeline import addressing, decisions, decoding, destinations, legs
from uploads.pipeline.derived import Derived
from uploads.pipeline.keeper import Keeper
from uploads.pipeline.ledger import Ledger
from uploads.states import DeliveryState
from uploads.storage import pack_of

FIRST = str(pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).SOPInstanceUID) + ".1"

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def user() -> User:
    return factories.person(Role.RADIOGRAPHER)


# --- Cancelled ---------------------------------------------------------------------------------------


def test_nothing_of_a_cancelled_upload_goes_out_when_the_pacs_moves(user: User) -> None:
    port = free_port()
    destination = factories.DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{port}")
    hand_in = HandIn(user, study(1)).everything()
    work()
    assert hand_in.client.delete(hand_in.url).status_code == 204
    with scripted_scp() as pacs:
        destination.refresh_from_db()
        destination.url = f"dicom://{pacs.ae}@127.0.0.1:{pacs.port}"
        addressing.save(destination, {"url"})
        work()
    assert pacs.received == []
    assert only(hand_in)["next_attempt_at"] is None


def test_a_cancelled_upload_announces_no_next_attempt(user: User) -> None:
    factories.DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{free_port()}")
    hand_in = HandIn(user, study(1)).everything()
    work()
    hand_in.client.delete(hand_in.url)
    assert Destination.objects.get().down_since is not None
    assert only(hand_in)["next_attempt_at"] is None


def test_what_was_stored_before_a_cancel_is_not_sent_again_after_it(user: User) -> None:
    with scripted_scp(find=lambda query, scp: [(0x0000, None)]) as pacs:
        to(pacs, name="up")
        factories.DestinationFactory.create(name="down", url=f"dicom://PACS@127.0.0.1:{free_port()}")
        hand_in = HandIn(user, study(1)).everything()
        work()
        assert hand_in.client.delete(hand_in.url).status_code == 204
        for _ in range(10):
            make_due()
            work()
    assert len(pacs.received) == 1
    states = {row["destination"]: row["state"] for row in hand_in.truth()["deliveries"]}
    assert states["up"] == "stored"


def test_an_answer_that_comes_after_a_cancel_is_still_written_down(user: User) -> None:
    delivery = sending(user)
    entry = delivery.entries.get()
    item = item_of(entry)
    book = Ledger(delivery, [item])
    book.on_sending(item)
    decisions.cancel(user, delivery.upload)
    book.on_outcome(item, classify(0x0000))
    with pytest.raises(LeaseLost):
        book.close()
    entry.refresh_from_db()
    assert (entry.answer, entry.stored_count) == (Answer.STORED, 1)


def test_an_answer_that_comes_after_another_worker_took_over_is_not(user: User) -> None:
    delivery = sending(user)
    entry = delivery.entries.get()
    item = item_of(entry)
    book = Ledger(delivery, [item])
    book.on_sending(item)
    let_leases_lapse()
    assert destinations.claim() is not None
    book.on_outcome(item, classify(0x0000))
    with pytest.raises(LeaseLost):
        book.close()
    entry.refresh_from_db()
    assert entry.answer == Answer.SENDING


def sending(user: User) -> Delivery:
    """A claimed delivery of one instance, being sent."""
    upload = factories.UploadFactory.create(state="delivering", clinic=user.memberships.get().clinic, created_by=user)
    made = factories.DeliveryFactory.create(study=factories.StudyFactory.create(upload=upload), upload=upload)
    factories.LedgerEntryFactory.create(delivery=made)
    delivery = destinations.claim()
    assert delivery is not None
    delivery.move(DeliveryState.SENDING, keep_lease=True, due_at=delivery.due_at)
    return delivery


def item_of(entry: LedgerEntry) -> Item:
    instance = entry.instance
    return Item(
        key=entry.pk,
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        transfer_syntax_uid=instance.transfer_syntax_uid,
        source=FileSlice(-1, 0, 0),
    )


def test_a_person_s_rejection_bears_the_person_s_name(user: User) -> None:
    upload = factories.UploadFactory.create(state="held", clinic=user.memberships.get().clinic)
    hold = factories.HoldFactory.create(upload=upload)
    decisions.confirm(user, upload, hold=hold.pk, decision="reject")
    assert upload.transitions.get(to_state="rejected").actor == user


# --- The ledger --------------------------------------------------------------------------------------


def test_the_ledger_is_written_in_whatever_order_the_associations_send(user: User) -> None:
    delivery = sending(user)
    for _ in range(80):
        instance = factories.InstanceFactory.create(study=delivery.study)
        factories.LedgerEntryFactory.create(delivery=delivery, instance=instance)
    items = [item_of(entry) for entry in delivery.entries.select_related("instance").order_by("pk")]
    book = Ledger(delivery, items)
    for item in [*items[60:], *items[:60]]:
        book.on_sending(item)
        book.on_outcome(item, classify(0x0000))
    book.close()
    assert delivery.entries.filter(answer=Answer.STORED, attempts=1).count() == 81


def test_a_comment_that_no_column_can_hold_is_kept_as_far_as_it_can_be(user: User) -> None:
    delivery = sending(user)
    entry = delivery.entries.get()
    item = item_of(entry)
    book = Ledger(delivery, [item])
    book.on_sending(item)
    book.on_outcome(item, replace(classify(0xA900), comment="no\0such\0patient"))
    book.close()
    entry.refresh_from_db()
    assert entry.comment == "nosuchpatient"


def test_a_worker_that_got_images_through_before_it_died_does_not_count_as_a_crash(user: User) -> None:
    delivery = sending(user)
    let_leases_lapse()
    taken = destinations.claim()
    assert taken is not None
    assert taken.crashes == 1
    item = item_of(delivery.entries.get())
    book = Ledger(taken, [item])
    book.on_sending(item)
    book.on_outcome(item, classify(0x0000))
    book.flush()
    taken.refresh_from_db()
    assert taken.crashes == 0


def test_the_upload_s_row_is_locked_before_its_delivery_s(user: User) -> None:
    delivery = sending(user)
    with CaptureQueriesContext(connection) as queries:
        delivery.move(DeliveryState.WAITING, due_at=timezone.now())
    locks = [query["sql"] for query in queries if "FOR UPDATE" in query["sql"]]
    assert ['FROM "uploads_upload"' in sql for sql in locks] == [True, False]


@pytest.mark.parametrize("trouble", [LaneStuck, SystemExit, RuntimeError])
def test_what_was_under_way_when_a_worker_broke_down_is_asked_about(
    user: User, monkeypatch: pytest.MonkeyPatch, trouble: type[BaseException]
) -> None:
    def break_down(target: object, items: list[Item], *, on_sending: Callable[[Item], None], **_: object) -> None:
        on_sending(items[0])
        raise trouble("in the middle of an image")

    monkeypatch.setattr(doors, "store", break_down)
    with scripted_scp() as pacs:
        to(pacs)
        HandIn(user, study(1)).everything()
        with pytest.raises(trouble):
            work()
    entry = LedgerEntry.objects.get()
    assert (entry.answer, entry.attempts) == (Answer.SENDING, 1)


# --- Questions that are not answered, and answers that prove nothing ----------------------------------


def in_doubt(user: User) -> HandIn:
    """A study of one image that may have arrived."""
    hand_in = HandIn(user, study(1)).everything()
    while legs.advance():
        pass
    LedgerEntry.objects.update(answer=Answer.UNKNOWN, attempts=1)
    Delivery.objects.update(was_asked_before_sending=False)
    return hand_in


def test_a_pacs_that_refuses_a_query_is_not_away_for_what_others_send(user: User) -> None:
    with scripted_scp(find=lambda query, scp: [(0xC001, None)]) as pacs:
        to(pacs)
        hand_in = in_doubt(user)
        work()
        found = only(hand_in)
        assert (found["state"], found["stored"]) == ("waiting", 0)
        assert Destination.objects.get().down_since is None
    assert pacs.received == []


def test_another_door_that_is_shut_does_not_shut_the_first(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, query_url=f"dicom://ELSEWHERE@127.0.0.1:{free_port()}")
        hand_in = in_doubt(user)
        work()
        assert only(hand_in)["state"] == "waiting"
        assert Destination.objects.get().down_since is None


def test_an_image_that_the_pacs_had_before_ours_was_sent_proves_nothing_of_ours(user: User) -> None:
    """It could not be asked beforehand, and says at the first sending that it has one of that name."""

    def find(query: Dataset, scp: ScriptedSCP) -> Iterable[tuple[int, Dataset | None]]:
        if not scp.received:
            return [(0xC001, None)]
        answer = Dataset()
        answer.QueryRetrieveLevel = "IMAGE"
        answer.StudyInstanceUID, answer.SeriesInstanceUID = query.StudyInstanceUID, query.SeriesInstanceUID
        answer.SOPInstanceUID = FIRST
        return [(0xFF00, answer)]

    with scripted_scp(statuses=[0x0111], find=find) as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        work()
    assert (hand_in.truth()["state"], only(hand_in)["last_error"]["code"]) == ("delivered", "copy_unproved")
    assert LedgerEntry.objects.get().was_there


def test_a_study_whose_images_are_gone_is_told_at_once(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        while legs.advance():
            pass
        pack_of(hand_in.upload.pk).remove()
        work()
        found = only(hand_in)
        assert (found["state"], found["last_error"]["code"]) == ("refused", "pack_missing")
        assert hand_in.truth()["state"] == "failed"


def test_what_was_decoded_by_a_worker_that_lost_the_study_is_not_sent_again(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = sending(user)
    Destination.objects.update(transcode=True)
    delivery.destination.refresh_from_db()
    Instance.objects.update(transfer_syntax_uid="1.2.840.10008.1.2.4.90")
    delivery.entries.update(answer=Answer.REFUSED, code="context_refused")

    def overtaken(*_: object, **__: object) -> Derived:
        let_leases_lapse()
        assert destinations.claim() is not None
        LedgerEntry.objects.update(answer=Answer.STORED)
        return Derived(Path("derived"), 0, 0, "0" * 64)

    monkeypatch.setattr(decoding, "transcoder_of", lambda upload: nullcontext())
    monkeypatch.setattr(decoding, "derive", overtaken)
    with pytest.raises(LeaseLost):
        decoding.decode_refused(delivery, DEFAULT_RULES, Keeper(delivery))
    assert LedgerEntry.objects.get().answer == Answer.STORED


def test_what_is_paused_while_a_destination_is_resumed_does_not_wait_for_ever(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = factories.DestinationFactory.create(paused=True)
    first, second = (factories.DeliveryFactory.create(destination=destination, state="paused") for _ in range(2))
    Delivery.objects.filter(pk=second.pk).update(state=DeliveryState.SENDING)
    wake = destinations._wake

    def meanwhile(delivery: Delivery, actor: User | None) -> bool:
        if delivery.pk == first.pk:  # a worker meets what it had met
            Delivery.objects.filter(pk=second.pk).update(state=DeliveryState.PAUSED)
            destinations.pause(destination, "not authorised")
        return wake(delivery, actor)

    monkeypatch.setattr(destinations, "_wake", meanwhile)
    assert destinations.resume(destination, user) == 2
    destination.refresh_from_db()
    assert not destination.paused
    assert not Delivery.objects.filter(state=DeliveryState.PAUSED).exists()
