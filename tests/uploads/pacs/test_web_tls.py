"""DICOMweb over https: who proves what to whom, and the same deadlines underneath."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from tests.certificates import Authority, server_context
from tests.peers import free_port
from tests.uploads.pacs.packs import QUICK, Sample, ct_series, pack_of
from tests.uploads.pacs.webpeers import (
    at,
    drips,
    nginx_before,
    put,
    says_too_large_at_once,
    stops_reading,
    stores_all,
    web_orthanc,
)
from tests.webstub import Request, web_stub
from uploads.pacs import qido, wado
from uploads.pacs.address import WebPeer
from uploads.pacs.dimse import Item, Kind, PeerError, PeerTimeout
from uploads.pacs.errors import TlsFailed
from uploads.pacs.fetched import Wanted
from uploads.pacs.security import Bearer, Tls

pytestmark = pytest.mark.integration

AUTHORITY, STRANGER = Authority(), Authority("Somebody")
TLS = Tls(ca=AUTHORITY.pem)
MUTUAL = replace(TLS, certificate=AUTHORITY.client.pem, key=AUTHORITY.client.key)
STUDY, SERIES = str(generate_uid()), str(generate_uid())


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return ct_series(4, study=STUDY, series=SERIES)


@pytest.fixture
def items(samples: list[Sample], tmp_path: Path) -> list[Item]:
    return pack_of(samples, tmp_path / "pack")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[WebPeer]:
    """Orthanc behind an nginx that takes 100 KB at once."""
    with (
        web_orthanc(tmp_path / "orthanc") as (_, plain),
        nginx_before(plain.port, tmp_path / "nginx", AUTHORITY.server, most="100k") as port,
    ):
        yield replace(plain, port=port, tls=TLS)


def test_a_study_goes_to_orthanc_is_asked_for_and_comes_back(
    secured: WebPeer, samples: list[Sample], items: list[Item]
) -> None:
    one = samples[0]
    wanted = Wanted(STUDY, SERIES, one.sop_instance_uid, one.sop_class_uid, one.transfer_syntax_uid)
    assert put(secured, items).kinds() == [Kind.STORED] * 4
    assert set(qido.find_instances(secured, STUDY, [SERIES])) == {sample.sop_instance_uid for sample in samples}
    assert wado.fetch(secured, wanted).sha256 == one.sha256


def test_what_is_too_large_for_a_proxy_is_refused_and_the_others_go(secured: WebPeer, tmp_path: Path) -> None:
    items = pack_of([*ct_series(2), *ct_series(1, octets=40_000_000), *ct_series(1)], tmp_path / "large")
    ledger = put(secured, items)
    assert ledger.trouble is None
    assert ledger.kinds() == [Kind.STORED, Kind.STORED, Kind.REFUSED, Kind.STORED]
    assert ledger.outcomes[2].code == "too_large_for_peer"


def test_a_proxy_with_nobody_behind_it_is_no_refusal_of_the_images(items: list[Item], tmp_path: Path) -> None:
    with nginx_before(free_port(), tmp_path / "nginx", AUTHORITY.server) as port:
        ledger = put(at(port, tls=TLS), items)
    assert isinstance(ledger.trouble, PeerError)
    assert (ledger.trouble.code, ledger.trouble.kind) == ("peer_fault", Kind.RETRY)
    assert set(ledger.kinds()) <= {Kind.UNKNOWN}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_connection_is_kept_over_tls(items: list[Item], version: ssl.TLSVersion) -> None:
    with web_stub(stores_all, tls=server_context(AUTHORITY.server, version=version)) as stub:
        ledger = put(at(stub.port, tls=TLS), items, batch_bytes=1)
    assert ledger.kinds() == [Kind.STORED] * 4
    assert stub.connections == 1


@pytest.mark.clinical
@pytest.mark.parametrize("server", [STRANGER.server, AUTHORITY.of_another_name, AUTHORITY.expired])
def test_nothing_goes_to_a_server_that_is_not_the_one(items: list[Item], server: object) -> None:
    with web_stub(stores_all, tls=server_context(server)) as stub:  # type: ignore[arg-type]
        ledger = put(at(stub.port, tls=TLS, credentials=Bearer("s3cret")), items)
    assert isinstance(ledger.trouble, TlsFailed)
    assert ledger.trouble.kind is Kind.PAUSE
    assert ledger.outcomes == {}
    assert stub.heads == []


def test_we_show_our_certificate_where_it_is_wanted(items: list[Item]) -> None:
    with web_stub(stores_all, tls=server_context(AUTHORITY.server, clients=AUTHORITY)) as stub:
        shown = put(at(stub.port, tls=MUTUAL), items)
        bare = put(at(stub.port, tls=TLS), items)
    assert shown.kinds() == [Kind.STORED] * 4
    assert isinstance(bare.trouble, TlsFailed)
    assert bare.trouble.kind is Kind.PAUSE
    assert len(stub.requests) == 1


def test_a_peer_that_says_too_large_at_the_head_is_heard(tmp_path: Path) -> None:
    items = pack_of(ct_series(2, octets=4_000_000), tmp_path / "pack")
    with web_stub(stores_all, instead=says_too_large_at_once, tls=server_context(AUTHORITY.server)) as stub:
        ledger = put(at(stub.port, tls=TLS), items)
    assert ledger.trouble is None
    assert [outcome.code for outcome in ledger.outcomes.values()] == ["too_large_for_peer"] * 2


@pytest.mark.parametrize("octets", [32_768, 16_777_216])
@pytest.mark.parametrize("misdeed", [stops_reading, drips])
def test_a_peer_that_stops_reading_or_drips_frees_the_worker(
    tmp_path: Path, octets: int, misdeed: Callable[[socket.socket, Request, threading.Event], None]
) -> None:
    items = pack_of(ct_series(2, octets=octets), tmp_path / "pack")
    with web_stub(stores_all, instead=misdeed, tls=server_context(AUTHORITY.server)) as stub:
        ledger = put(at(stub.port, tls=TLS), items, deadlines=QUICK)
    assert isinstance(ledger.trouble, PeerTimeout)
    assert ledger.outcomes[0].kind is Kind.UNKNOWN
