"""The DICOM JSON model (PS3.18 Annex F) as far as answers need it: UIDs, numbers and sequences, leniently read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MEDIA_TYPE = "application/dicom+json"

Object = Mapping[str, Any]


class NotDicomJson(ValueError):
    """The octets are no DICOM JSON."""


def objects(octets: bytes) -> list[Object]:
    """The data sets of an answer, which is an array of them or a single one. Tags are in upper case then."""
    try:
        answer = json.loads(octets) if octets.strip() else []
    except (ValueError, RecursionError):  # the message would quote the answer
        raise NotDicomJson("no JSON") from None
    return [_upper(one) for one in (answer if isinstance(answer, list) else [answer])]


def _upper(one: Any) -> Object:
    if not isinstance(one, dict):
        raise NotDicomJson("no object")
    return {name.upper(): value for name, value in one.items()}


def values(one: Object, tag: str) -> list[Any]:
    """The values of an element; none where it is absent or empty."""
    element = one.get(tag)
    if not isinstance(element, dict):
        return []
    listed = element.get("Value", element.get("value", []))
    return listed if isinstance(listed, list) else [listed]


def items(one: Object, tag: str) -> list[Object]:
    """The items of a sequence."""
    return [_upper(item) for item in values(one, tag) if isinstance(item, dict)]


def text(one: Object, tag: str) -> str:
    """The first value as text; "" where there is none."""
    first = values(one, tag)[:1]
    return first[0].strip("\0 ") if first and isinstance(first[0], str) else ""


def person_or_text(one: Object, tag: str) -> str:
    """A person's name in its groups (PS3.18 F.2.2), or the first value as text."""
    first = values(one, tag)[:1]
    if first and isinstance(first[0], dict):
        groups = [str(first[0].get(group) or "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return text(one, tag)


def number(one: Object, tag: str) -> int | None:
    """The first value as a whole number; many servers write numbers as text."""
    first = values(one, tag)[:1]
    if first and isinstance(first[0], (int, float)) and first[0] == first[0] // 1:
        return int(first[0])
    written = text(one, tag)
    return int(written) if written.isascii() and written.isdigit() and len(written) < 12 else None
