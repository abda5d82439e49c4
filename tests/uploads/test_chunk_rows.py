"""What the rows say of a chunk: who may send it, and what one statement notes when it has come."""

import errno
import os
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Role, User
from relaypacs.errors import NotFound, WrongState
from tests import factories
from tests.handin import KIB256, HandIn
from uploads import hints, selectors
from uploads.models import Chunk, Upload
from uploads.pipeline import durability, intake
from uploads.storage.local import LocalPack

pytestmark = [pytest.mark.integration, pytest.mark.django_db, pytest.mark.clinical]


@pytest.fixture
def hand_in() -> HandIn:
    hand_in = HandIn(factories.person(Role.CLINICIAN), {"a": os.urandom(2 * KIB256)})
    hand_in.open()
    return hand_in


def ticket_of(upload: Upload, index: int = 0) -> intake.Ticket:
    return intake.Ticket(upload.pk, index, *upload.chunk_span(index), sha256="a" * 64)


def people_of_every_kind(upload: Upload) -> list[User]:
    """Each role at the upload's clinic and at another, both at once, nobody, administrators, and who opened it."""
    here, elsewhere = upload.clinic, factories.ClinicFactory.create()
    people = [factories.person(role, clinic) for role in Role for clinic in (here, elsewhere)]
    for role in (Role.CLINICIAN, Role.RADIOGRAPHER, Role.RADIOLOGIST):
        both = factories.person(role, elsewhere)
        factories.MembershipFactory.create(user=both, clinic=here, role=Role.CLINICIAN)
        people.append(both)
    superuser = factories.UserFactory.create(is_superuser=True)
    return [*people, factories.UserFactory.create(), superuser, upload.created_by]


def test_a_glance_shows_an_upload_to_those_who_see_it_and_to_nobody_else(hand_in: HandIn) -> None:
    upload = hand_in.upload
    people = people_of_every_kind(upload)
    seen = [selectors.visible_to(person).filter(pk=upload.pk).exists() for person in people]
    assert {True, False} == set(seen)
    assert [glanced(person, upload) for person in people] == seen


@pytest.mark.parametrize("role", Role)
def test_who_opened_it_and_now_has_another_role_is_judged_by_the_new_one(hand_in: HandIn, role: Role) -> None:
    upload = hand_in.upload
    for clinic in (upload.clinic, factories.ClinicFactory.create()):
        upload.created_by.memberships.all().delete()
        factories.MembershipFactory.create(user=upload.created_by, clinic=clinic, role=role)
        person = User.objects.get(pk=upload.created_by.pk)
        assert glanced(person, upload) == selectors.visible_to(person).filter(pk=upload.pk).exists()


def glanced(person: User, upload: Upload) -> bool:
    try:
        return selectors.glance(person, upload.pk).pk == upload.pk
    except NotFound:
        return False


def test_an_acknowledged_chunk_is_noted_and_counted(hand_in: HandIn) -> None:
    before = timezone.now()
    intake.acknowledge(ticket_of(hand_in.upload))
    upload, row = hand_in.upload, Chunk.objects.get()
    assert (row.index, row.sha256, row.synced) == (0, "a" * 64, False)
    assert upload.received_bytes == KIB256
    assert upload.last_chunk_at == row.received_at >= before
    assert upload.expires_at == row.received_at + intake.LIFE_AFTER_CHUNK
    assert upload.due_at is None
    assert intake.known_digest(ticket_of(upload)) == "a" * 64
    assert intake.known_digest(ticket_of(upload, 1)) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"state": "assembling"}, "wrong_state"),
        ({"state": "cancelled"}, "wrong_state"),
        ({"state": "expired"}, "expired"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "expired"),
    ],
)
def test_a_chunk_of_what_takes_no_more_leaves_no_row(hand_in: HandIn, change: dict[str, Any], code: str) -> None:
    ticket = ticket_of(hand_in.upload)
    Upload.objects.update(**change)
    with pytest.raises(WrongState) as caught:
        intake.acknowledge(ticket)
    assert caught.value.code == code
    assert not Chunk.objects.exists()
    assert hand_in.upload.received_bytes == 0


def test_what_is_relayed_early_is_due_with_each_chunk_and_called_for_once(
    hand_in: HandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    monkeypatch.setattr(hints, "nudge", lambda kind, row_id: called.append((kind, row_id)))
    Upload.objects.update(early=True)
    for index in (0, 1):
        intake.acknowledge(ticket_of(hand_in.upload, index))
        assert hand_in.upload.due_at == hand_in.upload.last_chunk_at
    assert called == [("early", hand_in.upload.pk)]


# --- The group sync that goes on beside the next chunks ---------------------------------------------


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks make a group."""
    monkeypatch.setattr(durability, "GROUP_BYTES", KIB256 * 2)


def acknowledge(upload: Upload, *indexes: int) -> None:
    for index in indexes:
        intake.acknowledge(ticket_of(upload, index))


def wait_for_sync(upload: Upload) -> None:
    if under_way := durability._under_way.get(upload.pk):
        under_way.result(timeout=60)


@pytest.fixture
def upload_of_many() -> Upload:
    hand_in = HandIn(factories.person(Role.CLINICIAN), {"a": os.urandom(6 * KIB256)})
    hand_in.open()
    return hand_in.upload


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_groups")
def test_a_group_is_synced_beside_the_chunks_that_follow(upload_of_many: Upload) -> None:
    acknowledge(upload_of_many, 0)
    assert upload_of_many.pk not in durability._under_way
    acknowledge(upload_of_many, 1)
    wait_for_sync(upload_of_many)
    assert set(Chunk.objects.filter(synced=True).values_list("index", flat=True)) == {0, 1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_groups")
def test_who_fills_the_next_group_waits_for_the_one_under_way(
    upload_of_many: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    sync = LocalPack.sync

    def sync_late(pack: LocalPack) -> None:
        let_go.wait(60)
        sync(pack)

    monkeypatch.setattr(LocalPack, "sync", sync_late)
    acknowledge(upload_of_many, 0, 1, 2)  # the third begins a group and waits for nothing
    first = durability._under_way[upload_of_many.pk]
    assert not first.done()
    threading.Timer(0.3, let_go.set).start()
    acknowledge(upload_of_many, 3)
    assert first.done()
    wait_for_sync(upload_of_many)
    assert not Chunk.objects.filter(synced=False).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_groups")
def test_what_a_group_may_have_lost_is_withdrawn_and_shows_up_as_missing(
    upload_of_many: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "the medium")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fails)
        acknowledge(upload_of_many, 0, 1)
        wait_for_sync(upload_of_many)
    upload = Upload.objects.get(pk=upload_of_many.pk)
    assert (upload.received_bytes, selectors.missing_chunks(upload)) == (0, [[0, 5]])
