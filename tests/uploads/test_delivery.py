"""Delivery and verification against PACS that refuse, abort, lie or are gone: nothing lost, nothing claimed early."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.utils import timezone
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from accounts.models import Role, User
from tests import factories, peers
from tests.handin import HandIn, let_leases_lapse, make_due, work
from tests.loopback import free_port
from tests.scripted import ScriptedSCP, scripted_scp
from tests.uploads.test_validation import changed
from uploads.models import Answer, Delivery, Destination, LeaseLost, LedgerEntry, Upload
from uploads.pipeline import decisions, destinations, legs
from uploads.pipeline.ledger import Ledger
from uploads.states import DeliveryState, UploadState

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]


def study(count: int = 3) -> dict[str, bytes]:
    """A small study of one series."""
    first = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    root = pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).SOPInstanceUID
    return {f"IM{n}": changed(first, SOPInstanceUID=f"{root}.{n}", InstanceNumber=n) for n in range(1, count + 1)}


def to(pacs: Any, **fields: Any) -> Destination:
    return factories.DestinationFactory.create(url=f"dicom://{pacs.ae}@127.0.0.1:{pacs.port}", **fields)


@pytest.fixture
def user() -> User:
    return factories.person(Role.RADIOGRAPHER)


def only(hand_in: HandIn) -> dict[str, Any]:
    [one] = hand_in.truth()["deliveries"]
    return dict(one)


# --- What a PACS may answer ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "upload_state", "delivery_state", "counts"),
    [
        (0x0000, "verified", "verified", {"stored": 3, "changed": 0, "refused": 0}),
        (0xB000, "verified", "verified", {"stored": 3, "changed": 1, "refused": 0}),
        (0xB006, "verified", "verified", {"stored": 3, "changed": 1, "refused": 0}),
        (0xA900, "failed", "partial", {"stored": 2, "refused": 1}),
        (0xC000, "failed", "partial", {"stored": 2, "refused": 1}),
        (0x0122, "failed", "partial", {"stored": 2, "refused": 1}),
        (0xA700, "delivering", "waiting", {"stored": 2, "refused": 0}),
        (0x0110, "delivering", "waiting", {"stored": 2, "refused": 0}),
    ],
)
def test_each_answer_has_its_outcome(
    user: User, status: int, upload_state: str, delivery_state: str, counts: dict[str, int]
) -> None:
    files = study()
    second = str(pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).SOPInstanceUID) + ".2"
    with scripted_scp(statuses={second: status}) as pacs:
        to(pacs)
        hand_in = HandIn(user, files).everything()
        work()
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["state"]) == (upload_state, delivery_state)
    assert found | counts == found
    if delivery_state != "verified":
        assert found["last_error"]["code"] == f"status_{status:04X}"
        assert found["last_error"]["detail"]


def test_only_what_was_refused_for_a_while_is_sent_again(user: User) -> None:
    second = str(pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).SOPInstanceUID) + ".2"
    answers: dict[str, Any] = {second: 0xA700}
    with scripted_scp(statuses=answers) as pacs:
        to(pacs)
        hand_in = HandIn(user, study()).everything()
        work()
        waiting = only(hand_in)
        assert waiting["state"] == "waiting"
        assert waiting["next_attempt_at"]
        answers[second] = 0x0000
        make_due()
        work()
    assert hand_in.truth()["state"] == "verified"
    assert [one.sop_instance_uid == second for one in pacs.received].count(True) == 2
    assert len(pacs.received) == 4


def test_a_passing_refusal_that_never_passes_is_a_refusal_and_can_be_retried(user: User) -> None:
    answers: dict[str, Any] = {}
    with scripted_scp(statuses=[0xA700] * 100) as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        for _ in range(20):
            work()
            make_due()
    with scripted_scp(statuses=answers) as pacs:
        Destination.objects.update(url=f"dicom://{pacs.ae}@127.0.0.1:{pacs.port}", down_since=None)
        if hand_in.truth()["state"] == "failed":
            assert hand_in.client.post(f"{hand_in.url}/retry").status_code == 202
        make_due()
        work()
    assert hand_in.truth()["state"] == "verified"


def test_a_refusal_is_told_and_a_retry_sends_only_what_was_refused(user: User) -> None:
    second = str(pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).SOPInstanceUID) + ".2"
    answers: dict[str, Any] = {second: 0xA900}
    with scripted_scp(statuses=answers) as pacs:
        to(pacs)
        hand_in = HandIn(user, study()).everything()
        work(printing=True)
        assert hand_in.truth()["state"] == "failed"
        receipt = hand_in.client.get(f"{hand_in.url}/receipt")
        assert receipt.status_code == 200
        answers[second] = 0x0000
        assert hand_in.client.post(f"{hand_in.url}/retry").status_code == 202
        work()
    assert hand_in.truth()["state"] == "verified"
    assert len(pacs.received) == 4


def test_an_unknown_caller_pauses_the_destination_and_keeps_the_study(user: User) -> None:
    with scripted_scp(statuses=[0x0124]) as pacs:
        destination = to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        work()
        assert only(hand_in)["state"] == "paused"
        assert hand_in.truth()["state"] == "delivering"
        destination.refresh_from_db()
        assert destination.paused
        assert destination.paused_because
        assert destinations.resume(destination, user) == 1
        work()
    assert hand_in.truth()["state"] == "verified"


# --- A PACS that is gone, stalls or dies -----------------------------------------------------------


def test_a_study_waits_visibly_for_a_pacs_that_is_down_and_goes_when_it_is_back(user: User) -> None:
    port = free_port()
    factories.DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{port}")
    hand_in = HandIn(user, study()).everything()
    work()
    for attempt in (1, 2):
        found = only(hand_in)
        assert (hand_in.truth()["state"], found["state"], found["attempts"]) == ("delivering", "waiting", attempt)
        assert found["next_attempt_at"]
        assert found["last_error"]["code"]
        assert legs.relay() is False, "nothing is tried before its time"
        make_due()
        work()
    assert only(hand_in)["attempts"] == 3
    with scripted_scp(port=port) as pacs:
        make_due()
        work()
    assert hand_in.truth()["state"] == "verified"
    assert len(pacs.received) == 3


def test_a_destination_that_is_down_holds_up_no_other(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, name="up")
        factories.DestinationFactory.create(name="down", url=f"dicom://PACS@127.0.0.1:{free_port()}")
        hand_in = HandIn(user, study(1)).everything()
        work()
    states = {one["destination"]: one["state"] for one in hand_in.truth()["deliveries"]}
    assert states == {"up": "verified", "down": "waiting"}
    assert hand_in.truth()["state"] == "delivering"


def test_an_optional_destination_never_decides(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, name="up")
        factories.DestinationFactory.create(name="down", url=f"dicom://PACS@127.0.0.1:{free_port()}", required=False)
        hand_in = HandIn(user, study(1)).everything()
        work()
    assert hand_in.truth()["state"] == "verified"


def test_a_destination_that_is_down_is_probed_by_one_study_at_a_time(user: User) -> None:
    factories.DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{free_port()}")
    hand_ins = [
        HandIn(
            user,
            {
                "a": changed(
                    study(1)["IM1"],
                    SOPInstanceUID=generate_uid(),
                    StudyInstanceUID=generate_uid(),
                    SeriesInstanceUID=generate_uid(),
                )
            },
        ).everything()
        for _ in range(3)
    ]
    work()
    assert sum(only(one)["attempts"] for one in hand_ins) == 1
    Destination.objects.update(probe_at=timezone.now())
    work()
    assert sum(only(one)["attempts"] for one in hand_ins) == 2


def test_stat_goes_before_emergency_before_routine(user: User) -> None:
    with scripted_scp() as pacs:
        destination = to(pacs, paused=True)
        order = []
        for level in ("routine", "stat", "emergency"):
            uid = generate_uid()
            order.append((level, uid))
            data = changed(
                study(1)["IM1"], SOPInstanceUID=uid, StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid()
            )
            HandIn(user, {"a": data}).everything(service_level=level)
        work()
        Destination.objects.filter(pk=destination.pk).update(paused=False)
        work()
    uids = dict(order)
    assert [one.sop_instance_uid for one in pacs.received] == [uids["stat"], uids["emergency"], uids["routine"]]


def test_a_pacs_that_aborts_in_the_middle_gets_only_what_it_has_not(user: User) -> None:
    with scripted_scp(statuses=[0x0000, "abort"]) as pacs:
        to(pacs)
        hand_in = HandIn(user, study()).everything()
        work()
        assert only(hand_in)["state"] == "waiting"
        make_due()
        work()
    assert hand_in.truth()["state"] == "verified"
    answered = [one.sop_instance_uid for one in pacs.received if one.status == 0]
    assert len(answered) == len(set(answered)) == 3


@pytest.mark.parametrize("flag", ["--refuse", "--abort-after", "--abort-during"])
def test_a_dcmtk_that_refuses_or_aborts_makes_the_study_wait(user: User, flag: str) -> None:
    with peers.storescp(flag) as pacs:
        to(pacs)
        hand_in = HandIn(user, study()).everything()
        work()
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["state"]) == ("delivering", "waiting")
    assert found["next_attempt_at"]


def test_a_lying_pacs_never_leads_to_verified(user: User) -> None:
    with scripted_scp(find=lambda query, scp: [(0x0000, None)]) as pacs:
        to(pacs)
        hand_in = HandIn(user, study(2)).everything()
        seen = set()
        for _ in range(60):
            work()
            seen.add(hand_in.truth()["state"])
            if hand_in.truth()["state"] == "failed":
                break
            make_due()
    assert "verified" not in seen
    truth = hand_in.truth()
    assert truth["state"] == "failed"
    assert only(hand_in)["last_error"]["code"] == "not_kept"
    assert max(LedgerEntry.objects.values_list("attempts", flat=True)) == 3


def test_a_pacs_without_a_way_to_ask_leaves_it_delivered_without_proof(user: User) -> None:
    with peers.storescp() as pacs:
        to(pacs)
        hand_in = HandIn(user, study()).everything()
        work()
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["state"], found["proof"]) == ("delivered", "stored", "none")
    assert found["stored"] == 3
    assert found["verified"] == 0


def test_an_instance_that_the_pacs_lost_is_found_missing_and_sent_again(user: User) -> None:
    lost: list[str] = []

    def forgetful(query: Any, scp: ScriptedSCP) -> Iterator[tuple[int, Any]]:
        counts: dict[str, int] = {}
        for one in scp.received:
            counts[one.sop_instance_uid] = counts.get(one.sop_instance_uid, 0) + 1
        lost[:] = lost or [scp.received[0].sop_instance_uid]
        wanted = str(query.get("SOPInstanceUID", "") or "")
        for uid, count in counts.items():
            if (uid not in lost or count > 1) and (not wanted or uid in wanted.split("\\")):
                found = pydicom.Dataset()
                found.SOPInstanceUID = uid
                found.QueryRetrieveLevel = "IMAGE"
                yield 0xFF00, found
        yield 0x0000, None

    with scripted_scp(find=forgetful) as pacs:
        to(pacs)
        hand_in = HandIn(user, study()).everything()
        for _ in range(30):
            work()
            if hand_in.truth()["state"] == "verified":
                break
            make_due()
    assert hand_in.truth()["state"] == "verified"
    assert [one.sop_instance_uid for one in pacs.received].count(lost[0]) == 2
    assert len(pacs.received) == 4
    assert len(hand_in.truth()["reports"]) == 1


# --- Workers and persons ---------------------------------------------------------------------------


class Died(BaseException):
    """A worker that is gone from one moment to the next."""


def test_a_worker_that_dies_while_sending_sends_nothing_twice(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    files = study(5)
    with scripted_scp() as pacs:
        to(pacs)
        hand_in = HandIn(user, files).everything()
        while legs.advance():
            pass
        with monkeypatch.context() as patched:
            _die_at_flush(patched)
            with pytest.raises(Died):
                legs.relay()
        assert len(pacs.received) == 5
        assert LedgerEntry.objects.filter(answer=Answer.SENDING).count() == 5, "nothing was written down"
        assert not legs.relay(), "the lease still holds"
        let_leases_lapse()
        work()
    assert hand_in.truth()["state"] == "verified"
    assert len(pacs.received) == 5, "the PACS was asked before anything was sent again"


def _die_at_flush(patched: pytest.MonkeyPatch) -> None:
    real = Ledger.flush

    def flush(self: Ledger) -> None:
        if self._answers:
            raise Died
        real(self)

    patched.setattr(Ledger, "flush", flush)


def test_a_zombie_s_write_back_is_fenced_off(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs)
        HandIn(user, study(1)).everything()
        while legs.advance():
            pass
        zombie = destinations.claim()
        assert zombie is not None
        let_leases_lapse()
        work()
        with pytest.raises(LeaseLost):
            zombie.move(DeliveryState.SENDING, keep_lease=True)
    assert Delivery.objects.get().state == DeliveryState.VERIFIED


def test_cancelling_stops_what_has_not_gone_and_lists_what_has(user: User) -> None:
    second = str(pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).SOPInstanceUID) + ".2"
    with scripted_scp(statuses={second: 0xA700}) as pacs:
        to(pacs)
        hand_in = HandIn(user, study()).everything()
        work()
        assert hand_in.client.delete(hand_in.url).status_code == 204
        make_due()
        destinations.came_up(Destination.objects.get())
        work(printing=True)
    truth = hand_in.truth()
    assert (truth["state"], truth["deliveries"][0]["stored"]) == ("cancelled", 2)
    assert len(pacs.received) == 3
    assert hand_in.client.get(f"{hand_in.url}/receipt").status_code == 200


def test_a_delivered_upload_cannot_be_cancelled(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        work()
    response = hand_in.client.delete(hand_in.url)
    assert (response.status_code, response.json()["code"]) == (409, "wrong_state")


def test_trying_now_goes_to_a_destination_that_is_down(user: User) -> None:
    port = free_port()
    factories.DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{port}")
    hand_in = HandIn(user, study(1)).everything()
    work()
    Destination.objects.update(probe_at=timezone.now() + timedelta(hours=1))
    with scripted_scp(port=port):
        assert hand_in.client.post(f"{hand_in.url}/retry").status_code == 202
        work()
    assert hand_in.truth()["state"] == "verified"


def test_nothing_is_sent_to_more_associations_than_a_destination_takes(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, max_associations=1)
        for _ in range(2):
            uid = generate_uid()
            data = changed(
                study(1)["IM1"], SOPInstanceUID=uid, StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid()
            )
            HandIn(user, {"a": data}).everything()
        while legs.advance():
            pass
        assert destinations.claim() is not None
        assert destinations.claim() is None


def test_what_a_study_was_refused_for_stands_in_words(user: User) -> None:
    with scripted_scp(statuses=[0xA900]) as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        work()
    upload = Upload.objects.get(pk=hand_in.id)
    assert upload.state == UploadState.FAILED
    assert "refused" in upload.problem_detail
    assert decisions.retry(user, upload).state == UploadState.DELIVERING
