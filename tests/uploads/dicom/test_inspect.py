"""Each kind of file a clinic hands in gets its verdict, its code and a sentence."""

import struct

import pytest

from tests.uploads.dicom.builders import (
    BIG_ENDIAN,
    CT,
    EXPLICIT,
    IMPLICIT,
    INSTANCE,
    ITEM_END,
    JPEG,
    MPEG2,
    SEQUENCE_END,
    SR,
    UNDEFINED,
    ct,
    deflated,
    element,
    fragments,
    head,
    item,
    meta,
    part10,
    picture,
    pixels,
    report,
)
from uploads.dicom.codes import EFFECTS, SENTENCES
from uploads.dicom.inspect import Inspection, inspect
from uploads.dicom.source import BytesSource

pytestmark = [pytest.mark.unit, pytest.mark.clinical]


def look(data: bytes, name: str = "IM000001") -> Inspection:
    return inspect(BytesSource(data), name=name)


def code_of(data: bytes, name: str = "IM000001") -> str | None:
    found = look(data, name)
    assert found.verdict == ("dicom" if found.code is None else EFFECTS[found.code])
    assert bool(found.detail) == (found.code is not None)
    return found.code


def test_it_accepts_a_whole_slice_and_says_where_its_data_set_lies():
    data = ct()
    found = look(data)
    assert (found.verdict, found.code) == ("dicom", None)
    assert data[found.dataset_offset :] == head() + picture() + pixels()
    assert found.dataset_size == len(data) - found.dataset_offset
    assert found.header is not None
    assert found.header.patient_name == "Test^Patient"
    assert found.header.transfer_syntax_uid == EXPLICIT
    assert (found.header.rows, found.header.columns, found.header.frames) == (16, 16, 0)


def test_it_accepts_a_file_without_a_picture_where_its_class_needs_none():
    assert code_of(report()) is None


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (b"", "IM1", "empty_file"),
        (b"just some text, no image at all" * 20, "notes.txt", "not_dicom"),
        (b"\x93" * 4000, "noise.dcm", "not_dicom"),
        (b"MZ\x90\0" + bytes(500), "setup", "viewer_file"),
        (b"\x7fELF" + bytes(500), "viewer", "viewer_file"),
        (b"[autorun]\r\nopen=viewer.exe", "AUTORUN.INF", "viewer_file"),
        (b"<html>", "viewer/index.HTML", "viewer_file"),
        (b"PK\x03\x04 classes", "viewer\\weasis.jar", "viewer_file"),
        (b"Please read this", "README.TXT", "viewer_file"),
        (b"PK\x03\x04" + bytes(100), "study.zip", "archive_unsupported"),
        (b"Rar!\x1a\x07\x01\0", "study.rar", "archive_unsupported"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(30), "study.7z", "archive_unsupported"),
        (b"\x1f\x8b\x08" + bytes(30), "study.tgz", "archive_unsupported"),
        (bytes(257) + b"ustar\0" + bytes(300), "study.tar", "archive_unsupported"),
        (b"\xff\xd8\xff\xe0" + bytes(30), "photo.jpg", "archive_unsupported"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "photo.png", "archive_unsupported"),
        (b"%PDF-1.7", "letter.pdf", "archive_unsupported"),
        (b"\x30\x82\x10\0\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03" + bytes(50), "IM1", "encrypted"),
        (b"Salted__" + bytes(50), "IM1.enc", "encrypted"),
        (bytes(5000), "IM000007", "truncated"),
        (part10(b"", sop_class="1.2.840.10008.1.3.10"), "DICOMDIR", "dicomdir"),
        (b"broken table of contents", "DICOMDIR", "dicomdir"),
    ],
)
def test_it_tells_what_else_lies_on_a_disc(data, name, code):
    assert code_of(data, name) == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (part10(head() + picture()), "no_pixels"),
        (part10(head() + picture() + pixels(510)), "truncated"),
        (part10(head() + picture() + pixels())[:-2], "truncated"),
        (part10(head() + picture() + pixels(512) + b"\0"), "truncated"),
        (part10(head() + picture() + pixels(514)), None),
        (part10(head() + picture() + pixels(1024)), "meta_mismatch"),
        (part10(head() + picture(frames="2") + pixels(1024)), None),
        (part10(head() + picture(frames="2") + pixels(512)), "truncated"),
        (part10(head() + picture(frames="two") + pixels(512)), "meta_mismatch"),
        (part10(head() + picture(frames="9" * 60000) + pixels(512)), "meta_mismatch"),
        (part10(head() + pixels(512)), "meta_mismatch"),
        (part10(head() + picture() + pixels() + element(0xFFFCFFFC, "OB", bytes(100))), None),
        (part10(head() + picture() + pixels(), syntax=JPEG), "meta_mismatch"),
        (part10(head() + picture() + fragments(b"ab")), "meta_mismatch"),
        (part10(head() + picture() + fragments(b"ab"), syntax=JPEG), None),
        (part10(head() + picture() + fragments(), syntax=JPEG), "truncated"),
        (part10(head() + picture(frames="3") + fragments(b"ab", b"cd"), syntax=JPEG), "truncated"),
        (part10(head() + picture(frames="3") + fragments(b"ab"), syntax=MPEG2), None),
        (part10(head() + picture() + fragments(b"ab", end=b""), syntax=JPEG), "truncated"),
        (part10(head() + picture() + fragments(b"ab", table=struct.pack("<LL", 0, 10)), syntax=JPEG), "truncated"),
        (part10(head() + picture(), syntax="1.2.840.10008.1.2.4.94"), "no_pixels"),
    ],
)
def test_it_measures_the_picture_without_reading_it(data, code):
    assert code_of(data) == code


@pytest.mark.parametrize(
    "data",
    [
        part10(head() + picture() + pixels(), instance=INSTANCE + ".9"),
        part10(head() + picture() + pixels(), sop_class=SR),
        part10(head(instance="1.2.03") + picture() + pixels(), instance="1.2.03"),
        part10(head(instance="1." * 32 + "1") + picture() + pixels(), instance="1." * 32 + "1"),
        part10(head(sop_class="") + picture() + pixels(), sop_class=""),
        part10(head() + picture() + pixels(), syntax="1.2.3.4"),
        part10(head() + picture() + pixels(), syntax=""),
        part10(head() + picture() + pixels(), syntax=IMPLICIT),
        part10(head() + picture() + pixels(), syntax=BIG_ENDIAN),
        part10(head() + element(0x00100020, "LO", "T-2") + picture() + pixels()),
        part10(element(0x00080005, "CS", "x" * 5000) + head() + picture() + pixels()),
        part10(element(0x00020016, "AE", "RELAY") + head() + picture() + pixels()),
        meta() + head() + picture() + pixels(),
        head() + picture() + pixels(),
    ],
)
def test_it_refuses_a_file_that_contradicts_itself_and_still_shows_whose_it_is(data):
    found = look(data)
    if found.code != "meta_mismatch":  # read as big endian, the lengths are absurd before the names are
        assert (found.code, BIG_ENDIAN.encode() in data) == ("truncated", True)


def test_it_shows_whose_the_refused_file_was():
    found = look(ct()[:-100])
    assert found.code == "truncated"
    assert found.header is not None
    assert found.header.patient_name == "Test^Patient"


def test_it_reads_a_bare_data_set_but_does_not_relay_it():
    found = look(head() + picture() + pixels())
    assert found.code == "meta_mismatch"
    assert found.header is not None
    assert found.header.sop_class_uid == CT


@pytest.mark.parametrize(
    "value",
    [
        item(element(0x00080100, "SH", "A")),
        item(element(0x00080100, "SH", "A") + ITEM_END, length=UNDEFINED),
        item(b"") * 3,
        item(struct.pack("<HHL", 0x0008, 0x0100, 2) + b"A "),  # implicit VR inside explicit VR
        b"",
    ],
)
def test_it_walks_sequences_however_they_are_written(value):
    assert code_of(report(element(0x0040A730, "SQ", value))) is None
    assert code_of(report(element(0x0040A730, "SQ", value + SEQUENCE_END, length=UNDEFINED))) is None


@pytest.mark.parametrize(
    "extra",
    [
        element(0x0040A730, "SQ", item(element(0x00080100, "SH", "A", length=4))),
        element(0x0040A730, "SQ", item(b"", length=10)),
        element(0x0040A730, "SQ", b"", length=10),
        element(0x0040A730, "SQ", item(b""), length=UNDEFINED),
        element(0x0040A730, "SQ", item(element(0x00080100, "SH", "A"), length=UNDEFINED)),
        element(0x0040A730, "SQ", element(0x00080100, "SH", "A")),
        element(0x0040A730, "LO", "A") + ITEM_END,
        element(0x0040A730, "LO", "A") + item(b""),
        element(0x0040A730, "UT", "A", length=0xFFFFFFF0),
        element(0x0040A730, "UT", "A", length=UNDEFINED),
        element(0x0040A730, "OB", bytes(100), length=UNDEFINED),
        element(0x0040A730, "LO", "A", length=1000),
        element(0x0040A730, "LO", "A")[:-4],
        element(0x0040A730, "1a", "A"),
    ],
)
def test_it_finds_every_length_that_lies(extra):
    assert code_of(report(extra)) == "truncated"


def nest(depth: int, *, undefined: bool) -> bytes:
    value = b""
    for _ in range(depth):
        if undefined:
            inner = item(value + ITEM_END, length=UNDEFINED) + SEQUENCE_END
            value = element(0x0040A730, "SQ", inner, length=UNDEFINED)
        else:
            value = element(0x0040A730, "SQ", item(value))
    return value


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize(("depth", "code"), [(64, None), (65, "too_deep"), (1000, "too_deep")])
def test_it_follows_nesting_so_far_and_no_further(depth, code, undefined):
    assert code_of(report(nest(depth, undefined=undefined))) == code


def test_it_follows_nesting_that_implicit_vr_does_not_announce():
    def implicit(tag: int, value: bytes) -> bytes:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value

    value = b""
    for _ in range(100):
        value = implicit(0x0040A730, item(value))
    dataset = implicit(0x00080016, SR.encode() + b"\0") + value
    assert code_of(part10(dataset, syntax=IMPLICIT, sop_class=SR)) == "too_deep"


def test_it_does_not_count_to_infinity():
    assert code_of(report(element(0x0040A730, "SQ", item(b"") * 300_000))) == "bomb"
    assert code_of(report(element(0x00411001, "LO", "") * 1_000_001)) == "bomb"


def test_it_refuses_an_image_that_is_a_program_too_and_takes_other_preambles():
    dataset = head() + picture() + pixels()
    assert code_of(part10(dataset, preamble=b"MZ\x90\0")) == "bomb"
    assert code_of(part10(dataset, preamble=b"II*\0\x10\0")) is None
    assert code_of(part10(dataset, preamble=b"made by a scanner")) is None


def test_it_reads_deflated_files_to_the_end_of_their_stream():
    dataset = head() + picture() + pixels()
    whole = deflated(dataset)
    assert code_of(whole) is None
    assert code_of(whole + b"\0") is None
    assert code_of(whole + b"xy") == "truncated"
    assert code_of(whole[:-1]) == "truncated"
    assert code_of(deflated(dataset[:-4])) == "truncated"


def test_it_skips_what_is_larger_than_its_window():
    large = element(0x00291010, "UN", bytes(70_001))
    found = look(part10(head() + large + picture() + pixels()))
    assert found.code is None
    assert found.header is not None
    assert found.header.rows == 16


def test_it_leaves_an_unknown_vr_to_the_second_reader():
    later = element(0x00411001, "ZZ", "new")
    dataset = head(extra=picture()) + later + pixels()
    found = look(part10(dataset))
    assert found.code is None
    assert found.header == look(part10(head(extra=picture()) + pixels())).header
    assert code_of(part10(dataset)[:-2]) == "truncated"


@pytest.mark.parametrize(
    ("charset", "raw", "text", "problem"),
    [
        ("ISO_IR 100", b"M\xfcller^J\xfcrgen", "Müller^Jürgen", False),
        ("ISO_IR 192", "Müller^Jürgen".encode(), "Müller^Jürgen", False),
        ("", b"M\xfcller", "Müller", True),
        ("ISO_IR 192", b"M\xfcller", "M\ufffdller", True),
        ("ISO_IR 999", b"M\xfcller", "Müller", True),
        ("\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada^Tarou=山田^太郎", False),
        ("", b"A\0B", "A\ufffdB", True),
    ],
)
def test_it_decodes_names_and_says_when_it_guesses(charset, raw, text, problem):
    dataset = element(0x00080005, "CS", charset) + head(name=raw.decode("latin_1")) + picture() + pixels()
    header = look(part10(dataset)).header
    assert header is not None
    assert (header.patient_name, header.charset_problem) == (text, problem)


@pytest.mark.parametrize(("stated", "shown"), [("YES", "YES"), ("NO", "NO"), ("MAYBE", ""), ("", "")])
def test_it_passes_on_whether_a_name_is_burned_in(stated, shown):
    header = look(part10(head() + picture() + element(0x00280301, "CS", stated) + pixels())).header
    assert header is not None
    assert header.burned_in == shown


def test_every_code_has_an_effect_and_one_sentence():
    assert SENTENCES.keys() == EFFECTS.keys()
    for sentence in SENTENCES.values():
        assert sentence.endswith(".")
        assert sentence.count(".") == 1
