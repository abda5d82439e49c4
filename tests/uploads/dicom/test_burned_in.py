"""An image may show its patient's name in the pixels."""

import pytest

from tests.uploads.dicom.builders import element, part10, picture, pixels
from uploads.dicom.burned_in import burned_in_candidate
from uploads.dicom.inspect import inspect
from uploads.dicom.source import BytesSource

pytestmark = [pytest.mark.unit, pytest.mark.clinical]

STORAGE = "1.2.840.10008.5.1.4.1.1."
CT, US, US_FRAMES, SC, SC_COLOUR, PHOTO, PDF, MR = (
    STORAGE + tail for tail in ("2", "6.1", "3.1", "7", "7.4", "77.1.4", "104.1", "4")
)


def candidate(sop_class: str, modality: str, said: str | None) -> bool:
    dataset = (
        element(0x00080016, "UI", sop_class)
        + element(0x00080018, "UI", "1.2.826.0.1.3680043.10.1.3")
        + (element(0x00080060, "CS", modality) if modality else b"")
        + element(0x0020000D, "UI", "1.2.826.0.1.3680043.10.1.1")
        + element(0x0020000E, "UI", "1.2.826.0.1.3680043.10.1.2")
        + picture()
        + (element(0x00280301, "CS", said) if said is not None else b"")
        + pixels()
    )
    found = inspect(BytesSource(part10(dataset, sop_class=sop_class)), name="IM1")
    assert found.verdict == "dicom"
    assert found.header is not None
    return burned_in_candidate(found.header)


@pytest.mark.parametrize("sop_class", [CT, US, SC, PDF])
@pytest.mark.parametrize("said", ["YES", "YES ", "yes"])
def test_an_image_that_says_so_may(sop_class, said):
    assert candidate(sop_class, "CT", said)


@pytest.mark.parametrize("sop_class", [CT, US, US_FRAMES, SC, PDF])
def test_an_image_that_denies_it_may_not(sop_class):
    assert not candidate(sop_class, "US", "NO")


@pytest.mark.parametrize("said", [None, "", "PERHAPS"])
@pytest.mark.parametrize("sop_class", [US, US_FRAMES, SC, SC_COLOUR, PHOTO, PDF])
def test_silence_counts_as_yes_for_classes_that_usually_show_one(sop_class, said):
    assert candidate(sop_class, "CT", said)


@pytest.mark.parametrize("modality", ["US", "SC", "XC", "OT", "US "])
def test_silence_counts_as_yes_for_modalities_that_usually_show_one(modality):
    assert candidate(CT, modality, None)


@pytest.mark.parametrize(("sop_class", "modality"), [(CT, "CT"), (MR, "MR"), (MR, "")])
def test_silence_counts_as_no_for_the_rest(sop_class, modality):
    assert not candidate(sop_class, modality, None)
