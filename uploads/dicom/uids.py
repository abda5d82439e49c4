"""The unique identifiers that decide how a file is read: transfer syntaxes and image classes (PS3.6, annex A)."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

ROOT: Final = "1.2.840.10008."
MEDIA_STORAGE_DIRECTORY: Final = ROOT + "1.3.10"
_UID: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+")
_MAX_UID: Final = 64


class Syntax(NamedTuple):
    """How a transfer syntax lays out a data set (PS3.5, annex A)."""

    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False
    encapsulated: bool = False
    one_stream: bool = False
    """Video: the frames share one bit stream, so fragments do not count frames (PS3.5, A.4.5 and following)."""
    referenced: bool = False
    """JPIP: the pixels are elsewhere, the file holds only their address (PS3.5, A.6)."""


_COMPRESSED: Final = ("1.2.1.98", "1.2.5", *(f"1.2.4.{n}" for n in (*range(50, 67), 70, 80, 81, *range(90, 94))))
_MORE_COMPRESSED: Final = ("1.2.4.110", "1.2.4.111", "1.2.4.112", "1.2.4.201", "1.2.4.202", "1.2.4.203", "1.2.8.1")
_VIDEO: Final = tuple(f"1.2.4.{n}" for n in range(100, 109))
_FRAGMENTABLE_VIDEO: Final = tuple(f"1.2.4.{n}.1" for n in range(100, 107))

SYNTAXES: Final[dict[str, Syntax]] = {
    ROOT + "1.2": Syntax(implicit=True),
    ROOT + "1.2.1": Syntax(),
    ROOT + "1.2.1.99": Syntax(deflated=True),
    ROOT + "1.2.2": Syntax(big_endian=True),
    **{ROOT + uid: Syntax(encapsulated=True) for uid in (*_COMPRESSED, *_MORE_COMPRESSED)},
    **{ROOT + uid: Syntax(encapsulated=True, one_stream=True) for uid in (*_VIDEO, *_FRAGMENTABLE_VIDEO)},
    **{ROOT + uid: Syntax(referenced=True) for uid in ("1.2.4.94", "1.2.4.204")},
    **{ROOT + uid: Syntax(referenced=True, deflated=True) for uid in ("1.2.4.95", "1.2.4.205")},
}

# Storage classes whose module table (PS3.3, A.x) makes one of the three pixel data elements mandatory. RT Dose is not
# among them: a dose file may hold histograms only.
_IMAGES: Final = """
1 1.1 1.1.1 1.2 1.2.1 1.3 1.3.1 2 2.1 2.2 3 3.1 4 4.1 4.3 4.4 5 6 6.1 6.2 6.3 7 7.1 7.2 7.3 7.4
12.1 12.1.1 12.2 12.2.1 12.3 13.1.1 13.1.2 13.1.3 13.1.4 13.1.5 14.1 14.2 20 30 66.4
77.1 77.2 77.1.1 77.1.1.1 77.1.2 77.1.2.1 77.1.3 77.1.4 77.1.4.1 77.1.5.1 77.1.5.2 77.1.5.4 77.1.5.5 77.1.5.6
77.1.5.7 77.1.5.8 77.1.6 77.1.7 77.1.8 77.1.9 81.1 82.1 128 128.1 130
481.1 481.23 481.24 501.1 501.2.1 501.2.2 601.1 601.2
"""
IMAGE_CLASSES: Final = frozenset(f"{ROOT}5.1.4.1.1.{tail}" for tail in _IMAGES.split())


@lru_cache(maxsize=1024)
def is_uid(text: str) -> bool:
    """Whether `text` is a UID: at most 64 characters, components without leading zeros (PS3.5, section 9.1)."""
    return len(text) <= _MAX_UID and _UID.fullmatch(text) is not None
