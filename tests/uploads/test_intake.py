"""The API of uploads: what is taken, what is refused, and that nothing acknowledged is ever lost or overwritten."""

import os
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import Role, User
from tests import factories
from tests.handin import API, KIB256, HandIn, content_digest
from uploads import selectors
from uploads.models import Chunk, Upload
from uploads.pipeline import durability, retention, sweep
from uploads.storage import lock_range, pack_of

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def hand_in() -> HandIn:
    """Three chunks of random bytes in two files, not opened yet."""
    user = factories.person(Role.CLINICIAN)
    return HandIn(user, {"a": os.urandom(300_000), "b": os.urandom(2 * KIB256 + 100_000 - 300_000)})


def code(response: Any) -> str:
    assert response["Content-Type"] == "application/problem+json", response.content
    return str(response.json()["code"])


# --- Opening ---------------------------------------------------------------------------------------


def test_it_answers_what_the_contract_says(hand_in: HandIn) -> None:
    response = hand_in.open()
    assert response.status_code == 201
    body = response.json()
    assert response["Location"] == f"{API}/{body['id']}"
    assert (body["state"], body["total_size"], body["chunk_size"], body["chunk_count"]) == (
        "receiving",
        len(hand_in.pack),
        KIB256,
        3,
    )
    assert set(body) == {"id", "state", "total_size", "chunk_size", "chunk_count", "expires_at"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"files": []}, "invalid_manifest"),
        ({"files": [{"name": "x", "size": -1}]}, "invalid_manifest"),
        ({"files": [{"name": "x" * 1025, "size": 1}]}, "invalid_manifest"),
        ({"files": [{"name": "x", "size": 1, "sha256": "abc"}]}, "invalid_manifest"),
        ({"files": [{"name": "x"}]}, "invalid_manifest"),
        ({"chunk_size": 300_000}, "invalid_manifest"),
        ({"chunk_size": 131_072}, "invalid_manifest"),
        ({"files": [{"name": "x", "size": 0}]}, "empty_upload"),
        ({"service_level": "yesterday"}, "invalid_manifest"),
    ],
)
def test_it_refuses_a_manifest_that_cannot_be_used(hand_in: HandIn, fields: dict[str, Any], expected: str) -> None:
    response = hand_in.open(**fields)
    assert response.status_code == 400
    assert code(response) == expected
    assert not Upload.objects.exists()


def test_it_refuses_more_than_one_upload_may_hold(hand_in: HandIn, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 1000
    response = hand_in.open()
    assert (response.status_code, code(response)) == (413, "too_large")


def test_it_refuses_before_the_disk_is_full(hand_in: HandIn, settings: Any) -> None:
    settings.DISK_RESERVE_BYTES = 10**18
    response = hand_in.open()
    assert (response.status_code, code(response)) == (507, "no_space")


def test_it_gives_room_that_was_promised_to_others_to_nobody_else(
    hand_in: HandIn, settings: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("uploads.pipeline.intake.free_bytes", lambda: len(hand_in.pack) + 1000)
    assert hand_in.open().status_code == 201
    assert code(hand_in.open()) == "no_space"


def test_it_answers_the_same_upload_for_the_same_key(hand_in: HandIn) -> None:
    first = hand_in.open(key="k1").json()["id"]
    again = hand_in.open(key="k1")
    assert (again.status_code, again.json()["id"]) == (200, first)
    other = hand_in.open(key="k1", clinical_history="another body")
    assert (other.status_code, code(other)) == (409, "idempotency_conflict")


def test_it_asks_for_the_clinic_of_somebody_who_works_for_two() -> None:
    user = factories.person(Role.RADIOGRAPHER)
    second = factories.ClinicFactory.create()
    factories.MembershipFactory.create(user=user, clinic=second, role=Role.RADIOGRAPHER)
    hand_in = HandIn(user, {"a": b"x"})
    assert code(hand_in.open()) == "clinic_required"
    assert hand_in.open(clinic=str(second.pk)).status_code == 201
    assert hand_in.open(clinic=second.name).status_code == 201


@pytest.mark.parametrize("role", [Role.RADIOLOGIST])
def test_it_takes_nothing_from_a_radiologist(role: Role) -> None:
    response = HandIn(factories.person(role), {"a": b"x"}).open()
    assert (response.status_code, code(response)) == (403, "forbidden")


def test_it_takes_nothing_for_another_clinic(hand_in: HandIn) -> None:
    response = hand_in.open(clinic=str(factories.ClinicFactory.create().pk))
    assert (response.status_code, code(response)) == (403, "forbidden")


def test_it_asks_a_stranger_to_log_in() -> None:
    response = Client().post(API, {}, content_type="application/json")
    assert (response.status_code, code(response)) == (401, "not_authenticated")
    put = Client().put(f"{API}/{uuid.uuid4()}/chunks/0", b"x", content_type="application/octet-stream")
    assert (put.status_code, code(put)) == (401, "not_authenticated")


def test_it_tells_of_a_study_handed_in_before(hand_in: HandIn) -> None:
    clinic = hand_in_clinic(hand_in)
    earlier = factories.UploadFactory.create(clinic=clinic, state="verified")
    study = factories.StudyFactory.create(upload=earlier, study_instance_uid="1.2.3")
    instance = factories.InstanceFactory.create(study=study, upload=earlier, sop_instance_uid="1.2.3.4")

    def declared(*uids: str) -> list[dict[str, Any]]:
        return [{"study_instance_uid": "1.2.3", "instances": [{"sop_instance_uid": uid} for uid in uids]}]

    same = hand_in.open(studies=declared(instance.sop_instance_uid))
    assert (same.status_code, code(same)) == (409, "duplicate_study")
    assert (same.json()["upload_id"], same.json()["kind"]) == (str(earlier.pk), "same")
    assert hand_in.open(studies=declared("1.2.3.4", "9.9")).json()["kind"] == "partial"
    assert hand_in.open(studies=declared("9.9")).json()["kind"] == "different"
    assert hand_in.open(studies=declared("1.2.3.4"), allow_duplicate=True).status_code == 201


def hand_in_clinic(hand_in: HandIn) -> Any:
    user_id = hand_in.client.session["_auth_user_id"]
    return User.objects.get(pk=user_id).memberships.get().clinic


# --- Chunks ----------------------------------------------------------------------------------------


def test_it_takes_chunks_in_any_order_and_again(hand_in: HandIn) -> None:
    hand_in.open()
    assert [hand_in.put(index).status_code for index in (2, 0, 2, 1, 0)] == [204] * 5
    assert hand_in.truth()["progress"] == {
        "received_bytes": len(hand_in.pack),
        "total_size": len(hand_in.pack),
        "missing": [],
    }
    assert pack_of(hand_in.upload.pk).path.read_bytes() == hand_in.pack


def test_it_names_what_is_missing(hand_in: HandIn) -> None:
    hand_in.open()
    hand_in.put(1)
    assert hand_in.truth()["progress"]["missing"] == [[0, 0], [2, 2]]
    response = hand_in.complete()
    assert (response.status_code, code(response)) == (409, "chunks_missing")
    assert response.json()["missing"] == [[0, 0], [2, 2]]


def test_it_never_overwrites_an_acknowledged_chunk(hand_in: HandIn) -> None:
    hand_in.open()
    hand_in.put(0)
    before = pack_of(hand_in.upload.pk).path.read_bytes()
    response = hand_in.put(0, os.urandom(KIB256))
    assert (response.status_code, code(response)) == (409, "chunk_conflict")
    assert pack_of(hand_in.upload.pk).path.read_bytes() == before


def test_it_refuses_a_damaged_chunk_and_takes_it_when_whole(hand_in: HandIn) -> None:
    hand_in.open()
    response = hand_in.put(0, digest=content_digest(b"something else"))
    assert (response.status_code, code(response)) == (400, "digest_mismatch")
    assert not Chunk.objects.exists()
    assert hand_in.put(0).status_code == 204


@pytest.mark.parametrize("digest", ["", "md5=:AAAA:", "sha-256=:AAAA:", "sha-256=:%%%:"])
def test_it_needs_a_digest(hand_in: HandIn, digest: str) -> None:
    hand_in.open()
    response = hand_in.put(0, digest=digest)
    assert (response.status_code, code(response)) == (400, "digest_required")


@pytest.mark.parametrize(("index", "size"), [(0, KIB256 - 1), (0, KIB256 + 1), (2, KIB256), (2, 1)])
def test_it_refuses_a_chunk_of_another_length(hand_in: HandIn, index: int, size: int) -> None:
    hand_in.open()
    response = hand_in.put(index, os.urandom(size))
    assert (response.status_code, code(response)) == (400, "chunk_length")


def test_it_has_no_chunk_past_the_end(hand_in: HandIn) -> None:
    hand_in.open()
    response = hand_in.put(3, b"x")
    assert (response.status_code, code(response)) == (404, "no_such_chunk")


def test_it_lets_one_writer_at_a_time_have_a_chunk(hand_in: HandIn) -> None:
    hand_in.open()
    with pack_of(hand_in.upload.pk).open(write=True) as fd:
        lock_range(fd, 0, KIB256)
        response = hand_in.put(0)
        assert (response.status_code, code(response)) == (409, "chunk_busy")
        assert int(response["Retry-After"]) >= 1
        assert hand_in.put(1).status_code == 204
    assert hand_in.put(0).status_code == 204


def test_it_answers_507_when_the_disk_fills_up_and_goes_on_afterwards(hand_in: HandIn, monkeypatch: Any) -> None:
    hand_in.open()

    def full(fd: int, data: Any, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        response = hand_in.put(0)
    assert (response.status_code, code(response)) == (507, "no_space")
    assert hand_in.put(0).status_code == 204


def test_another_clinic_s_upload_is_not_there(hand_in: HandIn) -> None:
    hand_in.open()
    stranger = HandIn(factories.person(Role.RADIOGRAPHER), hand_in.files)
    stranger.id = hand_in.id
    answers = [
        stranger.put(0),
        stranger.complete(),
        stranger.client.get(stranger.url),
        stranger.client.delete(stranger.url),
        stranger.client.get(f"{stranger.url}/files"),
        stranger.client.get(f"{stranger.url}/receipt"),
        stranger.client.post(f"{stranger.url}/retry"),
        stranger.client.post(
            f"{stranger.url}/confirm",
            {"hold": str(uuid.uuid4()), "decision": "reject"},
            content_type="application/json",
        ),
        stranger.client.get(f"{stranger.url}/events"),
    ]
    assert [(answer.status_code, code(answer)) for answer in answers] == [(404, "not_found")] * len(answers)


def test_a_clinician_does_not_see_a_colleague_s_upload_and_a_radiographer_does(hand_in: HandIn) -> None:
    hand_in.open()
    clinic = hand_in_clinic(hand_in)
    colleague, radiographer = (factories.person(role, clinic) for role in (Role.CLINICIAN, Role.RADIOGRAPHER))
    for user, status in ((colleague, 404), (radiographer, 200)):
        client = Client()
        client.force_login(user)
        assert client.get(hand_in.url).status_code == status
        assert len(client.get(API).json()["results"]) == (1 if status == 200 else 0)


def test_a_radiologist_reads_and_changes_nothing(hand_in: HandIn) -> None:
    hand_in.open()
    client = Client()
    client.force_login(factories.person(Role.RADIOLOGIST, hand_in_clinic(hand_in)))
    assert client.get(hand_in.url).status_code == 200
    assert client.delete(hand_in.url).status_code == 403
    assert client.post(f"{hand_in.url}/complete", {}, content_type="application/json").status_code == 403


# --- Time ------------------------------------------------------------------------------------------


def test_it_takes_nothing_after_its_time(hand_in: HandIn) -> None:
    hand_in.open()
    Upload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    for response in (hand_in.put(0), hand_in.complete()):
        assert (response.status_code, code(response)) == (410, "expired")
    assert sweep.expire() == 1
    assert hand_in.truth()["state"] == "expired"
    assert (hand_in.put(0).status_code, code(hand_in.put(0))) == (410, "expired")


def test_each_chunk_gives_it_another_day_and_never_more_than_a_fortnight(hand_in: HandIn) -> None:
    hand_in.open()
    soon = timezone.now() + timedelta(minutes=1)
    Upload.objects.update(expires_at=soon)
    hand_in.put(0)
    assert hand_in.upload.expires_at > soon + timedelta(hours=23)
    opened = timezone.now() - timedelta(days=13, hours=12)
    Upload.objects.update(created_at=opened)
    hand_in.put(1)
    assert hand_in.upload.expires_at == opened + timedelta(days=14)


def test_retention_removes_what_was_given_up_and_nothing_that_waits(hand_in: HandIn) -> None:
    hand_in.open()
    waiting = HandIn(factories.person(Role.CLINICIAN), hand_in.files)
    waiting.open()
    assert hand_in.client.delete(hand_in.url).status_code == 204
    assert retention.retention() == 1
    assert not pack_of(hand_in.upload.pk).exists()
    assert pack_of(waiting.upload.pk).exists()


# --- Sealing ---------------------------------------------------------------------------------------


def test_it_seals_once_and_says_so_twice(hand_in: HandIn) -> None:
    hand_in.open()
    hand_in.send_all()
    assert [hand_in.complete().status_code for _ in range(2)] == [202, 202]
    assert hand_in.truth()["state"] == "assembling"
    assert hand_in.upload.transitions.filter(to_state="assembling").count() == 1
    late = hand_in.put(0)
    assert (late.status_code, code(late)) == (409, "wrong_state")


def test_it_refuses_a_file_digest_that_contradicts_the_first(hand_in: HandIn) -> None:
    hand_in.open()
    hand_in.send_all()
    response = hand_in.complete(files=[{"index": 0, "sha256": "0" * 64}])
    assert (response.status_code, code(response)) == (409, "digest_conflict")
    assert hand_in.truth()["state"] == "receiving"


def test_it_takes_the_digests_with_the_seal(hand_in: HandIn) -> None:
    bare = [{"name": name, "size": len(data)} for name, data in hand_in.files.items()]
    hand_in.open(files=bare)
    hand_in.send_all()
    assert hand_in.complete(files=[{"index": 0, "sha256": "A" * 64}]).status_code == 202
    assert hand_in.upload.files.get(index=0).declared_sha256 == "a" * 64


def test_cancelling_is_final(hand_in: HandIn) -> None:
    hand_in.open()
    assert [hand_in.client.delete(hand_in.url).status_code for _ in range(2)] == [204, 204]
    assert hand_in.truth()["state"] == "cancelled"
    for response in (hand_in.put(0), hand_in.complete(), hand_in.client.post(f"{hand_in.url}/retry")):
        assert (response.status_code, code(response)) == (409, "wrong_state")


# --- Power cuts ------------------------------------------------------------------------------------


def test_it_withdraws_what_a_power_cut_may_have_taken(hand_in: HandIn) -> None:
    hand_in.open()
    hand_in.put(0)
    durability.sync_all()
    hand_in.put(1)
    Chunk.objects.update(boot_id="the boot before the cut")
    assert durability.withdraw_all_lost() == 1
    assert hand_in.truth()["progress"] == {
        "received_bytes": KIB256,
        "total_size": len(hand_in.pack),
        "missing": [[1, 2]],
    }


def test_it_seals_nothing_that_a_power_cut_may_have_taken(hand_in: HandIn) -> None:
    hand_in.open()
    hand_in.send_all()
    Chunk.objects.filter(index=1).update(boot_id="the boot before the cut")
    response = hand_in.complete()
    assert (response.status_code, response.json()["missing"]) == (409, [[1, 1]])


def test_what_is_sealed_is_on_the_medium(hand_in: HandIn) -> None:
    hand_in.open()
    hand_in.send_all()
    hand_in.complete()
    assert not Chunk.objects.filter(synced=False).exists()


def test_it_syncs_within_a_group_s_worth_of_bytes(hand_in: HandIn, monkeypatch: Any) -> None:
    monkeypatch.setattr(durability, "GROUP_BYTES", KIB256)
    hand_in.open()
    hand_in.put(0)
    assert Chunk.objects.get().synced


# --- Lists -----------------------------------------------------------------------------------------


def test_it_pages_by_cursor_both_ways() -> None:
    user = factories.person(Role.RADIOGRAPHER)
    clinic = user.memberships.get().clinic
    factories.UploadFactory.create_batch(60, clinic=clinic, created_by=user)
    client = Client()
    client.force_login(user)
    pages = [client.get(API).json()]
    while pages[-1]["next"]:
        pages.append(client.get(API, {"cursor": pages[-1]["next"]}).json())
    ids = [row["id"] for page in pages for row in page["results"]]
    assert len(ids) == len(set(ids)) == 60
    back = client.get(API, {"cursor": pages[-1]["previous"]}).json()
    assert [row["id"] for row in back["results"]] == [row["id"] for row in pages[-2]["results"]]


def test_it_finds_by_name_id_uid_and_state() -> None:
    user = factories.person(Role.RADIOGRAPHER)
    clinic = user.memberships.get().clinic
    wanted = factories.UploadFactory.create(clinic=clinic, created_by=user, state="verified")
    factories.StudyFactory.create(
        upload=wanted,
        study_instance_uid="1.2.3.4",
        search_text=" ".join(selectors.search_words("McIntyre^Zoë PID-77 ACC99 CT Head")),
    )
    factories.UploadFactory.create(clinic=clinic, created_by=user, state="receiving")
    client = Client()
    client.force_login(user)
    for query in ("McIntyre", "zoë", "mcin zo", "pid-77", "ACC99", "1.2.3.4", str(wanted.pk)):
        rows = client.get(API, {"q": query}).json()["results"]
        assert [row["id"] for row in rows] == [str(wanted.pk)], query
    for query in ("nobody", "'; drop table", "& | !", "\\"):
        assert client.get(API, {"q": query}).json()["results"] == [], query
    assert len(client.get(API, {"state": "verified,held"}).json()["results"]) == 1
    bad = client.get(API, {"state": "lost"})
    assert (bad.status_code, code(bad)) == (400, "invalid_filter")
    assert code(client.get(API, {"cursor": "rubbish"})) == "invalid_cursor"


def test_a_list_costs_the_same_queries_for_one_upload_and_for_many(django_assert_max_num_queries: Any) -> None:
    user = factories.person(Role.RADIOGRAPHER)
    clinic = user.memberships.get().clinic
    for upload in factories.UploadFactory.create_batch(10, clinic=clinic, created_by=user, state="verified"):
        study = factories.StudyFactory.create(upload=upload)
        factories.DeliveryFactory.create(upload=upload, study=study)
    Upload.objects.update(received_bytes=connection_total())
    client = Client()
    client.force_login(user)
    with django_assert_max_num_queries(12):
        assert len(client.get(API).json()["results"]) == 10


def connection_total() -> Any:
    from django.db.models import F

    assert connection.vendor == "postgresql"
    return F("total_size")
