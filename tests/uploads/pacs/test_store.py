"""A batch of instances meets a PACS that answers one thing or another."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import build_context

from tests.peers import free_port, scripted_scp, silent_listener, storescp
from tests.uploads.pacs.packs import CT, QUICK, Ledger, Slice, ct_series, pack_of, send
from uploads.pacs.address import Peer
from uploads.pacs.dimse import (
    AssociationAborted,
    AssociationRejected,
    Item,
    Kind,
    PeerTimeout,
    PeerUnreachable,
)

pytestmark = pytest.mark.integration

EXPLICIT, IMPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.50"
DEFLATED = "1.2.840.10008.1.2.1.99"


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    return pack_of(ct_series(4), tmp_path / "pack")


def at(port: int, ae: str = "STORESCP") -> Peer:
    return Peer(ae, "127.0.0.1", port)


def renamed(item: Item, *, sop_class: str = CT, syntax: str = EXPLICIT) -> Item:
    return Item((sop_class, syntax), sop_class, item.sop_instance_uid, syntax, item.source)


def test_each_instance_gets_the_outcome_of_its_own_status(tmp_path: Path) -> None:
    statuses = [0, 0xB000, 0xA700, 0xA900, 0xC000, 0x0122, 0x0111, 0x0124, 0xC211, 0x0110]
    kinds = [Kind.STORED, Kind.STORED_WITH_WARNING, Kind.RETRY, Kind.REFUSED, Kind.REFUSED, Kind.REFUSED]
    kinds += [Kind.STORED, Kind.PAUSE, Kind.RETRY, Kind.RETRY]
    items = pack_of(ct_series(len(statuses)), tmp_path / "pack")
    with scripted_scp(statuses=statuses) as scp:
        ledger = send(at(scp.port, scp.ae), items)
    assert ledger.kinds() == kinds
    assert [ledger.outcomes[item.key].status for item in items] == statuses
    assert ledger.events[:4] == [(0, "sending"), (0, "stored"), (1, "sending"), (1, "stored_with_warning")]
    assert scp.associations == 1


def test_it_keeps_what_the_answer_says_besides_its_status(items: list[Item]) -> None:
    answer = Dataset()
    answer.Status = 0xA900
    answer.ErrorComment = "no such thing"
    answer.OffendingElement = [0x00100020]
    with scripted_scp(statuses=[answer]) as scp:
        outcome = send(at(scp.port, scp.ae), items[:1]).outcomes[0]
    assert (outcome.kind, outcome.comment, outcome.offending) == (Kind.REFUSED, "no such thing", ("(0010,0020)",))


def test_a_context_the_peer_refuses_is_an_outcome_of_its_instances_alone(items: list[Item]) -> None:
    mixed = [
        renamed(items[0]),
        renamed(items[1], syntax=JPEG),
        renamed(items[2], sop_class="1.2.840.10008.5.1.4.1.1.4"),
    ]
    with scripted_scp(contexts=[build_context(CT, [IMPLICIT, EXPLICIT])]) as scp:
        ledger = send(at(scp.port, scp.ae), mixed)
    by_key = ledger.outcomes
    assert by_key[CT, EXPLICIT].kind is Kind.STORED
    assert (by_key[CT, JPEG].kind, by_key[CT, JPEG].code) == (Kind.REFUSED, "context_refused")
    assert "transfer syntax" in by_key[CT, JPEG].comment
    assert "abstract syntax" in by_key[mixed[2].key].comment
    assert len(scp.received) == 1


def test_all_contexts_refused_is_no_trouble_of_the_association(items: list[Item]) -> None:
    with scripted_scp(contexts=[build_context("1.2.840.10008.1.1")]) as scp:
        ledger = send(at(scp.port, scp.ae), items)
    assert ledger.trouble is None
    assert [outcome.code for outcome in ledger.outcomes.values()] == ["context_refused"] * 4


@pytest.mark.parametrize(("syntax", "kind"), [(DEFLATED, Kind.STORED), (EXPLICIT, Kind.REFUSED)])
def test_an_odd_length_is_padded_or_refused_where_the_peer_would_abort_on_it(
    items: list[Item], syntax: str, kind: Kind
) -> None:
    odd = [renamed(items[0], syntax=syntax), items[1]]
    odd[0] = replace(odd[0], source=Slice(items[0].source.fileno(), items[0].source.offset, items[0].source.size - 1))
    with storescp("--bit-preserving") as scp:
        ledger = send(at(scp.port), odd)
    assert ledger.trouble is None
    assert [ledger.outcomes[item.key].kind for item in odd] == [kind, Kind.STORED]


def test_more_pairs_than_one_association_carries_go_over_several(items: list[Item]) -> None:
    many = [renamed(items[0], sop_class=f"1.2.826.0.1.3680043.10.999.{number}") for number in range(300)]
    with scripted_scp() as scp:
        ledger = send(at(scp.port, scp.ae), many)
    assert ledger.trouble is None
    assert {outcome.kind for outcome in ledger.outcomes.values()} == {Kind.STORED}
    assert {one.sop_class_uid for one in scp.received} == {item.sop_class_uid for item in many}
    assert scp.associations == 3


def test_it_opens_no_association_for_nothing() -> None:
    ledger = send(at(free_port()), [])
    assert (ledger.trouble, ledger.events) == (None, [])


def test_it_stops_between_two_instances_when_asked(items: list[Item]) -> None:
    ledger = Ledger()
    with scripted_scp() as scp:
        send(at(scp.port, scp.ae), items, ledger=ledger, should_stop=lambda: len(ledger.outcomes) == 2)
    assert ledger.trouble is None
    assert len(scp.received) == len(ledger.outcomes) == 2


def test_an_abort_leaves_one_instance_unknown_and_the_rest_untold(items: list[Item]) -> None:
    with scripted_scp(statuses=[0, "abort"]) as scp:
        ledger = send(at(scp.port, scp.ae), items)
    assert isinstance(ledger.trouble, AssociationAborted)
    assert ledger.trouble.kind is Kind.RETRY
    assert ledger.events == [(0, "sending"), (0, "stored"), (1, "sending"), (1, "unknown")]


def test_a_wrong_called_title_pauses(items: list[Item]) -> None:
    with scripted_scp(require_called=True) as scp:
        ledger = send(at(scp.port, "WRONG"), items)
    assert isinstance(ledger.trouble, AssociationRejected)
    assert (ledger.trouble.code, ledger.trouble.kind) == ("called_ae_unknown", Kind.PAUSE)
    assert ledger.events == []


def test_a_closed_port_is_unreachable(items: list[Item]) -> None:
    ledger = send(at(free_port()), items)
    assert isinstance(ledger.trouble, PeerUnreachable)
    assert (ledger.trouble.code, ledger.trouble.kind) == ("connection_refused", Kind.RETRY)


def test_a_name_without_address_is_unreachable(items: list[Item]) -> None:
    ledger = send(Peer("PACS", "no-such-host.invalid", 104), items)
    assert isinstance(ledger.trouble, PeerUnreachable)
    assert ledger.trouble.code in ("name_unknown", "name_timeout")


def test_a_silent_listener_times_out(items: list[Item]) -> None:
    with silent_listener() as port:
        ledger = send(at(port), items, deadlines=QUICK)
    assert isinstance(ledger.trouble, PeerTimeout)
    assert (ledger.trouble.code, ledger.trouble.kind, ledger.events) == ("peer_silent", Kind.RETRY, [])


def test_storescp_refusing(items: list[Item]) -> None:
    with storescp("--refuse") as scp:
        ledger = send(at(scp.port), items)
    assert isinstance(ledger.trouble, AssociationRejected)
    assert (ledger.trouble.kind, ledger.events) == (Kind.RETRY, [])


@pytest.mark.parametrize("flag", ["--abort-after", "--abort-during"])
@pytest.mark.parametrize("octets", [32_768, 16_777_216])
def test_storescp_aborting(tmp_path: Path, flag: str, octets: int) -> None:
    items = pack_of(ct_series(2, octets=octets), tmp_path / "pack")
    with storescp(flag) as scp:
        ledger = send(at(scp.port), items)
    assert isinstance(ledger.trouble, AssociationAborted)
    assert ledger.events == [(0, "sending"), (0, "unknown")]


def test_storescp_sleeping_after_each_answer(items: list[Item]) -> None:
    with storescp("--sleep-after", "30") as scp:
        ledger = send(at(scp.port), items, deadlines=QUICK)
    assert isinstance(ledger.trouble, PeerTimeout)
    assert ledger.events == [(0, "sending"), (0, "stored"), (1, "sending"), (1, "unknown")]


def test_storescp_that_is_only_slow(items: list[Item]) -> None:
    with storescp("--sleep-after", "1") as scp:
        ledger = send(at(scp.port), items[:2])
    assert ledger.trouble is None
    assert ledger.kinds() == [Kind.STORED, Kind.STORED]


@pytest.mark.parametrize("octets", [32_768, 16_777_216])
def test_storescp_sleeping_during_an_instance(tmp_path: Path, octets: int) -> None:
    items = pack_of(ct_series(1, octets=octets), tmp_path / "pack")
    with storescp("--sleep-during", "30") as scp:
        ledger = send(at(scp.port), items, deadlines=QUICK)
    assert isinstance(ledger.trouble, PeerTimeout)
    assert ledger.events == [(0, "sending"), (0, "unknown")]


def test_storescp_lying(items: list[Item]) -> None:
    with storescp("--ignore") as scp:
        ledger = send(at(scp.port), items)
        assert list(scp.directory.iterdir()) == []
    assert ledger.kinds() == [Kind.STORED] * 4


def test_storescp_that_would_reject_a_nameless_implementation(items: list[Item]) -> None:
    with storescp("--reject") as scp:
        ledger = send(at(scp.port), items)
    assert ledger.kinds() == [Kind.STORED] * 4


def test_storescp_killed_and_started_again_gets_only_what_is_missing(items: list[Item]) -> None:
    with storescp() as scp:
        ledger = Ledger(on_begin=lambda item: scp.kill() if item.key == 2 else None)
        send(at(scp.port), items, ledger=ledger)
        assert isinstance(ledger.trouble, AssociationAborted)
        assert ledger.kinds() in ([Kind.STORED] * 2, [Kind.STORED, Kind.STORED, Kind.UNKNOWN])
        scp.start()
        rest = send(at(scp.port), items[2:])
        assert rest.kinds() == [Kind.STORED, Kind.STORED]
        assert len(list(scp.directory.iterdir())) == 4


def test_a_peer_that_dies_between_two_instances_leaves_the_next_one_alone(items: list[Item]) -> None:
    with storescp() as scp:
        ledger = Ledger(on_end=lambda item: scp.kill() if item.key == 0 else None)
        send(at(scp.port), items, ledger=ledger)
    assert isinstance(ledger.trouble, AssociationAborted)
    assert list(ledger.outcomes) == [0]


@pytest.mark.parametrize("octets", [32_768, 16_777_216])
def test_storescp_frozen(tmp_path: Path, octets: int) -> None:
    items = pack_of(ct_series(2, octets=octets), tmp_path / "pack")
    with storescp() as scp:
        ledger = Ledger(on_begin=lambda item: scp.freeze() if item.key == 1 else None)
        send(at(scp.port), items, ledger=ledger, deadlines=QUICK)
    assert isinstance(ledger.trouble, PeerTimeout)
    assert ledger.events == [(0, "sending"), (0, "stored"), (1, "sending"), (1, "unknown")]


def test_a_caller_that_gives_up_aborts_the_association(items: list[Item]) -> None:
    class LeaseLostError(OSError):
        pass

    def give_up(item: Item) -> None:
        if item.key == 1:
            raise LeaseLostError

    with scripted_scp() as scp:
        ledger = send(at(scp.port, scp.ae), items, ledger=Ledger(on_begin=give_up))
    assert isinstance(ledger.trouble, LeaseLostError)
    assert ledger.events == [(0, "sending"), (0, "stored"), (1, "sending")]
    assert len(scp.received) == 1


def test_four_associations_store_every_instance_once(tmp_path: Path) -> None:
    items = pack_of(ct_series(60), tmp_path / "pack")
    with scripted_scp() as scp:
        ledger = send(at(scp.port, scp.ae), items, lanes=4)
    assert ledger.trouble is None
    assert ledger.kinds() == [Kind.STORED] * 60
    assert len(scp.received) == len(scp.stored) == 60
    assert 1 < scp.associations <= 4


def test_a_peer_that_takes_two_associations_gets_all_over_those(tmp_path: Path) -> None:
    items = pack_of(ct_series(60), tmp_path / "pack")
    with scripted_scp(most_associations=2) as scp:
        ledger = send(at(scp.port, scp.ae), items, lanes=4)
    assert ledger.trouble is None
    assert ledger.kinds() == [Kind.STORED] * 60
    assert len(scp.received) == 60
