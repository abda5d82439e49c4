"""Instances are under way to a DICOMweb service when its connections, our pack or the caller fail."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers import free_port, silent_listener
from tests.uploads.pacs.packs import CT, QUICK, Ledger, Sample, Slice, ct_series, pack_of
from tests.uploads.pacs.webpeers import (
    at,
    closes_in_the_middle,
    constantly,
    drips,
    put,
    says_it_was_done_waiting,
    stops_reading,
    stores_all,
)
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

pytestmark = pytest.mark.integration

S, U, R = Kind.STORED, Kind.UNKNOWN, Kind.RETRY


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return ct_series(4)


@pytest.fixture
def items(samples: list[Sample], tmp_path: Path) -> list[Item]:
    return pack_of(samples, tmp_path / "pack")


@pytest.mark.clinical
def test_a_connection_closed_without_an_answer_leaves_that_request_in_doubt(items: list[Item]) -> None:
    first = items[0].sop_instance_uid
    with web_stub(lambda request: stores_all(request) if request.uids() == [first] else None) as stub:
        ledger = put(at(stub.port), items, batch_bytes=items[0].source.size, ahead=1)
    assert isinstance(ledger.trouble, AssociationAborted)
    assert ledger.events == [(0, "sending"), (0, "stored"), (1, "sending"), (1, "unknown")]
    assert len(stub.requests) == 2


@pytest.mark.clinical
def test_a_connection_closed_in_the_middle_leaves_what_was_not_begun_alone(tmp_path: Path) -> None:
    items = pack_of(ct_series(3, octets=20_000_000), tmp_path / "pack")
    with web_stub(stores_all, instead=closes_in_the_middle) as stub:
        ledger = put(at(stub.port), items, batch_bytes=100_000_000)
    assert isinstance(ledger.trouble, AssociationAborted)
    assert ledger.outcomes[0].kind is U
    assert 2 not in ledger.outcomes
    assert stub.connections == 1


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
