"""A DICOMweb service is tested: whether it stores, answers queries, gives images back, and lets us in."""

import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file

from tests.peers import free_port, silent_listener
from tests.uploads.pacs.webpeers import web_orthanc
from tests.webstub import Request, reply, web_stub
from uploads.pacs.address import WebPeer
from uploads.pacs.probe import probe, probe_asking
from uploads.pacs.probed import Probe, Subject
from uploads.pacs.security import Basic

pytestmark = pytest.mark.integration

USERS: dict[str, Any] = {"AuthenticationEnabled": True, "RegisteredUsers": {"relay": "right"}}


def told(found: Probe) -> dict[str, bool | None]:
    return {one.subject.value: one.ok for one in found}


def answers(statuses: Mapping[str, int], body: bytes = b"[]") -> Callable[[Request], bytes]:
    return lambda request: reply(statuses.get(request.method, 200), body, Content_Type="application/dicom+json")


class TestOrthanc:
    def test_it_stores_answers_and_gives_back(self, tmp_path: Path) -> None:
        with web_orthanc(tmp_path) as (server, peer):
            empty = probe(peer, [])
            _post(server.http_port, Path(str(get_testdata_file("CT_small.dcm"))).read_bytes())
            filled = probe(peer, [])
            kept = server.instances()
        assert told(empty) == {"connect": True, "stow": True, "qido": True, "wado": None}
        assert told(filled) == {"connect": True, "stow": True, "qido": True, "wado": True}
        assert (filled.ok, filled.query, filled.fetch, filled.commitment) == (True, "qido", ["wado"], False)
        assert len(kept) == 1

    def test_a_wrong_sign_in_is_told(self, tmp_path: Path) -> None:
        with web_orthanc(tmp_path, **USERS) as (_, peer):
            found = {
                name: probe(replace(peer, credentials=credentials), [])
                for name, credentials in (
                    ("none", None),
                    ("wrong", Basic("relay", "wrong")),
                    ("right", Basic("relay", "right")),
                )
            }
        for name, sentence in (("none", "It wants a sign-in."), ("wrong", "It does not take our sign-in.")):
            refused = found[name].of(Subject.CREDENTIALS)
            assert refused is not None
            assert (refused.ok, refused.detail) == (False, f"{sentence} It answered 401.")
            assert not found[name].ok
        assert told(found["right"]) == {"connect": True, "stow": True, "qido": True, "wado": None, "credentials": True}

    def test_an_address_that_leads_elsewhere_is_no_service(self, tmp_path: Path) -> None:
        with web_orthanc(tmp_path) as (_, peer):
            found = probe(replace(peer, path="/elsewhere"), [])
        assert told(found) == {"connect": True, "stow": False, "qido": False}
        assert found.findings[1].code == "http_404"


def _post(port: int, octets: bytes) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/instances", octets, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("status", "ok"), [(200, True), (400, True), (409, True), (404, False), (405, False), (502, False)]
)
def test_an_empty_store_request_tells_whether_anybody_stores(status: int, ok: bool) -> None:
    with web_stub(answers({"POST": status})) as stub:
        found = probe(WebPeer("127.0.0.1", stub.port, ""), [])
    assert told(found)["stow"] is ok
    assert f"It answered {status}." in found.findings[1].detail
    [posted] = [request for request in stub.requests if request.method == "POST"]
    assert posted.target == "/studies"
    assert posted.body == b"--relaypacs-nothing--\r\n"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[" * 60_000, b"\xff"])
def test_what_is_no_dicom_json_answers_no_query(body: bytes) -> None:
    with web_stub(answers({}, body)) as stub:
        found = probe(WebPeer("127.0.0.1", stub.port, ""), [])
    assert found.query is None


@pytest.mark.parametrize("uid", ["../../admin", "1.2%2F3", ""])
def test_names_it_lists_never_lead_elsewhere(uid: str) -> None:
    listed = f'[{{"0020000D": {{"Value": ["{uid}"]}}, "0020000E": {{"Value": ["1"]}}, "00080018": {{"Value": ["1"]}}}}]'
    with web_stub(answers({}, listed.encode())) as stub:
        found = probe(WebPeer("127.0.0.1", stub.port, ""), [])
    assert told(found)["wado"] is None
    assert {request.target for request in stub.requests} == {"/studies", "/studies?limit=1", "/instances?limit=1"}


def test_a_door_for_asking_is_not_asked_to_store() -> None:
    with web_stub(answers({})) as stub:
        found = probe_asking(WebPeer("127.0.0.1", stub.port, "/dicom-web"))
    assert told(found) == {"connect": True, "qido": True, "wado": None}
    assert {request.method for request in stub.requests} == {"GET"}


@pytest.mark.long
def test_nobody_and_a_silent_one_are_findings_in_time() -> None:
    gone = probe(WebPeer("127.0.0.1", free_port(), ""), [])
    assert [(one.subject, one.code) for one in gone] == [(Subject.CONNECT, "connection_refused")]
    began = time.monotonic()
    with silent_listener() as port:
        silent = probe(WebPeer("127.0.0.1", port, ""), [])
    assert told(silent) == {"connect": True, "stow": None, "qido": None}
    assert time.monotonic() - began < 60
