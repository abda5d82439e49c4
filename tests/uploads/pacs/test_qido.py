"""A DICOMweb service is asked what it has; some say it in pages, some in part, some not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.peers import silent_listener
from tests.uploads.pacs.packs import CT, QUICK
from tests.uploads.pacs.webpeers import at
from tests.webstub import Request, Stub, reply, web_stub
from uploads.pacs.dimse import Kind, PeerError, PeerTimeout
from uploads.pacs.errors import FindUnsupported, QueryRefused
from uploads.pacs.find import FindLimited
from uploads.pacs.qido import find_instances

pytestmark = pytest.mark.integration

STUDY, SERIES = "1.2.3", "1.2.3.4"
UIDS = [f"1.2.3.4.{number}" for number in range(1, 41)]


def query(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.target).query)


def named(uids: Iterable[str], **more: object) -> bytes:
    found = [{"00080018": {"vr": "UI", "Value": [uid]}, **more} for uid in uids]
    return reply(200, json.dumps(found).encode(), content_type="application/dicom+json")


def matching(request: Request) -> list[str]:
    """What a faithful service would list."""
    asked = query(request).get("00080018")
    listed = asked[0].split(",") if asked else UIDS
    return [uid for uid in UIDS if uid in listed]


def asked_of(stub: Stub) -> list[list[str]]:
    """The UIDs of each query by UID."""
    return [query(request)["00080018"][0].split(",") for request in stub.requests if "00080018" in query(request)]


def test_it_asks_for_one_series_and_for_what_tells_instances_apart() -> None:
    with web_stub(lambda _: named(UIDS[:1])) as stub:
        find_instances(at(stub.port), STUDY, [SERIES], expected={SERIES: UIDS[:1]})
    (request,) = stub.requests
    assert urlsplit(request.target).path == f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances"
    assert query(request) == {
        "limit": ["500"],
        "offset": ["0"],
        "includefield": ["00080016", "00280008", "00280010", "00280011"],
    }
    assert request.headers["accept"] == "application/dicom+json"


def test_it_reads_what_the_answer_says() -> None:
    more = {
        "00080016": {"vr": "UI", "Value": [CT]},
        "0020000d": {"vr": "UI", "Value": ["1.2.9"]},
        "0020000E": {"vr": "UI", "value": ["1.2.9.9"]},
        "00280008": {"vr": "IS", "Value": ["12"]},
        "00280010": {"vr": "US", "Value": [512]},
        "00280011": {"vr": "US"},
    }
    with web_stub(lambda _: named(UIDS[:1], **more)) as stub:
        found = find_instances(at(stub.port), STUDY, [SERIES])
    one = found[UIDS[0]]
    assert (one.sop_class_uid, one.study_instance_uid, one.series_instance_uid) == (CT, "1.2.9", "1.2.9.9")
    assert (one.number_of_frames, one.rows, one.columns) == (12, 512, None)


@pytest.mark.parametrize("most", [1, 7, 40])
def test_pages_are_turned_until_nothing_new_comes(most: int) -> None:
    def answer(request: Request) -> bytes:
        offset = int(query(request)["offset"][0])
        return named(UIDS[offset : offset + most]) if UIDS[offset:] else reply(204)

    with web_stub(answer) as stub:
        found = find_instances(at(stub.port), STUDY, [SERIES])
    assert list(found) == UIDS
    assert len(stub.requests) == -(-40 // most) + 1
    assert stub.connections == 1


def test_a_service_that_knows_no_pages_is_not_asked_for_ever() -> None:
    with web_stub(lambda _: named(UIDS)) as stub:
        assert list(find_instances(at(stub.port), STUDY, [SERIES])) == UIDS
    assert len(stub.requests) == 2


def test_all_that_is_expected_on_the_first_page_ends_the_asking() -> None:
    with web_stub(lambda _: named(UIDS)) as stub:
        find_instances(at(stub.port), STUDY, [SERIES], expected={SERIES: UIDS})
    assert len(stub.requests) == 1


@pytest.mark.parametrize("most", [1, 5])
@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.clinical
def test_what_a_short_list_left_out_is_asked_for_by_name(most: int, lists: bool) -> None:
    def answer(request: Request) -> bytes:
        by_list = "," in query(request).get("00080018", [""])[0]
        return named([] if by_list and not lists else matching(request)[:most])

    with web_stub(answer) as stub:
        found = find_instances(at(stub.port), STUDY, [SERIES], expected={SERIES: ["1.9.1", *UIDS, "1.9.2"]})
    assert set(found) == set(UIDS)
    assert {("1.9.1",), ("1.9.2",)} <= {tuple(uids) for uids in asked_of(stub)}
    assert all(len(uids) <= 32 for uids in asked_of(stub))


@pytest.mark.clinical
def test_what_no_list_names_is_asked_for_alone() -> None:
    absent = [f"1.9.{number}" for number in range(64)]
    with web_stub(lambda request: named(matching(request))) as stub:
        assert find_instances(at(stub.port), STUDY, [SERIES], expected={SERIES: absent}).keys() == set(UIDS)
    assert len(asked_of(stub)) == 2 + 64
    assert stub.connections == 1


def test_that_a_series_is_empty_is_found_out_with_one_more_question() -> None:
    with web_stub(lambda _: reply(204)) as stub:
        assert find_instances(at(stub.port), STUDY, [SERIES], expected={SERIES: UIDS}) == {}
    assert asked_of(stub) == [UIDS[:1]]


@pytest.mark.clinical
def test_where_names_are_not_matched_absence_is_not_proven() -> None:
    with web_stub(lambda _: named(UIDS[:3])) as stub, pytest.raises(FindLimited) as caught:
        find_instances(at(stub.port), STUDY, [SERIES], expected={SERIES: [*UIDS[:3], "1.9"]})
    assert set(caught.value.found) == set(UIDS[:3])


@pytest.mark.parametrize("octets", [reply(204), reply(404), reply(200), reply(200, b"[]")])
def test_nothing_there(octets: bytes) -> None:
    with web_stub(lambda _: octets) as stub:
        assert find_instances(at(stub.port), STUDY, [SERIES], expected={SERIES: UIDS[:1]}) == {}


@pytest.mark.parametrize("status", [405, 406, 415, 501])
def test_a_service_without_queries_is_told_apart(status: int) -> None:
    with web_stub(lambda _: reply(status)) as stub, pytest.raises(FindUnsupported):
        find_instances(at(stub.port), STUDY, [SERIES])


def test_a_service_that_knows_no_optional_parameters_is_asked_without() -> None:
    def answer(request: Request) -> bytes:
        return reply(400) if "limit" in query(request) or "includefield" in query(request) else named(matching(request))

    with web_stub(answer) as stub:
        assert set(find_instances(at(stub.port), STUDY, [SERIES])) == set(UIDS)
        assert len(stub.requests) == 2
        assert set(find_instances(at(stub.port), STUDY, [SERIES], expected={SERIES: [*UIDS, "1.9"]})) == set(UIDS)


def test_a_service_that_takes_no_long_addresses_is_asked_one_by_one() -> None:
    def answer(request: Request) -> bytes:
        if "," in query(request).get("00080018", [""])[0]:
            return reply(414)
        return named(matching(request)[:1])

    with web_stub(answer) as stub:
        assert set(find_instances(at(stub.port), STUDY, [SERIES], expected={SERIES: ["1.9", *UIDS]})) == set(UIDS)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "find_failed", Kind.RETRY),
        (401, "not_authorised", Kind.PAUSE),
        (403, "not_authorised", Kind.PAUSE),
        (302, "redirected", Kind.PAUSE),
        (500, "find_failed", Kind.RETRY),
        (503, "peer_busy", Kind.RETRY),
    ],
)
def test_a_refusal_is_an_error_and_no_absence(status: int, code: str, kind: Kind) -> None:
    with web_stub(lambda _: reply(status, retry_after="7")) as stub, pytest.raises(PeerError) as caught:
        find_instances(at(stub.port), STUDY, [SERIES])
    assert (caught.value.code, caught.value.kind) == (code, kind)
    assert caught.value.retry_after == (7 if status == 503 else None)
    assert isinstance(caught.value, QueryRefused) == (code == "find_failed")


@pytest.mark.parametrize("body", [b"<xml/>", b"[7]", b"[" * 100_000, b'{"00080018"'])
def test_an_unreadable_answer_is_an_error_and_no_absence(body: bytes) -> None:
    with web_stub(lambda _: reply(200, body)) as stub, pytest.raises(PeerError) as caught:
        find_instances(at(stub.port), STUDY, [SERIES])
    assert caught.value.code == "find_unreadable"


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    served = []

    def answer(request: Request) -> bytes | None:
        served.append(request)
        return None if len(served) == 2 else named(matching(request)[:1])

    with web_stub(answer) as stub:
        assert set(find_instances(at(stub.port), STUDY, [SERIES])) == {UIDS[0]}
    assert stub.connections == 2


def test_a_service_that_hangs_up_twice_is_an_error() -> None:
    with web_stub(lambda _: None) as stub, pytest.raises(PeerError) as caught:
        find_instances(at(stub.port), STUDY, [SERIES])
    assert caught.value.code == "connection_lost"
    assert stub.connections == 1


def test_a_silent_service_frees_the_worker() -> None:
    with silent_listener() as port, pytest.raises(PeerTimeout):
        find_instances(at(port), STUDY, [SERIES], deadlines=QUICK)


def chunked(pieces: list[bytes]) -> Callable[[Request], bytes]:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def test_an_answer_in_chunks_is_read() -> None:
    body = json.dumps([{"00080018": {"Value": [uid]}} for uid in UIDS]).encode()
    with web_stub(chunked([body[:7], body[7:]])) as stub:
        assert set(find_instances(at(stub.port), STUDY, [SERIES])) == set(UIDS)
    assert stub.connections == 1
