"""Rows that an administrator types: read strictly, and the first fault named with its row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

MOST_ROWS = 100
LONGEST_NOTE = 200


class RuleError(ValueError):
    """A row cannot be used; `code` is stable, `detail` is a sentence for the administrator, `row` counts from 1.

    `row` is 0 where the rows as a whole are at fault.
    """

    def __init__(self, code: str, detail: str, row: int) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.row = row


def rows_of(value: object) -> Sequence[Mapping[str, object]]:
    """A list of objects, not too many."""
    listed = list_of(value)
    for number, row in enumerate(listed, start=1):
        if not isinstance(row, Mapping):
            raise RuleError("row_malformed", "A row is an object with named values.", number)
    return cast(Sequence[Mapping[str, object]], listed)


def list_of(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise RuleError("rows_malformed", "The rows are not a list.", 0)
    if len(value) > MOST_ROWS:
        raise RuleError("too_many_rows", f"There are more than {MOST_ROWS} rows.", 0)
    return cast(Sequence[object], value)


def known_keys(row: Mapping[str, object], known: Collection[str], number: int) -> None:
    if not set(row) <= set(known):
        raise RuleError("key_unknown", f"A row has no other values than {', '.join(sorted(known))}.", number)


def note_of(row: Mapping[str, object], number: int) -> str:
    note = row.get("note")
    if note is None:
        return ""
    if not isinstance(note, str) or len(note) > LONGEST_NOTE or not (note.isprintable()):
        raise RuleError("note_invalid", f"A note is one line of at most {LONGEST_NOTE} characters.", number)
    return note.strip()
