"""What a PACS keeps is proved by itself: it commits, and gives back the very octets that it was sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import build_context

from tests.loopback import wait_until
from tests.peers import Orthanc, orthanc, rogue_scp, scripted_scp
from tests.retrieving import dcmqrscp, retrieving_scp
from tests.uploads.pacs.packs import CT, QUICK, Sample, ct_series, pack_of, send, sendable_samples, unhung
from tests.uploads.pacs.test_listener import Desk, listening_desk
from uploads.pacs.address import Peer
from uploads.pacs.commitment import Reference, Report, ask
from uploads.pacs.errors import GetUnsupported, MoveUnsupported, PeerError
from uploads.pacs.fetched import Fetched, Wanted
from uploads.pacs.get import fetch
from uploads.pacs.move import MoveResult, move
from uploads.pacs.outcomes import Kind

pytestmark = [pytest.mark.integration, pytest.mark.clinical]

STUDY, SERIES = str(generate_uid()), str(generate_uid())


def wanted(sample: Sample) -> Wanted:
    header = pydicom.dcmread(pydicom.filebase.DicomBytesIO(sample.file), stop_before_pixels=True)
    return Wanted(
        str(header.StudyInstanceUID),
        str(header.SeriesInstanceUID),
        sample.sop_instance_uid,
        sample.sop_class_uid,
        sample.transfer_syntax_uid,
    )


def digests(fetched: dict[str, Fetched]) -> dict[str, str]:
    return {uid: one.sha256 for uid, one in fetched.items()}


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with listening_desk() as desk:
        yield desk


@pytest.fixture(scope="module")
def series() -> list[Sample]:
    return ct_series(70, series=SERIES, study=STUDY)


@pytest.fixture(scope="module")
def server(desk: Desk, series: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that knows where our listener is, with one series of more images than one request names."""
    directory = tmp_path_factory.mktemp("orthanc")
    with orthanc(directory, DicomModalities={"relay": ["PACS", "127.0.0.1", desk.port]}) as server:
        ledger = send(peer(server), pack_of(series, directory / "pack"))
        assert set(ledger.kinds()) == {Kind.STORED}
        yield server


def peer(server: Orthanc) -> Peer:
    """Orthanc signs its calls with its own title, and knows us by ours."""
    return Peer(server.ae, "127.0.0.1", server.port, "PACS")


# --- Storage commitment ----------------------------------------------------------------------------


def test_orthanc_reports_to_our_listener(server: Orthanc, desk: Desk, series: list[Sample]) -> None:
    transaction = str(generate_uid())
    desk.transactions.add(transaction)
    references = [Reference(CT, sample.sop_instance_uid) for sample in series] + [Reference(CT, "1.2.3.999")]
    on_the_same = ask(peer(server), transaction, references, wait=0.5)
    wait_until(lambda: bool(desk.reports), "the report of Orthanc")
    assert on_the_same is None
    calling_ae, report = desk.reports.pop()
    assert calling_ae == server.ae
    assert report == Report(transaction, tuple(sample.sop_instance_uid for sample in series), {"1.2.3.999": 0x0112})


# --- C-GET -----------------------------------------------------------------------------------------


def test_orthanc_gives_back_the_octets_that_it_was_sent(server: Orthanc, series: list[Sample]) -> None:
    fetched = fetch(peer(server), [wanted(sample) for sample in series])
    assert digests(fetched) == {sample.sop_instance_uid: sample.sha256 for sample in series}
    assert {one.transfer_syntax_uid for one in fetched.values()} == {str(ExplicitVRLittleEndian)}


def test_what_a_pacs_does_not_have_it_does_not_give(server: Orthanc, series: list[Sample]) -> None:
    absent = Wanted(STUDY, SERIES, "1.2.3.999", CT, str(ExplicitVRLittleEndian))
    fetched = fetch(peer(server), [absent, wanted(series[0])])
    assert set(fetched) == {series[0].sop_instance_uid}
    with pytest.raises(PeerError) as caught:
        fetch(peer(server), [absent])
    assert caught.value.code == "get_failed"


def test_a_scripted_peer_gives_every_class_and_syntax_as_it_was_sent(tmp_path: Path) -> None:
    samples = {sample.sop_instance_uid: sample for sample in sendable_samples()}
    with retrieving_scp(list(samples.values())) as scp:
        fetched = fetch(scp.peer, [wanted_anyhow(sample) for sample in samples.values()])
    assert digests(fetched) == {uid: sample.sha256 for uid, sample in samples.items()}
    assert {uid: one.transfer_syntax_uid for uid, one in fetched.items()} == {
        uid: sample.transfer_syntax_uid for uid, sample in samples.items()
    }


def wanted_anyhow(sample: Sample) -> Wanted:
    return Wanted(STUDY, SERIES, sample.sop_instance_uid, sample.sop_class_uid, sample.transfer_syntax_uid)


def test_other_octets_have_another_digest(series: list[Sample]) -> None:
    with retrieving_scp(series[:2], change=True) as scp:
        fetched = fetch(scp.peer, [wanted(sample) for sample in series[:2]])
    assert set(fetched) == {sample.sop_instance_uid for sample in series[:2]}
    assert all(fetched[sample.sop_instance_uid].sha256 != sample.sha256 for sample in series[:2])


def test_what_was_not_asked_for_is_not_told(series: list[Sample]) -> None:
    with retrieving_scp(series[:3], everything=True) as scp:
        fetched = fetch(scp.peer, [wanted(series[0])])
    assert set(fetched) == {series[0].sop_instance_uid}


def test_a_peer_without_c_get_is_told_apart(series: list[Sample]) -> None:
    with scripted_scp(contexts=[build_context(CT)]) as scp, pytest.raises(GetUnsupported):
        fetch(Peer(scp.ae, "127.0.0.1", scp.port), [wanted(series[0])])
    with retrieving_scp(series[:1], roles=False) as scp, pytest.raises(GetUnsupported):
        fetch(scp.peer, [wanted(series[0])])
    with retrieving_scp(series[:1], status=0x0122) as scp, pytest.raises(GetUnsupported):
        fetch(scp.peer, [wanted(series[0])])


@pytest.mark.parametrize(("status", "code"), [(0xA702, "get_out_of_resources"), (0xC000, "get_failed")])
def test_a_peer_that_gives_nothing_says_why(series: list[Sample], status: int, code: str) -> None:
    with retrieving_scp(series[:1], status=status) as scp, pytest.raises(PeerError) as caught:
        fetch(scp.peer, [wanted(series[0])])
    assert caught.value.code == code


# --- C-MOVE ----------------------------------------------------------------------------------------


def test_orthanc_sends_to_our_listener_what_it_was_sent(server: Orthanc, desk: Desk, series: list[Sample]) -> None:
    desk.asked_for = {sample.sop_instance_uid for sample in series}
    result = move(peer(server), [wanted(sample) for sample in series], destination_ae="PACS")
    assert result == MoveResult(completed=70, failed=0, warning=0)
    assert {one.sop_instance_uid: one.sha256 for _, one in desk.instances} == {
        sample.sop_instance_uid: sample.sha256 for sample in series
    }


def test_what_a_pacs_does_not_have_spoils_no_list(server: Orthanc, desk: Desk, series: list[Sample]) -> None:
    absent = Wanted(STUDY, SERIES, "1.2.3.999", CT, str(ExplicitVRLittleEndian))
    desk.asked_for = {series[0].sop_instance_uid}
    assert move(peer(server), [absent, wanted(series[0])], destination_ae="PACS").completed == 1
    with pytest.raises(PeerError) as caught:
        move(peer(server), [absent], destination_ae="PACS")
    assert caught.value.code == "move_failed"


def test_dcmtk_gives_back_and_sends_what_it_was_sent(desk: Desk, series: list[Sample], tmp_path: Path) -> None:
    sent = {sample.sop_instance_uid: sample.sha256 for sample in series[:5]}
    asked = [wanted(sample) for sample in series[:5]]
    desk.instances.clear()
    desk.asked_for = set(sent)
    with dcmqrscp(tmp_path / "dcmqrscp", relay_port=desk.port) as archive:
        to = Peer(archive.ae, "127.0.0.1", archive.port)
        send(to, pack_of(series[:5], tmp_path / "pack"))
        fetched = fetch(to, asked)
        result = move(to, asked, destination_ae="RELAYPACS")
        with pytest.raises(PeerError) as caught:
            move(to, asked, destination_ae="NOBODY")
    assert digests(fetched) == sent
    assert result == MoveResult(completed=5, failed=0, warning=0)
    assert {one.sop_instance_uid: one.sha256 for _, one in desk.instances} == sent
    assert caught.value.code == "move_destination_unknown"


def test_a_destination_that_the_pacs_does_not_know_is_named(series: list[Sample]) -> None:
    with retrieving_scp(series[:1]) as scp, pytest.raises(PeerError) as caught:
        move(scp.peer, [wanted(series[0])], destination_ae="NOBODY")
    assert (caught.value.code, caught.value.kind) == ("move_destination_unknown", Kind.PAUSE)


def test_a_peer_without_c_move_is_told_apart(series: list[Sample]) -> None:
    with scripted_scp(contexts=[build_context(CT)]) as scp, pytest.raises(MoveUnsupported):
        move(Peer(scp.ae, "127.0.0.1", scp.port), [wanted(series[0])], destination_ae="RELAYPACS")


def test_a_scripted_peer_moves_and_counts(desk: Desk, series: list[Sample]) -> None:
    desk.instances.clear()
    desk.asked_for = {series[0].sop_instance_uid}
    with retrieving_scp(series[:2], move_to=desk.port) as scp:
        result = move(scp.peer, [wanted(sample) for sample in series[:2]], destination_ae="RELAYPACS")
    assert (result.completed, result.failed) == (1, 1)
    assert {one.sha256 for _, one in desk.instances} == {sample.sha256 for sample in series[:2]}


@pytest.mark.chaos
@pytest.mark.parametrize("mode", ["stops_reading", "drips_answer", "giant_answer", "garbage_answer", "releases"])
def test_it_comes_back_from_a_peer_that_misbehaves(mode: str, series: list[Sample]) -> None:
    codes: list[str] = []

    def run() -> None:
        with rogue_scp(mode, interval=0.05) as rogue:
            to = Peer(rogue.ae, "127.0.0.1", rogue.port)
            for action in (
                lambda: fetch(to, [wanted(series[0])], deadlines=QUICK),
                lambda: move(to, [wanted(series[0])], destination_ae="RELAYPACS", deadlines=QUICK),
            ):
                try:
                    action()
                except PeerError as error:
                    codes.append(error.code)

    unhung(run)
    assert len(codes) == 2
