"""What a data set says, whatever way it is written down: a digest that outlives being encoded anew by a PACS.

A PACS may give an image back with other group lengths, other forms of sequences or of VRs than it was sent with (PS3.5
7.5, 7.2), and without the padding behind it. Of each element the tag, the length and the octets of its value count, and
of a sequence the items and what is in them; of encapsulated pixels the fragments.
"""

import hashlib
import struct
from functools import lru_cache
from typing import Final

from pydicom.datadict import dictionary_VR

from uploads.dicom.uids import SYNTAXES

ITEM: Final = 0xFFFEE000
ENDS: Final = (0xFFFEE00D, 0xFFFEE0DD)
TRAILING_PADDING: Final = 0xFFFCFFFC
PIXEL_TAGS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
UNDEFINED: Final = 0xFFFFFFFF
LONG_FORMS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
MARK: Final = struct.Struct(">II")


@lru_cache(maxsize=4096)
def is_sequence(tag: int) -> bool:
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False


class ContentDigest:
    """Fed the octets of one data set piece by piece; holds no more of it than the head of one element.

    Deflated data sets, and what is no data set, have no such digest: `value` is then "".
    """

    def __init__(self, transfer_syntax_uid: str) -> None:
        syntax = SYNTAXES.get(transfer_syntax_uid)
        self._hash = hashlib.sha256()
        self._usable = syntax is not None and not syntax.deflated
        self._implicit = syntax is not None and syntax.implicit
        self._order = ">" if syntax is not None and syntax.big_endian else "<"
        self._head = bytearray()
        self._left = 0  # octets of the value under way
        self._counts = False  # whether they are part of the digest
        self._fragments = 0  # inside encapsulated pixels: items met so far, plus one

    @property
    def value(self) -> str:
        """The digest in hexadecimal digits, once all was fed; "" where there is none."""
        return self._hash.hexdigest() if self._usable and not self._left and not self._head else ""

    def feed(self, octets: bytes | memoryview) -> None:
        view = memoryview(octets)
        while view and self._usable:
            if self._left:
                taken = view[: self._left]
                if self._counts:
                    self._hash.update(taken)
                self._left -= len(taken)
                view = view[len(taken) :]
            else:
                view = view[self._take_head(view) :]

    def _take_head(self, view: memoryview) -> int:
        """Adds to the head of the next element until it is whole; how many octets that took."""
        want = 8 if len(self._head) < 8 else 12
        taken = bytes(view[: want - len(self._head)])
        self._head += taken
        if len(self._head) == want and not self._is_long(want):
            self._begin()
        return len(taken)

    def _is_long(self, have: int) -> bool:
        """Whether four octets of length are still to come."""
        if have == 12 or self._implicit:
            return False
        group = struct.unpack_from(f"{self._order}H", self._head)[0]
        form = bytes(self._head[4:6])
        if group != 0xFFFE and not form.isalpha():
            self._usable = False
        return group != 0xFFFE and form in LONG_FORMS

    def _begin(self) -> None:
        """An element begins: its value counts, or is passed over, or is a container whose contents follow."""
        group, number = struct.unpack_from(f"{self._order}HH", self._head)
        tag = group << 16 | number
        form, length = b"", 0
        if self._implicit or group == 0xFFFE:
            length = struct.unpack_from(f"{self._order}I", self._head, 4)[0]
        elif len(self._head) == 12:
            form, length = bytes(self._head[4:6]), struct.unpack_from(f"{self._order}I", self._head, 8)[0]
        else:
            length = struct.unpack_from(f"{self._order}H", self._head, 6)[0]
        self._head.clear()
        if self._fragments:
            self._fragment(tag, length)
        elif tag == ITEM:
            self._hash.update(MARK.pack(tag, 0))
        elif tag in ENDS:
            return
        elif tag in PIXEL_TAGS and length == UNDEFINED:
            self._hash.update(MARK.pack(tag, UNDEFINED))
            self._fragments = 1
        elif form == b"SQ" or length == UNDEFINED or is_sequence(tag):
            self._hash.update(MARK.pack(tag, UNDEFINED))
        else:
            self._value(tag, length, counts=number != 0 and tag != TRAILING_PADDING)

    def _fragment(self, tag: int, length: int) -> None:
        """The first item is the offset table, which may be there or not; the others are the pixels."""
        if tag != ITEM or length == UNDEFINED:
            self._fragments = 0
            return
        self._value(tag, length, counts=self._fragments > 1)
        self._fragments += 1

    def _value(self, tag: int, length: int, *, counts: bool) -> None:
        self._left, self._counts = length, counts
        if counts:
            self._hash.update(MARK.pack(tag, length))
