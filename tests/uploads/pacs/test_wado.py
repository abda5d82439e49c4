"""One instance is got back from a DICOMweb service, which may frame it in many ways, or cut it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.uploads.pacs.packs import QUICK, Sample, ct_series
from tests.uploads.pacs.webpeers import at
from tests.webstub import Request, reply, web_stub
from uploads.pacs.dimse import AssociationAborted, Kind, PeerError, PeerTimeout
from uploads.pacs.errors import InstanceAbsent
from uploads.pacs.fetched import Wanted
from uploads.pacs.multipart import NotMultipart, Parts, boundary_of
from uploads.pacs.wado import fetch

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sample() -> Sample:
    return ct_series(1)[0]


def wanted(sample: Sample) -> Wanted:
    return Wanted("1.2.3", "1.2.4", sample.sop_instance_uid, sample.sop_class_uid, sample.transfer_syntax_uid)


def multipart(*files: bytes, before: bytes = b"", end: bytes = b"\r\n--B--\r\n") -> bytes:
    parts = b"\r\n".join(b"--B\r\nContent-Type: application/dicom\r\n\r\n" + file for file in files)
    return reply(200, before + parts + end, content_type='multipart/related; type="application/dicom"; boundary="B"')


FRAMES: list[Callable[[bytes], bytes]] = [
    multipart,
    lambda file: multipart(file, before=b"preamble\r\n"),
    lambda file: multipart(file, end=b"\r\n--B--"),
    lambda file: reply(200, b"--B\r\n\r\n" + file + b"\r\n--B--", content_type="multipart/related; boundary=B"),
    lambda file: reply(200, file, content_type="application/dicom"),
    lambda file: b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom\r\nConnection: close\r\n\r\n" + file,
]


@pytest.mark.parametrize("frame", FRAMES)
def test_the_data_set_is_hashed_out_of_its_frame(sample: Sample, frame: Callable[[bytes], bytes]) -> None:
    def answer(request: Request) -> bytes:
        assert request.target == f"/dicom-web/studies/1.2.3/series/1.2.4/instances/{sample.sop_instance_uid}"
        assert request.headers["accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'
        return frame(sample.file)

    closing = frame is FRAMES[-1]
    with web_stub(answer, instead=gives(frame(sample.file)) if closing else None) as stub:
        fetched = fetch(at(stub.port), wanted(sample))
    assert fetched.sha256 == sample.sha256
    assert (fetched.sop_instance_uid, fetched.transfer_syntax_uid) == (
        sample.sop_instance_uid,
        sample.transfer_syntax_uid,
    )


def gives(octets: bytes) -> Callable[[socket.socket, Request, threading.Event], None]:
    def give(connection: socket.socket, _: Request, __: threading.Event) -> None:
        connection.sendall(octets)

    return give


@pytest.mark.clinical
@pytest.mark.parametrize("kept", [100, 131, 200, 2_000, -30, -1])
def test_an_instance_that_is_cut_is_none(sample: Sample, kept: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=B\r\nConnection: close\r\n\r\n"
    body = (b"--B\r\n\r\n" + sample.file + b"\r\n--B--")[:kept]
    with web_stub(lambda _: None, instead=gives(head + body)) as stub, pytest.raises(AssociationAborted):
        fetch(at(stub.port), wanted(sample))


@pytest.mark.clinical
def test_an_answer_that_ends_before_its_length_is_none(sample: Sample) -> None:
    octets = reply(200, sample.file, content_type="application/dicom")[:-1]
    with web_stub(lambda _: None, instead=gives(octets)) as stub, pytest.raises(AssociationAborted) as caught:
        fetch(at(stub.port), wanted(sample))
    assert caught.value.code == "connection_lost"


@pytest.mark.clinical
def test_another_instance_is_not_taken_for_this_one(sample: Sample) -> None:
    (other,) = ct_series(1)
    with web_stub(lambda _: multipart(other.file)) as stub, pytest.raises(PeerError) as caught:
        fetch(at(stub.port), wanted(sample))
    assert caught.value.code == "another_instance"
    assert sample.sop_instance_uid not in caught.value.detail
    with web_stub(lambda _: multipart(sample.file, other.file)) as stub, pytest.raises(AssociationAborted):
        fetch(at(stub.port), wanted(sample))


@pytest.mark.parametrize("body", [b"", b"no DICOM", bytes(10_000), b"--B\r\nX: " + b"y" * 20_000])
@pytest.mark.parametrize("content_type", ["multipart/related; boundary=B", "text/html", ""])
def test_what_is_no_dicom_is_told(sample: Sample, body: bytes, content_type: str) -> None:
    answer = reply(200, body, content_type=content_type)
    with web_stub(lambda _: answer) as stub, pytest.raises(AssociationAborted) as caught:
        fetch(at(stub.port), wanted(sample))
    assert caught.value.code == "protocol_error"


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_told_apart(sample: Sample, status: int) -> None:
    with web_stub(lambda _: reply(status)) as stub, pytest.raises(InstanceAbsent):
        fetch(at(stub.port), wanted(sample))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (302, "redirected", Kind.PAUSE),
        (401, "not_authorised", Kind.PAUSE),
        (406, "request_refused", Kind.RETRY),
        (503, "peer_busy", Kind.RETRY),
    ],
)
def test_a_refusal_is_no_absence(sample: Sample, status: int, code: str, kind: Kind) -> None:
    with web_stub(lambda _: reply(status, location="http://127.0.0.1:1/")) as stub, pytest.raises(PeerError) as caught:
        fetch(at(stub.port), wanted(sample))
    assert not isinstance(caught.value, InstanceAbsent)
    assert (caught.value.code, caught.value.kind) == (code, kind)


def drips(connection: socket.socket, _: Request, ended: threading.Event) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom\r\nContent-Length: 5000\r\n\r\n"
    connection.sendall(head)
    for octet in bytes(5000):
        if ended.wait(0.05):
            return
        connection.sendall(bytes([octet]))


def test_a_service_that_drips_frees_the_worker(sample: Sample) -> None:
    with web_stub(lambda _: None, instead=drips) as stub, pytest.raises(PeerTimeout):
        fetch(at(stub.port), wanted(sample), deadlines=QUICK)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1_000_000])
def test_parts_are_found_however_the_octets_are_cut(size: int, tmp_path: Path) -> None:
    first, second = b"\r\n--X\r\n--\r\n\r\n--BO no\r\n", b"--B--" + bytes(range(256))
    body = b"--BOUND\r\nA: 1\r\n\r\n" + first + b"\r\n--BOUND\r\n\r\n" + second + b"\r\n--BOUND--\r\nepilogue"
    parts = Parts("BOUND")
    found = {1: b"", 2: b""}
    for start in range(0, len(body), size):
        for piece in parts.feed(body[start : start + size]):
            found[parts.count] += piece
    assert found == {1: first, 2: second}
    assert parts.ended


def test_a_header_that_does_not_end_is_given_up() -> None:
    with pytest.raises(NotMultipart):
        list(Parts("B").feed(b"--B\r\n" + b"x" * 20_000))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=a-b\'c', "a-b'c"),
        ('Multipart/Related; Boundary="x y"', "x y"),
        ("multipart/related", None),
        ("application/dicom", None),
        ("", None),
    ],
)
def test_the_boundary_is_read(content_type: str, boundary: str | None) -> None:
    assert boundary_of(content_type) == boundary
