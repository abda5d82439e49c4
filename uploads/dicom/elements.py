"""The elements of a compressed data set, as spans of its bytes, and what they say of the pixels."""

import io
import struct
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataelem import RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from uploads.dicom.source import Source

Piece = bytes | tuple[int, int]
"""Octets, or where they stand in the source: from, and up to."""

_PIXELS: Final = 0x7FE00010
_OFFSETS, _LENGTHS, _TOTAL = 0x7FE00001, 0x7FE00002, 0x7FE00003
# Group lengths count octets that change; the tables count fragments that are no more (PS3.5, 7.2; PS3.3, C.7.6.3.1.8).
_DROPPED: Final = (0x00080001, 0x00280000, 0x7FE00000, _OFFSETS, _LENGTHS, _TOTAL)
_SIGNED: Final = (0x4FFE0001, 0xFFFAFFFA)
_HELD: Final = 64 * 1024
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_MOST_FRAMES_DIGITS: Final = 9


class Untranscodable(Exception):
    """The instance cannot be sent decoded; `code` is one of uploads.dicom.transcode.SENTENCES."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Image:
    """What the data set says of its pixels (PS3.3, C.7.6.3). `position` is where their value begins."""

    position: int
    rows: int
    columns: int
    samples: int
    bits: int
    stored: int
    signed: bool
    planar: int
    frames: int
    photometric: str
    lossy: str
    offsets: tuple[bytes, bytes] | None

    @property
    def shape(self) -> tuple[int, ...]:
        plane = (self.rows, self.columns)
        return plane if self.samples == 1 else (*plane, self.samples)

    @property
    def length(self) -> int:
        """Bytes of the decoded pixels of all frames."""
        return self.rows * self.columns * self.samples * (self.bits // 8) * self.frames

    def pixel_header(self) -> bytes:
        vr = b"OB" if self.bits <= 8 else b"OW"
        return struct.pack("<HH2sHL", 0x7FE0, 0x0010, vr, 0, self.length + self.length % 2)

    def options(self) -> dict[str, Any]:
        """As pydicom's decoders want them."""
        options: dict[str, Any] = {
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "bits_allocated": self.bits,
            "bits_stored": self.stored,
            "pixel_representation": int(self.signed),
            "number_of_frames": self.frames,
            "photometric_interpretation": self.photometric,
            "pixel_keyword": "PixelData",
        }
        if self.samples > 1:
            options["planar_configuration"] = self.planar
        if self.offsets is not None:
            options["extended_offsets"] = self.offsets
        return options


def pieces_of(file: io.BufferedReader) -> tuple[dict[int, Piece], Image]:
    """All elements up to the pixel data by tag, without those that decoding makes untrue, and the image described."""
    pieces: dict[int, Piece] = {}
    values: dict[int, bytes] = {}
    start = file.tell()
    for element in data_element_generator(file, False, True, stop_when=_at_pixels, defer_size=_HELD):
        tag, end = int(element.tag), file.tell()
        if tag in pieces:
            raise Untranscodable("image_undecodable")
        pieces[tag] = (start, end)
        if isinstance(element, RawDataElement) and element.value is not None:
            values[tag] = element.value
        start = end
    if any(tag in pieces for tag in _SIGNED):
        raise Untranscodable("signed")
    position = _pixel_value(file, start)
    image = _image(values, position, tables=_LENGTHS in pieces)
    for tag in _DROPPED:
        pieces.pop(tag, None)
    return pieces, image


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return int(tag) >= _PIXELS and int(tag) < 0xFFFA0000


def _pixel_value(file: io.BufferedReader, start: int) -> int:
    file.seek(start)
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"\xe0\x7f\x10\x00" or head[8:] != b"\xff\xff\xff\xff":
        raise Untranscodable("no_compressed_pixels")
    return start + 12


def _image(values: dict[int, bytes], position: int, *, tables: bool) -> Image:
    def number(tag: int, absent: int = 0) -> int:
        raw = values.get(tag, b"")
        return int.from_bytes(raw[:2], "little") if len(raw) >= 2 else absent

    def text(tag: int) -> str:
        return values.get(tag, b"").decode("latin_1").strip(" \0")

    frames = text(0x00280008) or "1"
    if not frames.isascii() or not frames.isdigit() or len(frames) > _MOST_FRAMES_DIGITS:
        raise Untranscodable("image_undecodable")
    image = Image(
        position=position,
        rows=number(0x00280010),
        columns=number(0x00280011),
        samples=number(0x00280002, 1),
        bits=number(0x00280100),
        stored=number(0x00280101) or number(0x00280100),
        signed=number(0x00280103) == 1,
        planar=number(0x00280006),
        frames=max(int(frames), 1),
        photometric=text(0x00280004),
        lossy=text(0x00282110),
        offsets=_tables(values) if tables else None,
    )
    if not (image.rows and image.columns) or image.samples not in (1, 3) or image.bits not in (8, 16, 32):
        raise Untranscodable("image_undecodable")
    return image


def _tables(values: dict[int, bytes]) -> tuple[bytes, bytes] | None:
    offsets, lengths = values.get(_OFFSETS), values.get(_LENGTHS)
    if offsets is None or lengths is None:
        raise Untranscodable("image_undecodable")
    return offsets, lengths


def end_of_fragments(source: Source, position: int) -> int:
    """Where the encapsulated pixel data that begins at `position` ends, its delimiter included (PS3.5, A.4)."""
    while True:
        head = source.pread(8, position)
        if len(head) < 8:
            raise Untranscodable("image_undecodable")
        group, element, length = struct.unpack("<HHL", head)
        tag = group << 16 | element
        position += 8
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM or length == _UNDEFINED:
            raise Untranscodable("image_undecodable")
        position += length


def trailing(source: Source, end: int) -> tuple[int, int]:
    """What stands behind the pixel data: padding is copied, a signature would not hold for other pixels."""
    head = source.pread(4, end)
    if head == b"\xfa\xff\xfa\xff":
        raise Untranscodable("signed")
    return end, source.size


def short(tag: int, vr: bytes, value: bytes) -> bytes:
    """One element of a short form in Explicit VR Little Endian."""
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value
