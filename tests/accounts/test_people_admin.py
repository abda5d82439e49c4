"""The administration of people and clinics: roles make rights, and nobody is deleted."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Clinic, Membership, Role, User
from tests.factories import (
    PASSWORD,
    ClinicFactory,
    MembershipFactory,
    TOTPDeviceFactory,
    UserFactory,
    code_of,
    person,
)

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

USERS = "admin:accounts_user_changelist"


@pytest.fixture
def administrator() -> User:
    return person(Role.ADMIN, username="root")


@pytest.fixture
def desk(client: Client, administrator: User) -> Client:
    client.force_login(administrator)
    return client


def page_of(user: User) -> str:
    return reverse("admin:accounts_user_change", args=[user.pk])


def sent(user: User, *memberships: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The user's form with these memberships; those with an id are the ones there are."""
    known = sum("id" in one for one in memberships)
    form = {"username": user.username, "is_active": "on", **fields}
    form |= {"memberships-TOTAL_FORMS": len(memberships), "memberships-INITIAL_FORMS": known}
    for number, one in enumerate(memberships):
        form |= {f"memberships-{number}-{name}": value for name, value in one.items()} | {
            f"memberships-{number}-user": str(user.pk)
        }
    return form


def a_membership(membership: Membership, **changes: Any) -> dict[str, Any]:
    clinic = membership.clinic_id or ""
    return {"id": membership.pk, "clinic": str(clinic), "role": membership.role, **changes}


class TestDoor:
    def test_it_lets_administrators_in_and_nobody_else(self, client: Client) -> None:
        door = reverse("admin:login")
        for role in (Role.CLINICIAN, Role.RADIOGRAPHER, Role.RADIOLOGIST):
            page = client.post(door, {"username": person(role).username, "password": PASSWORD})
            assert "administrators only" in page.text
        index = reverse("admin:index")
        answer = client.post(door, {"username": person(Role.ADMIN).username, "password": PASSWORD, "next": index})
        assert (answer.status_code, answer["Location"]) == (302, index)
        assert "RelayPACS administration" in client.get(index).text

    def test_it_asks_for_the_second_factor_as_well(self, client: Client) -> None:
        device = TOTPDeviceFactory.create(user=person(Role.ADMIN))
        sent = {"username": device.user.username, "password": PASSWORD}
        asked = client.post(reverse("admin:login"), sent)
        assert 'name="otp"' in asked.text
        assert client.post(reverse("admin:login"), sent | {"otp": code_of(device)}).status_code == 302

    def test_a_clinician_who_strays_is_told_why(self, client: Client) -> None:
        client.force_login(person(Role.CLINICIAN, username="ada"))
        page = client.get(reverse("admin:index"), follow=True)
        assert "You are logged in as ada" in page.text


class TestPeople:
    def test_it_lists_roles_and_finds_by_name_and_clinic(self, desk: Client) -> None:
        harbour = ClinicFactory.create(name="Harbour")
        person(Role.RADIOGRAPHER, harbour, username="ada", first_name="Ada", last_name="Lovelace")
        person(Role.CLINICIAN, username="bob")
        page = desk.get(reverse(USERS)).text
        assert "Ada Lovelace" in page
        assert "radiographer at Harbour" in page
        found = desk.get(reverse(USERS), {"q": "harbour"}).text
        assert ">ada<" in found
        assert ">bob<" not in found
        filtered = desk.get(reverse(USERS), {"memberships__role": "clinician"}).text
        assert ">bob<" in filtered
        assert ">ada<" not in filtered

    def test_the_list_asks_no_more_for_more_people(self, desk: Client, django_assert_max_num_queries: Any) -> None:
        for _ in range(20):
            user = person(Role.CLINICIAN)
            MembershipFactory.create(user=user, role=Role.RADIOLOGIST)
        with django_assert_max_num_queries(12):
            desk.get(reverse(USERS))

    def test_it_makes_a_person(self, desk: Client) -> None:
        form: dict[str, Any] = {
            "username": "ada",
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        }
        harbour = ClinicFactory.create()
        inline: dict[str, Any] = {"memberships-TOTAL_FORMS": 1, "memberships-INITIAL_FORMS": 0}
        inline |= {"memberships-0-clinic": str(harbour.pk), "memberships-0-role": "clinician"}
        assert desk.get(reverse("admin:accounts_user_add")).status_code == 200
        answer = desk.post(reverse("admin:accounts_user_add"), form | inline)
        assert answer.status_code == 302
        ada = User.objects.get(username="ada")
        assert ada.check_password(PASSWORD)
        assert [str(one) for one in ada.memberships.all()] == [f"clinician at {harbour}"]
        assert not ada.is_staff

    def test_an_administrators_membership_opens_and_closes_these_pages(self, desk: Client) -> None:
        user = person(Role.CLINICIAN)
        membership = user.memberships.get()
        everywhere = {"clinic": "", "role": "admin"}
        assert desk.post(page_of(user), sent(user, a_membership(membership), everywhere)).status_code == 302
        user.refresh_from_db()
        assert (user.is_staff, user.is_superuser) == (True, True)
        admin = user.memberships.get(role=Role.ADMIN)
        form = sent(user, a_membership(membership), a_membership(admin, DELETE="on"))
        assert desk.post(page_of(user), form).status_code == 302
        user.refresh_from_db()
        assert (user.is_staff, user.is_superuser) == (False, False)

    def test_a_superuser_of_the_command_line_is_left_alone(self, desk: Client) -> None:
        user = User.objects.create_superuser("boss", password=PASSWORD)
        assert desk.post(page_of(user), sent(user, first_name="B")).status_code == 302
        user.refresh_from_db()
        assert (user.first_name, user.is_superuser) == ("B", True)

    def test_nobody_takes_her_own_administration_away(self, desk: Client, administrator: User) -> None:
        own = administrator.memberships.get()
        page = desk.post(page_of(administrator), sent(administrator, a_membership(own, DELETE="on")))
        assert "You cannot take your own administration away" in page.text
        form = sent(administrator, a_membership(own))
        del form["is_active"]
        assert desk.post(page_of(administrator), form).status_code == 302
        administrator.refresh_from_db()
        assert administrator.is_active

    @pytest.mark.parametrize("role", [Role.CLINICIAN, Role.RADIOGRAPHER, Role.RADIOLOGIST])
    def test_every_other_role_needs_a_clinic(self, desk: Client, role: Role) -> None:
        user = UserFactory.create()
        page = desk.post(page_of(user), sent(user, {"clinic": "", "role": role}))
        assert "works at a clinic; please choose it" in page.text

    def test_one_person_has_one_role_at_one_clinic(self, desk: Client) -> None:
        user = person(Role.CLINICIAN)
        membership = user.memberships.get()
        twice = {"clinic": str(membership.clinic_id), "role": "radiographer"}
        page = desk.post(page_of(user), sent(user, a_membership(membership), twice))
        assert page.status_code == 200
        assert "duplicate" in page.text

    def test_nobody_is_deleted(self, desk: Client) -> None:
        user = person(Role.CLINICIAN)
        assert desk.post(reverse("admin:accounts_user_delete", args=[user.pk]), {"post": "yes"}).status_code == 403
        sent = {"action": "delete_selected", "_selected_action": [str(user.pk)], "post": "yes"}
        desk.post(reverse(USERS), sent)
        assert User.objects.filter(pk=user.pk).exists()

    def test_people_are_deactivated_and_activated_instead(self, desk: Client, administrator: User) -> None:
        user = person(Role.CLINICIAN)
        chosen = {"_selected_action": [str(user.pk), str(administrator.pk)]}
        page = desk.post(reverse(USERS), {"action": "deactivate", **chosen}, follow=True)
        assert "1 user deactivated." in page.text
        assert "You cannot deactivate yourself." in page.text
        assert not User.objects.get(pk=user.pk).is_active
        assert User.objects.get(pk=administrator.pk).is_active
        desk.post(reverse(USERS), {"action": "activate", **chosen})
        assert User.objects.get(pk=user.pk).is_active

    def test_a_password_set_here_is_no_secret_of_the_page(self, desk: Client) -> None:
        user = person(Role.CLINICIAN)
        page = desk.get(page_of(user)).text
        assert user.password not in page
        form = {"usable_password": "true", "password1": "brand new password", "password2": "brand new password"}
        where = reverse("admin:auth_user_password_change", args=[user.pk])
        assert desk.post(where, form | {"set-password": "1"}).status_code == 302
        user.refresh_from_db()
        assert user.check_password("brand new password")


class TestClinics:
    def test_it_lists_clinics_with_their_people(self, desk: Client) -> None:
        person(Role.CLINICIAN, ClinicFactory.create(name="Harbour"))
        page = desk.get(reverse("admin:accounts_clinic_changelist")).text
        assert "Harbour" in page
        assert '<td class="field-people">1</td>' in page

    def test_a_clinic_with_people_cannot_go(self, desk: Client) -> None:
        clinic = ClinicFactory.create()
        person(Role.CLINICIAN, clinic)
        desk.post(reverse("admin:accounts_clinic_delete", args=[clinic.pk]), {"post": "yes"})
        assert Clinic.objects.filter(pk=clinic.pk).exists()

    def test_it_changes_a_clinic(self, desk: Client) -> None:
        clinic = ClinicFactory.create()
        where = reverse("admin:accounts_clinic_change", args=[clinic.pk])
        assert desk.post(where, {"name": "Station", "batch_mode": "on"}).status_code == 302
        clinic.refresh_from_db()
        assert (clinic.name, clinic.active, clinic.batch_mode) == ("Station", False, True)
