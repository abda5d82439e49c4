"""A real peer answers, and the rules of its destination decide what that means."""

from pathlib import Path

import pytest
from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext

from tests.peers import scripted_scp
from tests.scripted import Status
from tests.uploads.pacs.packs import CT, Ledger, ct_series, pack_of
from uploads.pacs.address import Peer
from uploads.pacs.dimse import Item, Kind, store
from uploads.pacs.rules import Rules, read

pytestmark = [pytest.mark.integration, pytest.mark.clinical]

DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
EXPLICIT = "1.2.840.10008.1.2.1"


def sent(
    items: list[Item], rules: Rules, *, statuses: list[Status], contexts: list[PresentationContext] | None = None
) -> Ledger:
    ledger = Ledger()
    with scripted_scp(statuses=statuses, contexts=contexts) as scp:
        peer = Peer(scp.ae, "127.0.0.1", scp.port)
        store(peer, items, on_sending=ledger.sending, on_outcome=ledger.outcome, rules=rules)
    return ledger


def report(item: Item) -> Item:
    return Item(9, DOSE, item.sop_instance_uid, item.transfer_syntax_uid, item.source)


def test_the_destination_s_own_rows_decide(tmp_path: Path) -> None:
    rows = [
        {"status": "0110", "action": "give_up"},
        {"status": "B007", "action": "give_up"},
        {"status": "A900", "action": "retry", "attempts": 3},
    ]
    ledger = sent(pack_of(ct_series(4), tmp_path / "pack"), read(rows), statuses=[0x0110, 0xB007, 0xA900, 0])
    assert ledger.kinds() == [Kind.REFUSED, Kind.REFUSED, Kind.RETRY, Kind.STORED]
    assert [outcome.status for outcome in ledger.outcomes.values()] == [0x0110, 0xB007, 0xA900, 0]


def test_an_optional_report_is_left_out_and_the_images_are_not(tmp_path: Path) -> None:
    rules = read([], optional=[{"sop_class": "dose_report", "note": "No reports here."}])
    images = pack_of(ct_series(2), tmp_path / "pack")
    ledger = sent([images[0], report(images[1])], rules, statuses=[0x0122, 0x0122])
    assert ledger.kinds() == [Kind.REFUSED, Kind.SKIPPED]
    assert "No reports here." in ledger.outcomes[9].comment


def test_an_optional_report_whose_context_is_refused_is_left_out_unsent(tmp_path: Path) -> None:
    rules = read([], optional=[{"sop_class": "dose_report", "note": ""}])
    images = pack_of(ct_series(2), tmp_path / "pack")
    ledger = sent([images[0], report(images[1])], rules, statuses=[], contexts=[build_context(CT, EXPLICIT)])
    assert ledger.kinds() == [Kind.STORED, Kind.SKIPPED]
