"""Whether a patient's name may stand in the pixels themselves (domain rule S13)."""

from typing import Final

from uploads.dicom.header import Header
from uploads.dicom.uids import ROOT

_STORAGE: Final = ROOT + "5.1.4.1.1."
_MODALITIES: Final = frozenset(("US", "SC", "XC", "OT"))
# Ultrasound with its multi-frame classes, retired ones too; secondary capture; photographs; documents, which are
# pages that name their patient and must say YES or NO (PS3.3 Table C.24-2).
_TAILS: Final = "3 3.1 6 6.1 6.2 6.3 7 7.1 7.2 7.3 7.4 77.1.4 77.1.4.1 104.1 104.2"
_CLASSES: Final = frozenset(_STORAGE + tail for tail in _TAILS.split())


def burned_in_candidate(header: Header) -> bool:
    """(0028,0301) Burned In Annotation decides where it is YES or NO; else whether such images usually show a name."""
    if header.burned_in:
        return header.burned_in == "YES"
    return header.modality.strip().upper() in _MODALITIES or header.sop_class_uid in _CLASSES
