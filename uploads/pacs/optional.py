"""SOP classes that a destination may do without: one of them refused does not hold the study for ever (rule S8)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from uploads.pacs.rows import RuleError, known_keys, note_of, rows_of

STANDARD = "1.2.840.10008."
_STORAGE = STANDARD + "5.1.4.1.1."
_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+")
_KEYS = frozenset(("sop_class", "note"))

# PS3.4 Table B.5-1, by the root that the classes of one kind share; a class itself stands without a dot behind it.
GROUPS: dict[str, tuple[str, ...]] = {
    "structured_report": (_STORAGE + "88.",),
    "dose_report": tuple(f"{_STORAGE}88.{number}" for number in (67, 68, 73, 76)),
    "key_object": (_STORAGE + "88.59",),
    "presentation_state": (_STORAGE + "11.",),
    "secondary_capture": (_STORAGE + "7", _STORAGE + "7."),
    "encapsulated_document": (_STORAGE + "104.",),
    "waveform": (_STORAGE + "9.",),
    "raw_data": (_STORAGE + "66",),
}
PRIVATE = "private"
# A key object selection is encoded as a report and is none: it points out images, and has a name of its own here.
_NOT_IN_GROUP = {"structured_report": (_STORAGE + "88.59",)}


@dataclass(frozen=True, slots=True)
class OptionalClass:
    """One row: a SOP class UID or the name of a group, and what the receipt says of what is left out."""

    sop_class: str
    note: str = ""

    def holds(self, sop_class_uid: str) -> bool:
        if self.sop_class == PRIVATE:
            return not sop_class_uid.startswith(STANDARD)
        if sop_class_uid in _NOT_IN_GROUP.get(self.sop_class, ()):
            return False
        roots = GROUPS.get(self.sop_class, (self.sop_class,))
        return any(sop_class_uid == root or (root.endswith(".") and sop_class_uid.startswith(root)) for root in roots)


def read_optional(rows: object) -> tuple[OptionalClass, ...]:
    """`Destination.optional_classes`: [{"sop_class": UID or group, "note": text}]. Raises RuleError."""
    found: list[OptionalClass] = []
    for number, row in enumerate(rows_of(rows), start=1):
        known_keys(row, _KEYS, number)
        name = row.get("sop_class")
        if not isinstance(name, str) or not (name in GROUPS or name == PRIVATE or _is_uid(name)):
            words = ", ".join((*GROUPS, PRIVATE))
            raise RuleError("class_unknown", f"This is neither the UID of a SOP class nor one of {words}.", number)
        if any(other.sop_class == name for other in found):
            raise RuleError("class_twice", "This class stands in an earlier row already.", number)
        found.append(OptionalClass(name, note_of(row, number)))
    return tuple(found)


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def skip_note(sop_class_uid: str, optional: Iterable[OptionalClass]) -> str | None:
    """The note of the first row that holds the class, "" where it has none; None where no row does."""
    return next((row.note for row in optional if row.holds(sop_class_uid)), None)
