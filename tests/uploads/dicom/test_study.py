"""A hand-in is grouped into studies, and what contradicts itself in it is found before anything is sent."""

from dataclasses import replace

import pytest

from tests.uploads.dicom.builders import ct
from uploads.dicom.inspect import inspect
from uploads.dicom.source import BytesSource
from uploads.dicom.study import Found, Verdict, judge

pytestmark = [pytest.mark.unit, pytest.mark.clinical]

_READ = inspect(BytesSource(ct()), name="IM0").header
assert _READ is not None
HEADER = replace(_READ, birth_date="19700131")


def found(index: int, digest: str = "", **fields: str) -> Found:
    fields = {"sop_instance_uid": f"1.2.3.{index}"} | fields
    return Found(index, replace(HEADER, **fields), digest or f"digest {index}")  # type: ignore[arg-type]


def findings(verdict: Verdict) -> dict[str, tuple[int, ...]]:
    return {finding.code: finding.indices for finding in verdict.findings}


def test_an_ordinary_study_is_one_card():
    verdict = judge([found(0), found(1, modality="SR", series_instance_uid="1.2.9"), found(2)])
    (study,) = verdict.studies
    assert (study.instances, study.indices, study.modalities) == (3, (0, 1, 2), ("CT", "SR"))
    assert [series.indices for series in study.series] == [(0, 2), (1,)]
    assert study.identity.name == "Test^Patient"
    assert not verdict.findings
    assert not verdict.duplicates


def test_several_studies_of_one_patient_go_on_as_a_unit():
    verdict = judge([found(0), found(1, study_instance_uid="1.2.8", series_instance_uid="1.2.8.1")])
    assert len(verdict.studies) == 2
    assert not verdict.findings


def test_several_patients_are_found_across_studies():
    other = {"study_instance_uid": "1.2.8", "series_instance_uid": "1.2.8.1"}
    verdict = judge([found(0), found(1, patient_id="T-2", patient_name="Other^One", **other)])
    assert findings(verdict) == {"several_patients": (0, 1)}


@pytest.mark.parametrize(
    "other",
    [{"patient_id": "T-2"}, {"patient_name": "Other^One"}, {"birth_date": "19700113"}],
)
def test_one_study_with_two_identities_is_found_and_is_not_several_patients(other):
    verdict = judge([found(0), found(1), found(2, **other)])
    assert findings(verdict) == {"two_identities": (2,)}
    assert len(verdict.studies[0].identities) == 2


def test_spelling_is_not_an_identity_and_the_fullest_is_shown():
    verdict = judge([found(0, birth_date=""), found(1, patient_name="TEST PATIENT"), found(2)])
    assert not verdict.findings
    assert verdict.studies[0].identity.birth_date == "19700131"


def test_a_link_between_two_patients_does_not_make_them_one():
    ones = [found(0, birth_date=""), found(1), found(2, birth_date="19700113")]
    for order in (ones, ones[::-1], [ones[1], ones[0], ones[2]]):
        assert "two_identities" in findings(judge(order))


def test_the_same_image_twice_is_sent_once():
    verdict = judge([found(0, "same"), found(1), found(2, "same", sop_instance_uid="1.2.3.0")])
    assert verdict.duplicates == {2: 0}
    assert verdict.studies[0].indices == (0, 1)
    assert not verdict.findings


def test_other_bytes_under_the_same_uid_are_found():
    verdict = judge([found(0, "a"), found(1), found(2, "b", sop_instance_uid="1.2.3.0")])
    assert findings(verdict) == {"uid_reused": (0, 2)}


def test_an_image_in_two_series_is_found():
    verdict = judge([found(0, "a"), found(1, "b", sop_instance_uid="1.2.3.0", series_instance_uid="1.2.9")])
    assert findings(verdict) == {"uid_reused": (0, 1), "uid_moved": (0, 1)}


def test_a_series_in_two_studies_is_found():
    verdict = judge([found(0), found(1, study_instance_uid="1.2.8")])
    assert findings(verdict) == {"uid_moved": (0, 1)}
    assert verdict.codes == {"uid_moved"}


def test_nothing_found_is_no_study():
    assert judge([]) == Verdict((), (), {})
