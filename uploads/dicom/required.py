"""Elements that a destination must have filled in each image, by keyword, read strictly (domain rule S14)."""

from collections.abc import Iterable
from typing import Final

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.valuerep import STR_VR

from uploads.dicom.filled import Asked

MOST_REQUIRED: Final = 64
_FIRST: Final = 0x00080000
_PIXELS: Final = 0x7FE00000
_SENTENCES: Final = {
    "tags_malformed": "The required tags are not a list of keywords.",
    "too_many_tags": f"There are more than {MOST_REQUIRED} required tags.",
    "tag_unknown": "{} is no keyword of the Standard; write it as PatientID.",
    "tag_nested": "{} is a sequence or lies in one; only elements of the top level can be required.",
    "tag_outside": "{} stands outside of what is looked at, from group 0008 up to the pixel data.",
    "tag_twice": "{} is required twice.",
}


class RequiredTagError(ValueError):
    """A required tag cannot be used; `code` is stable, `detail` a sentence for the administrator, `row` from 1."""

    def __init__(self, code: str, row: int, *, keyword: str = "") -> None:
        self.code = code
        self.detail = _SENTENCES[code].format(keyword[:64] or "An empty word")
        self.row = row
        super().__init__(self.detail)


def read(rows: object) -> tuple[str, ...]:
    """`Destination.required_tags`: a list of keywords of PS3.6. Raises RequiredTagError at the first at fault."""
    if not isinstance(rows, list | tuple):
        raise RequiredTagError("tags_malformed", 0)
    if len(rows) > MOST_REQUIRED:
        raise RequiredTagError("too_many_tags", 0)
    found: list[str] = []
    for row, word in enumerate(rows, start=1):
        if not isinstance(word, str):
            raise RequiredTagError("tags_malformed", row)
        keyword = word.strip()
        fault = "tag_twice" if keyword in found else _fault(keyword)
        if fault:
            raise RequiredTagError(fault, row, keyword=keyword)
        found.append(keyword)
    return tuple(found)


def _fault(keyword: str) -> str:
    if "." in keyword:
        return "tag_nested"
    tag = tag_for_keyword(keyword) if keyword else None  # retired elements without a name have an empty keyword
    if tag is None:
        return "tag_unknown"
    if not _FIRST <= tag < _PIXELS:
        return "tag_outside"
    return "tag_nested" if dictionary_VR(tag) == "SQ" else ""


def asked_for(destinations: Iterable[object]) -> tuple[Asked, ...]:
    """What an inspection must look for, so that any of these lists of required tags can be answered.

    A list that cannot be read asks for nothing here: a study on its way does not stop at a form filled in wrongly.
    """
    tags: set[int] = set()
    for rows in destinations:
        try:
            keywords = read(rows)
        except RequiredTagError:
            continue
        tags.update(tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None)
    return tuple(Asked(tag, dictionary_VR(tag) in STR_VR) for tag in sorted(tags))


def keywords_of(tags: Iterable[int]) -> list[str]:
    return [keyword_for_tag(tag) for tag in tags]
