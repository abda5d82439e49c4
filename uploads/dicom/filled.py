"""Which of the elements that a destination asks for stand filled in an instance (domain rule S14)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

_BLANK: Final = b" \0^=\\"
"""What a text value may consist of and still say nothing: padding, and the separators of names and of values."""


class Asked(NamedTuple):
    """An element of the top level; `text` tells blanks from a number whose octets are zero."""

    tag: int
    text: bool


def missing(found: Mapping[int, bytes], asked: Iterable[Asked]) -> tuple[int, ...]:
    """Tags of those asked for that are absent, or without a value."""
    return tuple(one.tag for one in asked if not _says_something(found.get(one.tag, b""), one))


def _says_something(value: bytes, one: Asked) -> bool:
    return bool(value.strip(_BLANK) if one.text else value)


def to_argument(asked: Sequence[Asked]) -> str:
    """As one word of a command line."""
    return ",".join(f"{one.tag:08x}{'t' if one.text else 'n'}" for one in asked)


def from_argument(word: str) -> tuple[Asked, ...]:
    return tuple(Asked(int(part[:8], 16), part[8:] == "t") for part in word.split(",") if part)
