"""A batch of instances meets a DICOMweb service that answers one thing or another."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.peers import data_set_of
from tests.uploads.pacs.packs import CT, Sample, Slice, ct_series, pack_of
from tests.uploads.pacs.webpeers import (
    at,
    constantly,
    put,
    room_for,
    says_too_large_at_once,
    stores_all,
)
from tests.webstub import Request, reply, stored_and_failed, web_stub
from uploads.pacs.dimse import (
    Item,
    Kind,
    PeerError,
)
from uploads.pacs.stow import cut

pytestmark = pytest.mark.integration

S, U, R = Kind.STORED, Kind.UNKNOWN, Kind.RETRY


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return ct_series(4)


@pytest.fixture
def items(samples: list[Sample], tmp_path: Path) -> list[Item]:
    return pack_of(samples, tmp_path / "pack")


def test_what_is_sent_is_a_file_around_the_data_set_as_it_is(samples: list[Sample], items: list[Item]) -> None:
    with web_stub(stores_all) as stub:
        ledger = put(at(stub.port), items)
    (request,) = stub.requests
    assert ledger.kinds() == [S] * 4
    assert ledger.events[:5] == [*((key, "sending") for key in range(4)), (0, "stored")]
    assert (request.method, request.target) == ("POST", "/dicom-web/studies")
    assert request.headers["accept"] == "application/dicom+json"
    assert request.headers["host"] == f"127.0.0.1:{stub.port}"
    assert "transfer-encoding" not in request.headers
    assert request.uids() == [sample.sop_instance_uid for sample in samples]
    assert request.data_sets() == [data_set_of(sample.file) for sample in samples]
    assert all(part.startswith(bytes(128) + b"DICM") for part in request.parts())


def test_an_instance_larger_than_the_buffer_arrives_whole(tmp_path: Path) -> None:
    (sample,) = ct_series(1, octets=5_000_000)
    with web_stub(stores_all) as stub:
        ledger = put(at(stub.port), pack_of([sample], tmp_path / "pack"), batch_bytes=1)
    assert ledger.kinds() == [S]
    assert stub.requests[0].data_sets() == [data_set_of(sample.file)]
    assert len(stub.requests[0].data_sets()[0]) > 4_000_000


def test_a_pack_that_only_reads_is_sent_all_the_same(items: list[Item]) -> None:
    source = Slice(items[0].source.fileno(), items[0].source.offset, items[0].source.size, plain=False)
    hidden = Item("hidden", CT, items[0].sop_instance_uid, items[0].transfer_syntax_uid, source)
    with web_stub(stores_all) as stub:
        put(at(stub.port), [hidden])
        put(at(stub.port), items[:1])
    assert stub.requests[0].parts() == stub.requests[1].parts()


def test_requests_are_cut_by_size_and_go_over_one_kept_connection(items: list[Item]) -> None:
    with web_stub(stores_all) as stub:
        ledger = put(at(stub.port), items, batch_bytes=room_for(2, items))
    assert ledger.kinds() == [S] * 4
    assert [len(request.uids()) for request in stub.requests] == [2, 2]
    assert stub.connections == 1


def test_each_instance_gets_the_outcome_that_the_answer_gives_it(tmp_path: Path) -> None:
    items = pack_of(ct_series(8), tmp_path / "pack")

    def answer(request: Request) -> bytes:
        stored, warned, full, class_, syntax, barred, _, unreasoned = request.uids()
        failed = {full: 0xA700, class_: 0x0122, syntax: 0xC122, barred: 0x0124, unreasoned: None}
        body = stored_and_failed([stored, "1.2.3.not.sent"], failed, warned={warned: 0xB000})
        return reply(202, body, content_type="application/dicom+json")

    with web_stub(answer) as stub:
        ledger = put(at(stub.port), items)
    assert ledger.trouble is None
    assert ledger.kinds() == [S, Kind.STORED_WITH_WARNING, R, Kind.REFUSED, Kind.REFUSED, Kind.PAUSE, U, U]
    assert [ledger.outcomes[key].code for key in range(6)] == [
        "stored",
        "coerced",
        "out_of_resources",
        "class_unsupported",
        "syntax_unsupported",
        "not_authorised",
    ]


@pytest.mark.clinical
@pytest.mark.parametrize("status", [200, 202, 400, 409])
def test_the_status_decides_nothing(items: list[Item], status: int) -> None:
    def answer(request: Request) -> bytes:
        first, second, *_ = request.uids()
        return reply(status, stored_and_failed([first], {second: 0xA900}))

    with web_stub(answer) as stub:
        ledger = put(at(stub.port), items)
    assert ledger.trouble is None
    assert ledger.kinds() == [S, Kind.REFUSED, U, U]


@pytest.mark.clinical
@pytest.mark.parametrize("status", [200, 202, 400, 409])
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", stored_and_failed(), b"<xml/>", b"[" * 100_000, b"7", b"\xff\0"])
def test_an_answer_that_names_nobody_leaves_all_in_doubt(items: list[Item], status: int, body: bytes) -> None:
    with web_stub(constantly(status, body)) as stub:
        ledger = put(at(stub.port), items)
    assert ledger.trouble is None
    assert ledger.kinds() == [U] * 4


def test_a_request_that_is_too_large_goes_in_smaller_ones_and_so_do_the_next(tmp_path: Path) -> None:
    items = pack_of(ct_series(16), tmp_path / "pack")
    limit = room_for(3, items)

    def answer(request: Request) -> bytes:
        return stores_all(request) if len(request.body) < limit else reply(413)

    with web_stub(answer) as stub:
        ledger = put(at(stub.port), items, batch_bytes=room_for(8, items))
    assert ledger.kinds() == [S] * 16
    assert sorted(ledger.events[:32].count((key, "sending")) for key in range(16)) == [1] * 16
    assert [len(request.uids()) for request in stub.requests] == [8, 4] + [2] * 8


def test_a_single_instance_that_is_too_large_is_refused_and_the_others_go(tmp_path: Path) -> None:
    items = pack_of([*ct_series(2), *ct_series(1, octets=400_000), *ct_series(1)], tmp_path / "pack")

    def answer(request: Request) -> bytes:
        return stores_all(request) if len(request.body) < 300_000 else reply(413)

    with web_stub(answer) as stub:
        ledger = put(at(stub.port), items)
    assert ledger.kinds() == [S, S, Kind.REFUSED, S]
    assert ledger.outcomes[2].code == "too_large_for_peer"


def test_a_peer_that_says_too_large_at_the_head_is_not_sent_the_rest(tmp_path: Path) -> None:
    items = pack_of(ct_series(2, octets=40_000_000), tmp_path / "pack")
    with web_stub(stores_all, instead=says_too_large_at_once) as stub:
        ledger = put(at(stub.port), items, batch_bytes=100_000_000)
    assert ledger.trouble is None
    assert [outcome.code for outcome in ledger.outcomes.values()] == ["too_large_for_peer"] * 2
    assert len(stub.heads) == 3


def test_a_peer_that_refuses_and_reads_on_is_not_sent_the_rest(tmp_path: Path) -> None:
    items = pack_of(ct_series(2, octets=40_000_000), tmp_path / "pack")
    taken = []

    def refuses_and_reads(connection: socket.socket, _: Request, __: threading.Event) -> None:
        connection.sendall(reply(413))
        with suppress(ConnectionResetError):
            while more := connection.recv(1 << 16):
                taken.append(len(more))

    with web_stub(stores_all, instead=refuses_and_reads) as stub:
        ledger = put(at(stub.port), items, batch_bytes=100_000_000)
    assert [outcome.code for outcome in ledger.outcomes.values()] == ["too_large_for_peer"] * 2
    assert sum(taken) < 40_000_000


def test_one_whose_media_type_is_refused_does_not_spoil_the_others(samples: list[Sample], items: list[Item]) -> None:
    def answer(request: Request) -> bytes:
        return reply(415) if samples[2].sop_instance_uid in request.uids() else stores_all(request)

    with web_stub(answer) as stub:
        ledger = put(at(stub.port), items)
    assert ledger.kinds() == [S, S, Kind.REFUSED, S]
    assert ledger.outcomes[2].code == "media_type_refused"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_peer_says_when_to_come_again(items: list[Item], status: int) -> None:
    with web_stub(constantly(status, retry_after="120")) as stub:
        ledger = put(at(stub.port), items, batch_bytes=room_for(2, items))
    assert isinstance(ledger.trouble, PeerError)
    assert (ledger.trouble.code, ledger.trouble.kind, ledger.trouble.retry_after) == ("peer_busy", R, 120)
    assert [(outcome.kind, outcome.code) for outcome in ledger.outcomes.values()] == [(R, "peer_busy")] * 2
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("999999999999999999999", 3600),
        (format_datetime(datetime.now(UTC) + timedelta(days=2), usegmt=True), 3600),
        (format_datetime(datetime.now(UTC) - timedelta(days=2), usegmt=True), 0),
        ("soon", None),
        ("", None),
        ("-5", None),
    ],
)
def test_when_to_come_again_is_at_most_an_hour(items: list[Item], value: str, seconds: float | None) -> None:
    with web_stub(constantly(503, retry_after=value)) as stub:
        ledger = put(at(stub.port), items[:1])
    assert isinstance(ledger.trouble, PeerError)
    assert ledger.trouble.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, "redirected"),
        (302, "redirected"),
        (307, "redirected"),
        (401, "not_authorised"),
        (403, "not_authorised"),
        (404, "no_such_service"),
        (405, "no_such_service"),
        (407, "proxy_not_authorised"),
    ],
)
def test_what_a_person_must_mend_pauses(items: list[Item], status: int, code: str) -> None:
    with web_stub(constantly(status, b"see there", location="http://127.0.0.1:1/")) as stub:
        ledger = put(at(stub.port), items, batch_bytes=items[0].source.size, lanes=1)
    assert isinstance(ledger.trouble, PeerError)
    assert (ledger.trouble.code, ledger.trouble.kind) == (code, Kind.PAUSE)
    assert [(outcome.kind, outcome.code) for outcome in ledger.outcomes.values()] == [(Kind.PAUSE, code)]
    assert len(stub.requests) == 1


@pytest.mark.parametrize(("status", "code"), [(500, "peer_fault"), (502, "peer_fault"), (406, "request_refused")])
def test_a_failure_of_the_service_leaves_the_request_in_doubt(items: list[Item], status: int, code: str) -> None:
    with web_stub(constantly(status)) as stub:
        ledger = put(at(stub.port), items, batch_bytes=room_for(2, items))
    assert isinstance(ledger.trouble, PeerError)
    assert (ledger.trouble.code, ledger.trouble.kind) == (code, R)
    assert [(outcome.kind, outcome.comment) for outcome in ledger.outcomes.values()] == [(U, f"http_{status}")] * 2


def test_a_full_peer_has_stored_what_it_names_and_nothing_else(items: list[Item]) -> None:
    with web_stub(lambda request: reply(507, stored_and_failed(request.uids()[:1]))) as stub:
        ledger = put(at(stub.port), items)
    assert ledger.kinds() == [S, R, R, R]
    assert isinstance(ledger.trouble, PeerError)
    assert ledger.trouble.code == ledger.outcomes[1].code == "out_of_resources"


def test_batches_hold_at_most_so_many_octets_and_keep_the_order() -> None:
    items = [Item(key, CT, f"1.2.{key}", "1.2.840.10008.1.2.1", Slice(-1, 0, 10)) for key in range(4)]
    assert [[item.key for item in batch] for batch in cut(items, 30)] == [[0, 1, 2], [3]]
    assert [[item.key for item in batch] for batch in cut(items, 29)] == [[0, 1], [2, 3]]
    assert [[item.key for item in batch] for batch in cut(items, 1)] == [[0], [1], [2], [3]]
    assert list(cut([], 1)) == []
    many = [Item(key, CT, "1.2", "1.2.840.10008.1.2.1", Slice(-1, 0, 1)) for key in range(4_001)]
    assert [len(batch) for batch in cut(many, 1_000_000)] == [2_000, 2_000, 1]
