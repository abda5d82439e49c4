"""What a PACS made of a study's identity: what was sent beside what it shows (domain rule S15)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from uploads.dicom.identity import Identity, Match, compare

KEYWORDS: Final = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "AccessionNumber",
)
_NAME: Final = "PatientName"


class Change(NamedTuple):
    """One attribute that the PACS shows otherwise than it was sent. Both values are patient data."""

    keyword: str
    was: str
    shown: str


@dataclass(frozen=True, slots=True)
class Changes:
    """`match` is of the patient as sent with the one shown; on a mismatch staff must look before anybody reads it.

    `doubtful`: the character set could not be told, so a name was shown as it could be and is not held against it.
    """

    changes: tuple[Change, ...]
    match: Match
    doubtful: bool = False

    @property
    def mismatch(self) -> bool:
        return self.match is Match.MISMATCH


def changed(sent: Mapping[str, str], shown: Mapping[str, str], *, doubtful: bool = False) -> Changes:
    """Compare by keyword. What the PACS does not return is not compared; what it returns empty, it has emptied.

    Another Patient ID, an emptied one and another StudyInstanceUID are always a mismatch; for the rest the rules of
    `identity.compare` hold.
    """
    told = tuple(
        Change(keyword, sent.get(keyword, ""), shown[keyword])
        for keyword in KEYWORDS
        if keyword in shown and _plain(sent.get(keyword, ""), keyword) != _plain(shown[keyword], keyword)
    )
    return Changes(told, _match(sent, shown, told, doubtful=doubtful), doubtful)


def _match(sent: Mapping[str, str], shown: Mapping[str, str], told: tuple[Change, ...], *, doubtful: bool) -> Match:
    if any(_is_other(change) for change in told):
        return Match.MISMATCH
    returned = {keyword: value for keyword, value in sent.items() if keyword in shown}
    if doubtful:
        returned.pop(_NAME, None)
    match = compare(_identity(returned), _identity(shown))
    return Match.NEAR if doubtful and match is Match.MATCH else match


def _is_other(change: Change) -> bool:
    """An ID that was empty and has been given by the PACS contradicts nothing."""
    if change.keyword not in ("PatientID", "StudyInstanceUID") or not change.was.strip(" \0"):
        return False
    return change.was.strip(" \0").casefold() != change.shown.strip(" \0").casefold()


def _identity(values: Mapping[str, str]) -> Identity:
    keys = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
    return Identity(*(values.get(keyword, "") for keyword in keys))


def _plain(value: str, keyword: str) -> str:
    """Without padding, and of a name without empty components at the end, which mean nothing (PS3.5, 6.2)."""
    value = value.strip(" \0")
    if keyword != _NAME:
        return value
    return "=".join(group.rstrip("^ ") for group in value.split("=")).rstrip("=")
