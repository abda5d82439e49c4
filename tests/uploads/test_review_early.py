"""Relay while receiving, where the upload ends otherwise than well: each case was found by reading the code."""

import pydicom
import pytest
from pydicom.data import get_testdata_file

from accounts.models import Role, User
from tests import factories
from tests.handin import HandIn, make_due, work
from tests.scripted import scripted_scp
from tests.uploads.test_delivery import study, to
from tests.uploads.test_early import chunk_count, finish, half, names, relay
from tests.uploads.test_validation import changed
from uploads.models import Answer, Destination, LedgerEntry, Route
from uploads.pipeline import early, legs

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
