"""The structural walk of a data set: every length is followed to the end, no pixel is read (domain rule S9)."""

import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from uploads.dicom.codes import Unfit
from uploads.dicom.header import MAX_VALUE, PIXEL_TAGS, WANTED
from uploads.dicom.window import Window

MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 1_000_000
MAX_ITEMS: Final = 200_000
"""Sequence items in one file; enhanced multi-frame objects of 10,000 frames have about 100,000."""
MAX_FRAGMENTS: Final = 500_000

_EXPLICIT_FORM: Final = {False: struct.Struct("<L2sH"), True: struct.Struct(">L2sH")}
_IMPLICIT_FORM: Final = {False: struct.Struct("<LL"), True: struct.Struct(">LL")}
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD


def as_written(tags: Iterable[int], *, big_endian: bool) -> dict[int, int]:
    """Tags by the 32-bit number that their four bytes make in a file: little endian swaps group and element."""
    return {tag if big_endian else (tag & 0xFFFF) << 16 | tag >> 16: tag for tag in tags}


_PICTURE: Final = 0x7FE00000
"""Tags from here on are never kept as values: pixel data, and the delimiters."""
_DELIMITER_TAGS: Final = (_ITEM, _ITEM_END, _SEQUENCE_END)
_DELIMITERS: Final = {order: as_written(_DELIMITER_TAGS, big_endian=order) for order in (False, True)}
_ORDINARY: Final = frozenset((*WANTED, *PIXEL_TAGS))
_MARKED: Final = {order: as_written(_ORDINARY, big_endian=order) | _DELIMITERS[order] for order in (False, True)}

_LONG, _SEQUENCE, _BLANK = 1, 2, 3
# Value representations by the form of their header (PS3.5, tables 7.1-1 and 7.1-2).
_SHORT_FORMS: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_FORMS: Final[dict[bytes, int]] = {
    **dict.fromkeys(b"OB OD OF OL OV OW SV UC UN UR UT UV".split(), _LONG),
    b"SQ": _SEQUENCE,
    # Some writers put blanks or zeros where the VR belongs and go on with a 16-bit length; every reader copes.
    **dict.fromkeys((b"  ", b"\0\0", b"??"), _BLANK),
}


class Unfamiliar(Exception):
    """Legal perhaps, but not known to this walk: the second reader decides."""


@dataclass(slots=True)
class Layout:
    """What the walk found: raw values by tag, and the pixel data."""

    values: dict[int, bytes] = field(default_factory=dict)
    pixels: dict[int, int] = field(default_factory=dict)
    """Length in bytes of each native pixel data element."""
    fragments: int | None = None
    """Number of fragments of encapsulated pixel data, its offset table not counted; None where there is none."""
    end: int = 0


class Walk:
    """One walk over one data set.

    Args:
        window: over the file, or over its inflated data set.
        implicit: implicit VR as the transfer syntax says.
        big_endian: byte order as the transfer syntax says.
        marked: tags of the top level whose values are kept, from `as_written`; those of a Header where None.
        besides: further tags of the top level, of which it is kept how they begin; they never decide on the file.
    """

    def __init__(
        self,
        window: Window,
        *,
        implicit: bool = False,
        big_endian: bool = False,
        marked: dict[int, int] | None = None,
        besides: Collection[int] = (),
    ) -> None:
        self._window = window
        self._big_endian = big_endian
        self._explicit_form = _EXPLICIT_FORM[big_endian]
        self._implicit_form = _IMPLICIT_FORM[big_endian]
        self._implicit = implicit
        self._delimiters = _DELIMITERS[big_endian]
        self._marked = _MARKED[big_endian] if marked is None else marked
        self._besides = frozenset(besides) - _ORDINARY
        if self._besides:
            self._marked = self._marked | as_written(self._besides, big_endian=big_endian)
        self._item_mark = b"\xff\xfe\xe0\x00" if big_endian else b"\xfe\xff\x00\xe0"
        self._elements = 0
        self._items = 0
        self.layout = Layout()

    def run(self, start: int, end: int) -> Layout:
        """Walk the data set at `start`, which must end exactly at `end`.

        Raises:
            Unfit: `truncated`, `too_deep`, `bomb` or `meta_mismatch`.
            Unfamiliar: an element in a form this walk does not know.
        """
        walk = self._run_implicit if self._implicit else self._run_explicit
        self.layout.end = walk(start, end, depth=0, delimited=False)
        return self.layout

    # The two loops below are the hot path: one turn per element, everything in local names. Tags are compared as they
    # stand in the file; `marked` names those that are not simply stepped over. Up to `last`, offsets into the buffer
    # need no other check; beyond it, it is looked whether the bytes or the data set end there.

    def _run_explicit(self, position: int, end: int, *, depth: int, delimited: bool) -> int:
        window, unpack, values = self._window, self._explicit_form.unpack_from, self.layout.values
        marked = self._marked if depth == 0 else self._delimiters
        base, buffer, short_forms = window.base, window.buffer, _SHORT_FORMS
        offset, last = position - base, -1
        for count in range(MAX_ELEMENTS):
            if offset > last:
                position = base + offset
                if position >= end:
                    return self._finish(position, end, count=count, delimited=delimited)
                window.reach(position, 8)
                base, buffer = window.base, window.buffer
                offset, last = position - base, min(len(buffer), end - base) - 12
            key, vr, length = unpack(buffer, offset)
            if vr in short_forms:
                offset += 8
            else:
                position, form = base + offset, _FORMS.get(vr)
                if key in self._delimiters:
                    return self._stop(key, position, count=count, delimited=delimited)
                if form is None:
                    raise _strange(vr)
                if form == _BLANK:
                    position += 8
                else:
                    length = window.number(position + 8, big_endian=self._big_endian)
                    position += 12
                    if form == _SEQUENCE or length == _UNDEFINED:
                        position = self._nested(key, position, end, length=length, depth=depth, vr=vr)
                        length = 0
                        key = 0
                base, buffer = window.base, window.buffer
                offset, last = position - base, -1
            if key in marked:
                tag = marked[key]
                if tag < _PICTURE and length <= MAX_VALUE and offset + length <= last and tag not in values:
                    values[tag] = buffer[offset : offset + length]
                else:
                    self._keep(tag, base + offset, length)
                    last = -1
                    offset += base - window.base
                    base, buffer = window.base, window.buffer
            offset += length
        raise _swollen("elements")

    def _run_implicit(self, position: int, end: int, *, depth: int, delimited: bool) -> int:
        window, unpack, values = self._window, self._implicit_form.unpack_from, self.layout.values
        item_mark = self._item_mark
        marked = self._marked if depth == 0 else self._delimiters
        base, buffer = window.base, window.buffer
        offset, last = position - base, -1
        for count in range(MAX_ELEMENTS):
            if offset > last:
                position = base + offset
                if position >= end:
                    return self._finish(position, end, count=count, delimited=delimited)
                window.reach(position, 8)
                base, buffer = window.base, window.buffer
                offset, last = position - base, min(len(buffer), end - base) - 8
            key, length = unpack(buffer, offset)
            offset += 8
            if length == _UNDEFINED:
                position = self._nested(key, base + offset, end, length=length, depth=depth, vr=b"UN")
            elif key in marked:
                if key in self._delimiters:
                    return self._stop(key, base + offset - 8, count=count, delimited=delimited)
                tag = marked[key]
                if tag < _PICTURE and length <= MAX_VALUE and offset + length <= last and tag not in values:
                    values[tag] = buffer[offset : offset + length]
                    offset += length
                    continue
                position = base + offset + length
                self._keep(tag, base + offset, length)
            elif length >= 8 and (buffer.startswith(item_mark, offset) or offset + 4 > len(buffer)):
                position = base + offset + length
                self._unlabelled(base + offset, end, length=length, depth=depth)
            else:
                offset += length
                continue
            base, buffer = window.base, window.buffer
            offset, last = position - base, -1
        raise _swollen("elements")

    def _finish(self, position: int, end: int, *, count: int, delimited: bool) -> int:
        """The end of the bytes is the end of the data set: exactly, or something is missing."""
        if position > end or delimited:
            raise Unfit("truncated", f"An element or sequence runs past byte {end}, where the bytes end.")
        self._count(count)
        return position

    def _stop(self, key: int, position: int, *, count: int, delimited: bool) -> int:
        """A delimiter ends an item of undefined length, and stands nowhere else."""
        if self._delimiters[key] != _ITEM_END or not delimited:
            raise Unfit("truncated", f"A delimiter stands at byte {position}, where none belongs.")
        self._count(count)
        return position + 8

    def _count(self, elements: int) -> None:
        self._elements += elements
        if self._elements > MAX_ELEMENTS:
            raise _swollen("elements")

    def _keep(self, tag: int, position: int, length: int) -> None:
        """Note a value of the top level, or the length of pixel data."""
        if position + length > self._window.size:
            raise Unfit("truncated", f"Element {_name(tag)} claims more bytes than the file has.")
        if tag in self._besides:
            self.layout.values.setdefault(tag, self._window.read(position, min(length, MAX_VALUE)))
            return
        if tag in self.layout.values or tag in self.layout.pixels:
            raise Unfit("meta_mismatch", f"Element {_name(tag)} stands in the file twice.")
        if tag in PIXEL_TAGS:
            self.layout.pixels[tag] = length
        elif tag in _DELIMITER_TAGS:
            raise Unfit("truncated", f"A delimiter stands before byte {position}, where none belongs.")
        elif length > MAX_VALUE:
            raise Unfit("meta_mismatch", f"Element {_name(tag)} is far longer than the Standard allows.")
        else:
            self.layout.values[tag] = self._window.read(position, length)

    def _nested(self, key: int, position: int, end: int, *, length: int, depth: int, vr: bytes) -> int:
        """A sequence, or encapsulated pixel data; returns where it ends."""
        pixels = self._marked.get(key) in PIXEL_TAGS
        if length == _UNDEFINED and (pixels or vr in (b"OB", b"OW")):
            return self._fragments(position, end, keep=depth == 0 and pixels)
        if vr not in (b"SQ", b"UN"):
            raise Unfit("truncated", f"An element before byte {position} has no length.")
        if depth >= MAX_DEPTH:
            raise Unfit("too_deep", f"Sequences are nested more than {MAX_DEPTH} deep.")
        # A value of unknown VR and undefined length is a sequence in implicit VR, whatever surrounds it (PS3.5, 6.2.2).
        before, self._implicit = self._implicit, self._implicit or vr == b"UN"
        after = self._sequence(position, end, length=length, depth=depth)
        self._implicit = before
        return after

    def _unlabelled(self, position: int, end: int, *, length: int, depth: int) -> None:
        """What looks like a sequence in implicit VR, where nothing says so: walked for its limits only.

        A private value may begin like an item by chance, so damage inside is not held against the file.
        """
        if depth >= MAX_DEPTH:
            raise Unfit("too_deep", f"Sequences are nested more than {MAX_DEPTH} deep.")
        try:
            self._sequence(position, end, length=length, depth=depth)
        except Unfit as unfit:
            if unfit.code in ("too_deep", "bomb"):
                raise

    def _sequence(self, position: int, end: int, *, length: int, depth: int) -> int:
        delimited = length == _UNDEFINED
        if not delimited:
            if position + length > end:
                raise Unfit("truncated", f"A sequence at byte {position} claims more bytes than there are.")
            end = position + length
        while position < end or delimited:
            tag, length = self._item_header(position)
            position += 8
            if tag == _SEQUENCE_END and delimited:
                return position
            if tag != _ITEM:
                raise Unfit("truncated", f"A sequence holds something else than items at byte {position - 8}.")
            self._items += 1
            if self._items > MAX_ITEMS:
                raise _swollen("sequence items")
            if length:
                position = self._item(position, end, length=length, depth=depth)
        return position

    def _item(self, position: int, end: int, *, length: int, depth: int) -> int:
        delimited = length == _UNDEFINED
        if not delimited and position + length > end:
            raise Unfit("truncated", f"An item at byte {position} claims more bytes than there are.")
        walk = self._run_implicit if self._implicit or self._turns_implicit(position) else self._run_explicit
        return walk(position, end if delimited else position + length, depth=depth + 1, delimited=delimited)

    def _turns_implicit(self, position: int) -> bool:
        """Whether an item inside explicit VR is written in implicit VR: not allowed, yet found in the field."""
        key, vr, _ = self._explicit_form.unpack(self._window.read(position, 8))
        return key not in self._delimiters and not vr.isalpha() and _FORMS.get(vr) != _BLANK

    def _item_header(self, position: int) -> tuple[int, int]:
        """Tag and length; the tag is 0 where it is neither an item nor a delimiter."""
        key, length = self._implicit_form.unpack(self._window.read(position, 8))
        return self._delimiters.get(key, 0), length

    def _fragments(self, position: int, end: int, *, keep: bool) -> int:
        """Encapsulated pixel data (PS3.5, A.4): an offset table, then fragments, then the delimiter."""
        tag, table = self._item_header(position)
        if tag != _ITEM or position + 8 + table > end:
            raise Unfit("truncated", "The offset table of the pixel data is damaged.")
        last = self._last_offset(position + 8, table)
        position = first = position + 8 + table
        for count in range(MAX_FRAGMENTS):
            tag, length = self._item_header(position)
            if tag == _SEQUENCE_END:
                if last and first + last >= position:
                    raise Unfit("truncated", "The pixel data ends before the last frame of its offset table.")
                if keep:
                    self.layout.fragments = count
                return position + 8
            position += 8 + length
            if tag != _ITEM or position + 8 > end:
                raise Unfit("truncated", f"The compressed pixel data breaks off or is damaged before byte {position}.")
        raise _swollen("fragments")

    def _last_offset(self, position: int, table: int) -> int:
        return self._window.number(position + table - 4, big_endian=self._big_endian) if table >= 4 else 0


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _swollen(what: str) -> Unfit:
    return Unfit("bomb", f"The file holds more {what} than any real study.")


def _strange(vr: bytes) -> Exception:
    """Two capitals may be a VR of a later edition; anything else is damage."""
    if vr.isalpha() and vr.isupper():
        return Unfamiliar(vr.decode("ascii"))
    return Unfit("truncated", "The data set is damaged: an element has no value representation.")
