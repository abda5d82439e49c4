"""The short way of a chunk through Django keeps what the long way does: who is asked, what is refused, what is told."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.journeys.gateway import API, KIB256, Gateway, content_digest, open_upload, put

pytestmark = pytest.mark.integration

OCTETS = random.Random(7).randbytes(KIB256)
KEPT = ("content-security-policy", "cross-origin-opener-policy", "referrer-policy", "x-content-type-options")


@pytest.fixture
def upload(gateway: Gateway) -> str:
    with gateway.http() as http:
        return str(open_upload(http, {"IM1": OCTETS})["id"])


@contextmanager
def signed_in(gateway: Gateway) -> Iterator[httpx.Client]:
    """A person's browser, with the session's cookie."""
    username, password = gateway.stack.accounts["radiographer"]
    with httpx.Client(base_url=gateway.stack.base_url, timeout=60) as browser:
        browser.get("/accounts/login/", follow_redirects=True)
        form = {"username": username, "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post("/accounts/login/", data=form)
        assert "sessionid" in browser.cookies
        yield browser


def told(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, str(answer.json()["code"])


def test_a_page_s_chunk_needs_the_token_of_its_session(gateway: Gateway, upload: str) -> None:
    path, headers = f"{API}/uploads/{upload}/chunks/0", {"Content-Digest": content_digest(OCTETS)}
    with signed_in(gateway) as browser:
        assert told(browser.put(path, content=OCTETS, headers=headers)) == (403, "forbidden")
        token = {"X-CSRFToken": browser.cookies["csrftoken"]}
        assert browser.put(path, content=OCTETS, headers=headers | token).status_code == 204
        browser.post("/accounts/logout/", data={"csrfmiddlewaretoken": browser.cookies["csrftoken"]})
        assert told(browser.put(path, content=OCTETS, headers=headers | token)) == (401, "not_authenticated")


def test_a_session_that_is_not_ours_is_nobody_s(gateway: Gateway, upload: str) -> None:
    with httpx.Client(base_url=gateway.stack.base_url, cookies={"sessionid": "x" * 32}) as stranger:
        answer = stranger.put(f"{API}/uploads/{upload}/chunks/0", content=OCTETS)
    assert told(answer) == (401, "not_authenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_it_answers_with_the_heads_of_every_other_answer(gateway: Gateway, upload: str) -> None:
    with gateway.http() as http:
        http.headers["X-Request-ID"] = "given-by-a-proxy"
        answers = [http.get(f"/uploads/{upload}"), put(http, upload, 0, OCTETS), put(http, upload, 9, OCTETS)]
    assert [answer.status_code for answer in answers] == [200, 204, 404]
    assert {answer.headers["x-request-id"] for answer in answers} == {"given-by-a-proxy"}
    assert {answer.headers["x-frame-options"] for answer in answers} == {"DENY"}
    assert [name for name in KEPT for answer in answers if name not in answer.headers] == []


def test_a_host_that_is_not_ours_and_an_address_that_is_not_there_are_told_so(gateway: Gateway, upload: str) -> None:
    with gateway.http() as http:
        path = f"/uploads/{upload}/chunks/0"
        assert told(http.put(path, content=b"x", headers={"Host": "evil.example"})) == (400, "bad_request")
        assert told(http.put(f"/uploads/{upload}/chunks/x", content=b"x")) == (404, "not_found")
        assert told(http.put("/uploads/x/chunks/0", content=b"x")) == (404, "not_found")
        assert told(http.post(path, content=b"x")) == (405, "method_not_allowed")


def test_its_answers_are_counted_by_status(gateway: Gateway, upload: str) -> None:
    def counted() -> float:
        lines = httpx.get(f"{gateway.stack.base_url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith('http_requests_total{status="204"'))

    before = counted()
    with gateway.http() as http:
        assert put(http, upload, 0, OCTETS).status_code == 204
    assert counted() >= before + 1


def test_chunks_that_come_side_by_side_are_all_counted(gateway: Gateway) -> None:
    octets = random.Random(8).randbytes(48 * KIB256 - 5)
    with gateway.http() as http, ThreadPoolExecutor(16) as pool:
        upload = open_upload(http, {"IM1": octets})["id"]
        pieces = [octets[at : at + KIB256] for at in range(0, len(octets), KIB256)]
        answers = list(pool.map(lambda index: put(http, upload, index, pieces[index]), range(len(pieces))))
        assert {answer.status_code for answer in answers} == {204}
        progress = http.get(f"/uploads/{upload}").json()["progress"]
    assert progress == {"received_bytes": len(octets), "total_size": len(octets), "missing": []}
    assert gateway.pack(upload).read_bytes() == octets
