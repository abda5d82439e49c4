"""The API against clumsy and hostile requests: every answer is a problem document, and none is our fault."""

import base64
import json
import os
import uuid
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Role
from relaypacs.errors import WrongState
from tests import factories
from tests.handin import API, KIB256, HandIn, content_digest
from uploads import selectors
from uploads.models import Upload
from uploads.pipeline import intake

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

GOOD = b'{"files":[{"name":"x","size":1}]}'


@pytest.fixture
def hand_in() -> HandIn:
    """An opened upload of one chunk; a crash is an answer here, not an exception."""
    hand_in = HandIn(factories.person(Role.RADIOGRAPHER), {"a": os.urandom(1000)})
    hand_in.client.raise_request_exception = False
    hand_in.open()
    return hand_in


def told(response: Any) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json", response.content
    return response.status_code, str(response.json()["code"])


def cursor(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"files":' * 50_000, b"\xff{}", b"{", b'{"files":NaN}'])
def test_a_body_that_is_no_json_is_told_so(hand_in: HandIn, body: bytes) -> None:
    assert told(hand_in.client.post(API, body, content_type="application/json")) == (400, "invalid_json")


@pytest.mark.parametrize("body", [b"[]", b"[1]", b'"x"', b"7", b"null", b'{"files":{"name":"x"}}', b""])
def test_a_manifest_that_is_no_object_is_told_so(hand_in: HandIn, body: bytes) -> None:
    assert told(hand_in.client.post(API, body, content_type="application/json")) == (400, "invalid_manifest")


def test_a_manifest_beyond_the_limit_is_refused_unread(hand_in: HandIn) -> None:
    body = b'{"files":[{"name":"' + b"x" * (16 * 1024**2) + b'","size":1}]}'
    assert told(hand_in.client.post(API, body, content_type="application/json")) == (413, "too_large")


@pytest.mark.parametrize("key", ["a\0b", "k" * 201])
def test_an_idempotency_key_that_cannot_be_kept_is_told_so(hand_in: HandIn, key: str) -> None:
    response = hand_in.client.post(API, GOOD, content_type="application/json", headers={"Idempotency-Key": key})
    assert told(response) == (400, "invalid_manifest")


@pytest.mark.parametrize(
    "wrong",
    [
        cursor(["n", "2020-01-01T00:00:00+00:00", 5]),
        cursor(["n", "2020-01-01T00:00:00", str(uuid.UUID(int=7))]),
        cursor(["n", "2020-99-01T00:00:00+00:00", "x"]),
        cursor([[], "2020-01-01T00:00:00+00:00", "x"]),
        base64.urlsafe_b64encode(b"[" * 50_000).decode(),
        "²",
    ],
)
def test_a_cursor_that_we_did_not_make_is_told_so(hand_in: HandIn, wrong: str) -> None:
    assert told(hand_in.client.get(API, {"cursor": wrong})) == (400, "invalid_cursor")


@pytest.mark.parametrize("wrong", ["²", "9" * 5000, "9" * 12, "-1", "x", "\0"])
def test_a_file_cursor_that_we_did_not_make_is_told_so(hand_in: HandIn, wrong: str) -> None:
    assert told(hand_in.client.get(f"{hand_in.url}/files", {"cursor": wrong})) == (400, "invalid_cursor")


@pytest.mark.parametrize("files", [["²"], [{}], [[1]], ["a\0"], [10**30], [None], [True], []])
def test_files_to_leave_out_that_are_not_there_are_told_so(hand_in: HandIn, files: list[Any]) -> None:
    clinic = hand_in.upload.clinic
    upload = factories.UploadFactory.create(state="held", clinic=clinic)
    factories.UploadFileFactory.create(upload=upload)
    factories.UploadFileFactory.create(upload=upload)
    hold = factories.HoldFactory.create(upload=upload)
    body = json.dumps({"hold": str(hold.pk), "decision": "exclude", "files": files})
    response = hand_in.client.post(f"{API}/{upload.pk}/confirm", body, content_type="application/json")
    assert told(response) == (400, "decision_invalid")
    assert not upload.files.filter(status="excluded").exists()


def test_a_content_length_in_other_digits_is_none(hand_in: HandIn) -> None:
    response = hand_in.client.put(
        f"{hand_in.url}/chunks/0",
        b"x",
        content_type="application/octet-stream",
        headers={"Content-Digest": content_digest(b"x")},
        CONTENT_LENGTH="²",
    )
    assert told(response) == (411, "length_required")


@pytest.mark.parametrize(("method", "path", "allowed"), [("get", "chunks/0", "PUT"), ("post", "events", "GET")])
def test_a_method_that_is_not_answered_is_told_with_those_that_are(
    hand_in: HandIn, method: str, path: str, allowed: str
) -> None:
    response = getattr(hand_in.client, method)(f"{hand_in.url}/{path}")
    assert told(response) == (405, "method_not_allowed")
    assert response["Allow"] == allowed


@pytest.mark.parametrize("accept", ["application/pdf", "application/problem+json", "text/html"])
def test_what_is_there_is_answered_whatever_the_client_would_like_best(hand_in: HandIn, accept: str) -> None:
    response = hand_in.client.get(f"{hand_in.url}/receipt", headers={"Accept": accept})
    assert told(response) == (409, "not_ready")
    assert hand_in.client.get(hand_in.url, headers={"Accept": accept}).status_code == 200


def test_a_host_that_is_not_ours_is_told_in_the_api_s_words(hand_in: HandIn) -> None:
    assert told(hand_in.client.get(API, headers={"Host": "evil.example"})) == (400, "bad_request")


@pytest.mark.parametrize("path", ["", "/files", "/events", "/receipt"])
def test_a_token_that_is_not_ours_is_told_apart_from_none(hand_in: HandIn, path: str) -> None:
    url = hand_in.url + path
    assert told(Client().get(url)) == (401, "not_authenticated")
    assert told(Client().get(url, headers={"Authorization": "Bearer x"})) == (401, "token_invalid")


def test_a_chunk_with_a_token_that_is_not_ours_is_told_so(hand_in: HandIn) -> None:
    response = Client().put(f"{hand_in.url}/chunks/0", headers={"Authorization": "Bearer x"})
    assert told(response) == (401, "token_invalid")
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/api/v1/nothing", f"{API}/not-a-uuid", f"{API}/", "/api/v2", "/api"])
def test_an_address_of_the_api_that_is_not_there_is_told_so(path: str) -> None:
    assert told(Client().get(path)) == (404, "not_found")


def test_a_database_that_is_away_is_told_with_a_time_to_come_back(
    hand_in: HandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(selectors, "get_visible", away)
    for path in ("", "/files", "/events"):
        response = hand_in.client.get(hand_in.url + path)
        assert told(response) == (503, "database_unavailable")
        assert int(response["Retry-After"]) >= 1


def test_a_list_of_half_received_uploads_costs_the_same_for_one_and_for_many() -> None:
    user = factories.person(Role.RADIOGRAPHER)
    clinic = user.memberships.get().clinic
    client = Client()
    client.force_login(user)

    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(API).status_code == 200
        return len(queries)

    def half_received() -> None:
        upload = factories.UploadFactory.create(
            clinic=clinic, created_by=user, total_size=5 * KIB256, chunk_size=KIB256, received_bytes=2 * KIB256
        )
        factories.ChunkFactory.create(upload=upload, index=1)
        factories.ChunkFactory.create(upload=upload, index=3)

    half_received()
    one = cost()
    for _ in range(5):
        half_received()
    assert cost() == one
    rows = client.get(API).json()["results"]
    assert [row["progress"]["missing"] for row in rows] == [[[0, 0], [2, 2], [4, 4]]] * 6


@pytest.mark.parametrize(
    ("here", "missing"),
    [
        ([], [[0, 4]]),
        ([0, 1, 2, 3, 4], []),
        ([0], [[1, 4]]),
        ([4], [[0, 3]]),
        ([0, 4], [[1, 3]]),
        ([1, 2, 3], [[0, 0], [4, 4]]),
    ],
)
def test_missing_chunks_are_named_as_ranges(here: list[int], missing: list[list[int]]) -> None:
    upload = factories.UploadFactory.create(total_size=5 * KIB256, chunk_size=KIB256)
    for index in here:
        factories.ChunkFactory.create(upload=upload, index=index)
    Upload.objects.filter(pk=upload.pk).update(received_bytes=len(here) * KIB256)
    upload.refresh_from_db()
    assert selectors.missing_chunks(upload) == missing


def test_a_digest_is_taken_or_refused_as_one_with_the_seal(hand_in: HandIn) -> None:
    bare = HandIn(factories.person(Role.CLINICIAN), {"a": b"x" * 1000})
    bare.open(files=[{"name": "a", "size": 1000}])
    bare.send_all()
    stale = bare.upload
    intake.complete(bare.upload, [{"index": 0, "sha256": "a" * 64}])
    intake.complete(stale, [{"index": 0, "sha256": "b" * 64}])
    assert bare.upload.files.get().declared_sha256 == "a" * 64


def test_sealing_what_was_cancelled_meanwhile_is_told_so(hand_in: HandIn) -> None:
    hand_in.send_all()
    stale = hand_in.upload
    hand_in.client.delete(hand_in.url)
    with pytest.raises(WrongState):
        intake.complete(stale)
