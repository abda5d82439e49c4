"""`add_user`: what an operator types, what it does and what it says."""

import getpass
import io
import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Clinic, Membership, Role, User
from tests.factories import PASSWORD, person

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("add_user", *words, stdout=out)
    return out.getvalue()


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def type_in(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    type_in("")
    return type_in


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.RADIOGRAPHER, Role.RADIOLOGIST])
def test_it_makes_a_person_with_a_role_at_a_new_clinic(typed: Any, role: Role) -> None:
    typed(PASSWORD + "\n")
    said = run("ada", "--role", role, "--clinic", "Harbour", "--password-stdin", "--email", "ada@example.org")
    ada = User.objects.get(username="ada")
    assert ada.check_password(PASSWORD)
    assert (ada.email, ada.is_staff, ada.is_superuser) == ("ada@example.org", False, False)
    assert [(str(one.clinic), one.role) for one in ada.memberships.all()] == [("Harbour", role)]
    assert "There was no clinic Harbour; it was created." in said
    assert f"Created ada: {role} at Harbour." in said
    assert PASSWORD not in said


def test_an_administrator_needs_no_clinic_and_gets_the_administration(typed: Any) -> None:
    typed(PASSWORD)
    assert "Created root: administrator of every clinic." in run("root", "--role", "admin", "--password-stdin")
    root = User.objects.get(username="root")
    assert (root.is_staff, root.is_superuser, root.is_administrator) == (True, True, True)
    assert not Clinic.objects.exists()


def test_it_updates_the_one_role_and_keeps_the_password() -> None:
    ada = person(Role.CLINICIAN, Clinic.objects.create(name="Harbour"), username="ada")
    said = run("ada", "--role", "radiographer", "--clinic", "Harbour")
    assert said == "Updated ada: radiographer at Harbour.\n"
    assert [one.role for one in ada.memberships.all()] == ["radiographer"]
    ada.refresh_from_db()
    assert ada.check_password(PASSWORD)


def test_it_adds_a_role_at_another_clinic(typed: Any) -> None:
    ada = person(Role.CLINICIAN, username="ada")
    typed("another long password")
    run("ada", "--role", "radiologist", "--clinic", "Station", "--password-stdin")
    assert sorted(one.role for one in ada.memberships.all()) == ["clinician", "radiologist"]
    ada.refresh_from_db()
    assert ada.check_password("another long password")


def test_who_is_no_longer_an_administrator_loses_the_administration() -> None:
    ada = person(Role.ADMIN, Clinic.objects.create(name="Harbour"), username="ada")
    run("ada", "--role", "clinician", "--clinic", "Harbour")
    ada.refresh_from_db()
    assert (ada.is_staff, ada.is_superuser) == (False, False)


def test_without_a_terminal_it_makes_a_password_and_shows_it_once(typed: Any) -> None:
    said = run("ada", "--role", "admin")
    password = said.splitlines()[-1].removeprefix("Password (shown this once): ")
    assert len(password) >= 20
    assert User.objects.get(username="ada").check_password(password)


def test_at_a_terminal_it_asks_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [PASSWORD, PASSWORD, PASSWORD, "another"]
    monkeypatch.setattr(getpass, "getpass", lambda _: answers.pop(0))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert PASSWORD not in run("ada", "--role", "admin")
    assert User.objects.get(username="ada").check_password(PASSWORD)
    with pytest.raises(CommandError, match="The two passwords differ"):
        run("bob", "--role", "admin")


def test_it_says_when_the_person_is_deactivated() -> None:
    person(Role.ADMIN, username="ada", is_active=False)
    assert "This user is deactivated" in run("ada", "--role", "admin")


@pytest.mark.parametrize(
    ("words", "password", "sentence"),
    [
        (["ada", "--role", "clinician"], PASSWORD, "A clinician works at a clinic; please name it."),
        (["ada", "--role", "king"], PASSWORD, "invalid choice"),
        (["ada"], PASSWORD, "--role"),
        (["a da", "--role", "admin"], PASSWORD, "valid username"),
        (["ada", "--role", "admin", "--email", "nowhere"], PASSWORD, "valid email"),
        (["ada", "--role", "admin"], "short", "too short"),
        (["ada", "--role", "admin"], "", "no password on standard input"),
        (["ada", "--role", "clinician", "--clinic", "x" * 121], PASSWORD, "at most 120"),
    ],
)
def test_it_refuses_with_a_sentence_and_changes_nothing(
    typed: Any, words: list[str], password: str, sentence: str
) -> None:
    typed(password)
    with pytest.raises(CommandError, match=sentence):
        run(*words, "--password-stdin")
    assert not User.objects.exists()
    assert not Clinic.objects.exists()
    assert not Membership.objects.exists()
