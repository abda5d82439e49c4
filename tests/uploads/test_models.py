"""Rows that guard themselves: which state may follow which, and who may write."""

from datetime import timedelta
from itertools import product

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from tests import factories
from uploads.models import MAX_CRASHES, Delivery, LeaseLost, Transition, Upload
from uploads.pipeline import sweep
from uploads.pipeline.settling import verdict
from uploads.states import DELIVERY_MOVES, UPLOAD_MOVES, DeliveryState, UploadState

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def test_every_pair_of_upload_states_is_allowed_or_refused_by_the_table() -> None:
    upload = factories.UploadFactory.create()
    for before, after in product(UploadState, UploadState):
        Upload.objects.filter(pk=upload.pk).update(state=before)
        upload.refresh_from_db()
        if after in UPLOAD_MOVES[before]:
            upload.move(after)
            assert Upload.objects.get(pk=upload.pk).state == after
            assert upload.transitions.latest("id").to_state == after
        else:
            with pytest.raises(ValueError, match="may not become"):
                upload.move(after)
            assert Upload.objects.get(pk=upload.pk).state == before
    assert Transition.objects.count() == sum(len(targets) for targets in UPLOAD_MOVES.values())


def test_every_pair_of_delivery_states_is_allowed_or_refused_by_the_table() -> None:
    delivery = factories.DeliveryFactory.create()
    for before, after in product(DeliveryState, DeliveryState):
        Delivery.objects.filter(pk=delivery.pk).update(state=before)
        delivery.refresh_from_db()
        if after in DELIVERY_MOVES[before]:
            delivery.move(after)
            assert Delivery.objects.get(pk=delivery.pk).state == after
        else:
            with pytest.raises(ValueError, match="may not become"):
                delivery.move(after)


def test_every_state_is_in_the_table_and_the_database_knows_no_other() -> None:
    assert set(UPLOAD_MOVES) == set(UploadState)
    assert set(DELIVERY_MOVES) == set(DeliveryState)
    upload = factories.UploadFactory.create()
    with pytest.raises(IntegrityError), transaction.atomic():
        Upload.objects.filter(pk=upload.pk).update(state="lost")


def due() -> Upload:
    return factories.UploadFactory.create(state=UploadState.ASSEMBLING, due_at=timezone.now())


def claim() -> Upload | None:
    return Upload.claim(Upload.objects.filter(Upload.free_and_due()))


def test_a_row_is_claimed_once() -> None:
    upload = due()
    claimed = claim()
    assert claimed is not None
    assert (claimed.pk, claimed.attempts, claimed.lease_epoch) == (upload.pk, 1, upload.lease_epoch + 1)
    assert claim() is None


def test_a_lapsed_lease_counts_as_a_crash_and_is_taken_over() -> None:
    due()
    for crashes in range(MAX_CRASHES + 1):
        claimed = claim()
        assert claimed is not None
        assert claimed.crashes == crashes
        Upload.objects.update(lease_until=timezone.now() - timedelta(seconds=1))


def test_the_former_holder_can_write_nothing() -> None:
    due()
    former = claim()
    Upload.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    holder = claim()
    assert former is not None
    assert holder is not None
    for attempt in (
        former.renew,
        former.guard,
        lambda: former.write(problem_code="x"),
        lambda: former.postpone(timezone.now(), code="x", detail="y"),
        lambda: former.move(UploadState.VALIDATING),
    ):
        with pytest.raises(LeaseLost), transaction.atomic():
            attempt()
    holder.move(UploadState.VALIDATING)
    row = Upload.objects.get()
    assert (row.state, row.problem_code, row.last_error_code) == ("validating", "", "")


def test_a_postponed_row_is_free_and_due_later_and_no_crash() -> None:
    due()
    claimed = claim()
    assert claimed is not None
    claimed.postpone(timezone.now() + timedelta(hours=1), code="no_space", detail="the disk is full")
    assert claim() is None
    Upload.objects.update(due_at=timezone.now())
    again = claim()
    assert again is not None
    assert (again.crashes, again.attempts, again.last_error_code) == (0, 2, "no_space")


@pytest.mark.parametrize(
    ("required", "optional", "expected"),
    [
        (["verified", "verified"], [], "verified"),
        (["verified", "stored"], [], "delivered"),
        (["verified", "sending"], [], "delivering"),
        (["verified", "paused"], [], "delivering"),
        (["refused", "waiting"], [], "delivering"),
        (["refused", "stored"], [], "failed"),
        (["partial"], [], "failed"),
        (["verified"], ["refused"], "verified"),
        (["stored"], ["pending"], "delivered"),
        ([], ["verified"], "verified"),
        ([], ["pending"], "delivering"),
    ],
)
def test_the_required_deliveries_make_the_state(required: list[str], optional: list[str], expected: str) -> None:
    rows = [Delivery(state=state, required=True) for state in required]
    rows += [Delivery(state=state, required=False) for state in optional]
    assert verdict(rows) == expected


def test_the_sweep_finds_what_nobody_hinted_at(monkeypatch: pytest.MonkeyPatch) -> None:
    nudged: list[tuple[str, object]] = []
    monkeypatch.setattr("uploads.hints.nudge", lambda kind, row: nudged.append((kind, row)))
    upload = due()
    factories.UploadFactory.create(state=UploadState.ASSEMBLING, due_at=timezone.now() + timedelta(hours=1))
    found = sweep.sweep()
    assert found["uploads"] == 1
    assert nudged == [("upload", upload.pk)]
    claim()
    assert sweep.sweep()["uploads"] == 0
