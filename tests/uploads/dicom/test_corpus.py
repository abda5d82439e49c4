"""pydicom's own test files: read as pydicom reads them, each intact one accepted, each refused one for its reason."""

import random
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.multival import MultiValue

from tests.uploads.dicom.builders import corpus
from uploads.dicom import header as headers
from uploads.dicom.inspect import Inspection, inspect
from uploads.dicom.source import BytesSource
from uploads.dicom.uids import IMAGE_CLASSES

pytestmark = [pytest.mark.unit, pytest.mark.clinical]

FILES = dict(corpus())
DISC = "test_files/dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000/"

# Every file of the corpus that is not relayed, and why. Whoever changes this table changes what a clinic can send.
REFUSED = {
    # A picture was never in them.
    "charset_files/chrKoreanMulti.dcm": "no_pixels",
    **{name: "no_pixels" for name in FILES if name.startswith(DISC)},
    # The meta header names another instance than the data set.
    "charset_files/chrJapMulti.dcm": "meta_mismatch",
    "charset_files/chrJapMultiExplicitIR6.dcm": "meta_mismatch",
    "test_files/rtdose.dcm": "meta_mismatch",
    "test_files/rtdose_1frame.dcm": "meta_mismatch",
    "test_files/rtdose_expb.dcm": "meta_mismatch",
    "test_files/rtdose_expb_1frame.dcm": "meta_mismatch",
    "test_files/rtplan.dcm": "meta_mismatch",
    # No SOPClassUID: fragments made to test one feature of a parser.
    "charset_files/chrSQEncoding.dcm": "meta_mismatch",
    "charset_files/chrSQEncoding1.dcm": "meta_mismatch",
    "test_files/UN_sequence.dcm": "meta_mismatch",
    "test_files/empty_charset_LEI.dcm": "meta_mismatch",
    "test_files/nested_priv_SQ.dcm": "meta_mismatch",
    "test_files/no_meta_group_length.dcm": "meta_mismatch",
    "test_files/priv_SQ.dcm": "meta_mismatch",
    # No StudyInstanceUID: they belong to no study, and no PACS can file them under one.
    "palettes/fall.dcm": "meta_mismatch",
    "palettes/hotiron.dcm": "meta_mismatch",
    "palettes/hotmetalblue.dcm": "meta_mismatch",
    "palettes/pet.dcm": "meta_mismatch",
    "palettes/pet20step.dcm": "meta_mismatch",
    "palettes/spring.dcm": "meta_mismatch",
    "palettes/summer.dcm": "meta_mismatch",
    "test_files/JPEGLSNearLossless_08.dcm": "meta_mismatch",
    "test_files/JPEGLSNearLossless_16.dcm": "meta_mismatch",
    "test_files/SC_rgb_jls_lossy_line.dcm": "meta_mismatch",
    "test_files/SC_rgb_jls_lossy_sample.dcm": "meta_mismatch",
    # SOPInstanceUID twice; implicit VR under a compressed syntax; "1A" frames; no transfer syntax.
    "palettes/winter.dcm": "meta_mismatch",
    "test_files/SC_rgb_jpeg.dcm": "meta_mismatch",
    "test_files/badVR.dcm": "meta_mismatch",
    "test_files/meta_missing_tsyntax.dcm": "meta_mismatch",
    # Data sets without a file header: how to send them would be a guess.
    "test_files/ExplVR_BigEndNoMeta.dcm": "meta_mismatch",
    "test_files/ExplVR_LitEndNoMeta.dcm": "meta_mismatch",
    "test_files/rtstruct.dcm": "meta_mismatch",
    # Cut short, as their names say.
    "test_files/MR_truncated.dcm": "truncated",
    "test_files/rtplan_truncated.dcm": "truncated",
    # Left out: not instances at all. no_meta.dcm begins one byte before a data set.
    "test_files/no_meta.dcm": "not_dicom",
    "test_files/zipMR.gz": "archive_unsupported",
    **{name: "dicomdir" for name in FILES if Path(name).name.startswith("DICOMDIR")},
    **{name: "viewer_file" for name in FILES if Path(name).name.startswith("README")},
    **{name: "not_dicom" for name in FILES if Path(name).suffix in (".json", ".dump", ".icc", ".txt")},
    **{name: "viewer_file" for name in FILES if Path(name).name == "README.txt"},
}
SENDABLE = sorted(FILES.keys() - REFUSED.keys())
BAD = "test_files/badVR.dcm"
NUMBERS = {
    "samples": "SamplesPerPixel",
    "rows": "Rows",
    "columns": "Columns",
    "bits_allocated": "BitsAllocated",
    "frames": "NumberOfFrames",
}


def look(data: bytes, name: str = "IM000001") -> Inspection:
    return inspect(BytesSource(data), name=name)


def test_it_refuses_exactly_the_files_of_the_table():
    found = {name: look(path.read_bytes(), path.name).code for name, path in FILES.items()}
    assert {name: code for name, code in found.items() if code} == REFUSED
    assert len(SENDABLE) == 98


def as_text(value: object) -> str:
    if isinstance(value, MultiValue | list):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)


def test_it_reads_every_header_as_pydicom_does():
    compared = 0
    for name, path in FILES.items():
        header = look(path.read_bytes(), path.name).header
        if header is None or name == "palettes/winter.dcm":  # stops at the element that stands there twice
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = pydicom.dcmread(path, force=True)
            theirs = {
                field: as_text(other[tag].value if tag in other else None) for field, tag in headers._TEXT.items()
            }
            numbers = {field: int(other.get(word) or 0) for field, word in NUMBERS.items() if name != BAD}
        assert {field: getattr(header, field) for field in theirs} == theirs, name
        assert {field: getattr(header, field) for field in numbers} == numbers, name
        compared += 1
    assert compared >= 175


SAMPLE = sorted(
    (name for name in SENDABLE if "dicomdirtests" not in name and FILES[name].stat().st_size < 40_000),
)


@pytest.mark.parametrize("name", SAMPLE)
def test_it_never_takes_a_part_for_the_whole(name):
    data = FILES[name].read_bytes()
    chance = random.Random(name)
    cuts = {chance.randrange(1, len(data)) for _ in range(60)} | set(range(max(1, len(data) - 40), len(data)))
    cuts |= set(range(0, min(len(data), 3000), 2)) if "SR" in name or "report" in name else set()
    whole = sorted(cut for cut in cuts if look(data[:cut]).verdict == "dicom")
    if name == "test_files/image_dfl.dcm":
        # Its deflate stream is followed by a gzip trailer that does not belong to it: without it, all data is there.
        assert whole == [len(data) - 8]
        return
    assert not whole or set(whole) <= undetectable(name)


def undetectable(name: str) -> set[int]:
    """Ends of whole top-level elements, told by an independent reader, from the last one that had to be there.

    Nothing in a file says how many elements follow; only the digest of the upload finds such a cut. A dose file need
    not hold a picture, so it may also end in front of what describes one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(FILES[name])
    needed = [0x00080016, 0x00080018, 0x0020000D, 0x0020000E]
    if dataset.SOPClassUID in IMAGE_CLASSES:
        needed += [tag for tag in (0x7FE00008, 0x7FE00009, 0x7FE00010) if tag in dataset]
    tags = sorted(int(tag) for tag in list(dataset.keys()))
    return {end_of(name, upto) for upto in tags if upto >= max(needed)}


def end_of(name: str, last: int) -> int:
    """Where the element `last` ends: pydicom stops reading in front of the one behind it."""
    with FILES[name].open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.filereader.read_partial(file, stop_when=lambda tag, *_: int(tag) > last)
        return file.tell()
