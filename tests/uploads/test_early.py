"""Relay while receiving: images go out as they come in, and no check is skipped for it."""

from typing import Any

import pytest

from accounts.models import Role, User
from tests import factories
from tests.handin import HandIn, work
from tests.scripted import ScriptedSCP, scripted_scp
from tests.uploads.test_delivery import only, study, to
from tests.uploads.test_validation import changed
from uploads.models import Answer, Instance, LedgerEntry, Route, Upload
from uploads.pipeline import durability, early, legs
from uploads.states import UploadState

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]


@pytest.fixture
def user() -> User:
    return factories.person(Role.RADIOGRAPHER)


@pytest.fixture(autouse=True)
def leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "IDLE_SECONDS", 0.0)


def relay() -> None:
    """What the workers do while chunks come in."""
    while legs.accompany() or legs.relay():
        pass


def half(user: User, files: dict[str, bytes], **fields: Any) -> HandIn:
    """An upload with its chunks but the last acknowledged."""
    hand_in = HandIn(user, files)
    assert hand_in.open(**fields).status_code == 201
    for index in range(chunk_count(hand_in) - 1):
        assert hand_in.put(index).status_code == 204
    return hand_in


def chunk_count(hand_in: HandIn) -> int:
    return -(-len(hand_in.pack) // hand_in.chunk_size)


def finish(hand_in: HandIn) -> None:
    assert hand_in.put(chunk_count(hand_in) - 1).status_code == 204
    assert hand_in.complete().status_code == 202
    relay()
    work()


def names(pacs: ScriptedSCP) -> list[str]:
    return [one.sop_instance_uid for one in pacs.received]


def test_images_are_at_the_pacs_before_the_last_chunk_came(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, study(16))
        relay()
        before = len(pacs.received)
        assert 10 < before < 16
        truth = hand_in.truth()
        [waits] = truth["deliveries"]
        assert (truth["state"], waits["state"], waits["stored"]) == ("receiving", "waiting", before)
        assert waits["next_attempt_at"] is None
        finish(hand_in)
        assert hand_in.truth()["state"] == "verified"
        assert len(names(pacs)) == len(set(names(pacs))) == 16
    assert only(hand_in)["verified"] == 16
    assert LedgerEntry.objects.filter(stored_count=1).count() == 16


def test_a_destination_that_did_not_ask_for_it_gets_nothing_early(user: User) -> None:
    with scripted_scp() as soon, scripted_scp() as later:
        to(soon, name="soon", relay_early=True)
        to(later, name="later")
        hand_in = half(user, study(16))
        relay()
        assert soon.received
        assert later.received == []
        finish(hand_in)
    assert hand_in.truth()["state"] == "verified"
    assert (len(soon.received), len(later.received)) == (16, 16)


def test_nobody_looks_at_an_upload_that_no_destination_gets_early(user: User) -> None:
    with scripted_scp() as pacs:
        destination = to(pacs, relay_early=True)
        Route.objects.create(destination=destination, clinic=factories.ClinicFactory.create())
        to(pacs, name="all")
        half(user, study(16))
        assert legs.accompany() is False


def test_images_that_must_not_go_somewhere_do_not_go_early_either(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True, required_tags=["AccessionNumber"])
        half(user, study(16))
        relay()
        assert pacs.received == []
        assert LedgerEntry.objects.filter(answer=Answer.REFUSED).exists()


def other_patient() -> dict[str, bytes]:
    files = study(16)
    return files | {"IM9": changed(files["IM9"], PatientID="SOMEBODY^ELSE", PatientName="Else^Somebody")}


def test_a_second_patient_ends_it_and_the_rest_is_held(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = HandIn(user, other_patient())
        hand_in.open()
        hand_in.put(0)
        relay()
        early_ones = len(pacs.received)
        assert 0 < early_ones < 9
        for index in range(1, chunk_count(hand_in)):
            hand_in.put(index)
        relay()
        hand_in.complete()
        relay()
        work()
        truth = hand_in.truth()
        assert truth["state"] == "held"
        assert [hold["code"] for hold in truth["holds"]] == ["two_identities"]
        assert len(pacs.received) == early_ones
        [waits] = truth["deliveries"]
        assert (waits["stored"], waits["next_attempt_at"]) == (early_ones, None)
        hold = truth["holds"][0]["id"]
        body = {"hold": hold, "decision": "exclude", "files": ["IM9"]}
        assert hand_in.client.post(f"{hand_in.url}/confirm", body, content_type="application/json").status_code == 200
        work()
        assert hand_in.truth()["state"] == "verified"
    assert len(names(pacs)) == len(set(names(pacs))) == 15


def test_an_unexpected_patient_is_not_sent_early(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, study(16), expected_patient={"id": "X", "name": "Quite^Other", "birth_date": "19010101"})
        relay()
        assert pacs.received == []
        assert not hand_in.upload.early
        finish(hand_in)
        assert hand_in.truth()["state"] == "held"
        assert pacs.received == []


def test_a_broken_file_ends_it(user: User) -> None:
    files = study(16)
    files["IM3"] = files["IM3"][:-5000]
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, files)
        relay()
        assert len(pacs.received) <= 2
        finish(hand_in)
        assert hand_in.truth()["state"] == "held"


def test_an_upload_cancelled_on_its_way_sends_nothing_more_and_lists_what_went(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, study(16))
        relay()
        there = len(pacs.received)
        assert hand_in.client.delete(hand_in.url).status_code == 204
        relay()
        work(printing=True)
        assert len(pacs.received) == there
    truth = hand_in.truth()
    assert (truth["state"], only(hand_in)["stored"]) == ("cancelled", there)
    assert hand_in.client.get(f"{hand_in.url}/receipt").status_code == 200


def test_a_worker_that_comes_back_knows_what_it_looked_at(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = HandIn(user, study(16))
        hand_in.open()
        for index in range(chunk_count(hand_in)):
            hand_in.put(index)
            relay()
        assert len(names(pacs)) == len(set(names(pacs))) == 16
        hand_in.complete()
        work()
    assert hand_in.truth()["state"] == "verified"
    assert len(pacs.received) == 16


def test_a_pacs_that_is_down_gets_it_once_it_is_back(user: User) -> None:
    from tests.handin import make_due
    from tests.loopback import free_port

    port = free_port()
    factories.DestinationFactory.create(url=f"dicom://SCRIPTED@127.0.0.1:{port}", relay_early=True)
    hand_in = half(user, study(16))
    relay()
    assert only(hand_in)["state"] == "waiting"
    with scripted_scp(port=port) as pacs:
        make_due()
        finish(hand_in)
        make_due()
        work()
        assert hand_in.truth()["state"] == "verified"
        assert len(pacs.received) == 16


def test_octets_that_a_power_cut_took_are_read_again(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, study(16))
        relay()
        upload = hand_in.upload
        upload.chunks.update(synced=False, boot_id="an earlier boot")
        assert durability.withdraw_lost(upload.pk) > 0
        assert not upload.files.exclude(sha256="").exists()
        for index in range(chunk_count(hand_in) - 1):
            assert hand_in.put(index).status_code == 204
        finish(hand_in)
        assert hand_in.truth()["state"] == "verified"
        assert len(pacs.received) == 16


def test_what_changed_after_it_had_gone_out_is_held(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, relay_early=True)
        hand_in = half(user, study(16))
        relay()
        Instance.objects.filter(file_index=0).update(dataset_sha256="0" * 64)
        finish(hand_in)
        truth = hand_in.truth()
        assert (truth["state"], [hold["code"] for hold in truth["holds"]]) == ("held", ["uid_reused"])
    assert Upload.objects.get().state == UploadState.HELD
