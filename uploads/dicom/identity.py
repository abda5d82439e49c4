"""Who an image says it is of, and whether that is who was expected (domain rules S1 and S2)."""

import enum
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from uploads.dicom.header import Header


@dataclass(frozen=True, slots=True)
class Identity:
    """A patient as a header, an order or a person states them; what is not stated is empty."""

    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""


class Match(enum.Enum):
    """MATCH goes on; NEAR needs a person's tick and a reason; MISMATCH goes to staff."""

    MATCH = "match"
    NEAR = "near"
    MISMATCH = "mismatch"


_GROUPS: Final = 3
_SEPARATORS: Final = re.compile(r"[\s^,.\-_'’`´]+")
_MARKS: Final = re.compile("[\u0300-\u036f]")
"""Accents of alphabets. Marks of Kana and of Indic scripts change the letter and stay."""
_LETTERS: Final = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
_WRITTEN_TOGETHER: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SMALL_TYPO: Final = 1
_NOT_ALNUM: Final = re.compile(r"[\W_]+")


def identity_of(header: Header) -> Identity:
    return Identity(header.patient_id, header.issuer, header.patient_name, header.birth_date, header.sex)


def normalise_name(name: str) -> tuple[str, ...]:
    """The groups of a PN value (alphabetic, ideographic, phonetic; PS3.5, 6.2.1.2) in a form to compare.

    Case, accents, hyphens, the difference of caret and space, the order of the parts and a prefix such as "Dr" go; in
    scripts written without spaces, so do all separators. A suffix such as "Jr" stays: it tells father from son.
    """
    groups = name.split("=")[:_GROUPS]
    return tuple(_normalise_group(group) for group in groups)


def _normalise_group(group: str) -> str:
    components = group.split("^")
    if len(components) > 3:
        components[3] = ""  # the prefix
    folded = unicodedata.normalize("NFKD", " ".join(components).casefold()).translate(_LETTERS)
    folded = unicodedata.normalize("NFC", _MARKS.sub("", folded))
    parts = [part for part in _SEPARATORS.split(folded) if part]
    return "".join(parts) if _WRITTEN_TOGETHER.search(folded) else " ".join(sorted(parts))


def compare(expected: Identity, found: Identity) -> Match:
    """Whether the patient found is the one expected; what was not expected does not count.

    The birth date must be the same day. An ID counts together with its issuer: of two different issuers, equal IDs
    prove nothing and different ones contradict nothing. What is expected and missing in the image is NEAR.
    """
    verdicts = (
        _compare_ids(expected, found),
        _compare_names(expected.name, found.name),
        _compare_dates(expected.birth_date, found.birth_date),
        _compare_sexes(expected.sex, found.sex),
    )
    return next((verdict for verdict in (Match.MISMATCH, Match.NEAR) if verdict in verdicts), Match.MATCH)


def same_patient(one: Identity, other: Identity) -> bool:
    """Whether two headers name one patient, for grouping a hand-in (domain rule S1).

    Nothing stated on both sides may differ, and at least the ID, or name and birth date, must be stated on both.
    """
    if one == other:
        return True
    if _issuers_differ(one, other):
        return False
    pairs = (
        (_plain_id(one.patient_id), _plain_id(other.patient_id)),
        (_digits(one.birth_date), _digits(other.birth_date)),
    )
    if any(a and b and a != b for a, b in pairs):
        return False
    named = bool(one.name.strip("^= ") and other.name.strip("^= "))
    if named and _compare_names(one.name, other.name) is not Match.MATCH:
        return False
    return bool(all(pairs[0]) or (named and all(pairs[1])))


def _compare_ids(expected: Identity, found: Identity) -> Match:
    wanted, given = _plain_id(expected.patient_id), _plain_id(found.patient_id)
    if not wanted:
        return Match.MATCH
    if not given or _issuers_differ(expected, found):
        return Match.NEAR
    if wanted == given:
        return Match.MATCH
    loose = [_NOT_ALNUM.sub("", text).lstrip("0") for text in (wanted, given)]
    return Match.NEAR if loose[0] == loose[1] else Match.MISMATCH


def _issuers_differ(one: Identity, other: Identity) -> bool:
    a, b = _plain_id(one.issuer), _plain_id(other.issuer)
    return bool(a and b and a != b)


def _compare_names(expected: str, found: str) -> Match:
    wanted, given = normalise_name(expected), normalise_name(found)
    if not any(wanted):
        return Match.MATCH
    if not any(given):
        return Match.NEAR
    verdicts = {_compare_groups(a, b) for a, b in zip(wanted, given, strict=False) if a and b}
    if verdicts <= {Match.MISMATCH}:
        # A name typed in one script may stand in the image as another group.
        crossed = any(group and group in given for group in wanted)
        return Match.MATCH if crossed else Match.MISMATCH
    # Equal in Latin letters and different in Chinese characters is not yet equal.
    return Match.MATCH if verdicts == {Match.MATCH} else Match.NEAR


def _compare_groups(one: str, other: str) -> Match:
    """NEAR: one has parts the other lacks, the same letters are parted differently, or one letter differs."""
    if one == other:
        return Match.MATCH
    parts, others = set(one.split()), set(other.split())
    if parts <= others or others <= parts or sorted(one.replace(" ", "")) == sorted(other.replace(" ", "")):
        return Match.NEAR
    return Match.NEAR if _one_letter_apart(one.replace(" ", ""), other.replace(" ", "")) else Match.MISMATCH


def _one_letter_apart(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > _SMALL_TYPO:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:]


def _compare_dates(expected: str, found: str) -> Match:
    wanted, given = _digits(expected), _digits(found)
    if not wanted or wanted == given:
        return Match.MATCH
    return Match.MISMATCH if given else Match.NEAR


def _compare_sexes(expected: str, found: str) -> Match:
    """Sex is often wrong or "O" in a header: a difference is worth a look, no more."""
    wanted, given = expected.strip().upper(), found.strip().upper()
    return Match.MATCH if not wanted or wanted == given else Match.NEAR


def _plain_id(text: str) -> str:
    return text.strip().casefold()


def _digits(date: str) -> str:
    """A date without its punctuation: 1970-01-31, 1970.01.31 and 19700131 are one day."""
    return re.sub(r"[\s.\-/:]", "", date)
