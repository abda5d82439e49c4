"""An administrator asks whether the PACS is there."""

import pytest
from pynetdicom import build_context

from tests.peers import free_port, orthanc, scripted_scp, silent_listener, storescp
from tests.uploads.pacs.packs import CT, QUICK
from uploads.pacs.address import Peer
from uploads.pacs.echo import echo
from uploads.pacs.outcomes import Kind

pytestmark = pytest.mark.integration


def test_storescp_answers() -> None:
    with storescp() as scp:
        answer = echo(Peer(scp.ae, "127.0.0.1", scp.port))
    assert answer.ok
    assert answer.milliseconds > 0


def test_orthanc_answers_to_its_own_title_only() -> None:
    with orthanc() as server:
        assert echo(Peer(server.ae, "127.0.0.1", server.port)).ok
        wrong = echo(Peer("SOMEONE", "127.0.0.1", server.port))
    assert (wrong.ok, wrong.code, wrong.kind) == (False, "called_ae_unknown", Kind.PAUSE)


def test_a_pacs_without_c_echo_is_told_from_one_that_is_gone() -> None:
    with scripted_scp(contexts=[build_context(CT)]) as scp:
        without = echo(Peer(scp.ae, "127.0.0.1", scp.port))
    gone = echo(Peer("PACS", "127.0.0.1", free_port()))
    assert (without.ok, without.code) == (False, "echo_unsupported")
    assert (gone.ok, gone.code, gone.kind) == (False, "connection_refused", Kind.RETRY)


def test_a_silent_listener_is_not_ok() -> None:
    with silent_listener() as port:
        answer = echo(Peer("PACS", "127.0.0.1", port), deadlines=QUICK)
    assert (answer.ok, answer.code) == (False, "peer_silent")
