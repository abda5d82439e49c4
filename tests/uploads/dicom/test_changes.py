"""A PACS shows a study otherwise than it was sent."""

import pytest

from uploads.dicom.changes import KEYWORDS, Change, changed
from uploads.dicom.identity import Match

pytestmark = [pytest.mark.unit, pytest.mark.clinical]

SENT = {
    "PatientID": "P-17",
    "IssuerOfPatientID": "CLINIC",
    "PatientName": "Muster^Erika",
    "PatientBirthDate": "19700131",
    "PatientSex": "F",
    "StudyInstanceUID": "1.2.3",
    "AccessionNumber": "A-1",
}


def test_it_compares_all_that_identifies() -> None:
    assert set(KEYWORDS) == set(SENT)


def test_nothing_changed() -> None:
    found = changed(SENT, dict(SENT))
    assert (found.changes, found.match, found.mismatch) == ((), Match.MATCH, False)


@pytest.mark.parametrize(
    ("keyword", "shown"),
    [
        ("PatientName", "Muster^Erika^^^"),
        ("PatientName", "Muster^Erika=="),
        ("PatientName", "Muster^Erika "),
        ("PatientID", "P-17 "),
        ("AccessionNumber", "A-1\0"),
    ],
)
def test_padding_is_no_change(keyword: str, shown: str) -> None:
    assert changed(SENT, SENT | {keyword: shown}).changes == ()


@pytest.mark.parametrize(
    ("keyword", "shown", "match"),
    [
        ("PatientID", "P-18", Match.MISMATCH),
        ("PatientID", "P17", Match.MISMATCH),
        ("PatientID", "", Match.MISMATCH),
        ("PatientID", "p-17", Match.MATCH),
        ("StudyInstanceUID", "1.2.4", Match.MISMATCH),
        ("PatientBirthDate", "19700113", Match.MISMATCH),
        ("PatientBirthDate", "", Match.NEAR),
        ("PatientName", "Schmidt^Klaus", Match.MISMATCH),
        ("PatientName", "MUSTER^ERIKA", Match.MATCH),
        ("PatientName", "Muster^Erica", Match.NEAR),
        ("PatientName", "", Match.NEAR),
        ("PatientSex", "O", Match.NEAR),
        ("IssuerOfPatientID", "HOSPITAL", Match.NEAR),
        ("AccessionNumber", "B-9", Match.MATCH),
    ],
)
def test_each_change_is_told_with_what_it_means(keyword: str, shown: str, match: Match) -> None:
    found = changed(SENT, SENT | {keyword: shown})
    assert found.changes == (Change(keyword, SENT[keyword], shown),)
    assert found.match is match
    assert found.mismatch is (match is Match.MISMATCH)


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_what_the_pacs_does_not_return_is_not_held_against_it(keyword: str) -> None:
    shown = {name: value for name, value in SENT.items() if name != keyword}
    found = changed(SENT, shown)
    assert (found.changes, found.match) == ((), Match.MATCH)


def test_an_id_that_the_pacs_has_given_is_a_change_and_no_mismatch() -> None:
    found = changed(SENT | {"PatientID": "", "IssuerOfPatientID": ""}, SENT)
    assert [change.keyword for change in found.changes] == ["PatientID", "IssuerOfPatientID"]
    assert found.match is Match.MATCH


def test_a_name_that_could_not_be_decoded_is_looked_at_and_proves_nothing() -> None:
    shown = SENT | {"PatientName": "M\u00c3\u00bcller^J\u00c3\u00b6rg"}
    found = changed(SENT | {"PatientName": "M\u00fcller^J\u00f6rg"}, shown, doubtful=True)
    assert [change.keyword for change in found.changes] == ["PatientName"]
    assert (found.match, found.doubtful) == (Match.NEAR, True)
    assert changed(SENT, SENT | {"PatientID": "P-18"}, doubtful=True).mismatch
