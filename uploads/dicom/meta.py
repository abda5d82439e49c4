"""The file meta information: what a Part 10 file says of itself before its data set begins (PS3.10, section 7.1)."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from uploads.dicom.codes import Unfit
from uploads.dicom.walk import Unfamiliar, Walk, as_written
from uploads.dicom.window import Window

PREAMBLE: Final = 128
IMPLEMENTATION: Final = "2.25.190341788877685889449638840186133491130"
"""Names this program in files that it writes (PS3.10, 7.1)."""
_GROUP_LENGTH: Final = b"\x02\x00\x00\x00UL\x04\x00"
_TAGS: Final = (0x00020002, 0x00020003, 0x00020010)
"""MediaStorageSOPClassUID, MediaStorageSOPInstanceUID, TransferSyntaxUID."""
_MARKED: Final = as_written(_TAGS, big_endian=False)
_ELEMENT: Final = struct.Struct("<L2sH").unpack_from
_LENGTH: Final = struct.Struct("<L").unpack_from
_PLAIN_FORMS: Final = frozenset((b"UI", b"SH", b"AE", b"UL"))
_LONG_FORMS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_MAX_META: Final = 1024 * 1024
"""Bytes; private information in it aside, a few hundred are usual."""


@dataclass(frozen=True, slots=True)
class Meta:
    """The three elements that count, and where the data set begins (bytes from the start of the file)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset_offset: int


def is_part10(window: Window) -> bool:
    return window.buffer.startswith(b"DICM", PREAMBLE)


def read_meta(window: Window, *, start: int = PREAMBLE + 4) -> Meta:
    """Read group 0002, which is always explicit VR little endian.

    Raises:
        Unfit: `truncated`, or `meta_mismatch` where its length and its elements disagree.
    """
    plain = _read_plain(window.buffer, start)
    if plain is not None:
        return plain
    end = _end(window, start)
    if end > window.size:
        raise Unfit("truncated", "The file ends inside its file meta information.")
    try:
        values = Walk(window, marked=_MARKED).run(start, end).values
    except (Unfit, Unfamiliar) as unfit:
        raise Unfit("meta_mismatch", "The length of the file meta information does not fit its elements.") from unfit
    return _meta(values, end)


def _meta(values: Mapping[int, bytes], end: int) -> Meta:
    uids = [str(values.get(tag, b""), "ascii", "replace").rstrip(" \0") for tag in _TAGS]
    return Meta(uids[0], uids[1], uids[2], end)


def _read_plain(buffer: bytes, start: int) -> Meta | None:
    """The short way for the usual group: its length first, each element once, all of it at hand; else None."""
    if not buffer.startswith(_GROUP_LENGTH, start) or start + 12 > len(buffer):
        return None
    offset = start + 12
    end = offset + _LENGTH(buffer, start + 8)[0]
    values: dict[int, bytes] = {}
    while offset + 12 <= end <= len(buffer):
        key, vr, length = _ELEMENT(buffer, offset)
        long = vr == b"OB"
        value = offset + (12 if long else 8)
        if long:
            length = _LENGTH(buffer, offset + 8)[0]
        elif vr not in _PLAIN_FORMS:
            return None
        offset = value + length
        if key in _MARKED:
            if _MARKED[key] in values:
                return None
            values[_MARKED[key]] = buffer[value:offset]
    return _meta(values, end) if offset == end else None


def _end(window: Window, start: int) -> int:
    if window.read(start, 8) == _GROUP_LENGTH:
        length = window.number(start + 8)
        if length > _MAX_META:
            raise Unfit("truncated", "The file meta information claims an absurd length.")
        return start + 12 + length
    return _count_group(window, start)


def _count_group(window: Window, position: int) -> int:
    """Where group 0002 ends in a file that omits its length, which every toolkit reads nevertheless."""
    limit = position + _MAX_META
    while position + 8 <= window.size:
        head = window.read(position, 8)
        if head[:2] != b"\x02\x00":
            return position
        long = head[4:6] in _LONG_FORMS
        position += 12 + window.number(position + 8) if long else 8 + int.from_bytes(head[6:8], "little")
        if position > limit:
            raise Unfit("truncated", "The file meta information claims an absurd length.")
    raise Unfit("truncated", "The file ends with its file meta information.")


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and group 0002 of a file of ours; its data set follows."""
    group = b"\x02\x00\x01\x00OB\0\0\x02\0\0\0\x00\x01"
    uids = {0x0002: sop_class_uid, 0x0003: sop_instance_uid, 0x0010: transfer_syntax_uid, 0x0012: IMPLEMENTATION}
    for element, uid in uids.items():
        value = uid.encode("ascii")
        value += b"\0" * (len(value) % 2)
        group += struct.pack("<HH2sH", 0x0002, element, b"UI", len(value)) + value
    return bytes(PREAMBLE) + b"DICM" + _GROUP_LENGTH + struct.pack("<L", len(group)) + group
