"""WADO-RS: one instance got back from the PACS, hashed while it streams and never held."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from uploads.pacs.address import WebPeer
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import AssociationAborted, InstanceAbsent, PeerError
from uploads.pacs.fetched import DataSetDigest, Fetched, Wanted
from uploads.pacs.multipart import DICOM, NotMultipart, Parts, boundary_of
from uploads.pacs.refusals import refusal
from uploads.pacs.web import Due, Link

DEFAULT_DEADLINES = Deadlines()
AS_STORED = f'multipart/related; type="{DICOM}"; transfer-syntax=*'
"""PS3.18 8.7.3.5.2: the wildcard asks for the transfer syntax that the instance is stored in."""
NOT_THERE = (404, 410)


def fetch(peer: WebPeer, wanted: Wanted, *, deadlines: Deadlines = DEFAULT_DEADLINES) -> Fetched:
    """GET one instance (PS3.18 10.4) and say what its data set hashes to; takes little memory for any size.

    Raises InstanceAbsent where the peer has none of that name, and other PeerErrors: among them AssociationAborted
    where the answer is cut short, is no DICOM, or is another instance.
    """
    with Link(peer, deadlines) as link:
        due = _due(deadlines)
        head = link.ask(_target(peer, wanted), accept=AS_STORED, due=due)
        if head.status in NOT_THERE:
            raise InstanceAbsent("instance_absent", "The PACS says that it does not have the image.")
        if head.status != 200:
            raise refusal(head.status, head.headers)
        return _checked(_hashed(head.headers.get("content-type", ""), link.body(due)), wanted)


def _target(peer: WebPeer, wanted: Wanted) -> str:
    study, series, instance = (
        quote(uid) for uid in (wanted.study_instance_uid, wanted.series_instance_uid, wanted.sop_instance_uid)
    )
    return f"{peer.path}/studies/{study}/series/{series}/instances/{instance}"


def _due(deadlines: Deadlines) -> Due:
    """No pause is longer than a stall, and all of it keeps the pace of `per_megabyte`: nobody says the size before."""
    began = Deadline.after(0).moment

    def due(received: int) -> Deadline:
        return Deadline(min(began + deadlines.for_instance(received), Deadline.after(deadlines.stall).moment))

    return due


def _hashed(content_type: str, body: Iterator[bytes]) -> Fetched:
    digest = DataSetDigest()
    boundary = boundary_of(content_type)
    try:
        for octets in body if boundary is None else _only_part(boundary, body):
            digest.feed(octets)
        return digest.fetched()
    except NotMultipart:
        raise AssociationAborted(
            "protocol_error", "What the PACS sent is not the multipart body it promised."
        ) from None


def _only_part(boundary: str, body: Iterator[bytes]) -> Iterator[bytes]:
    parts = Parts(boundary)
    for octets in body:
        for piece in parts.feed(octets):
            if parts.count > 1:
                raise NotMultipart("more than the one instance")
            yield piece
    if not parts.ended:
        raise NotMultipart("the last delimiter is missing")


def _checked(fetched: Fetched, wanted: Wanted) -> Fetched:
    if fetched.sop_instance_uid != wanted.sop_instance_uid:
        raise PeerError("another_instance", "The PACS sent another image than the one asked for.", bounded=True)
    return fetched
