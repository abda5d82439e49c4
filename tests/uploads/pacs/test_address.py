"""An administrator types an address."""

import pytest

from uploads.pacs.address import AddressError, Peer, Target, WebPeer, parse
from uploads.pacs.security import Basic, Bearer, Tls

pytestmark = pytest.mark.unit


def code_of(url: str) -> str:
    with pytest.raises(AddressError) as caught:
        parse(url, default_calling_ae="RELAYPACS")
    assert isinstance(caught.value, ValueError)
    assert caught.value.detail.endswith(".")
    return caught.value.code


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("dicom://PACS@pacs.example:104", Peer("PACS", "pacs.example", 104, "RELAYPACS")),
        ("dicom://PACS@pacs.example:104/", Peer("PACS", "pacs.example", 104, "RELAYPACS")),
        ("dicom://PACS@10.1.2.3:11112?calling=GATE_1", Peer("PACS", "10.1.2.3", 11112, "GATE_1")),
        ("dicom://PACS@[::1]:11112", Peer("PACS", "::1", 11112, "RELAYPACS")),
        ("dicom://MY%20PACS@host:1", Peer("MY PACS", "host", 1, "RELAYPACS")),
        ("dicom://1234567890123456@host:65535", Peer("1234567890123456", "host", 65535, "RELAYPACS")),
        ("dicom://lower@host:104?calling=", Peer("lower", "host", 104, "RELAYPACS")),
    ],
)
def test_it_reads_an_address(url: str, peer: Peer) -> None:
    assert parse(url, default_calling_ae="RELAYPACS") == peer


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "address_malformed"),
        ("pacs:104", "address_malformed"),
        ("ftp://PACS@host:104", "address_malformed"),
        (" dicom://PACS@host:104", "address_malformed"),
        ("dicom://PACS@host:104\n", "address_malformed"),
        ("dicom://PACS@host:1\t04", "address_malformed"),
        ("dicom://PACS@host:104/study", "address_malformed"),
        ("dicom://PACS@host:104#there", "address_malformed"),
        ("dicom://PACS:secret@host:104", "address_malformed"),
        ("dicom://PACS@host:104?called=A", "address_malformed"),
        ("dicom://PACS@host:104?calling=A&calling=B", "address_malformed"),
        ("dicom://PACS@host:104?calling", "address_malformed"),
        ("dicom://PACS@[::1:104", "address_malformed"),
        ("dicom://PACS@" + "h" * 600 + ":104", "address_malformed"),
        ("dicom://host:104", "ae_missing"),
        ("dicom://@host:104", "ae_missing"),
        ("dicom://%20@host:104", "ae_missing"),
        ("dicom://12345678901234567@host:104", "ae_invalid"),
        ("dicom://A%5CB@host:104", "ae_invalid"),
        ("dicom://A%0AB@host:104", "ae_invalid"),
        ("dicom://%C3%84@host:104", "ae_invalid"),
        ("dicom://PACS@host:104?calling=12345678901234567", "ae_invalid"),
        ("dicom://PACS@:104", "host_missing"),
        ("dicom://PACS@ho st:104", "host_invalid"),
        ("dicom://PACS@host", "port_missing"),
        ("dicom://PACS@host:", "port_missing"),
        ("dicom://PACS@host:0", "port_invalid"),
        ("dicom://PACS@host:65536", "port_invalid"),
        ("dicom://PACS@host:ssh", "port_invalid"),
    ],
)
def test_it_refuses_what_is_no_address(url: str, code: str) -> None:
    assert code_of(url) == code


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("dicoms://PACS@host:2762", Peer("PACS", "host", 2762, tls=Tls())),
        ("https://host/dicom-web", WebPeer("host", 443, "/dicom-web", tls=Tls())),
        ("https://host:8443/dicom-web/", WebPeer("host", 8443, "/dicom-web", tls=Tls())),
        ("http://[::1]:8042/dicom-web", WebPeer("::1", 8042, "/dicom-web")),
        ("http://host", WebPeer("host", 80, "")),
        (
            "https://host/dcm4chee-arc/aets/DCM4CHEE/rs/studies",
            WebPeer("host", 443, "/dcm4chee-arc/aets/DCM4CHEE/rs", Tls()),
        ),
    ],
)
def test_it_reads_the_other_schemes(url: str, target: Target) -> None:
    assert parse(url, default_calling_ae="RELAYPACS") == target


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://me:secret@host/dicom-web", "credentials_in_address"),
        ("https://me@host/dicom-web", "credentials_in_address"),
        ("https://host/dicom-web?token=1", "address_malformed"),
        ("https://host/dicom-web#x", "address_malformed"),
        ("https://host/dicom web", "address_malformed"),
        ("https:///dicom-web", "host_missing"),
        ("https://host:0/dicom-web", "port_invalid"),
        ("dicoms://host:2762", "ae_missing"),
        ("dicoms://PACS@host", "port_missing"),
    ],
)
def test_it_refuses_what_is_no_address_of_the_other_schemes(url: str, code: str) -> None:
    assert code_of(url) == code


def test_no_secret_is_printed() -> None:
    printed = repr((Basic("me", "s3cret"), Bearer("s3cret"), Tls(key="s3cret")))
    assert "s3cret" not in printed


def test_it_refuses_a_default_calling_title_that_is_none() -> None:
    with pytest.raises(AddressError) as caught:
        parse("dicom://PACS@host:104", default_calling_ae="far too long for one")
    assert caught.value.code == "ae_invalid"
