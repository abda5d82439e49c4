"""A batch of instances meets a DICOMweb service that answers one thing or another."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.peers import data_set_of, free_port, silent_listener
from tests.uploads.pacs.packs import CT, QUICK, Ledger, Sample, Slice, ct_series, pack_of
from tests.uploads.pacs.webpeers import at, put
from tests.webstub import Request, reply, stored_and_failed, web_stub
from uploads.pacs.dimse import (
    AssociationAborted,
    Item,
    Kind,
    PeerError,
    PeerTimeout,
    PeerUnreachable,
    SourceTruncated,
)
from uploads.pacs.security import Basic, Bearer
from uploads.pacs.stow import cut

pytestmark = pytest.mark.integration

S, U, R = Kind.STORED, Kind.UNKNOWN, Kind.RETRY


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return ct_series(4)


@pytest.fixture
def items(samples: list[Sample], tmp_path: Path) -> list[Item]:
    return pack_of(samples, tmp_path / "pack")


def stores_all(request: Request) -> bytes:
    return reply(200, stored_and_failed(request.uids()))


def room_for(count: int, items: list[Item]) -> int:
    """Octets for so many of these, whose names differ a little in length."""
    return count * max(item.source.size for item in items)


def constantly(status: int, body: bytes = b"", **headers: str) -> Callable[[Request], bytes]:
    return lambda _: reply(status, body, **headers)


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


def says_too_large_at_once(connection: socket.socket, _: Request, __: threading.Event) -> None:
    connection.sendall(reply(413, connection="close"))


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


@pytest.mark.clinical
def test_a_connection_closed_without_an_answer_leaves_that_request_in_doubt(items: list[Item]) -> None:
    first = items[0].sop_instance_uid
    with web_stub(lambda request: stores_all(request) if request.uids() == [first] else None) as stub:
        ledger = put(at(stub.port), items, batch_bytes=items[0].source.size, ahead=1)
    assert isinstance(ledger.trouble, AssociationAborted)
    assert ledger.events == [(0, "sending"), (0, "stored"), (1, "sending"), (1, "unknown")]
    assert len(stub.requests) == 2


def closes_in_the_middle(connection: socket.socket, _: Request, __: threading.Event) -> None:
    connection.recv(100_000)


@pytest.mark.clinical
def test_a_connection_closed_in_the_middle_leaves_what_was_not_begun_alone(tmp_path: Path) -> None:
    items = pack_of(ct_series(3, octets=20_000_000), tmp_path / "pack")
    with web_stub(stores_all, instead=closes_in_the_middle) as stub:
        ledger = put(at(stub.port), items, batch_bytes=100_000_000)
    assert isinstance(ledger.trouble, AssociationAborted)
    assert ledger.outcomes[0].kind is U
    assert 2 not in ledger.outcomes
    assert stub.connections == 1


def stops_reading(_: socket.socket, __: Request, ended: threading.Event) -> None:
    ended.wait()


def drips(connection: socket.socket, _: Request, ended: threading.Event) -> None:
    connection.setblocking(False)
    for octet in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1000:
        while not ended.wait(0.05):
            try:
                while connection.recv(1 << 20):
                    pass
            except (BlockingIOError, ssl.SSLWantReadError):
                break
        connection.send(bytes([octet]))


@pytest.mark.parametrize("octets", [32_768, 16_777_216])
@pytest.mark.parametrize("misdeed", [stops_reading, drips])
def test_a_peer_that_stops_reading_or_drips_frees_the_worker(
    tmp_path: Path, octets: int, misdeed: Callable[[socket.socket, Request, threading.Event], None]
) -> None:
    items = pack_of(ct_series(2, octets=octets), tmp_path / "pack")
    with web_stub(stores_all, instead=misdeed) as stub:
        ledger = put(at(stub.port), items, deadlines=QUICK)
    assert isinstance(ledger.trouble, PeerTimeout)
    assert ledger.outcomes[0].kind is U


def test_a_silent_peer_frees_the_worker(items: list[Item]) -> None:
    with silent_listener() as port:
        ledger = put(at(port), items, deadlines=QUICK)
    assert isinstance(ledger.trouble, PeerTimeout)
    assert ledger.kinds() == [U] * 4


@pytest.mark.parametrize("octets", [b"SSH-2.0-OpenSSH_9\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X" * 100_000, b"\0" * 99])
def test_octets_that_are_no_http_leave_the_request_in_doubt(items: list[Item], octets: bytes) -> None:
    with web_stub(lambda _: octets) as stub:
        ledger = put(at(stub.port), items)
    assert isinstance(ledger.trouble, AssociationAborted)
    assert ledger.trouble.code == "protocol_error"
    assert ledger.kinds() == [U] * 4


def test_an_answer_that_does_not_end_is_cut(items: list[Item]) -> None:
    with web_stub(constantly(200, b" " * 20_000_000 + b"{}")) as stub:
        ledger = put(at(stub.port), items[:2], batch_bytes=1)
    assert ledger.trouble is None
    assert ledger.kinds() == [U, U]
    assert stub.connections == 2


def test_nobody_there(items: list[Item]) -> None:
    ledger = put(at(free_port()), items, ledger=Ledger())
    assert isinstance(ledger.trouble, PeerUnreachable)
    assert ledger.outcomes == {}


def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing(items: list[Item]) -> None:
    with web_stub(lambda request: reply(200, stored_and_failed(request.uids()), connection="close")) as stub:
        ledger = put(at(stub.port), items, batch_bytes=1)
    assert ledger.kinds() == [S] * 4
    assert stub.connections == 4


def says_it_was_done_waiting(connection: socket.socket, request: Request, _: threading.Event) -> None:
    taken = 0
    while taken < int(request.headers["content-length"]) - 100_000:
        taken += len(connection.recv(100_000))
    connection.sendall(reply(503, retry_after="9", connection="close"))


def test_an_answer_in_the_middle_is_heard_before_the_connection_is_lost(tmp_path: Path) -> None:
    items = pack_of(ct_series(3, octets=4_000_000), tmp_path / "pack")
    with web_stub(stores_all, instead=says_it_was_done_waiting) as stub:
        ledger = put(at(stub.port), items)
    assert isinstance(ledger.trouble, PeerError)
    assert (ledger.trouble.code, ledger.trouble.retry_after) == ("peer_busy", 9)
    assert set(ledger.kinds()) == {R}


def test_interim_answers_are_passed_over(items: list[Item]) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    with web_stub(lambda request: interim + stores_all(request)) as stub:
        assert put(at(stub.port), items).kinds() == [S] * 4


def test_what_a_service_says_counts_more_than_the_connections_it_closes(tmp_path: Path) -> None:
    items = pack_of(ct_series(12), tmp_path / "pack")
    both = threading.Barrier(2, timeout=20)

    def answer(request: Request) -> bytes | None:
        if both.wait() == 0:
            time.sleep(0.3)  # the other lane has lost its connection by then
            return reply(503, retry_after="5")
        return None

    with web_stub(answer) as stub:
        ledger = put(at(stub.port), items, lanes=2, batch_bytes=1)
    assert isinstance(ledger.trouble, PeerError)
    assert (ledger.trouble.code, ledger.trouble.retry_after) == ("peer_busy", 5)
    assert sorted(kind.value for kind in ledger.kinds()) == ["retry", "unknown"]


def test_a_pack_that_ends_early_is_no_whole_request(items: list[Item]) -> None:
    source = items[1].source
    short = Item(1, CT, items[1].sop_instance_uid, items[1].transfer_syntax_uid, Slice(source.fileno(), 1 << 40, 99))
    with web_stub(stores_all) as stub:
        ledger = put(at(stub.port), [items[0], short, items[2]])
    assert isinstance(ledger.trouble, SourceTruncated)
    assert [(key, outcome.comment) for key, outcome in ledger.outcomes.items()] == [
        (0, "pack_unreadable"),
        (1, "pack_unreadable"),
    ]
    assert stub.requests == []


def test_it_stops_between_requests(items: list[Item]) -> None:
    stop = threading.Event()
    ledger = Ledger(on_end=lambda item: stop.set())
    with web_stub(stores_all) as stub:
        put(at(stub.port), items, ledger=ledger, should_stop=stop.is_set, batch_bytes=1, ahead=1)
    assert ledger.trouble is None
    assert ledger.events == [(0, "sending"), (0, "stored")]
    assert len(stub.requests) == 1


def test_lanes_are_connections_side_by_side_and_their_callbacks_come_one_at_a_time(tmp_path: Path) -> None:
    items = pack_of(ct_series(12), tmp_path / "pack")
    together = threading.Barrier(3, timeout=20)
    threads = set()
    busy = threading.Lock()

    def alone(_: Item) -> None:
        assert busy.acquire(blocking=False)
        threads.add(threading.get_ident())
        busy.release()

    def answer(request: Request) -> bytes:
        together.wait()
        return stores_all(request)

    with web_stub(answer) as stub:
        ledger = put(at(stub.port), items, ledger=Ledger(on_begin=alone, on_end=alone), lanes=3, batch_bytes=1)
    assert ledger.trouble is None
    assert ledger.kinds() == [S] * 12
    assert stub.connections == 3
    assert len(threads) == 1


def test_a_lane_that_loses_its_connection_leaves_the_rest_to_the_others(tmp_path: Path) -> None:
    items = pack_of(ct_series(12), tmp_path / "pack")
    lost = items[5].sop_instance_uid

    with web_stub(lambda request: None if request.uids() == [lost] else stores_all(request)) as stub:
        ledger = put(at(stub.port), items, lanes=2, batch_bytes=1)
    assert ledger.trouble is None
    assert ledger.kinds() == [S] * 5 + [U] + [S] * 6


def test_what_a_lost_request_had_not_begun_goes_over_another_connection(tmp_path: Path) -> None:
    items = pack_of([*ct_series(1, octets=20_000_000), *ct_series(1), *ct_series(1)], tmp_path / "pack")
    first, lost = items[0].sop_instance_uid, threading.Event()

    def loses_the_largest(connection: socket.socket, request: Request, _: threading.Event) -> bool:
        if int(request.headers["content-length"]) < 20_000_000:
            return True
        connection.recv(100_000)
        connection.close()
        lost.set()
        return False

    def answer(request: Request) -> bytes:
        assert first not in request.uids()
        assert lost.wait(20)
        time.sleep(0.3)  # the lane that was cut gives its rest back meanwhile
        return stores_all(request)

    with web_stub(answer, instead=loses_the_largest) as stub:
        ledger = put(at(stub.port), items, lanes=2, batch_bytes=items[0].source.size + items[1].source.size)
    assert ledger.trouble is None
    assert ledger.kinds() == [U, S, S]
    assert stub.connections == 2


def test_a_service_that_refuses_one_lane_stops_them_all(tmp_path: Path) -> None:
    items = pack_of(ct_series(40), tmp_path / "pack")
    with web_stub(lambda r: reply(503) if items[3].sop_instance_uid in r.uids() else stores_all(r)) as stub:
        ledger = put(at(stub.port), items, lanes=2, batch_bytes=1, ahead=2)
    assert isinstance(ledger.trouble, PeerError)
    assert ledger.trouble.code == "peer_busy"
    assert ledger.outcomes[3].kind is R
    assert len(ledger.outcomes) < 10


def test_a_caller_that_gives_up_is_heard(items: list[Item]) -> None:
    class LeaseLostError(OSError):
        pass

    def give_up(item: Item) -> None:
        if item.key == 1:
            raise LeaseLostError

    with web_stub(stores_all) as stub:
        ledger = put(at(stub.port), items, ledger=Ledger(on_begin=give_up), batch_bytes=1, ahead=1)
    assert isinstance(ledger.trouble, LeaseLostError)
    assert ledger.events == [(0, "sending"), (0, "stored"), (1, "sending")]
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (Basic("Zoë", "a:b c"), "Basic Wm/DqzphOmIgYw=="),
        (Bearer("ab.cd-ef"), "Bearer ab.cd-ef"),
        (None, None),
    ],
)
def test_it_shows_who_it_is(items: list[Item], credentials: Basic | Bearer | None, header: str | None) -> None:
    with web_stub(stores_all) as stub:
        put(at(stub.port, credentials=credentials), items[:1])
    assert stub.requests[0].headers.get("authorization") == header


@pytest.mark.parametrize("token", ["s3cret\r\nX-Evil: 1", "s3cret\u2603", "s3cret\0"])
def test_a_secret_that_http_cannot_carry_is_told_without_the_secret(items: list[Item], token: str) -> None:
    with web_stub(stores_all) as stub:
        ledger = put(at(stub.port, credentials=Bearer(token)), items[:1])
    assert isinstance(ledger.trouble, PeerError)
    assert (ledger.trouble.code, ledger.trouble.kind) == ("credentials_malformed", Kind.PAUSE)
    assert "s3cret" not in f"{ledger.trouble!r} {ledger.trouble.__cause__!r} {ledger.trouble.detail}"
    assert stub.heads == []


def test_the_environment_names_no_proxy_for_it(items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with web_stub(stores_all) as stub:
        assert put(at(stub.port), items).kinds() == [S] * 4


def test_batches_hold_at_most_so_many_octets_and_keep_the_order() -> None:
    items = [Item(key, CT, f"1.2.{key}", "1.2.840.10008.1.2.1", Slice(-1, 0, 10)) for key in range(4)]
    assert [[item.key for item in batch] for batch in cut(items, 30)] == [[0, 1, 2], [3]]
    assert [[item.key for item in batch] for batch in cut(items, 29)] == [[0, 1], [2, 3]]
    assert [[item.key for item in batch] for batch in cut(items, 1)] == [[0], [1], [2], [3]]
    assert list(cut([], 1)) == []
    many = [Item(key, CT, "1.2", "1.2.840.10008.1.2.1", Slice(-1, 0, 1)) for key in range(4_001)]
    assert [len(batch) for batch in cut(many, 1_000_000)] == [2_000, 2_000, 1]
