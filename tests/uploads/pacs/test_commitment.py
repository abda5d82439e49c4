"""The PACS is asked to commit to what it was sent."""

import struct
from io import BytesIO

import pytest
from pydicom.filewriter import write_dataset
from pydicom.uid import generate_uid

from tests.committing import asked_for, committing_scp, report_on
from tests.peers import rogue_scp
from tests.uploads.pacs.packs import CT, QUICK, unhung
from tests.uploads.pacs.test_memory import _little_endian
from uploads.pacs.address import Peer
from uploads.pacs.commitment import (
    FAILURES,
    CommitmentUnsupported,
    Meaning,
    Reference,
    Report,
    ask,
    failure,
)
from uploads.pacs.errors import AssociationAborted, PeerError
from uploads.pacs.outcomes import Kind
from uploads.pacs.report import LONGEST_REPORT, read, wanted

pytestmark = pytest.mark.integration

HAS = {f"1.2.3.{n}" for n in range(3)}
LACKS = "1.2.3.99"
REFERENCES = [Reference(CT, uid) for uid in (*sorted(HAS), LACKS)]


def asked(port: int, transaction: str, *, wait: float = 5.0) -> Report | None:
    return ask(Peer("COMMITTING", "127.0.0.1", port), transaction, REFERENCES, wait=wait)


@pytest.mark.parametrize("way", ["after", "before", "twice"])
def test_a_report_on_the_same_association_is_taken_whenever_it_comes(way: str) -> None:
    transaction = str(generate_uid())
    with committing_scp(has=HAS, way=way) as scp:
        report = asked(scp.port, transaction)
        assert scp.asked[0].TransactionUID == transaction
    assert report == Report(transaction, tuple(sorted(HAS)), {LACKS: 0x0112})
    assert scp.statuses[0] == 0x0000


def test_all_is_committed() -> None:
    transaction = str(generate_uid())
    with committing_scp(has={*HAS, LACKS}) as scp:
        report = asked(scp.port, transaction)
    assert report == Report(transaction, (*sorted(HAS), LACKS), {})


@pytest.mark.parametrize("way", ["never", "garbage", "hangs_up"])
def test_without_a_report_the_request_stands_accepted(way: str) -> None:
    with committing_scp(has=HAS, way=way) as scp:
        assert asked(scp.port, str(generate_uid()), wait=1.0) is None
        assert len(scp.asked) == 1


def test_a_report_of_another_transaction_is_left_for_the_listener() -> None:
    transaction = str(generate_uid())
    with committing_scp(has=HAS, way="wrong_transaction") as scp:
        report = asked(scp.port, transaction)
        assert scp.reported.wait(10)
    assert report is not None
    assert report.transaction_uid == transaction
    assert scp.statuses == [0x0110, 0x0000]


def test_what_could_not_be_written_down_is_not_acknowledged() -> None:
    kept: list[Report] = []

    def full(report: Report) -> bool:
        kept.append(report)
        raise OSError("disk full")

    with committing_scp(has=HAS, way="before") as scp, pytest.raises(OSError, match="disk full"):
        ask(Peer(scp.ae, "127.0.0.1", scp.port), str(generate_uid()), REFERENCES, keep=full)
    assert len(kept) == 1
    assert scp.statuses == [None]


def test_each_report_is_written_down_before_it_is_acknowledged() -> None:
    transaction = str(generate_uid())
    kept: list[str] = []

    def keep(report: Report) -> bool:
        kept.append(report.transaction_uid)
        return report.transaction_uid == transaction

    with committing_scp(has=HAS, way="wrong_transaction") as scp:
        report = ask(Peer(scp.ae, "127.0.0.1", scp.port), transaction, REFERENCES, keep=keep)
        assert scp.reported.wait(10)
    assert report is not None
    assert (len(kept), kept[-1]) == (2, transaction)
    assert scp.statuses == [0x0112, 0x0000]


def test_a_peer_without_storage_commitment_is_told_apart() -> None:
    with committing_scp(has=HAS, offered=False) as scp, pytest.raises(CommitmentUnsupported):
        asked(scp.port, str(generate_uid()))


@pytest.mark.parametrize("status", [0x0112, 0x0118, 0x0122, 0x0123, 0x0211])
def test_a_peer_that_does_not_support_it_says_so_in_many_ways(status: int) -> None:
    with committing_scp(has=HAS, way="never", action_status=status) as scp, pytest.raises(CommitmentUnsupported):
        asked(scp.port, str(generate_uid()))


@pytest.mark.parametrize(
    ("status", "code", "bounded"),
    [(0x0213, "commitment_out_of_resources", False), (0x0110, "commitment_refused", True)],
)
def test_a_peer_that_cannot_just_now_is_asked_again(status: int, code: str, bounded: bool) -> None:
    with committing_scp(has=HAS, way="never", action_status=status) as scp, pytest.raises(PeerError) as caught:
        asked(scp.port, str(generate_uid()))
    error = caught.value
    assert (error.code, error.kind, error.bounded) == (code, Kind.RETRY, bounded)
    assert not isinstance(error, CommitmentUnsupported)


@pytest.mark.parametrize("mode", ["stops_reading", "drips_answer", "giant_answer", "garbage_answer", "releases"])
def test_it_comes_back_from_a_peer_that_misbehaves(mode: str) -> None:
    errors: list[PeerError] = []

    def run() -> None:
        with rogue_scp(mode, interval=0.05) as rogue:
            try:
                ask(Peer(rogue.ae, "127.0.0.1", rogue.port), "1.2.3", REFERENCES * 5_000, deadlines=QUICK)
            except PeerError as error:
                errors.append(error)

    unhung(run)
    assert len(errors) == 1


# --- The report by itself --------------------------------------------------------------------------


def octets(transaction: str, instances: list[str], has: set[str], *, implicit: bool) -> bytes:
    buffer = BytesIO()
    stream = _little_endian(buffer)
    stream.is_implicit_VR = implicit
    report = report_on(asked_for(transaction, instances), has)
    for sequence in ("ReferencedSOPSequence", "FailedSOPSequence"):
        if sequence in report:
            report[sequence].is_undefined_length = not implicit
    write_dataset(stream, report)
    return buffer.getvalue()


@pytest.mark.unit
@pytest.mark.parametrize("implicit", [True, False])
def test_a_report_on_a_thousand_is_read(implicit: bool) -> None:
    instances = [f"1.2.840.113619.2.55.3.604688119.969.1268071029.{n}" for n in range(1000)]
    has = set(instances[:900])
    report = read(octets("2.25.1", instances, has, implicit=implicit), implicit=implicit)
    assert report.committed == tuple(instances[:900])
    assert report.failed == dict.fromkeys(instances[900:], 0x0112)


@pytest.mark.unit
def test_what_is_asked_is_what_pydicom_writes() -> None:
    instances = ["1.2.3", "1.2.33"]
    expected = octets("2.25.12", instances, set(instances), implicit=True)
    assert wanted("2.25.12", [Reference(CT, uid) for uid in instances]) == expected


def tag(number: int, value: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<HHI", number >> 16, number & 0xFFFF, len(value) if length is None else length) + value


TRANSACTION = tag(0x00081195, b"1.2.3\0")
ONE = tag(0xFFFEE000, tag(0x00081155, b"1.2\0"))
ONE_FAILED = tag(0xFFFEE000, tag(0x00081155, b"1.2\0") + tag(0x00081197, b"\x12\x01"))
CROWD = b"".join(tag(0xFFFEE000, tag(0x00081155, f"1.{n:06}".encode())) for n in range(100_000, 120_001))
LEVEL = tag(0x00081199, b"", length=0xFFFFFFFF) + tag(0xFFFEE000, b"", length=0xFFFFFFFF)
NO_REPORTS = {
    "nothing": b"",
    "cut header": b"\x08",
    "no transaction": tag(0x00081199, ONE),
    "kept and not kept": TRANSACTION + tag(0x00081199, ONE) + tag(0x00081198, ONE_FAILED),
    "no reason": TRANSACTION + tag(0x00081198, ONE),
    "no instance": TRANSACTION + tag(0x00081199, tag(0xFFFEE000, b"")),
    "cut sequence": TRANSACTION + tag(0x00081199, b"", length=100),
    "no end": TRANSACTION + tag(0x00081199, ONE, length=0xFFFFFFFF),
    "delimiter alone": TRANSACTION + tag(0x00081199, tag(0xFFFEE00D, b"")),
    "no item": TRANSACTION + tag(0x00081199, tag(0x00081155, b"1.2\0")),
    "item alone": TRANSACTION + ONE,
    "no UID": tag(0x00081195, b"<script>"),
    "too deep": TRANSACTION + LEVEL * 10_000,
    "empty items": TRANSACTION + tag(0x00081199, tag(0xFFFEE000, b"") * 400_000),
    "too many": TRANSACTION + tag(0x00081199, CROWD),
    "too long": TRANSACTION + tag(0x00091001, bytes(LONGEST_REPORT)),
}


@pytest.mark.unit
@pytest.mark.parametrize("name", NO_REPORTS)
def test_what_cannot_be_relied_on_is_no_report(name: str) -> None:
    with pytest.raises(AssociationAborted):
        read(NO_REPORTS[name], implicit=True)


@pytest.mark.unit
def test_elements_that_nobody_asked_for_are_stepped_over() -> None:
    unknown = tag(0x00091001, b"", length=0xFFFFFFFF) + ONE + tag(0xFFFEE0DD, b"")
    data_set = tag(0x00080005, b"ISO_IR 100") + TRANSACTION + tag(0x00081199, ONE) + unknown + tag(0x00100010, b"A^")
    assert read(data_set, implicit=True) == Report("1.2.3", ("1.2",), {})


@pytest.mark.unit
@pytest.mark.clinical
def test_no_failure_reason_is_taken_for_a_commitment() -> None:
    meanings = {row.reason: row.meaning for row in FAILURES}
    assert meanings[0x0112] is Meaning.RESEND
    assert meanings[0x0213] is Meaning.ASK_AGAIN
    assert meanings[0x0131] is Meaning.NEW_TRANSACTION
    assert {meanings[0x0119], meanings[0x0122]} == {Meaning.REFUSED}
    for reason in range(0x10000):
        row = failure(reason)
        assert row.reason == reason
        assert row.meaning in (Meaning.REFUSED, Meaning.RESEND, Meaning.ASK_AGAIN, Meaning.NEW_TRANSACTION)
        assert row.max_attempts or row.meaning in (Meaning.REFUSED, Meaning.ASK_AGAIN)
