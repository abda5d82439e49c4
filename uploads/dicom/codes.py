"""Every code a file, a hand-in or a hold can carry, and the sentence a radiographer can act on."""

from typing import Final


class Unfit(Exception):
    """A file cannot be relayed as it is.

    Args:
        code: one of the file codes below.
        detail: what was found, in words, without patient data.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


IGNORED: Final = "ignored"
HELD: Final = "held"
REJECTED: Final = "rejected"

SENTENCES: Final[dict[str, str]] = {
    # A file that is left out, and nothing is lost by it.
    "not_dicom": "This file is not DICOM and is left out; nothing needs to be done unless you expected an image here.",
    "empty_file": "This file is empty; if it should hold an image, copy it from its source again and upload it.",
    "dicomdir": "This is the table of contents of a disc and is left out; the images it lists are sent by themselves.",
    "viewer_file": "This file belongs to the viewer program of a disc and is left out; nothing needs to be done.",
    # A file that is refused: the study is held for a decision, or rejected when nothing is left.
    "truncated": "The file is incomplete or damaged; copy or export it from its source again and upload it once more.",
    "meta_mismatch": "The file contradicts itself or lacks an identifier that a PACS needs; export it again as DICOM.",
    "digest_mismatch": "What arrived is not what was on your disk; upload this file again.",
    "bomb": "The file is built so that reading it could harm a computer and was not opened; export the study again.",
    "encrypted": "The file is encrypted and cannot be read here; export it without encryption and upload it again.",
    "too_deep": "The file nests its data deeper than any real study does; export it again from its source.",
    "no_pixels": "The file is an image without its picture; export it again with the images included.",
    "archive_unsupported": "Archives, pictures and PDF files are not relayed yet; unpack or export the study as DICOM.",
    # A study that waits for a person.
    "bad_files": "Some files cannot be relayed; decide whether the rest is sent without them, or upload them again.",
    "two_identities": "One study names two patients; have staff find out whose it is before anything is sent.",
    "uid_reused": "Two different images carry the same identifier; have staff look at both and leave one out.",
    "uid_moved": "The same image or series appears under two series or studies; have staff decide which is right.",
    "identity_near": "The patient in the images is nearly the one expected; compare both and confirm with a reason.",
    "identity_mismatch": "The patient in the images is not the one expected; have staff check before it is sent.",
    "duplicate_study": "This study was uploaded before; decide whether it is to be sent again.",
    # A hand-in that is turned away.
    "several_patients": "The upload holds images of more than one patient; upload each patient by itself.",
    "no_dicom": "The upload holds no DICOM image; choose the folder that the images were exported to.",
    "too_large": "The upload is larger than this clinic may send at once; split it, or ask the administrator.",
}

EFFECTS: Final[dict[str, str]] = {
    **dict.fromkeys(("not_dicom", "empty_file", "dicomdir", "viewer_file"), IGNORED),
    **dict.fromkeys(
        (
            "truncated",
            "meta_mismatch",
            "digest_mismatch",
            "bomb",
            "encrypted",
            "too_deep",
            "no_pixels",
            "archive_unsupported",
            "several_patients",
            "no_dicom",
            "too_large",
        ),
        REJECTED,
    ),
    **dict.fromkeys(
        (
            "bad_files",
            "two_identities",
            "uid_reused",
            "uid_moved",
            "identity_near",
            "identity_mismatch",
            "duplicate_study",
        ),
        HELD,
    ),
}
