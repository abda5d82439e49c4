"""The identifiers of C-FIND at image level: the keys we ask with, and what an answer says of an instance."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from uploads.pacs import pdu

LEVEL = (0x0008, 0x0052)
SOP_CLASS = (0x0008, 0x0016)
SOP_INSTANCE = (0x0008, 0x0018)
STUDY = (0x0020, 0x000D)
SERIES = (0x0020, 0x000E)
FRAMES = (0x0028, 0x0008)
ROWS = (0x0028, 0x0010)
COLUMNS = (0x0028, 0x0011)
RETURN_KEYS = (SOP_CLASS, FRAMES, ROWS, COLUMNS)
ELEMENT = struct.Struct("<HHI")

Tag = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """One instance the peer names; None where it did not return the key."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    sop_class_uid: str | None = None
    number_of_frames: int | None = None
    rows: int | None = None
    columns: int | None = None


def image_query(study: str, series: str, uids: Sequence[str], *, bare: bool) -> bytes:
    """An identifier in Implicit VR Little Endian (PS3.4 C.6.2.1). `bare`: the unique keys alone."""
    keys: dict[Tag, str] = {LEVEL: "IMAGE ", STUDY: study, SERIES: series, SOP_INSTANCE: "\\".join(uids)}
    if not bare:
        keys |= dict.fromkeys(RETURN_KEYS, "")
    return b"".join(_element(tag, keys[tag]) for tag in sorted(keys))


def _element(tag: Tag, value: str) -> bytes:
    octets = value.encode("ascii")
    octets += b"\0" * (len(octets) % 2)
    return ELEMENT.pack(*tag, len(octets)) + octets


def read(octets: bytes, *, study: str, series: str) -> FoundInstance | None:
    """What one answer names; None where it names no instance. Values stay raw: pydicom's warnings would quote them."""
    try:
        answer = read_dataset(BytesIO(octets), True, True)
    except Exception as error:  # whatever foreign octets do to the decoder, the answer is unusable
        raise pdu.garbled("C-FIND identifier") from error
    instance = _text(answer, SOP_INSTANCE)
    if not instance:
        return None
    return FoundInstance(
        sop_instance_uid=instance,
        series_instance_uid=_text(answer, SERIES) or series,
        study_instance_uid=_text(answer, STUDY) or study,
        sop_class_uid=_text(answer, SOP_CLASS) or None,
        number_of_frames=_integer(_text(answer, FRAMES)),
        rows=_short(answer, ROWS),
        columns=_short(answer, COLUMNS),
    )


def _raw(answer: Dataset, tag: Tag) -> bytes:
    value = getattr(answer.get_item(tag), "value", None) if tag in answer else None
    return value if isinstance(value, bytes) else b""


def _text(answer: Dataset, tag: Tag) -> str:
    return _raw(answer, tag).decode("latin-1").strip("\0 ")


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _short(answer: Dataset, tag: Tag) -> int | None:
    octets = _raw(answer, tag)
    return int.from_bytes(octets, "little") if len(octets) == 2 else None
