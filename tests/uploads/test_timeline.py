"""What happened is told once, however often it happened."""

import pytest

from tests import factories
from uploads.models import Delivery, Transition
from uploads.selectors import timeline

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def write(delivery: Delivery, *moves: tuple[str, str]) -> None:
    before = ""
    for to, because in moves:
        Transition.objects.create(
            upload=delivery.upload, delivery=delivery, from_state=before, to_state=to, because=because
        )
        before = to


def told(delivery: Delivery) -> list[tuple[str, str, int]]:
    return [(one["to"], one["because"], one["times"]) for one in timeline(delivery.upload)]


def test_attempts_that_fail_alike_are_counted() -> None:
    delivery = factories.DeliveryFactory.create()
    away = [("sending", ""), ("waiting", "connection_refused")]
    write(delivery, ("pending", ""), *(away * 150), ("sending", ""), ("stored", ""))
    assert told(delivery) == [
        ("pending", "", 1),
        ("sending", "", 1),
        ("waiting", "connection_refused", 150),
        ("sending", "", 1),
        ("stored", "", 1),
    ]
    last = Transition.objects.filter(to_state="waiting").latest("id")
    assert timeline(delivery.upload)[2]["until"] == last.at


def test_another_reason_and_a_person_s_word_are_told() -> None:
    delivery = factories.DeliveryFactory.create()
    moves = [("waiting", "connection_refused"), ("sending", ""), ("waiting", "timeout"), ("sending", "retried")]
    write(delivery, *moves, ("waiting", "timeout"))
    assert told(delivery) == [(*one, 1) for one in [*moves, ("waiting", "timeout")]]


def test_two_destinations_that_are_away_are_told_apart() -> None:
    upload = factories.UploadFactory.create()
    one, other = (factories.DeliveryFactory.create(upload=upload) for _ in range(2))
    for _ in range(3):
        for delivery in (one, other):
            write(delivery, ("sending", ""), ("waiting", "connection_refused"))
    assert [times for to, _, times in told(one) if to == "waiting"] == [3, 3]
