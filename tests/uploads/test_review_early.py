"""Relay while receiving, where the upload ends otherwise than well: each case was found by reading the code."""

from datetime import timedelta

import pydicom
import pytest
from django.utils import timezone
from pydicom.data import get_testdata_file

from accounts.models import Role, User
from tests import factories
from tests.handin import HandIn, make_due, work
from tests.loopback import data_set_of, free_port
from tests.scripted import Received, ScriptedSCP, scripted_scp
from tests.uploads.test_delivery import only, study, to
from tests.uploads.test_early import chunk_count, finish, half, names, relay
from tests.uploads.test_validation import changed
from uploads.models import MAX_CRASHES, Answer, Delivery, Destination, LedgerEntry, Route, Upload, UploadFile
from uploads.pipeline import destinations, early, legs, steering, sweep
from uploads.states import DeliveryState, UploadState
from uploads.storage import pack_of

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


@pytest.fixture
def user() -> User:
    return factories.person(Role.RADIOGRAPHER)


@pytest.fixture(autouse=True)
def leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "IDLE_SECONDS", 0.0)


def of_two_people() -> dict[str, bytes]:
    """The last image, which comes with the last chunk, is another person's."""
    files = study(16)
    return files | {"IM16": changed(files["IM16"], PatientID="SOMEBODY^ELSE", PatientName="Else^Somebody")}


def decide(hand_in: HandIn, decision: str, *files: str) -> None:
    [hold] = hand_in.truth()["holds"]
    body = {"hold": hold["id"], "decision": decision, "files": list(files)}
    assert hand_in.client.post(f"{hand_in.url}/confirm", body, content_type="application/json").status_code == 200


def uid(number: int) -> str:
    return f"{pydicom.dcmread(str(get_testdata_file('CT_small.dcm'))).SOPInstanceUID}.{number}"


def some_turns(count: int = 30) -> None:
    """The workers, for a while: what never comes to rest is not waited for."""
    for _ in range(count):
        if not (legs.accompany() or legs.relay()):
            return


# --- Left out by a person ----------------------------------------------------------------------------


def test_an_image_left_out_after_it_went_early_goes_to_no_other_destination(user: User) -> None:
    with scripted_scp() as soon, scripted_scp() as later:
        to(soon, name="soon", relay_early=True)
        to(later, name="later")
        hand_in = half(user, of_two_people())
        relay()
        finish(hand_in)
        assert hand_in.truth()["state"] == "held"
        decide(hand_in, "exclude", "IM1", "IM16")
        work()
        assert hand_in.truth()["state"] == "verified"
        assert uid(1) in names(soon)
        assert uid(1) not in names(later)
        assert len(names(later)) == 14


def test_an_image_left_out_and_removed_at_the_pacs_is_not_brought_back(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, of_two_people())
        relay()
        finish(hand_in)
        del pacs.received[names(pacs).index(uid(1))]  # its staff have seen whose it is
        decide(hand_in, "exclude", "IM1", "IM16")
        for _ in range(8):
            work()
            make_due()
        assert uid(1) not in names(pacs)
        assert hand_in.truth()["state"] == "verified"


def test_an_image_left_out_is_not_redirected(user: User) -> None:
    administrator = factories.person(Role.ADMIN)
    old = factories.DeliveryFactory.create(state="refused")
    for status in ("accepted", "excluded"):
        entry = factories.LedgerEntryFactory.create(delivery=old, answer=Answer.REFUSED)
        UploadFile.objects.filter(instance=entry.instance).update(status=status)
    fresh = steering.redirect(old, factories.DestinationFactory.create(), actor=administrator, reason="It is full.")
    assert [entry.instance.file.status for entry in fresh.entries.all()] == ["accepted"]


def test_an_image_left_out_is_not_tried_again(user: User) -> None:
    with scripted_scp(statuses={uid(1): 0xA700}) as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, of_two_people())
        some_turns()
        tries = names(pacs).count(uid(1))
        assert tries
        hand_in.put(chunk_count(hand_in) - 1)
        hand_in.complete()
        work()
        decide(hand_in, "exclude", "IM1", "IM16")
        for _ in range(3):
            make_due()
            work()
        assert names(pacs).count(uid(1)) == tries
        assert hand_in.truth()["state"] == "verified"
    assert LedgerEntry.objects.get(instance__sop_instance_uid=uid(1)).answer == Answer.SKIPPED


def test_an_image_left_out_that_may_have_arrived_is_asked_about_and_not_sent_again(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, of_two_people())
        relay()
        LedgerEntry.objects.filter(instance__sop_instance_uid=uid(1)).update(answer=Answer.UNKNOWN)
        del pacs.received[names(pacs).index(uid(1))]
        finish(hand_in)
        decide(hand_in, "exclude", "IM1", "IM16")
        work()
        assert uid(1) not in names(pacs)
        assert hand_in.truth()["state"] == "verified"


# --- Refused for a passing reason --------------------------------------------------------------------


def test_what_a_pacs_cannot_take_just_now_is_not_sent_again_at_once(user: User) -> None:
    with scripted_scp(statuses={uid(1): 0x0110}) as pacs:
        to(pacs, relay_early=True)
        hand_in = HandIn(user, study(16))
        hand_in.open()
        for index in range(2):
            hand_in.put(index)
            some_turns()
        assert names(pacs).count(uid(1)) == 1
        assert len(names(pacs)) > 10
        [waits] = hand_in.truth()["deliveries"]
        assert (waits["state"], waits["refused"]) == ("waiting", 0)
        assert waits["next_attempt_at"] is not None


# --- Paused, and resumed at the wrong time -----------------------------------------------------------


def paused_and_held(user: User, pacs: ScriptedSCP) -> tuple[HandIn, Destination]:
    destination = to(pacs, relay_early=True)
    hand_in = half(user, of_two_people())
    relay()
    assert only(hand_in)["state"] == "paused"
    finish(hand_in)
    assert hand_in.truth()["state"] == "held"
    return hand_in, destination


def test_a_destination_that_is_resumed_gets_nothing_of_a_study_that_is_held(user: User) -> None:
    with scripted_scp(statuses=[0x0124]) as pacs:
        hand_in, destination = paused_and_held(user, pacs)
        before = len(pacs.received)
        destinations.resume(destination, None)
        work()
        assert len(pacs.received) == before
        decide(hand_in, "exclude", "IM16")
        work()
        assert hand_in.truth()["state"] == "verified"
        assert len(pacs.stored) == 15


def test_a_destination_that_is_resumed_gets_nothing_of_a_study_that_was_rejected(user: User) -> None:
    with scripted_scp(statuses=[0x0124]) as pacs:
        hand_in, destination = paused_and_held(user, pacs)
        before = len(pacs.received)
        decide(hand_in, "reject")
        destinations.resume(destination, None)
        make_due()
        work()
        assert hand_in.truth()["state"] == "rejected"
        assert len(pacs.received) == before


# --- Ended before it was whole -----------------------------------------------------------------------


def test_nothing_more_goes_out_of_an_upload_that_has_expired(user: User) -> None:
    port = free_port()
    factories.DestinationFactory.create(url=f"dicom://SCRIPTED@127.0.0.1:{port}", relay_early=True)
    hand_in = half(user, study(16))
    relay()
    assert only(hand_in)["next_attempt_at"] is not None
    Upload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert sweep.expire() == 1
    with scripted_scp(port=port) as pacs:
        make_due()
        relay()
    assert pacs.received == []
    assert only(hand_in)["next_attempt_at"] is None


def test_a_part_of_a_study_is_not_stored_because_the_leg_of_the_whole_gave_up(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, study(16))
        relay()
        before = len(pacs.received)
        hand_in.put(chunk_count(hand_in) - 1)
        assert legs.accompany()
        assert hand_in.complete().status_code == 202
        Upload.objects.update(crashes=MAX_CRASHES - 1, lease_until=timezone.now())
        assert legs.advance()
        assert hand_in.truth()["state"] == "failed"
        relay()
        assert len(pacs.received) == before
        assert only(hand_in)["state"] == "waiting"
        assert hand_in.client.post(f"{hand_in.url}/retry").status_code == 202
        work()
        assert hand_in.truth()["state"] == "verified"
        assert len(pacs.stored) == only(hand_in)["verified"] == 16


def test_a_worker_that_sends_on_while_the_upload_fails_does_not_call_it_stored(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, study(16))
        relay()
        delivery = Delivery.objects.get()
        Upload.objects.update(state=UploadState.FAILED, failed_from=UploadState.VALIDATING)
        Delivery.objects.update(due_at=timezone.now())
        assert legs.relay()
        delivery.refresh_from_db()
        assert (delivery.state, delivery.due_at) == (DeliveryState.WAITING, None)
    assert hand_in.truth()["state"] == "failed"


# --- A destination that changed meanwhile ------------------------------------------------------------


def test_a_destination_that_was_switched_off_meanwhile_is_waited_for_no_longer(user: User) -> None:
    with scripted_scp() as soon, scripted_scp() as later:
        off = to(soon, name="soon", relay_early=True)
        to(later, name="later")
        hand_in = half(user, study(16))
        relay()
        before = len(soon.received)
        Destination.objects.filter(pk=off.pk).update(active=False)
        finish(hand_in)
        assert hand_in.truth()["state"] == "verified"
        assert len(soon.received) == before
    deliveries = {one["destination"]: one for one in hand_in.truth()["deliveries"]}
    assert deliveries["soon"]["state"] == "partial"
    assert (deliveries["soon"]["stored"], deliveries["soon"]["required"]) == (before, False)


def test_what_no_route_leads_there_any_more_is_not_sent_there(user: User) -> None:
    with scripted_scp() as soon, scripted_scp() as later:
        destination = to(soon, name="soon", relay_early=True)
        to(later, name="later")
        hand_in = half(user, study(16))
        assert legs.accompany()
        Route.objects.create(destination=destination, sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
        hand_in.put(chunk_count(hand_in) - 1)
        hand_in.complete()
        work()
        assert hand_in.truth()["state"] == "verified"
    assert soon.received == []


# --- Octets and copies -------------------------------------------------------------------------------


def test_octets_that_a_power_cut_took_are_not_sent(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, study(16))
        assert legs.accompany()
        hand_in.upload.chunks.update(synced=False, boot_id="an earlier boot")
        with pack_of(hand_in.upload.pk).path.open("r+b") as file:
            file.write(bytes(len(hand_in.pack)))
        relay()
        assert pacs.received == []
        for index in range(chunk_count(hand_in) - 1):
            assert hand_in.put(index).status_code == 204
        finish(hand_in)
        assert hand_in.truth()["state"] == "verified"
    sent = {one.sop_instance_uid: one.sha256 for one in pacs.received}
    proved = LedgerEntry.objects.values_list("instance__sop_instance_uid", "instance__dataset_sha256")
    assert sent == dict(proved)
    assert len(sent) == len(pacs.received) == 16


def test_an_older_copy_of_an_image_that_comes_late_is_not_taken_for_ours(user: User) -> None:
    files = study(16)
    older = changed(files["IM16"], PatientComments="an older copy")
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, files)
        octets = data_set_of(older)
        pacs.received.append(Received(CT, uid(16), EXPLICIT, "0" * 64, len(octets), octets, 0))
        relay()
        finish(hand_in)
        work()
    late = LedgerEntry.objects.get(instance__sop_instance_uid=uid(16))
    assert late.was_there
    assert hand_in.truth()["state"] == "delivered"
