"""An administrator types an address."""

import pytest

from uploads.pacs.address import AddressError, Peer, parse

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


@pytest.mark.parametrize("url", ["dicoms://PACS@host:2762", "https://host/dicom-web", "http://host/dicom-web"])
def test_it_says_which_doors_come_with_the_next_release(url: str) -> None:
    assert code_of(url) == "scheme_unsupported"


def test_it_refuses_a_default_calling_title_that_is_none() -> None:
    with pytest.raises(AddressError) as caught:
        parse("dicom://PACS@host:104", default_calling_ae="far too long for one")
    assert caught.value.code == "ae_invalid"
