"""Peers that hold on to us get us back within the deadlines, whatever they do."""

from pathlib import Path

import pytest

from tests.peers import rogue_scp
from tests.uploads.pacs.packs import QUICK, ct_series, pack_of, send, unhung
from uploads.pacs.address import Peer
from uploads.pacs.deadlines import Deadlines
from uploads.pacs.echo import Echo, echo
from uploads.pacs.errors import AssociationAborted, PeerError, PeerTimeout
from uploads.pacs.find import find_instances
from uploads.pacs.outcomes import Kind

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

BEFORE = [
    ("drips_acceptance", PeerTimeout, "peer_silent"),
    ("giant_acceptance", AssociationAborted, "protocol_error"),
    ("garbage", AssociationAborted, "protocol_error"),
    ("garbled_acceptance", AssociationAborted, "protocol_error"),
    ("aborts_request", AssociationAborted, "peer_aborted"),
    ("hangs_up", AssociationAborted, "connection_lost"),
]
DURING = [
    ("stops_reading", PeerTimeout, "peer_stopped_reading"),
    ("reads_slowly", PeerTimeout, "peer_stopped_reading"),
    ("drips_answer", PeerTimeout, "peer_silent"),
    ("giant_answer", AssociationAborted, "protocol_error"),
]


@pytest.mark.parametrize(("mode", "error", "code"), BEFORE)
def test_it_comes_back_from_a_negotiation(tmp_path: Path, mode: str, error: type[PeerError], code: str) -> None:
    items = pack_of(ct_series(1), tmp_path / "pack")
    with rogue_scp(mode, interval=0.1) as rogue:
        ledger = send(Peer(rogue.ae, "127.0.0.1", rogue.port), items, deadlines=QUICK)
    assert isinstance(ledger.trouble, error)
    assert (ledger.trouble.code, ledger.trouble.kind, ledger.events) == (code, Kind.RETRY, [])


@pytest.mark.parametrize(("mode", "error", "code"), DURING)
def test_it_comes_back_from_an_instance(tmp_path: Path, mode: str, error: type[PeerError], code: str) -> None:
    items = pack_of(ct_series(2, octets=8_388_608), tmp_path / "pack")
    with rogue_scp(mode, interval=0.01) as rogue:
        ledger = send(Peer(rogue.ae, "127.0.0.1", rogue.port), items, deadlines=QUICK)
    assert isinstance(ledger.trouble, error)
    assert ledger.trouble.code == code
    assert ledger.events == [(0, "sending"), (0, "unknown")]


@pytest.mark.parametrize("mode", ["aborts", "releases", "garbage_answer"])
def test_it_comes_back_from_a_peer_that_ends_it(tmp_path: Path, mode: str) -> None:
    items = pack_of(ct_series(2, octets=8_388_608), tmp_path / "pack")
    with rogue_scp(mode) as rogue:
        ledger = send(Peer(rogue.ae, "127.0.0.1", rogue.port), items, deadlines=QUICK)
    assert isinstance(ledger.trouble, PeerError)
    assert ledger.trouble.kind is Kind.RETRY
    assert ledger.kinds() in ([], [Kind.UNKNOWN])


def test_a_stalled_large_instance_does_not_wait_for_its_own_long_deadline(tmp_path: Path) -> None:
    items = pack_of(ct_series(1, octets=8_388_608), tmp_path / "pack")
    patient = Deadlines(instance=1_000, stall=1)
    with rogue_scp("stops_reading") as rogue:
        ledger = send(Peer(rogue.ae, "127.0.0.1", rogue.port), items, deadlines=patient)
    assert isinstance(ledger.trouble, PeerTimeout)


@pytest.mark.parametrize("mode", [mode for mode, *_ in BEFORE + DURING])
def test_echo_and_find_come_back_too(mode: str) -> None:
    echoes: list[Echo] = []
    errors: list[PeerError] = []

    def run() -> None:
        with rogue_scp(mode, interval=0.05) as rogue:
            peer = Peer(rogue.ae, "127.0.0.1", rogue.port)
            echoes.append(echo(peer, deadlines=QUICK))
            try:
                find_instances(peer, "1.2.3", ["1.2.3.4"], deadlines=QUICK)
            except PeerError as error:
                errors.append(error)

    unhung(run)
    assert [one.ok for one in echoes] == [False]
    assert len(errors) == 1


def test_a_small_instance_never_takes_longer_than_the_promise() -> None:
    ours = Deadlines()
    assert ours.for_instance(1_000_000) <= 45
    assert ours.stall <= 45
    assert ours.connect + ours.negotiate <= 45
