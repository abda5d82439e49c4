"""Part 10 files made by hand, byte by byte, so that each test says exactly what is wrong with its file."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pydicom.data

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.50"
MPEG2 = "1.2.840.10008.1.2.4.100"
CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
INSTANCE = "1.2.826.0.1.3680043.10.1.3"
UNDEFINED = 0xFFFFFFFF
LONG = frozenset(("OB", "OW", "OF", "OD", "SQ", "UN", "UT", "UC"))


def element(tag: int, vr: str, value: bytes | str, *, length: int | None = None) -> bytes:
    """One element in explicit VR little endian; `length` may lie."""
    raw = value.encode("latin_1") if isinstance(value, str) else value
    raw += (b"\0" if vr in ("UI", "OB") else b" ") * (len(raw) % 2)
    length = len(raw) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode("ascii")
    return head + (struct.pack("<HL", 0, length) if vr in LONG else struct.pack("<H", length)) + raw


def item(content: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content) if length is None else length) + content


ITEM_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def meta(*, syntax: str = EXPLICIT, sop_class: str = CT, instance: str = INSTANCE) -> bytes:
    group = element(0x00020001, "OB", b"\0\1") + element(0x00020002, "UI", sop_class)
    group += element(0x00020003, "UI", instance) + element(0x00020010, "UI", syntax)
    return element(0x00020000, "UL", struct.pack("<L", len(group))) + group


def head(*, sop_class: str = CT, instance: str = INSTANCE, name: str = "Test^Patient", extra: bytes = b"") -> bytes:
    """The data set up to the picture, with `extra` elements of group 0029 and above behind it."""
    return (
        element(0x00080016, "UI", sop_class)
        + element(0x00080018, "UI", instance)
        + element(0x00080060, "CS", "CT")
        + element(0x00100010, "PN", name)
        + element(0x00100020, "LO", "T-1")
        + element(0x0020000D, "UI", "1.2.826.0.1.3680043.10.1.1")
        + element(0x0020000E, "UI", "1.2.826.0.1.3680043.10.1.2")
        + extra
    )


def picture(*, rows: int = 16, columns: int = 16, frames: str = "") -> bytes:
    return (
        element(0x00280002, "US", struct.pack("<H", 1))
        + (element(0x00280008, "IS", frames) if frames else b"")
        + element(0x00280010, "US", struct.pack("<H", rows))
        + element(0x00280011, "US", struct.pack("<H", columns))
        + element(0x00280100, "US", struct.pack("<H", 16))
    )


def pixels(size: int = 512) -> bytes:
    return element(0x7FE00010, "OW", bytes(size))


def fragments(*parts: bytes, table: bytes = b"", end: bytes = SEQUENCE_END) -> bytes:
    return element(0x7FE00010, "OB", item(table) + b"".join(map(item, parts)) + end, length=UNDEFINED)


def part10(dataset: bytes, *, preamble: bytes = b"", **about: str) -> bytes:
    return preamble.ljust(128, b"\0") + b"DICM" + meta(**about) + dataset


def ct() -> bytes:
    """A whole CT slice of 16 x 16 pixels."""
    return part10(head() + picture() + pixels())


def report(extra: bytes = b"") -> bytes:
    """A file without a picture, with room for one more element."""
    return part10(head(sop_class=SR, extra=extra), sop_class=SR)


def deflated(dataset: bytes, *, tail: bytes = b"") -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return part10(packer.compress(dataset) + packer.flush() + tail, syntax=DEFLATED)


def corpus() -> Iterator[tuple[str, Path]]:
    """pydicom's own test files, as its wheel brings them, by their path in it."""
    root = Path(pydicom.data.__file__).parent
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py":
            yield path.relative_to(root).as_posix(), path
