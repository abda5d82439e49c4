"""Studies that show nobody: a head of ellipsoids as CT, for the demo, the tests and the measurements."""

import hashlib
from pathlib import Path

import numpy
import pydicom
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from relaypacs.demo.anatomy import HIGHEST, LOWEST, Head, Plane

SAMPLE_SLICES = 24
SAMPLE_SIZE = 256
SAMPLE_SEED = 1
TOP = HIGHEST - 28.0  # mm; above it the phantom's folds reach through its skull
INTERCEPT = -1024
LABEL = "TEST PATIENT\nNOT A PERSON"


def write_sample(directory: Path) -> list[Path]:
    """The bundled study: two dozen slices of 256 x 256, about 3 MB; the same octets each time."""
    return generate_study(directory, slices=SAMPLE_SLICES, rows=SAMPLE_SIZE, columns=SAMPLE_SIZE, seed=SAMPLE_SEED)


def generate_study(
    directory: Path, *, slices: int, rows: int, columns: int, seed: int, modality: str = "CT", label: bool = True
) -> list[Path]:
    """A CT study of one series, one file a slice, 16 bit.

    Args:
        slices: how many; `rows` * `columns` * 2 bytes of pixels each (600 of 512 x 512 are 315 MB).
        seed: the same seed gives the same octets; another one gives other UIDs as well.
    """
    directory.mkdir(parents=True, exist_ok=True)
    head = Head(rows, columns, seed=seed)
    heights = numpy.linspace(LOWEST + 2, TOP, slices)
    mark = _label(rows, columns) if label else None
    # a head takes a while to paint: of long series, every few slices are the same head with other grain
    distinct = min(slices, 48)
    planes = [head.slice_at(float(z)) for z in numpy.linspace(LOWEST + 2, TOP, distinct)]
    paths = []
    for number, z in enumerate(heights, 1):
        plane = planes[(number - 1) * distinct // slices] + head.grain()
        dataset = _slice(plane, mark, number=number, z=float(z), head=head, seed=seed, modality=modality)
        path = directory / f"IM{number:05d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def generate_multiframe(path: Path, *, megabytes: int, seed: int) -> Path:
    """One Enhanced CT file of about so many million bytes, written frame by frame."""
    rows = columns = 512
    frames = max(1, megabytes * 1_000_000 // (rows * columns * 2))
    head = Head(rows, columns, seed=seed)
    plane = head.slice_at(20.0)
    dataset = _common(seed, number=1, modality="CT", sop_class=EnhancedCTImageStorage)
    _pixel_module(dataset, rows, columns)
    dataset.NumberOfFrames = frames
    dataset.PixelData = b""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    length = frames * rows * columns * 2
    with path.open("r+b") as file:
        file.seek(-4, 2)  # the empty Pixel Data ends the file; its length comes last
        file.write(length.to_bytes(4, "little"))
        for _ in range(frames):
            file.write(_stored(plane + head.grain()).tobytes())
    return path


def uid(*parts: object) -> str:
    """A UID under 2.25 that is made of its parts alone (PS3.5, B.2)."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _slice(
    plane: Plane, mark: "numpy.ndarray | None", *, number: int, z: float, head: Head, seed: int, modality: str
) -> FileDataset:
    stored = _stored(plane)
    if mark is not None:
        stored[mark] = 1024 + 3000
    dataset = _common(seed, number=number, modality=modality, sop_class=CTImageStorage)
    rows, columns = stored.shape
    _pixel_module(dataset, rows, columns)
    spacing = head.grid.spacing
    dataset.PixelSpacing = [f"{spacing:.4f}"] * 2
    dataset.SliceThickness = "5"
    dataset.SliceLocation = f"{z:.2f}"
    dataset.ImagePositionPatient = [f"{-spacing * columns / 2:.3f}", f"{-spacing * rows / 2:.3f}", f"{z:.3f}"]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.KVP = "120"
    dataset.AcquisitionNumber = 1
    dataset.PixelData = stored.tobytes()
    return dataset


def _common(seed: int, *, number: int, modality: str, sop_class: str) -> FileDataset:
    """Patient, study, series and equipment: all of a test patient, and said so wherever a name could mislead."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.UID(sop_class)
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(uid("instance", seed, sop_class, number))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": sop_class,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": uid("study", seed),
        "SeriesInstanceUID": uid("series", seed, sop_class),
        "FrameOfReferenceUID": uid("frame", seed),
        "PatientName": "TEST^PATIENT",
        "PatientID": "RELAYPACS-DEMO",
        "PatientBirthDate": "19000101",
        "PatientSex": "O",
        "PatientComments": "Computed phantom. Not a person.",
        "StudyID": str(seed),
        "StudyDate": "20260101",
        "StudyTime": "120000",
        "SeriesDate": "20260101",
        "ContentDate": "20260101",
        "ContentTime": "120000",
        "AccessionNumber": f"DEMO{seed:04d}",
        "ReferringPhysicianName": "",
        "StudyDescription": "RelayPACS test phantom, head",
        "SeriesDescription": "Axial 5 mm",
        "SeriesNumber": 1,
        "InstanceNumber": number,
        "Modality": modality,
        "Manufacturer": "RelayPACS",
        "ManufacturerModelName": "Computed phantom",
        "BodyPartExamined": "HEAD",
        "PatientPosition": "HFS",
        "PositionReferenceIndicator": "",
        "BurnedInAnnotation": "NO",
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _pixel_module(dataset: FileDataset, rows: int, columns: int) -> None:
    values = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": str(INTERCEPT),
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "WindowCenter": "40",
        "WindowWidth": "90",
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


def _stored(plane: Plane) -> "numpy.ndarray":
    """Hounsfield units as they are stored: 12 bits, without sign."""
    return numpy.clip(plane - INTERCEPT, 0, 4095).astype("<u2")


def _label(rows: int, columns: int) -> "numpy.ndarray":
    """Where the words in the corner are drawn: whoever meets a slice by itself must see what it is."""
    image = Image.new("1", (columns, rows))
    size = max(10, rows // 20)
    ImageDraw.Draw(image).multiline_text((size // 2, size // 2), LABEL, fill=1, font=ImageFont.load_default(size))
    return numpy.asarray(image)
