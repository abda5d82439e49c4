"""An image is decoded for a PACS that takes no compression: the same pixels, the same instance, nothing hidden."""

import errno
import io
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy
import psutil
import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from tests.loopback import data_set_of
from tests.uploads.dicom.builders import DEFLATED, corpus, deflated, head, part10, picture, pixels
from uploads.dicom.meta import file_meta, read_meta
from uploads.dicom.plain import DECODERS
from uploads.dicom.source import BytesSource
from uploads.dicom.transcode import (
    DECODABLE,
    EXPLICIT,
    SENTENCES,
    DecodeLimits,
    Encoded,
    NoSpace,
    TranscodeFailed,
    Transcoder,
)
from uploads.dicom.window import Window

pytestmark = [pytest.mark.unit, pytest.mark.clinical]

UNDECODABLE = {
    # 12 bits in JPEG Extended: no decoder with a licence that this project may use
    "JPEG-lossy.dcm": "image_undecodable",
    "JPGExtended.dcm": "image_undecodable",
    # damaged, or not encoded as they say; the intake refuses them
    "JPEG2000-embedded-sequence-delimiter.dcm": "image_undecodable",
    "SC_rgb_jpeg.dcm": "no_compressed_pixels",
    # holds no pixels
    "UN_sequence.dcm": "no_compressed_pixels",
}


def compressed() -> list[Path]:
    found = []
    for _, path in corpus():
        try:
            meta = pydicom.filereader.read_file_meta_info(str(path))
        except (pydicom.errors.InvalidDicomError, OSError, ValueError):
            continue
        if str(meta.get("TransferSyntaxUID")) in DECODABLE - {DEFLATED}:
            found.append(path)
    return found


def sample(name: str) -> Any:
    [path] = [path for _, path in corpus() if path.name == name]
    return pydicom.dcmread(path)


def octets(dataset: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def decoded(data: bytes, folder: Path, *, limits: DecodeLimits | None = None) -> Any:
    """What the fence makes of one Part 10 file that stands in the middle of a pack."""
    syntax = read_meta(Window(BytesSource(data))).transfer_syntax_uid
    (folder / "pack").write_bytes(b"before" + data + b"behind")
    size = len(data_set_of(data))
    encoded = Encoded(6 + len(data) - size, size, syntax)
    with Transcoder(folder / "pack", limits=limits) as transcoder:
        return written(transcoder, encoded, folder)


def written(transcoder: Transcoder, encoded: Encoded, folder: Path) -> Any:
    with (folder / "plain").open("w+b") as file:
        file.write(file_meta("1.2", "1.2.3", EXPLICIT))
        file.flush()
        transcoder.write(encoded, file.fileno())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(folder / "plain", force=False)


def failure(data: bytes, folder: Path, **limits: Any) -> str:
    with pytest.raises(TranscodeFailed) as caught:
        decoded(data, folder, limits=DecodeLimits(**limits))
    assert caught.value.detail == SENTENCES[caught.value.code]
    return caught.value.code


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "uploads.dicom.decoder" in words_of(child)]


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; none where it has ended meanwhile."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def reference(dataset: Any) -> list[Any]:
    """What pydicom itself makes of the pixels, by the same decoder, in the colours that they are to have."""
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    lossy = syntax in (JPEGBaseline8Bit, "1.2.840.10008.1.2.4.81", JPEG2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frames = get_decoder(syntax).iter_array(dataset, decoding_plugin=DECODERS[syntax], as_rgb=lossy)
        return [pixels for pixels, _ in frames]


def test_each_syntax_that_is_said_to_be_decodable_has_one_decoder_that_is_there() -> None:
    assert set(DECODERS) | {DEFLATED} == DECODABLE
    for syntax, plugin in DECODERS.items():
        assert plugin in get_decoder(syntax).available_plugins, syntax


@pytest.mark.parametrize("path", compressed(), ids=lambda path: path.name)
def test_the_pixels_are_those_that_pydicom_decodes(path: Path, tmp_path: Path) -> None:
    if path.name in UNDECODABLE:
        assert failure(path.read_bytes(), tmp_path) == UNDECODABLE[path.name]
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = pydicom.dcmread(path)
        after = decoded(path.read_bytes(), tmp_path)
        expected, found = reference(before), list(iter_pixels(after, raw=True))
    assert len(found) == len(expected) == int(before.get("NumberOfFrames") or 1)
    for one, other in zip(expected, found, strict=True):
        assert numpy.array_equal(one, other)
    assert len(after.PixelData) % 2 == 0
    was, became = data_set_of(path.read_bytes()), data_set_of((tmp_path / "plain").read_bytes())
    until = was.find(b"\x28\x00\x00\x00UL") if 0x00280000 in before else was.index(b"\x28\x00\x02\x00US")
    assert became[:until] == was[:until]  # up to the description of the pixels, octet by octet
    described = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration"}
    lossy = {"LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"}
    changed = {element.keyword for element in before if element != after.get(element.tag) and element.tag.element}
    assert changed <= described | (lossy if "LossyImageCompression" not in before else set())
    assert {element.keyword for element in after if element.tag not in before} <= lossy


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", "RGB"),  # YBR_FULL in JPEG
        ("examples_ybr_color.dcm", "RGB"),  # YBR_FULL_422 in JPEG, 30 frames
        ("SC_rgb_dcmtk_+eb+cr.dcm", "RGB"),  # RGB in JPEG
        ("examples_jpeg2k.dcm", "RGB"),  # YBR_RCT in JPEG 2000
        ("SC_rgb_rle.dcm", "RGB"),
        ("MR_small_RLE.dcm", "MONOCHROME2"),
    ],
)
def test_the_colours_are_named_as_they_are(name: str, colour: str, tmp_path: Path) -> None:
    after = decoded(octets(sample(name)), tmp_path)
    assert after.PhotometricInterpretation == colour
    assert after.get("PlanarConfiguration", 0) == 0


def test_lossless_ybr_stays_ybr_to_the_last_bit(tmp_path: Path) -> None:
    before = sample("SC_rgb_rle.dcm")
    before.PhotometricInterpretation = "YBR_FULL"
    after = decoded(octets(before), tmp_path)
    assert after.PhotometricInterpretation == "YBR_FULL"
    [expected] = get_decoder(RLELossless).iter_array(before, as_rgb=False)
    assert after.PixelData == expected[0].tobytes()


@pytest.mark.parametrize("said", [None, "00", "01"])
def test_what_was_lossy_once_says_so_for_ever(said: str | None, tmp_path: Path) -> None:
    before = sample("SC_rgb_jpeg_dcmtk.dcm")
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        before.pop(keyword, None)
    if said:
        before.LossyImageCompression = said
    after = decoded(octets(before), tmp_path)
    assert after.LossyImageCompression == "01"
    if said != "01":
        assert after.LossyImageCompressionMethod == "ISO_10918_1"
        assert float(after.LossyImageCompressionRatio) > 1


def test_what_its_maker_calls_lossless_is_not_called_lossy_where_both_can_be(tmp_path: Path) -> None:
    before = sample("SC_rgb_gdcm_KY.dcm")
    before.LossyImageCompression = "00"
    assert decoded(octets(before), tmp_path).LossyImageCompression == "00"
    before.LossyImageCompression = ""
    assert decoded(octets(before), tmp_path).LossyImageCompression == "01"
    assert "LossyImageCompression" not in decoded(octets(sample("MR_small_RLE.dcm")), tmp_path)


def test_narrow_samples_fill_the_width_that_the_header_says(tmp_path: Path) -> None:
    before = sample("SC_rgb_gdcm_KY.dcm")
    [narrow] = reference(before)
    before.BitsAllocated = 16
    after = decoded(octets(before), tmp_path)
    assert numpy.array_equal(after.pixel_array, narrow)
    assert len(after.PixelData) == 2 * narrow.size


def test_extended_offsets_are_used_and_left_out(tmp_path: Path) -> None:
    before = sample("SC_rgb_rle_2frame.dcm")
    frames = list(generate_frames(before.PixelData, number_of_frames=2))
    before.PixelData, before.ExtendedOffsetTable, before.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    after = decoded(octets(before), tmp_path)
    assert not {"ExtendedOffsetTable", "ExtendedOffsetTableLengths"} & {element.keyword for element in after}
    assert numpy.array_equal(after.pixel_array, sample("SC_rgb_rle_2frame.dcm").pixel_array)


def test_padding_behind_the_pixels_stays(tmp_path: Path) -> None:
    before = sample("MR_small_RLE.dcm")
    before.DataSetTrailingPadding = b"\0" * 126
    assert decoded(octets(before), tmp_path).DataSetTrailingPadding == b"\0" * 126


def test_a_deflated_data_set_is_inflated_as_it_is(tmp_path: Path) -> None:
    plain = head() + picture() + pixels()
    decoded(deflated(plain), tmp_path)
    assert data_set_of((tmp_path / "plain").read_bytes()) == plain


CUT = ["SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm"]
CUT += ["693_J2KI.dcm", "MR_small_RLE.dcm", "JPEGLSNearLossless_16.dcm"]


@pytest.mark.parametrize("name", CUT)
def test_a_cut_image_is_never_filled_up(name: str, tmp_path: Path) -> None:
    """Whatever is cut off: either the decoder says so, or not one pixel was lost."""
    whole = sample(name)
    [frame] = generate_frames(whole.PixelData, number_of_frames=1)
    [expected] = reference(whole)
    codes = []
    for kept in (0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.995):
        cut = sample(name)
        cut.PixelData = encapsulate([frame[: int(len(frame) * kept)]])
        try:
            after = decoded(octets(cut), tmp_path)
        except TranscodeFailed as failed:
            codes.append(failed.code)
        else:
            assert numpy.array_equal(after.pixel_array, expected), kept
    assert set(codes) == {"image_undecodable"}
    assert len(codes) >= 5


def test_a_missing_frame_is_told(tmp_path: Path) -> None:
    before = sample("SC_rgb_rle_2frame.dcm")
    before.NumberOfFrames = 3
    assert failure(octets(before), tmp_path) in ("frames_missing", "image_undecodable")
    before.NumberOfFrames = 1
    assert failure(octets(before), tmp_path) == "image_undecodable"


def test_a_signed_image_is_left_alone(tmp_path: Path) -> None:
    before = sample("MR_small_RLE.dcm")
    before.add_new(0x4FFE0001, "SQ", [])
    assert failure(octets(before), tmp_path) == "signed"
    behind = sample("MR_small_RLE.dcm")
    behind.add_new(0xFFFAFFFA, "SQ", [])
    assert failure(octets(behind), tmp_path) == "signed"


@pytest.mark.parametrize("colour", ["YBR_PARTIAL_420", "HSV", ""])
def test_colours_that_cannot_be_told_are_not_guessed(colour: str, tmp_path: Path) -> None:
    before = sample("SC_rgb_rle.dcm")
    before.PhotometricInterpretation = colour
    assert failure(octets(before), tmp_path) in ("colour_unsupported", "image_undecodable")


def test_a_syntax_without_a_decoder_is_not_even_tried(tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(bytes(100))
    with (tmp_path / "plain").open("wb") as file, Transcoder(tmp_path / "pack") as transcoder:
        for syntax in ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2", "1.2.3"):
            with pytest.raises(TranscodeFailed) as caught:
                transcoder.write(Encoded(0, 100, syntax), file.fileno())
            assert caught.value.code == "syntax_undecodable"
        assert not children()


def test_a_small_file_cannot_become_a_huge_one(tmp_path: Path) -> None:
    before = sample("MR_small_RLE.dcm")
    before.Rows = before.Columns = 65535
    before.NumberOfFrames = 1000
    assert failure(octets(before), tmp_path) == "too_large"
    video = sample("examples_ybr_color.dcm")
    assert failure(octets(video), tmp_path, written=1_000_000) == "too_large"


def test_memory_is_bounded(tmp_path: Path) -> None:
    before = sample("MR_small_RLE.dcm")
    before.Rows = before.Columns = 20_000
    assert failure(octets(before), tmp_path, memory=700 * 2**20) in ("too_large", "image_undecodable")


def test_a_child_that_dies_gets_one_successor(tmp_path: Path) -> None:
    video = octets(sample("examples_ybr_color.dcm"))
    (tmp_path / "pack").write_bytes(video)
    size = len(data_set_of(video))
    encoded = Encoded(len(video) - size, size, str(JPEGBaseline8Bit))
    killed: list[int] = []

    def kill(times: int) -> None:
        if len(killed) < times and children():
            [child] = children()
            killed.append(child.pid)
            child.send_signal(signal.SIGKILL)

    with (tmp_path / "plain").open("w+b") as file, Transcoder(tmp_path / "pack") as transcoder:
        file.write(b"head")
        file.flush()
        transcoder.write(encoded, file.fileno(), on_frame=lambda: kill(1))
        once = (tmp_path / "plain").read_bytes()
        assert len(killed) == 1
        with pytest.raises(TranscodeFailed) as caught:
            transcoder.write(encoded, file.fileno(), on_frame=lambda: kill(3))
        assert caught.value.code == "decoder_lost"
        file.seek(0)
        file.truncate(4)
        file.seek(4)
        transcoder.write(encoded, file.fileno())
        assert (tmp_path / "plain").read_bytes() == once
    assert not children()


def test_a_lease_that_is_lost_ends_the_work(tmp_path: Path) -> None:
    class Gone(Exception): ...

    def check() -> None:
        raise Gone

    video = octets(sample("examples_ybr_color.dcm"))
    (tmp_path / "pack").write_bytes(video)
    size = len(data_set_of(video))
    with (tmp_path / "plain").open("wb") as file, Transcoder(tmp_path / "pack") as transcoder:
        with pytest.raises(Gone):
            transcoder.write(Encoded(len(video) - size, size, str(JPEGBaseline8Bit)), file.fileno(), on_frame=check)
        assert not children()


def test_a_full_disk_is_not_held_against_the_image(tmp_path: Path) -> None:
    data = octets(sample("MR_small_RLE.dcm"))
    (tmp_path / "pack").write_bytes(data)
    size = len(data_set_of(data))
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with Transcoder(tmp_path / "pack") as transcoder, pytest.raises(NoSpace) as caught:
            transcoder.write(Encoded(len(data) - size, size, str(RLELossless)), full)
    finally:
        os.close(full)
    assert caught.value.errno in (None, errno.ENOSPC)


def test_the_decoder_knows_no_secret_and_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    seen: list[Any] = []

    def look() -> None:
        [child] = children()
        seen.append((child.environ(), child.rlimit(psutil.RLIMIT_AS), child.rlimit(psutil.RLIMIT_FSIZE)))

    video = octets(sample("examples_ybr_color.dcm"))
    (tmp_path / "pack").write_bytes(video)
    size = len(data_set_of(video))
    with (tmp_path / "plain").open("wb") as file, Transcoder(tmp_path / "pack") as transcoder:
        transcoder.write(Encoded(len(video) - size, size, str(JPEGBaseline8Bit)), file.fileno(), on_frame=look)
    limits = DecodeLimits()
    assert len(seen) == 30
    for environment, memory, written_bytes in seen:
        assert "DATABASE_URL" not in environment
        assert memory == (limits.memory, limits.memory)
        assert written_bytes == (limits.written, limits.written)


def test_an_uncompressed_file_is_no_image_to_decode(tmp_path: Path) -> None:
    lying = part10(head() + picture() + pixels(), syntax=str(RLELossless))
    assert failure(lying, tmp_path) == "no_compressed_pixels"
    assert str(ExplicitVRLittleEndian) == EXPLICIT
