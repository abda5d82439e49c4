"""What must not go to a destination is known before anything is sent to it, from real files."""

import io
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from accounts.models import Role
from tests import factories
from tests.handin import HandIn
from uploads.models import Destination, Instance
from uploads.pipeline import legs
from uploads.pipeline.admission import refusals

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]

US, CT = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.2"


def image(**values: Any) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    target = io.BytesIO()
    dataset.save_as(target)
    return target.getvalue()


def destination(name: str, **fields: Any) -> Destination:
    made: Destination = factories.DestinationFactory.create(name=name, paused=True, **fields)
    return made


def checked(*files: bytes) -> list[Instance]:
    """The instances of a hand-in that was validated, in the order of its files."""
    user = factories.person(Role.RADIOGRAPHER)
    hand_in = HandIn(user, {f"IM{number}": data for number, data in enumerate(files)}).everything()
    while legs.advance():
        pass
    assert hand_in.truth()["state"] == "delivering"
    return list(Instance.objects.order_by("file_index"))


def test_a_destination_without_names_gets_no_image_that_may_show_one() -> None:
    plain, without_names = destination("PACS"), destination("Research", deidentified=True)
    ultrasound = {"SOPClassUID": US, "Modality": "US"}
    instances = checked(
        image(), image(**ultrasound), image(**ultrasound, BurnedInAnnotation="NO"), image(BurnedInAnnotation="YES")
    )
    assert [instance.burned_in for instance in instances] == [False, True, False, True]
    found = refusals(without_names, instances)
    assert [(one.instance_pk, one.code) for one in found] == [
        (instances[1].pk, "burned_in_candidate"),
        (instances[3].pk, "burned_in_candidate"),
    ]
    assert refusals(plain, instances) == []


def test_a_destination_gets_no_image_without_the_tags_that_it_requires() -> None:
    strict = destination("PACS", required_tags=["PatientID", "AccessionNumber", "StudyID"])
    lax, other = destination("Lax"), destination("Other", required_tags=["StudyID"], active=False)
    instances = checked(image(AccessionNumber="A-1"), image(AccessionNumber="", StudyID=""))
    assert [instance.missing_tags for instance in instances] == [[], ["AccessionNumber", "StudyID"]]
    [refusal] = refusals(strict, instances)
    assert (refusal.instance_pk, refusal.code) == (instances[1].pk, "required_tag_missing")
    assert "AccessionNumber and StudyID" in refusal.sentence
    assert "the clinic" in refusal.sentence
    assert refusals(lax, instances) == []
    assert [one.instance_pk for one in refusals(other, instances)] == [instances[1].pk]


def test_no_patient_is_named_in_a_refusal_and_one_is_enough() -> None:
    both = destination("Research", deidentified=True, required_tags=["StudyID"])
    instances = checked(image(BurnedInAnnotation="YES", StudyID="", PatientName="Secret^Name", PatientID="P-77"))
    [refusal] = refusals(both, instances)
    assert refusal.code == "burned_in_candidate"
    assert "Secret" not in refusal.sentence
    assert "P-77" not in refusal.sentence


def test_a_list_of_tags_that_cannot_be_read_does_not_stop_a_study() -> None:
    broken = destination("PACS", required_tags=["Nonsense"])
    instances = checked(image(AccessionNumber="A-1"))
    assert instances[0].missing_tags == []
    assert refusals(broken, instances) == []
