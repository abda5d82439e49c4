"""PACS call us: to report, to send back what we asked for, and sometimes to do harm."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, generate_uid
from pynetdicom import AE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from tests.committing import asked_for, calling, report_on, send_garbage, send_report
from tests.loopback import wait_until
from tests.rogues import A_ABORT, GARBAGE, GIANT
from tests.uploads.pacs.packs import CT, DEFAULT, ct_series, pack_of, send, sendable_samples
from tests.uploads.pacs.test_memory import MEGABYTE, Watch, private_octets, sparse_instance
from uploads.pacs import pdu
from uploads.pacs.address import Peer
from uploads.pacs.deadlines import Deadlines
from uploads.pacs.dimse import Item, Kind
from uploads.pacs.echo import echo
from uploads.pacs.fetched import Fetched
from uploads.pacs.listener import AT_ONCE, IN_THE_HALL, Listener
from uploads.pacs.report import Report

pytestmark = pytest.mark.integration

KNOWN = {"COMMITTING", "PACS", "ORTHANC", "DCMQRSCP"}
IMPATIENT = Deadlines(negotiate=1, instance=2, per_megabyte=0.0, idle=2, answer=2)


@dataclass
class Desk:
    """A listener, and what it was told. `broken`: nothing can be written down just now."""

    port: int = 0
    reports: list[tuple[str, Report]] = field(default_factory=list)
    instances: list[tuple[str, Fetched]] = field(default_factory=list)
    transactions: set[str] = field(default_factory=set)
    asked_for: set[str] = field(default_factory=set)
    broken: bool = False

    def on_report(self, calling_ae: str, report: Report) -> bool:
        if self.broken:
            raise OSError("the database is away")
        self.reports.append((calling_ae, report))
        return report.transaction_uid in self.transactions

    def on_instance(self, calling_ae: str, fetched: Fetched) -> bool:
        if self.broken:
            raise OSError("the database is away")
        self.instances.append((calling_ae, fetched))
        return fetched.sop_instance_uid in self.asked_for

    def peer(self, calling_ae: str = "PACS") -> Peer:
        return Peer("RELAYPACS", "127.0.0.1", self.port, calling_ae)


@contextmanager
def listening_desk(*, storage: bool = True, deadlines: Deadlines = DEFAULT) -> Iterator[Desk]:
    desk = Desk()
    listener = Listener(
        "127.0.0.1",
        0,
        callers=lambda calling_ae, address: calling_ae in KNOWN and address == "127.0.0.1",
        on_report=desk.on_report,
        on_instance=desk.on_instance if storage else None,
        deadlines=deadlines,
    )
    desk.port = listener.port
    thread = threading.Thread(target=listener.serve)
    thread.start()
    try:
        yield desk
    finally:
        listener.close()
        thread.join(30)
        assert not thread.is_alive()


# --- Who is known ----------------------------------------------------------------------------------


def test_it_answers_a_c_echo_by_whatever_name_it_is_called() -> None:
    with listening_desk() as desk:
        assert echo(desk.peer()).ok
        assert echo(Peer("GATE_7", "127.0.0.1", desk.port, "PACS")).ok


@pytest.mark.clinical
def test_an_unknown_caller_is_refused() -> None:
    with listening_desk() as desk:
        answer = echo(desk.peer("STRANGER"))
    assert (answer.ok, answer.code) == (False, "calling_ae_unknown")


def test_what_it_does_not_offer_is_refused_by_context() -> None:
    with listening_desk() as desk:
        uids = (Verification, StudyRootQueryRetrieveInformationModelFind)
        with calling(desk.port, role=False, contexts=uids) as association:
            assert [str(one.abstract_syntax) for one in association.accepted_contexts] == [Verification]
            assert [one.result for one in association.rejected_contexts] == [3]


# --- Reports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("role", [True, False])
def test_a_report_is_taken_from_a_provider_and_from_one_that_proposes_no_role(role: bool, syntax: str) -> None:
    transaction = str(generate_uid())
    report = report_on(asked_for(transaction, ["1.2.1", "1.2.2"]), {"1.2.1"})
    with listening_desk() as desk:
        desk.transactions.add(transaction)
        with calling(desk.port, role=role, syntax=syntax) as association:
            if role:
                assert [one.as_scp for one in association.accepted_contexts] == [True]
                assert send_report(association, report) == 0x0000
                assert send_report(association, report) == 0x0000
            else:  # pynetdicom itself reports only as the provider; others do not ask
                [context] = association.accepted_contexts
                context._as_scp = True
                assert send_report(association, report) == 0x0000
    assert desk.reports[0] == ("COMMITTING", Report(transaction, ("1.2.1",), {"1.2.2": 0x0112}))


@pytest.mark.clinical
def test_every_report_is_answered() -> None:
    transaction = str(generate_uid())
    report = report_on(asked_for(transaction, ["1.2.1"]), {"1.2.1"})
    with listening_desk() as desk, calling(desk.port) as association:
        assert send_report(association, report) == 0x0112
        desk.transactions.add(transaction)
        desk.broken = True
        assert send_report(association, report) == 0x0110
        assert send_report(association, report, event_type=3) == 0x0113
        assert send_garbage(association, b"\x08\x00\x95\x11\xff\xff\xff\x7f1.2") == 0x0115
        desk.broken = False
        assert send_report(association, report) == 0x0000


# --- What comes back by C-MOVE ---------------------------------------------------------------------


def test_what_is_stored_with_us_is_hashed_octet_for_octet(tmp_path: Path) -> None:
    samples = {sample.sop_instance_uid: sample for sample in sendable_samples()}
    with listening_desk() as desk:
        desk.asked_for = set(samples)
        ledger = send(desk.peer(), pack_of(list(samples.values()), tmp_path / "pack"))
    assert ledger.trouble is None
    assert set(ledger.kinds()) == {Kind.STORED}
    assert {fetched.sop_instance_uid: fetched.sha256 for _, fetched in desk.instances} == {
        uid: sample.sha256 for uid, sample in samples.items()
    }
    assert all(
        fetched.transfer_syntax_uid == samples[fetched.sop_instance_uid].transfer_syntax_uid
        for _, fetched in desk.instances
    )


@pytest.mark.clinical
def test_what_was_not_asked_for_is_not_said_to_be_stored(tmp_path: Path) -> None:
    samples = ct_series(2)
    with listening_desk() as desk:
        desk.asked_for = {samples[0].sop_instance_uid}
        ledger = send(desk.peer(), pack_of(samples, tmp_path / "pack"))
        desk.broken = True
        later = send(desk.peer(), pack_of(samples[:1], tmp_path / "pack2"))
    assert [ledger.outcomes[key].status for key in (0, 1)] == [0x0000, 0x0124]
    assert later.outcomes[0].status == 0xA700


def test_without_storage_nothing_can_be_stored(tmp_path: Path) -> None:
    with listening_desk(storage=False) as desk:
        ledger = send(desk.peer(), pack_of(ct_series(1), tmp_path / "pack"))
    assert ledger.outcomes[0].code == "context_refused"


def test_a_private_class_and_the_syntax_named_first_are_taken() -> None:
    private = "1.2.826.0.1.3680043.10.99.1"

    def propose(entity: AE) -> None:
        entity.add_requested_context(private, [JPEG2000Lossless, ExplicitVRLittleEndian])
        entity.add_requested_context(CT, ImplicitVRLittleEndian)

    with listening_desk() as desk, calling(desk.port, role=False, contexts=(), prepare=propose) as association:
        agreed = {str(one.abstract_syntax): str(one.transfer_syntax[0]) for one in association.accepted_contexts}
    assert agreed == {private: str(JPEG2000Lossless), CT: str(ImplicitVRLittleEndian)}


def test_300_mb_pass_through_a_few(tmp_path: Path) -> None:
    source = sparse_instance(tmp_path / "pack")
    item = Item("large", CT, "1.2.3.4.5", str(ExplicitVRLittleEndian), source)
    with listening_desk() as desk:
        desk.asked_for = {"1.2.3.4.5"}
        before = private_octets()
        watch = Watch()
        watch.start()
        ledger = send(desk.peer(), [item])
        watch.ended.set()
        watch.join()
    assert ledger.outcomes["large"].kind is Kind.STORED
    [(_, fetched)] = desk.instances
    with (tmp_path / "pack").open("rb") as file:
        assert fetched.sha256 == hashlib.file_digest(file, "sha256").hexdigest()
    assert watch.highest - before < 16 * MEGABYTE


# --- Those who would do harm -----------------------------------------------------------------------


def hello(desk: Desk) -> bytes:
    """The A-ASSOCIATE-RQ of a known PACS for C-ECHO, reports and CT."""
    proposals = [(str(uid), (str(ImplicitVRLittleEndian),)) for uid in (Verification, StorageCommitmentPushModel, CT)]
    return pdu.associate_request(desk.peer(), pdu.proposed(proposals))


def command_of(context_id: int, elements: bytes, *, last: int = 2) -> bytes:
    return pdu.data_header(context_id, 1 | last, len(elements)) + elements


def connected(desk: Desk) -> socket.socket:
    return socket.create_connection(("127.0.0.1", desk.port), timeout=30)


@contextmanager
def small() -> Iterator[None]:
    """What happens inside takes little memory at any moment."""
    before, watch = private_octets(), Watch()
    watch.start()
    try:
        yield
    finally:
        watch.ended.set()
        watch.join()
    assert watch.highest - before < 24 * MEGABYTE


def is_hung_up_on(link: socket.socket) -> bool:
    """Whatever the listener still says, it ends the connection."""
    try:
        while link.recv(65_536):
            pass
    except ConnectionError:
        return True
    return True


STORE = struct.pack("<HHIH", 0, 0x100, 2, 1) + struct.pack("<HHIH", 0, 0x800, 2, 1)
FLOOD = bytes(64 * MEGABYTE)
BEFORE = {
    "giant": GIANT + FLOOD,
    "giant call": struct.pack(">BxI", 1, 0xFFFFFFFF) + FLOOD,
    "garbage": GARBAGE,
    "garbled call": struct.pack(">BxI", 1, 200) + b"\x21" * 200,
    "abort": A_ABORT,
    "half a header": b"\1\0",
    "silence": b"",
}
AFTER = {
    "giant": GIANT + FLOOD,
    "garbage": GARBAGE,
    "abort": A_ABORT,
    "unknown context": command_of(99, STORE) + pdu.data_header(99, 2, 2) + b"ab",
    "command that is none": command_of(1, b"\xff" * 64),
    "endless command": command_of(1, bytes(60_000), last=0) * 1000,
    "data set alone": pdu.data_header(1, 2, 4) + b"abcd",
    "two commands": command_of(5, STORE) * 2,
    "endless report": command_of(3, STORE) + (pdu.data_header(3, 0, 60_000) + bytes(60_000)) * 1000,
    "answer": command_of(1, struct.pack("<HHIH", 0, 0x100, 2, 0x8030)),
    "silence": b"",
}


def say(link: socket.socket, octets: bytes) -> None:
    """As far as it is listened to: it does not read to the end, and need not."""
    try:
        link.sendall(octets)
    except ConnectionError:
        return


@pytest.mark.chaos
@pytest.mark.parametrize("name", BEFORE)
def test_whoever_does_not_say_who_it_is_has_to_go(name: str) -> None:
    with listening_desk(deadlines=IMPATIENT) as desk, small():
        with connected(desk) as link:
            say(link, BEFORE[name])
            assert is_hung_up_on(link)
        assert echo(desk.peer()).ok


@pytest.mark.chaos
@pytest.mark.parametrize("name", AFTER)
def test_a_known_caller_may_not_do_anything_it_likes(name: str) -> None:
    with listening_desk(deadlines=IMPATIENT) as desk, small():
        with connected(desk) as link:
            link.sendall(hello(desk))
            assert link.recv(6)[0] == pdu.ASSOCIATE_AC
            say(link, AFTER[name])
            assert is_hung_up_on(link)
        assert echo(desk.peer()).ok


@pytest.mark.chaos
def test_a_drip_earns_no_time() -> None:
    with listening_desk(deadlines=IMPATIENT) as desk, connected(desk) as link:
        link.sendall(hello(desk))
        link.recv(6)
        link.sendall(command_of(5, STORE))
        for _ in range(1000):
            try:
                link.sendall(pdu.data_header(5, 0, 2) + b"ab")
            except ConnectionError:
                break
            threading.Event().wait(0.05)
        else:
            pytest.fail("it still listens after 50 s")


@pytest.mark.chaos
def test_200_silent_connections_keep_nobody_out() -> None:
    with listening_desk() as desk, ExitStack() as links:
        threads = threading.active_count()
        with small():
            for _ in range(200):
                links.enter_context(connected(desk))
            assert echo(desk.peer()).ok
        assert threading.active_count() - threads <= IN_THE_HALL + AT_ONCE


@pytest.mark.chaos
def test_more_associations_than_seats_are_told_to_come_later() -> None:
    with listening_desk() as desk:
        with ExitStack() as links:
            seated = [links.enter_context(connected(desk)) for _ in range(AT_ONCE)]
            for link in seated:
                link.sendall(hello(desk))
                assert link.recv(6)[0] == pdu.ASSOCIATE_AC
            answer = echo(desk.peer())
            assert (answer.ok, answer.code, answer.kind) == (False, "rejected_limit", Kind.RETRY)
        wait_until(lambda: echo(desk.peer()).ok, "a free seat")


def test_a_call_reads_as_it_was_written() -> None:
    """What the hostile ones send is a true call, so that it is not refused for another reason."""
    unit = A_ASSOCIATE_RQ()
    unit.decode(hello(Desk(port=1)))
    assert len(unit.presentation_context) == 3


def test_it_ends_while_callers_sit_there() -> None:
    with listening_desk() as desk, connected(desk) as silent, connected(desk) as seated:
        seated.sendall(hello(desk))
        assert seated.recv(6)[0] == pdu.ASSOCIATE_AC
        assert silent.fileno() >= 0
