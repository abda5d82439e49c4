"""How the fence and its child talk: one JSON line per message, strictly checked on the way back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from uploads.dicom.codes import EFFECTS
from uploads.dicom.filled import Asked
from uploads.dicom.header import FIELDS, Header, values_of
from uploads.dicom.inspect import Inspection, Outcome

MAX_LINE: Final = 256 * 1024
"""Bytes of one result; a header is bounded by far less."""
_NAME_TAIL: Final = 255
_INTEGERS: Final = frozenset(("samples", "rows", "columns", "bits_allocated", "frames"))
_TYPES: Final = tuple(bool if f == "charset_problem" else int if f in _INTEGERS else str for f in FIELDS)
_MAX_NUMBER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Slice:
    """One file inside a pack: `size` bytes from `offset`, under the number and name the clinic gave it."""

    index: int
    offset: int
    size: int
    name: str


class Garbled(Exception):
    """The child sent something that is not a result: it is not to be trusted any further."""


def slices_to_line(slices: Sequence[Slice]) -> bytes:
    rows = [(part.index, part.offset, part.size, part.name[-_NAME_TAIL:]) for part in slices]
    return json.dumps(rows).encode("ascii") + b"\n"


def slices_from_line(line: bytes) -> list[Slice]:
    return [Slice(*row) for row in json.loads(line)]


def result_to_line(index: int, found: Inspection) -> bytes:
    header = values_of(found.header) if found.header else None
    span = (found.dataset_offset, found.dataset_size)
    row = (index, found.verdict, found.code, found.detail, *span, header, found.missing)
    return json.dumps(row).encode("ascii") + b"\n"


def result_from_line(line: bytes, *, expected: Slice, asked: Sequence[Asked] = ()) -> Inspection:
    """The result for `expected`, believed only where every part of it is of the right kind.

    Raises:
        Garbled: it is not.
    """
    try:
        index, verdict, code, detail, offset, size, values, lacks = cast(list[Any], json.loads(line))
    except (ValueError, TypeError, RecursionError) as error:
        raise Garbled from error
    fits = index == expected.index and isinstance(detail, str) and _is_verdict(verdict, code)
    if not fits or not _is_range(offset, size, expected.size):
        raise Garbled
    header = _header(values, needed=verdict == "dicom")
    return Inspection(cast(Outcome, verdict), code, detail, header, offset, size, _missing(lacks, asked))


def _missing(lacks: object, asked: Sequence[Asked]) -> tuple[int, ...]:
    if not isinstance(lacks, list) or any(type(tag) is not int for tag in lacks):
        raise Garbled
    found = tuple(one.tag for one in asked if one.tag in lacks)
    if list(found) != lacks:
        raise Garbled
    return found


def _is_verdict(verdict: object, code: object) -> bool:
    if verdict == "dicom":
        return code is None
    return isinstance(code, str) and isinstance(verdict, str) and EFFECTS.get(code) == verdict


def _is_range(offset: object, size: object, whole: int) -> bool:
    return type(offset) is int and type(size) is int and offset >= 0 and size >= 0 and offset + size <= whole


def _header(values: object, *, needed: bool) -> Header | None:
    if values is None and not needed:
        return None
    if not isinstance(values, list) or len(values) != len(_TYPES):
        raise Garbled
    for value, kind in zip(values, _TYPES, strict=True):
        if type(value) is not kind or (kind is int and not 0 <= value <= _MAX_NUMBER):
            raise Garbled
    return Header(*values)
