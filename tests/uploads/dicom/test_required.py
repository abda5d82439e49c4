"""A destination requires tags; each file tells which of them it has filled."""

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.valuerep import STR_VR

from tests.uploads.dicom.builders import EXPLICIT, IMPLICIT, SR, corpus, element, head, item, part10, report
from uploads.dicom import fallback, walk
from uploads.dicom.codes import Unfit
from uploads.dicom.filled import Asked, from_argument, missing, to_argument
from uploads.dicom.inspect import inspect
from uploads.dicom.required import MOST_REQUIRED, RequiredTagError, asked_for, keywords_of, read
from uploads.dicom.source import BytesSource

pytestmark = [pytest.mark.unit, pytest.mark.clinical]

KEYWORDS = [
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "PatientID",
    "PatientName",
    "PatientSex",
    "InstitutionName",
    "BodyPartExamined",
    "StudyDescription",
    "ImageComments",
    "PixelRepresentation",
    "WindowCenter",
    "PatientAge",
    "Manufacturer",
    "SliceThickness",
]


def lacks(data: bytes, *keywords: str) -> list[str]:
    found = inspect(BytesSource(data), name="IM1", asked=asked_for([list(keywords)]))
    assert found.verdict == "dicom", found
    return keywords_of(found.missing)


@pytest.mark.parametrize("blank", ["", " ", "    ", "^^", "^^=^", "\\\\", "\0\0"])
def test_a_value_that_says_nothing_is_missing(blank):
    dataset = head(sop_class=SR, name=blank)
    assert lacks(part10(dataset, sop_class=SR), "PatientName", "PatientID") == ["PatientName"]


def test_absent_is_missing_and_a_zero_is_a_value():
    zero = element(0x00280103, "US", b"\0\0") + element(0x00281050, "DS", "0 ")
    wanted = ("PixelRepresentation", "WindowCenter", "WindowWidth", "AccessionNumber")
    assert lacks(report(zero), *wanted) == ["AccessionNumber", "WindowWidth"]


def test_a_value_inside_a_sequence_does_not_count():
    nested = element(0x00400275, "SQ", item(element(0x00321060, "LO", "Thorax")))
    assert lacks(report(nested), "RequestedProcedureDescription") == ["RequestedProcedureDescription"]


def test_a_required_tag_never_decides_on_the_file():
    long = element(0x00324000, "LT", "x" * 10_000) + element(0x00400555, "UT", "x" * 70_000)
    twice = element(0x00324000, "LT", "") + element(0x00324000, "LT", "later")
    assert lacks(report(long), "StudyComments") == []
    assert lacks(report(twice), "StudyComments") == ["StudyComments"]


def test_every_sample_lacks_what_pydicom_does_not_find_in_it():
    seen = 0
    for name, path in corpus():
        data = path.read_bytes()
        found = inspect(BytesSource(data), name=name, asked=asked_for([KEYWORDS]))
        if found.verdict != "dicom":
            continue
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        empty = {keyword for keyword in KEYWORDS if not str(dataset.get(keyword, "") or "").strip("^= ")}
        empty -= {"PixelRepresentation"} if dataset.get("PixelRepresentation") == 0 else set()
        assert set(keywords_of(found.missing)) == empty, name
        seen += bool(empty) and len(empty) < len(KEYWORDS)
    assert seen > 50


def test_the_second_reader_finds_the_same():
    asked = asked_for([KEYWORDS])
    tags = [one.tag for one in asked]
    compared = 0
    for name, path in corpus():
        data = path.read_bytes()
        found = inspect(BytesSource(data), name=name, asked=asked)
        header = found.header
        if found.verdict != "dicom" or header is None or header.transfer_syntax_uid not in (EXPLICIT, IMPLICIT):
            continue
        try:
            layout = fallback.read(BytesSource(data), besides=tags)
        except Unfit:  # it takes no file that ends with a sequence
            continue
        assert missing(layout.values, asked) == found.missing, name
        compared += 1
    assert compared > 20


def test_an_unknown_value_representation_brings_in_the_second_reader(monkeypatch):
    used = []

    def read_and_tell(source, *, besides):
        used.append(besides)
        return read_again(source, besides=besides)

    read_again = fallback.read
    monkeypatch.setattr(fallback, "read", read_and_tell)
    monkeypatch.setitem(walk._FORMS, b"UC", None)
    odd = report(element(0x00080119, "UC", "Long code"))
    assert lacks(odd, "StudyComments", "LongCodeValue") == ["StudyComments"]
    assert used


def test_the_question_survives_the_way_into_the_fence():
    asked = asked_for([KEYWORDS])
    assert from_argument(to_argument(asked)) == asked
    assert from_argument("") == ()
    assert [one.text for one in asked] == [dictionary_VR(one.tag) in STR_VR for one in asked]


def test_it_asks_for_the_tags_of_all_destinations_once_and_in_order():
    asked = asked_for([["PatientID"], ["StudyID", "PatientID"], [], "PatientName", ["Nonsense"]])
    assert asked == (Asked(0x00100020, True), Asked(0x00200010, True))


def test_it_reads_keywords():
    assert read(["PatientID", " AccessionNumber "]) == ("PatientID", "AccessionNumber")
    assert tag_for_keyword("PatientID") == 0x00100020


@pytest.mark.parametrize(
    ("rows", "code", "row"),
    [
        ("PatientID", "tags_malformed", 0),
        ({"PatientID": 1}, "tags_malformed", 0),
        (["PatientID", 7], "tags_malformed", 2),
        (["PatientID"] * (MOST_REQUIRED + 1), "too_many_tags", 0),
        (["Patient ID"], "tag_unknown", 1),
        ([""], "tag_unknown", 1),
        (["OverlayRows"], "tag_unknown", 1),
        (["PatientID", "PatientID"], "tag_twice", 2),
        (["RequestAttributesSequence"], "tag_nested", 1),
        (["RequestAttributesSequence.StudyID"], "tag_nested", 1),
        (["MediaStorageSOPClassUID"], "tag_outside", 1),
        (["PixelData"], "tag_outside", 1),
        (["DataSetTrailingPadding"], "tag_outside", 1),
    ],
)
def test_it_names_the_fault_and_its_row(rows, code, row):
    with pytest.raises(RequiredTagError) as caught:
        read(rows)
    assert (caught.value.code, caught.value.row) == (code, row)
    assert caught.value.detail.endswith(".")
