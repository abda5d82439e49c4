"""What is asked back of a PACS, and what came: hashed while it streams by, never kept."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from uploads.dicom.content import ContentDigest
from uploads.pacs import pdu
from uploads.pacs.wire import Octets

PREAMBLE = 128
MOST_META = 1 << 20
"""Octets of preamble and file meta group together; a few hundred are usual."""
GROUP_2 = b"\x02\x00"
GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
LONG_FORMS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SOP_INSTANCE, SYNTAX = 0x0003, 0x0010
ELEMENT = struct.Struct("<HH2sH")
LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One instance to be fetched back, by the names and in the transfer syntax under which it was sent."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """One instance as the PACS gave it: `size` and `sha256` are of the data set's octets alone.

    Only where `transfer_syntax_uid` is that of the octets it is compared with does a difference mean anything.
    `content_sha256` is of what it says (uploads.dicom.content): many a PACS encodes anew what it gives back.
    """

    sop_instance_uid: str
    transfer_syntax_uid: str
    size: int
    sha256: str
    content_sha256: str = ""


class Digest:
    """Counts and hashes the octets of one data set in this transfer syntax."""

    def __init__(self, transfer_syntax_uid: str) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._syntax = transfer_syntax_uid
        self._content = ContentDigest(transfer_syntax_uid)

    def feed(self, octets: Octets) -> None:
        self.size += len(octets)
        self._hash.update(octets)
        self._content.feed(octets)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def fetched(self, sop_instance_uid: str) -> Fetched:
        return Fetched(sop_instance_uid, self._syntax, self.size, self.sha256, self._content.value)


class DataSetDigest:
    """Fed a Part 10 file piece by piece, hashes what follows its file meta group (PS3.10 7.1).

    `feed` and `fetched` raise AssociationAborted (`protocol_error`) where the octets are no such file.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._end: int | None = None
        self._elements: dict[int, str] = {}
        self._digest = Digest("")

    @property
    def size(self) -> int:
        """Octets of the data set so far."""
        return self._digest.size

    def feed(self, octets: Octets) -> None:
        if self._end is not None:
            self._digest.feed(octets)
            return
        self._head += octets
        self._end = self._end_of_meta()
        if self._end is not None:
            self._digest = Digest(self._elements.get(SYNTAX, ""))
            self._digest.feed(bytes(self._head[self._end :]))
            self._head.clear()
        elif len(self._head) > MOST_META:
            raise pdu.garbled("file meta group too long")

    def fetched(self) -> Fetched:
        """What the file was, once all of it was fed."""
        if self._end is None or not self.size:
            raise pdu.garbled("file without a data set")
        return self._digest.fetched(self._elements.get(SOP_INSTANCE, ""))

    def _end_of_meta(self) -> int | None:
        """Where the data set begins: where the group's own length says, or where the group ends; None: not in sight."""
        head, start = self._head, PREAMBLE + 4
        if len(head) < start + 12:
            return None
        if head[PREAMBLE:start] != b"DICM":
            raise pdu.garbled("file without DICM")
        if not head.startswith(GROUP_LENGTH, start):
            return self._walk(start, len(head))
        end = int(start + 12 + LENGTH.unpack_from(head, start + 8)[0])
        if len(head) < end:
            return None
        self._walk(start, end)
        return end

    def _walk(self, position: int, end: int) -> int | None:
        """Note the elements of group 2 before `end`; where another group begins, or None where none was reached."""
        while position + 12 <= end:
            if self._head[position : position + 2] != GROUP_2:
                return position
            _, number, form, length = ELEMENT.unpack_from(self._head, position)
            position += 8
            if form in LONG_FORMS:
                length = LENGTH.unpack_from(self._head, position)[0]
                position += 4
            if number in (SOP_INSTANCE, SYNTAX):
                value = bytes(self._head[position : position + length])
                self._elements[number] = value.decode("latin-1").strip("\0 ")
            position += length
        return None
