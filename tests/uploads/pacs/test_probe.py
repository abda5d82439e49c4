"""A PACS is tested: what it takes and what it offers is told apart from what it refuses, and nothing waits for ever."""

import time

import pytest
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)
from pynetdicom import build_context

from tests.peers import free_port, orthanc, rogue_scp, scripted_scp, silent_listener, storescp
from uploads.pacs import usual
from uploads.pacs.address import Peer
from uploads.pacs.probe import LONGEST_STEP, probe
from uploads.pacs.probed import Negotiated, Probe, Subject

pytestmark = pytest.mark.integration

ECHO = "1.2.840.10008.1.1"


def at(scp) -> Peer:
    return Peer(scp.ae, "127.0.0.1", scp.port)


def told(found: Probe) -> dict[str, bool | None]:
    return {one.subject.value: one.ok for one in found}


def test_orthanc_is_found_to_take_and_to_offer_what_it_does() -> None:
    with orthanc(UnknownSopClassAccepted=False) as server:
        found = probe(at(server), usual.PAIRS)
        stored = server.instances()
    everything = ("connect", "echo", "find", "commitment", "get", "move", "pairs")
    assert told(found) == dict.fromkeys(everything, True)
    assert (found.ok, found.query, found.fetch) == (True, "find", ["get", "move"])
    assert len(found.pairs) == len(usual.PAIRS)
    assert Negotiated(CTImageStorage, ExplicitVRLittleEndian, 0) in found.pairs
    echo = found.of(Subject.ECHO)
    assert echo is not None
    assert echo.milliseconds is not None
    assert stored == []


def test_a_bare_storescp_offers_storing_alone() -> None:
    with storescp() as scp:
        found = probe(at(scp), usual.PAIRS)
    assert (found.ok, found.query, found.fetch) == (True, None, [])
    assert told(found)["commitment"] is False
    assert {pair.transfer_syntax_uid for pair in found.refused} == {HTJ2KLossless}  # dcmtk 3.6.7 knows it not


def test_it_tells_a_refused_class_from_a_refused_syntax() -> None:
    contexts = [build_context(ECHO), build_context(CTImageStorage, [ExplicitVRLittleEndian])]
    pairs = [
        (CTImageStorage, ExplicitVRLittleEndian),
        (CTImageStorage, JPEG2000Lossless),
        (MRImageStorage, ImplicitVRLittleEndian),
    ]
    with scripted_scp(contexts=contexts) as scp:
        found = probe(at(scp), pairs)
    assert [pair.result for pair in found.pairs] == [0, 4, 3]
    assert [pair.sop_class_uid for pair in found.refused] == [CTImageStorage, MRImageStorage]
    assert told(found)["find"] is False


def test_more_pairs_than_an_association_carries_go_over_several() -> None:
    pairs = [(f"1.2.3.{number}", ExplicitVRLittleEndian) for number in range(300)]
    with scripted_scp() as scp:
        found = probe(at(scp), [*pairs, *pairs])
        associations = scp.associations
    assert [pair.sop_class_uid for pair in found.pairs] == [sop_class for sop_class, _ in pairs]
    assert associations == 1 + 1 + 3


def test_a_wrong_title_is_named_and_nothing_further_is_asked() -> None:
    with orthanc() as server:
        found = probe(Peer("SOMEONE", "127.0.0.1", server.port), usual.PAIRS)
    assert told(found) == {"connect": True, "echo": False}
    echo = found.of(Subject.ECHO)
    assert echo is not None
    assert echo.code == "called_ae_unknown"


def test_nobody_there() -> None:
    found = probe(Peer("PACS", "127.0.0.1", free_port()), usual.PAIRS)
    assert told(found) == {"connect": False}
    assert found.findings[0].code == "connection_refused"
    assert not found.ok


@pytest.mark.long
@pytest.mark.parametrize("fault", ["hangs_up", "garbage", "giant_acceptance", "drips_acceptance"])
def test_a_rogue_is_a_finding_and_holds_nobody(fault: str) -> None:
    began = time.monotonic()
    with rogue_scp(fault) as rogue:
        found = probe(Peer("ROGUE", "127.0.0.1", rogue.port), usual.PAIRS)
    assert told(found)["echo"] is False
    assert time.monotonic() - began < 60


@pytest.mark.long
def test_a_silent_one_is_left_after_one_step() -> None:
    began = time.monotonic()
    with silent_listener() as port:
        found = probe(Peer("PACS", "127.0.0.1", port), usual.PAIRS)
    assert told(found) == {"connect": True, "echo": False}
    assert time.monotonic() - began < 60


def test_no_step_is_begun_that_could_end_too_late() -> None:
    with scripted_scp() as scp:
        found = probe(at(scp), usual.PAIRS, seconds=LONGEST_STEP - 1)
    assert told(found)["pairs"] is None
    assert {one.code for one in found if one.ok is None} == {"probe_out_of_time"}
