"""PACS report and send back: what they bring is written down once, in its place, and wakes whoever waits for it."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from relaypacs.management.commands import dicom_listener
from tests import factories
from tests.committing import asked_for, calling, report_on, send_report
from tests.loopback import LOOPBACK, free_port, wait_until
from uploads.models import Commitment, CommitmentState, Delivery, LedgerEntry
from uploads.pacs.fetched import Fetched
from uploads.pacs.report import Report
from uploads.pipeline.reports import known_titles, take_instance, take_report
from uploads.states import DeliveryState, UploadState

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]

EXPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70"
TRANSACTION = "2.25.1234567890"


def commitment(*, state: DeliveryState = DeliveryState.STORED, **fields: Any) -> Commitment:
    """One that waits for its report, of a delivery whose next question is an hour away."""
    later = timezone.now() + timedelta(hours=1)
    destination = factories.DestinationFactory.create(url="dicom://ARCHIVE@127.0.0.1:104")
    delivery = factories.DeliveryFactory.create(state=state, due_at=later, destination=destination)
    given = {"delivery": delivery, "transaction_uid": TRANSACTION, "ends_at": later} | fields
    return Commitment.objects.create(**given)


def report(*committed: str) -> Report:
    return Report(TRANSACTION, committed, {})


@pytest.fixture
def nudged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Messages to workers, as they leave after the commit."""
    sent: list[str] = []
    monkeypatch.setattr("uploads.hints.current_app.send_task", lambda task, args, queue: sent.append(args[0]))
    return sent


Committed = Callable[..., Any]


def test_a_report_is_written_down_and_wakes_its_delivery(
    nudged: list[str], django_capture_on_commit_callbacks: Committed
) -> None:
    row = commitment()
    with django_capture_on_commit_callbacks(execute=True):
        assert take_report("ARCHIVE", Report(TRANSACTION, ("1.2.1", "1.2.2"), {"1.2.3": 0x0112}))
    row.refresh_from_db()
    assert (row.state, row.report) == (
        CommitmentState.REPORTED,
        {"committed": ["1.2.1", "1.2.2"], "failed": [["1.2.3", 0x0112]]},
    )
    assert row.reported_at is not None
    row.delivery.refresh_from_db()
    assert row.delivery.due_at is not None
    assert row.delivery.due_at <= timezone.now()
    assert nudged == [str(row.delivery_id)]


@pytest.mark.parametrize("state", [CommitmentState.REPORTED, CommitmentState.READ, CommitmentState.ENDED])
def test_a_report_that_comes_again_or_too_late_is_acknowledged_and_changes_nothing(
    state: CommitmentState, nudged: list[str], django_capture_on_commit_callbacks: Committed
) -> None:
    row = commitment(state=DeliveryState.STORED)
    Commitment.objects.filter(pk=row.pk).update(state=state, report={"committed": ["1.2.1"], "failed": []})
    before = Commitment.objects.values().get(pk=row.pk), Delivery.objects.values().get(pk=row.delivery_id)
    with django_capture_on_commit_callbacks(execute=True):
        assert take_report("ARCHIVE", report("9.9.9"))
    assert (Commitment.objects.values().get(pk=row.pk), Delivery.objects.values().get(pk=row.delivery_id)) == before
    assert nudged == []


@pytest.mark.parametrize("calling_ae", ["OTHER", "archive", ""])
def test_one_pacs_does_not_speak_for_another(calling_ae: str) -> None:
    factories.DestinationFactory.create(url="dicom://OTHER@127.0.0.1:105")
    row = commitment()
    assert not take_report(calling_ae, report("1.2.1"))
    row.refresh_from_db()
    assert (row.state, row.report) == (CommitmentState.ASKED, {})


def test_a_pacs_that_is_asked_at_another_door_reports_by_that_name() -> None:
    row = commitment()
    row.delivery.destination.url = "https://pacs.example.org/dicom-web"
    row.delivery.destination.query_url = "dicom://FINDER@127.0.0.1:104"
    row.delivery.destination.save()
    assert not take_report("ARCHIVE", report("1.2.1"))
    assert take_report("FINDER", report("1.2.1"))


def test_where_the_name_cannot_be_told_the_transaction_decides() -> None:
    row = commitment()
    row.delivery.destination.url = "no address"
    row.delivery.destination.save()
    assert take_report("ARCHIVE", report("1.2.1"))


def test_an_unknown_transaction_is_none_of_ours() -> None:
    commitment()
    assert not take_report("ARCHIVE", Report("2.25.9", ("1.2.1",), {}))


@pytest.mark.parametrize("state", [DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.PARTIAL])
def test_a_delivery_that_is_sent_again_meanwhile_keeps_its_own_time(
    state: DeliveryState, nudged: list[str], django_capture_on_commit_callbacks: Committed
) -> None:
    row = commitment(state=state)
    with django_capture_on_commit_callbacks(execute=True):
        assert take_report("ARCHIVE", report("1.2.1"))
    row.refresh_from_db()
    assert row.state == CommitmentState.REPORTED
    assert Delivery.objects.get(pk=row.delivery_id).due_at == row.delivery.due_at
    assert nudged == []


def test_what_was_cancelled_is_not_woken(nudged: list[str], django_capture_on_commit_callbacks: Committed) -> None:
    row = commitment()
    row.delivery.upload.state = UploadState.CANCELLED
    row.delivery.upload.save()
    with django_capture_on_commit_callbacks(execute=True):
        assert take_report("ARCHIVE", report("1.2.1"))
    assert nudged == []


@pytest.mark.django_db(transaction=True)
def test_of_two_reports_at_once_one_is_written_down(nudged: list[str]) -> None:
    row = commitment()
    answers: list[bool] = []

    def bring(uid: str) -> None:
        try:
            answers.append(take_report("ARCHIVE", report(uid)))
        finally:
            connection.close()

    threads = [threading.Thread(target=bring, args=(f"1.2.{n}",)) for n in range(8)]
    with transaction.atomic():
        Delivery.objects.select_for_update().get(pk=row.delivery_id)  # none gets through before all are there
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [True] * 8
    row.refresh_from_db()
    assert len(row.report["committed"]) == 1
    assert nudged == [str(row.delivery_id)]


@pytest.mark.django_db(transaction=True)
def test_the_command_takes_a_report_from_the_wire_into_the_row(settings: Any) -> None:
    row = commitment()
    settings.DICOM_PORT = free_port()
    command = dicom_listener.Command()
    listener = command.listener()
    thread = threading.Thread(target=listener.serve)
    thread.start()
    told = report_on(asked_for(TRANSACTION, ["1.2.1", "1.2.2"]), {"1.2.1"})
    try:
        with calling(settings.DICOM_PORT, calling_ae="STRANGER") as association:
            assert association.is_rejected
        with calling(settings.DICOM_PORT, calling_ae="ARCHIVE") as association:
            assert send_report(association, told) == 0x0000
            assert send_report(association, told) == 0x0000
            told.TransactionUID = "2.25.9"
            assert send_report(association, told) == 0x0112
    finally:
        listener.close()
        thread.join(30)
    row.refresh_from_db()
    assert row.report == {"committed": ["1.2.1"], "failed": [["1.2.2", 0x0112]]}


@pytest.mark.django_db(transaction=True)
def test_a_pacs_that_was_just_entered_is_known_when_it_calls() -> None:
    callers = dicom_listener.Callers()
    assert not callers("ARCHIVE", LOOPBACK)
    factories.DestinationFactory.create(url="dicom://ARCHIVE@127.0.0.1:104")
    wait_until(lambda: callers("ARCHIVE", LOOPBACK), "its title", seconds=3)


# --- What comes back by C-MOVE ---------------------------------------------------------------------


def entry(*, state: DeliveryState = DeliveryState.STORED, **fields: Any) -> LedgerEntry:
    destination = factories.DestinationFactory.create(url="dicom://ARCHIVE@127.0.0.1:104")
    lease = timezone.now() + timedelta(minutes=1)
    delivery = factories.DeliveryFactory.create(state=state, destination=destination, lease_until=lease)
    return factories.LedgerEntryFactory.create(delivery=delivery, **fields)


def came_back(row: LedgerEntry, *, syntax: str = EXPLICIT) -> Fetched:
    return Fetched(row.instance.sop_instance_uid, syntax, 800, "ab" * 32)


def test_the_digest_of_what_came_back_is_written_down() -> None:
    row, other = entry(), entry()
    assert take_instance("ARCHIVE", came_back(row))
    row.refresh_from_db()
    other.refresh_from_db()
    assert (row.fetched_sha256, other.fetched_sha256) == ("ab" * 32, "")


@pytest.mark.parametrize(
    ("calling_ae", "state"),
    [("OTHER", DeliveryState.STORED), ("ARCHIVE", DeliveryState.WAITING), ("ARCHIVE", DeliveryState.VERIFIED)],
)
def test_what_nobody_waits_for_is_none_of_ours(calling_ae: str, state: DeliveryState) -> None:
    row = entry(state=state)
    assert not take_instance(calling_ae, came_back(row))
    row.refresh_from_db()
    assert row.fetched_sha256 == ""


def test_what_another_pacs_of_the_same_title_sends_back_proves_nothing_of_a_study_that_nobody_asks_about() -> None:
    row = entry()
    Delivery.objects.update(lease_until=None)
    assert not take_instance("ARCHIVE", came_back(row))
    row.refresh_from_db()
    assert row.fetched_sha256 == ""


def test_another_transfer_syntax_tells_nothing_of_the_octets() -> None:
    row = entry(instance__transfer_syntax_uid=JPEG)
    assert take_instance("ARCHIVE", came_back(row, syntax=EXPLICIT))
    row.refresh_from_db()
    assert row.fetched_sha256 == ""


def test_what_was_decoded_before_it_was_sent_comes_back_decoded() -> None:
    row = entry(instance__transfer_syntax_uid=JPEG, derived_sha256="cd" * 32)
    assert take_instance("ARCHIVE", came_back(row, syntax=JPEG))
    row.refresh_from_db()
    assert row.fetched_sha256 == ""
    assert take_instance("ARCHIVE", came_back(row, syntax=EXPLICIT))
    row.refresh_from_db()
    assert row.fetched_sha256 == "ab" * 32


def test_the_pacs_of_active_destinations_may_call() -> None:
    factories.DestinationFactory.create(url="dicom://A@10.0.0.1:104")
    factories.DestinationFactory.create(url="dicoms://B@10.0.0.1:104?calling=GATE", query_url="dicom://C@10.0.0.1:105")
    factories.DestinationFactory.create(url="https://pacs.example.org/dicom-web")
    factories.DestinationFactory.create(url="dicom://GONE@10.0.0.1:104", active=False)
    factories.DestinationFactory.create(url="no address")
    assert known_titles() == {"A", "B", "C"}
