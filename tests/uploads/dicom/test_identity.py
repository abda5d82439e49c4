"""Who a file says it is of is compared as a careful person would: forgiving about spelling, strict about the rest."""

import pytest

from uploads.dicom.identity import Identity, Match, compare, normalise_name, same_patient

pytestmark = [pytest.mark.unit, pytest.mark.clinical]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Doe^Jane", "doe jane"),
        ("Doe^Jane", "Jane Doe"),
        ("Doe^Jane", "DOE, Jane"),
        ("Doe^Jane^^Dr", "Doe^Jane"),
        ("Müller^Jürgen", "MULLER^JURGEN"),
        ("Ångström^Åsa", "Angstrom Asa"),
        ("Øverli^Łucja", "overli lucja"),
        ("Groß^Anna", "GROSS^ANNA"),
        ("O'Neill^Sean", "O Neill^Sean"),
        ("Anne-Marie^Smith", "Anne Marie Smith"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou"),
        ("山田太郎", "Yamada^Tarou=山田^太郎"),
        ("", "Doe^Jane"),
        ("=", "Doe^Jane"),
    ],
)
def test_it_matches_one_name_spelt_two_ways(one, other):
    assert compare(Identity(name=one), Identity(name=other)) is Match.MATCH


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("Doe^Jane", "Doe^Jane^Mary"),
        ("Doe^John", "Doe^John^^^Jr"),
        ("Doe^Jane", "Doe^Jana"),
        ("Doe^Jane", "Doe^Jan"),
        ("Annemarie Smith", "Smith^Anne-Marie"),
        ("Müller^Eva", "Mueller^Eva"),
        ("Doe", "Doe^Jane"),
        ("Doe^Jane", ""),
        ("Yamada^Tarou=山田^太郎", "Yamada^Tarou=山田^太朗"),
    ],
)
def test_it_asks_a_person_about_names_that_are_nearly_the_same(expected, found):
    assert compare(Identity(name=expected), Identity(name=found)) is Match.NEAR


@pytest.mark.parametrize(
    ("expected", "found"), [("Doe^Jane", "Roe^Richard"), ("Doe^Jane", "Doe^Peter"), ("ただ", "たた")]
)
def test_it_blocks_another_name(expected, found):
    assert compare(Identity(name=expected), Identity(name=found)) in (Match.MISMATCH, Match.NEAR)
    assert compare(Identity(name=expected), Identity(name=found)) is not Match.MATCH


def test_marks_that_change_a_letter_stay():
    assert normalise_name("が") != normalise_name("か")
    assert normalise_name("रुम") != normalise_name("रम")


@pytest.mark.parametrize(
    ("expected", "found", "match"),
    [
        ("19700131", "19700131", Match.MATCH),
        ("1970-01-31", "19700131", Match.MATCH),
        ("1970-01-31", "1970.01.31", Match.MATCH),
        ("19700131", "19700113", Match.MISMATCH),
        ("19700131", "", Match.NEAR),
        ("", "19700131", Match.MATCH),
    ],
)
def test_birth_dates_are_the_same_day_or_they_are_not(expected, found, match):
    assert compare(Identity(birth_date=expected), Identity(birth_date=found)) is match


@pytest.mark.parametrize(
    ("expected", "found", "match"),
    [
        (("A-1", "HOSP"), ("a-1 ", "HOSP"), Match.MATCH),
        (("A-1", ""), ("A-1", "HOSP"), Match.MATCH),
        (("A-1", "HOSP"), ("A-1", "OTHER"), Match.NEAR),
        (("A-1", "HOSP"), ("B-7", "OTHER"), Match.NEAR),
        (("A-1", "HOSP"), ("B-7", "HOSP"), Match.MISMATCH),
        (("A-1", ""), ("B-7", ""), Match.MISMATCH),
        (("00123", ""), ("123", ""), Match.NEAR),
        (("12-3", ""), ("123", ""), Match.NEAR),
        (("123", ""), ("", ""), Match.NEAR),
        (("", "HOSP"), ("123", "OTHER"), Match.MATCH),
    ],
)
def test_an_id_counts_together_with_its_issuer(expected, found, match):
    assert compare(Identity(*expected), Identity(*found)) is match


def test_the_worst_part_decides():
    found = Identity("1", "", "Doe^Jane", "19700131", "F")
    assert compare(Identity("1", "", "Jane Doe", "1970-01-31", "F"), found) is Match.MATCH
    assert compare(Identity("1", "", "Jane Doe", "1970-01-31", "M"), found) is Match.NEAR
    assert compare(Identity("1", "", "Jane Doe", "1971-01-31", "F"), found) is Match.MISMATCH
    assert compare(Identity("2", "", "Jane Do", "1970-01-31", "F"), found) is Match.MISMATCH
    assert compare(Identity(), found) is Match.MATCH


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Identity("1", "", "DOE^JANE", "19700131", "F"), True),
        (Identity("1", "", "Doe^Jane", "", ""), True),
        (Identity("1", "", "", "", ""), True),
        (Identity("", "", "Doe^Jane", "19700131", ""), True),
        (Identity("", "", "Doe^Jane", "", ""), False),
        (Identity("1", "", "Doe^Jane", "19700113", "F"), False),
        (Identity("1", "", "Doe^Jana", "19700131", "F"), False),
        (Identity("2", "", "Doe^Jane", "19700131", "F"), False),
        (Identity("1", "X", "Doe^Jane", "19700131", "F"), True),
        (Identity(), False),
    ],
)
def test_two_headers_name_one_patient_only_if_nothing_contradicts_it(other, same):
    one = Identity("1", "", "Doe^Jane", "19700131", "F")
    assert same_patient(one, other) is same
    assert same_patient(other, one) is same


def test_ids_of_two_issuers_are_two_patients():
    assert not same_patient(Identity("1", "A", "Doe^Jane", "19700131"), Identity("1", "B", "Doe^Jane", "19700131"))


def test_files_without_any_identity_are_of_one_patient():
    assert same_patient(Identity(), Identity())
