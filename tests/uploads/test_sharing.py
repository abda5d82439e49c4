"""Associations at a destination are shared: all to one study while it is alone, fewer when others wait, STAT first."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.utils import timezone
from prometheus_client import REGISTRY

from accounts.models import Role
from tests import factories
from tests.handin import HandIn, work
from tests.scripted import scripted_scp
from tests.uploads.test_delivery import only, study, to
from uploads.models import Delivery, Destination
from uploads.pipeline import destinations, sharing
from uploads.pipeline.sharing import Share

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def pacs() -> Destination:
    return factories.DestinationFactory.create(max_associations=4)


@pytest.fixture(autouse=True)
def ask_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "ASK_SECONDS", 0.0)


def waiting(destination: Destination, *, images: int = 40, urgency: int = 2) -> Delivery:
    level = {0: "stat", 1: "emergency", 2: "routine"}[urgency]
    upload = factories.UploadFactory.create(state="delivering", service_level=level)
    made = factories.DeliveryFactory.create(
        study=factories.StudyFactory.create(upload=upload), upload=upload, destination=destination, urgency=urgency
    )
    for _ in range(images):
        factories.LedgerEntryFactory.create(delivery=made)
    return made


def claimed() -> Delivery:
    delivery = destinations.claim()
    assert delivery is not None
    return delivery


def test_a_study_that_is_alone_gets_every_association(pacs: Destination) -> None:
    waiting(pacs)
    assert claimed().associations == 4


def test_a_few_images_are_not_worth_four_associations(pacs: Destination) -> None:
    waiting(pacs, images=3)
    assert claimed().associations == 1


def test_it_gives_back_what_others_wait_for_and_takes_again_what_nobody_does(pacs: Destination) -> None:
    waiting(pacs)
    first = claimed()
    share = Share(first)
    assert share() == 4
    second = waiting(pacs)
    assert destinations.claim() is None, "all associations are taken"
    assert share() == 2
    other = claimed()
    assert (other.pk, other.associations) == (second.pk, 2)
    assert sharing.held(pacs) == 4
    other.postpone(timezone.now() + timedelta(hours=1), code="", detail="")
    assert share() == 4
    assert not share.gave_way


def test_the_least_urgent_makes_room_for_a_stat_study(pacs: Destination) -> None:
    Destination.objects.update(max_associations=2)
    for urgency in (1, 2):
        waiting(pacs, images=1, urgency=urgency)
    emergency, routine = Share(claimed()), Share(claimed())
    for share in (emergency, routine):
        share()
    assert not emergency.gave_way
    assert not routine.gave_way
    waiting(pacs, urgency=0)
    emergency()
    routine()
    assert (emergency.gave_way, routine.gave_way) == (False, True)


def test_it_never_makes_room_for_an_equal(pacs: Destination) -> None:
    Destination.objects.update(max_associations=1)
    waiting(pacs)
    share = Share(claimed())
    waiting(pacs)
    share()
    assert not share.gave_way


def test_a_study_that_made_room_goes_on_with_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    user = factories.person(Role.RADIOGRAPHER)
    asked: list[int] = []

    def in_the_way(*_: Any) -> bool:
        asked.append(1)
        return len(asked) == 1

    monkeypatch.setattr(Share, "_is_in_the_way", in_the_way)
    with scripted_scp() as scp:
        destination = to(scp, max_associations=1)
        monkeypatch.setattr(
            sharing, "waiting_at", lambda _: Delivery.objects.filter(destination=destination)  # as if one waited
        )
        hand_in = HandIn(user, study(12)).everything()
        work()
    assert hand_in.truth()["state"] == "verified"
    assert len(scp.received) == 12
    assert hand_in.upload.transitions.filter(because="gave_way").count() == 1


def test_the_wire_sees_as_many_associations_as_the_limit_allows() -> None:
    user = factories.person(Role.RADIOGRAPHER)
    with scripted_scp(find=False) as scp:
        to(scp, max_associations=3, proof_wanted="none")
        hand_in = HandIn(user, study(40)).everything()
        work()
    assert only(hand_in)["stored"] == 40
    assert len(scp.received) == 40
    assert 2 <= scp.associations <= 3


# --- Quiet hours -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "quiet", "loud"),
    [(time(8), time(18), [8, 12, 17], [7, 18, 23]), (time(22), time(6), [22, 0, 5], [6, 12, 21])],
)
def test_quiet_hours_are_read_by_the_clock_of_the_place(
    start: time, end: time, quiet: list[int], loud: list[int]
) -> None:
    destination = Destination(quiet_from=start, quiet_until=end, quiet_zone="Asia/Kolkata")
    offset = timedelta(hours=5, minutes=30)

    def at(hour: int) -> datetime:
        return datetime(2030, 5, 10, hour, tzinfo=UTC) - offset

    assert all(destination.is_quiet(at(hour)) for hour in quiet)
    assert not any(destination.is_quiet(at(hour)) for hour in loud)
    assert destination.quiet_ends_at(at(quiet[0])) > at(quiet[0])
    assert not destination.is_quiet(destination.quiet_ends_at(at(quiet[0])))


def test_in_quiet_hours_stat_alone_goes_and_the_page_says_when_the_rest_does() -> None:
    user = factories.person(Role.RADIOGRAPHER)
    now = timezone.now()
    hours = {"quiet_from": (now - timedelta(hours=1)).time(), "quiet_until": (now + timedelta(hours=1)).time()}
    with scripted_scp() as scp:
        to(scp, **hours)
        routine = HandIn(user, study(1)).everything()
        work()
        assert scp.received == []
        waits = only(routine)
        assert waits["state"] == "pending"
        assert waits["next_attempt_at"] > now.isoformat()
        routine.client.delete(routine.url)
        stat = HandIn(user, study(1)).everything(service_level="stat")
        work()
        assert stat.truth()["state"] == "verified"
        assert len(scp.received) == 1


def test_what_waits_and_what_is_up_are_figures(pacs: Destination) -> None:
    waiting(pacs, images=1)
    down = factories.DestinationFactory.create(down_since=timezone.now())
    destinations.measure()

    def figure(name: str, destination: Destination) -> float | None:
        return REGISTRY.get_sample_value(name, {"destination": destination.name})

    assert figure("relaypacs_deliveries_waiting", pacs) == 1
    assert (figure("relaypacs_destination_up", pacs), figure("relaypacs_destination_up", down)) == (1, 0)
