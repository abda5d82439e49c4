"""The few elements of a data set that the journey needs: who, which study, what kind of image."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Final

from uploads.dicom.charset import Decoder
from uploads.dicom.codes import Unfit

CHARACTER_SET: Final = 0x00080005
SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
SAMPLES: Final = 0x00280002
PHOTOMETRIC: Final = 0x00280004
FRAMES: Final = 0x00280008
ROWS: Final = 0x00280010
COLUMNS: Final = 0x00280011
BITS_ALLOCATED: Final = 0x00280100
BURNED_IN: Final = 0x00280301
PIXELS: Final = 0x7FE00010
FLOAT_PIXELS: Final = 0x7FE00008
DOUBLE_PIXELS: Final = 0x7FE00009
PIXEL_TAGS: Final = frozenset((PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS))

# Text fields of Header, in its order, and where they stand in the data set (PS3.6).
_TEXT: Final[dict[str, int]] = {
    "sop_class_uid": SOP_CLASS,
    "sop_instance_uid": SOP_INSTANCE,
    "study_instance_uid": 0x0020000D,
    "series_instance_uid": 0x0020000E,
    "patient_id": 0x00100020,
    "issuer": 0x00100021,
    "patient_name": 0x00100010,
    "birth_date": 0x00100030,
    "sex": 0x00100040,
    "study_date": 0x00080020,
    "study_time": 0x00080030,
    "study_description": 0x00081030,
    "accession_number": 0x00080050,
    "modality": 0x00080060,
    "series_number": 0x00200011,
    "series_description": 0x0008103E,
    "instance_number": 0x00200013,
    "institution": 0x00080080,
    "photometric": PHOTOMETRIC,
}
_TEXT_TAGS: Final = tuple(_TEXT.values())
_NAME: Final = tuple(_TEXT).index("patient_name")
_UNSIGNED: Final = {False: struct.Struct("<H").unpack_from, True: struct.Struct(">H").unpack_from}
_BINARY_TAGS: Final = (SAMPLES, ROWS, COLUMNS, BITS_ALLOCATED)
WANTED: Final = frozenset((*_TEXT_TAGS, *_BINARY_TAGS, CHARACTER_SET, FRAMES, BURNED_IN))
MAX_VALUE: Final = 4096
"""Bytes; the longest of the elements above may hold 64 characters in three groups (PS3.5, section 6.2)."""
_MAX_FRAMES_TEXT: Final = 32


@dataclass(frozen=True)
class Header:
    """What an instance says of itself, as text; `frames`, `rows` and the other integers are 0 where absent."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    issuer: str
    patient_name: str
    birth_date: str
    sex: str
    study_date: str
    study_time: str
    study_description: str
    accession_number: str
    modality: str
    series_number: str
    series_description: str
    instance_number: str
    institution: str
    photometric: str
    transfer_syntax_uid: str
    burned_in: str
    charset_problem: bool
    samples: int
    rows: int
    columns: int
    bits_allocated: int
    frames: int


FIELDS: Final = tuple(field.name for field in fields(Header))
values_of: Final[Callable[[Header], tuple[str | bool | int, ...]]] = attrgetter(*FIELDS)


def _make(*values: str | bool | int) -> Header:
    """A Header of its values in order. The generated constructor of a frozen class costs three times as much."""
    header = object.__new__(Header)
    header.__dict__.update(zip(FIELDS, values, strict=True))
    return header


def build(found: Mapping[int, bytes], *, transfer_syntax_uid: str, big_endian: bool) -> Header:
    """Make a Header of raw values by tag.

    Raises:
        Unfit: `meta_mismatch`, a number is not one.
    """
    decoder = Decoder(found.get(CHARACTER_SET, b""))
    get = found.get
    texts = decoder.texts([get(tag, b"") for tag in _TEXT_TAGS])
    texts[_NAME] = texts[_NAME].rstrip("=")  # component groups that are empty are often written all the same
    burned_in = get(BURNED_IN, b"").strip(b" \0").upper()
    return _make(
        *texts,
        transfer_syntax_uid,
        burned_in.decode() if burned_in in (b"YES", b"NO") else "",
        decoder.problem,
        *_unsigned(found, big_endian),
        _frames(get(FRAMES, b"")),
    )


def _unsigned(found: Mapping[int, bytes], big_endian: bool) -> list[int]:
    """The US elements. The first value counts: only retired elements were ever written with two."""
    unpack, numbers = _UNSIGNED[big_endian], []
    for tag in _BINARY_TAGS:
        raw = found.get(tag)
        if raw and len(raw) < 2:
            raise Unfit("meta_mismatch", "A number that describes the image is cut short.")
        numbers.append(unpack(raw)[0] if raw else 0)
    return numbers


def _frames(raw: bytes) -> int:
    if not raw:
        return 0
    text = raw.strip(b" \0") or b"0"
    if len(text) > _MAX_FRAMES_TEXT or not text.lstrip(b"+").isdigit():
        raise Unfit("meta_mismatch", "NumberOfFrames is not a number.")
    return int(text)
