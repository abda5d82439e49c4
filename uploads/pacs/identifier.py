"""The identifiers of C-FIND: the keys we ask with, and what an answer says of an instance or a study."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from uploads.dicom.charset import Decoder
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
CHARACTER_SET = (0x0008, 0x0005)
# What a study is known by: keys that a peer must return (PS3.4 Table C.6-5), and those that it may not know.
STUDY_KEYS = {
    "PatientID": (0x0010, 0x0020),
    "PatientName": (0x0010, 0x0010),
    "StudyInstanceUID": STUDY,
    "AccessionNumber": (0x0008, 0x0050),
}
OPTIONAL_STUDY_KEYS = {
    "IssuerOfPatientID": (0x0010, 0x0021),
    "PatientBirthDate": (0x0010, 0x0030),
    "PatientSex": (0x0010, 0x0040),
}
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


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """What the peer says of one study, by keyword: only the keys that it returned; patient data.

    `doubtful`: a value could not be decoded for sure by its SpecificCharacterSet and is shown as it could be.
    `ambiguous`: the peer lists the study more than once with different values, as under two patients.
    """

    values: dict[str, str]
    doubtful: bool = False
    ambiguous: bool = False


def study_query(study: str, *, bare: bool) -> bytes:
    """An identifier at study level. `bare`: without the keys that a peer need not know."""
    tags = [*STUDY_KEYS.values(), *(() if bare else OPTIONAL_STUDY_KEYS.values())]
    keys: dict[Tag, str] = dict.fromkeys(tags, "") | {LEVEL: "STUDY ", STUDY: study}
    return b"".join(_element(tag, keys[tag]) for tag in sorted(keys))


def read_study(octets: bytes, *, study: str) -> FoundStudy | None:
    """What one answer says of the study asked for; None where it speaks of another."""
    answer = _decoded(octets)
    if _text(answer, STUDY) != study:
        return None
    decoder = Decoder(_raw(answer, CHARACTER_SET))
    keys = {key: tag for key, tag in (STUDY_KEYS | OPTIONAL_STUDY_KEYS).items() if tag in answer}
    values = {keyword: decoder.text(_raw(answer, tag)).strip(" ") for keyword, tag in keys.items()}
    return FoundStudy(values, decoder.problem)


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
    answer = _decoded(octets)
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


def _decoded(octets: bytes) -> Dataset:
    try:
        return read_dataset(BytesIO(octets), True, True)
    except Exception as error:  # whatever foreign octets do to the decoder, the answer is unusable
        raise pdu.garbled("C-FIND identifier") from error


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
