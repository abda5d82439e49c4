"""The wire writes no patient data, and nothing of the decoder's, into any log."""

import logging
import warnings
from pathlib import Path

import pytest

from tests.peers import rogue_scp, storescp
from tests.uploads.pacs.packs import ct_series, pack_of, send
from uploads.pacs.address import Peer
from uploads.pacs.echo import echo

pytestmark = pytest.mark.integration


def test_no_uid_reaches_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    samples = ct_series(2)
    items = pack_of(samples, tmp_path / "pack")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with storescp() as scp:
            assert send(Peer(scp.ae, "127.0.0.1", scp.port), items).trouble is None
        with rogue_scp("garbled_acceptance") as rogue:
            assert not echo(Peer(rogue.ae, "127.0.0.1", rogue.port)).ok
    assert samples[0].sop_instance_uid not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("pynetdicom", "pydicom"))]


def test_trouble_names_no_instance(tmp_path: Path) -> None:
    samples = ct_series(1)
    items = pack_of(samples, tmp_path / "pack")
    with storescp("--abort-after") as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port), items)
    assert ledger.trouble is not None
    assert samples[0].sop_instance_uid not in f"{ledger.trouble} {ledger.trouble.__cause__} {ledger.outcomes[0]}"
