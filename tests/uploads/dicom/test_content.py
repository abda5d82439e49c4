"""A data set encoded anew says the same; one that was cut, or changed, does not."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.loopback import data_set_of
from tests.uploads.pacs.packs import Sample, sendable_samples
from uploads.dicom.content import ContentDigest

pytestmark = [pytest.mark.unit, pytest.mark.clinical]

EXPLICIT, IMPLICIT, BIG = map(str, (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian))
DEFLATED = "1.2.840.10008.1.2.1.99"


def digest(octets: bytes, syntax: str, *, pieces: int = 1_000_000) -> str:
    content = ContentDigest(syntax)
    for start in range(0, len(octets), pieces):
        content.feed(octets[start : start + pieces])
    return content.value


def encoded(data_set: Dataset, *, implicit: bool, **how: Any) -> bytes:
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, implicit
    pydicom.filewriter.write_dataset(buffer, data_set)
    return buffer.getvalue()


@pytest.fixture
def ct() -> Dataset:
    data_set = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3"
    data_set.ReferencedStudySequence = [inner, inner]
    return data_set


def forms(data_set: Dataset) -> list[tuple[bytes, str]]:
    """The same data set in several ways of writing it down."""
    plain = encoded(data_set, implicit=False), EXPLICIT
    implicit = encoded(data_set, implicit=True), IMPLICIT
    for element in data_set:
        if element.VR == "SQ":
            element.is_undefined_length = not element.is_undefined_length
            for item in element.value:
                item.is_undefined_length_sequence_item = True
    return [
        plain,
        implicit,
        (encoded(data_set, implicit=False), EXPLICIT),
        (encoded(data_set, implicit=True), IMPLICIT),
    ]


def test_the_ways_of_writing_it_down_do_not_matter(ct: Dataset) -> None:
    written = forms(ct)
    assert len({octets for octets, _ in written}) == 4
    found = {digest(octets, syntax) for octets, syntax in written}
    assert len(found) == 1
    assert found != {""}


def test_group_lengths_and_padding_do_not_matter(ct: Dataset) -> None:
    whole = encoded(ct, implicit=False)
    del ct[0xFFFCFFFC]
    bare = encoded(ct, implicit=False)
    ct.add_new(0x00080000, "UL", 1234)
    assert digest(whole, EXPLICIT) == digest(bare, EXPLICIT) == digest(encoded(ct, implicit=False), EXPLICIT)


def test_however_it_is_cut_into_pieces_it_is_the_same(ct: Dataset) -> None:
    octets = encoded(ct, implicit=False)
    assert len({digest(octets, EXPLICIT, pieces=pieces) for pieces in (1, 3, 7, 4096, len(octets))}) == 1


def test_a_changed_value_matters(ct: Dataset) -> None:
    before = digest(encoded(ct, implicit=False), EXPLICIT)
    ct.PatientID = "9CT1"
    changed = digest(encoded(ct, implicit=False), EXPLICIT)
    ct.PixelData = ct.PixelData[:-2] + b"\0\1"
    assert len({before, changed, digest(encoded(ct, implicit=False), EXPLICIT)}) == 3


def test_an_item_more_matters(ct: Dataset) -> None:
    before = digest(encoded(ct, implicit=False), EXPLICIT)
    ct.ReferencedStudySequence.append(ct.ReferencedStudySequence[0])
    assert digest(encoded(ct, implicit=False), EXPLICIT) != before


@pytest.mark.parametrize("sample", sendable_samples(), ids=lambda sample: sample.name)
def test_a_cut_data_set_never_says_the_same(sample: Sample) -> None:
    octets = data_set_of(sample.file)
    whole = digest(octets, sample.transfer_syntax_uid)
    if sample.transfer_syntax_uid == DEFLATED:
        assert whole == ""
        return
    for cut in range(1, len(octets) - 200, max(1, len(octets) // 40)):
        assert digest(octets[:cut], sample.transfer_syntax_uid) != whole or not whole


def test_fragments_count_and_the_offset_table_does_not() -> None:
    sample = pydicom.dcmread(str(get_testdata_file("SC_rgb_rle_2frame.dcm")))
    syntax = str(sample.file_meta.TransferSyntaxUID)
    before = digest(encoded(sample, implicit=False), syntax)
    frames = list(pydicom.encaps.generate_frames(sample.PixelData, number_of_frames=sample.NumberOfFrames))
    sample.PixelData = pydicom.encaps.encapsulate(frames, has_bot=True)
    with_table = digest(encoded(sample, implicit=False), syntax)
    sample.PixelData = pydicom.encaps.encapsulate(frames, has_bot=False)
    assert digest(encoded(sample, implicit=False), syntax) == with_table == before
    frames[1] = frames[0]
    sample.PixelData = pydicom.encaps.encapsulate(frames, has_bot=False)
    assert digest(encoded(sample, implicit=False), syntax) != before


def test_big_endian_is_read_as_it_is() -> None:
    file = Path(str(get_testdata_file("ExplVR_BigEnd.dcm"))).read_bytes()
    assert digest(data_set_of(file), BIG)


@pytest.mark.parametrize(
    "octets", [b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", BytesIO(b"\x08\x00\x05\x00CS").getvalue()]
)
def test_what_is_no_data_set_has_no_digest(octets: bytes) -> None:
    assert digest(octets, EXPLICIT) == ""
