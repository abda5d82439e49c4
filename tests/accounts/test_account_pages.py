"""The pages of signing in and out, and of the password, as a browser without script meets them."""

import re

import pytest
from django.contrib.auth import SESSION_KEY
from django.test import Client
from django.urls import reverse

from accounts.models import Role, User
from tests.factories import PASSWORD, TOTPDeviceFactory, UserFactory, code_of, person

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NEW = "quite another password"


def sign_in(client: Client, user: User, **more: str):
    return client.post(reverse("accounts:login"), {"username": user.username, "password": PASSWORD, **more})


def signed_in(client: Client) -> bool:
    return SESSION_KEY in client.session


class TestLogin:
    def test_everything_but_the_open_pages_sends_there_and_back(self, client: Client) -> None:
        wanted = reverse("accounts:password_change")
        sent = client.get(wanted)
        assert (sent.status_code, sent["Location"]) == (302, f"{reverse('accounts:login')}?next={wanted}")
        page = client.get(sent["Location"])
        assert f'name="next" value="{wanted}"' in page.text
        back = sign_in(client, person(Role.CLINICIAN), next=wanted)
        assert (back.status_code, back["Location"]) == (302, wanted)

    @pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil"])
    def test_it_never_leads_to_another_site(self, client: Client, elsewhere: str) -> None:
        answer = sign_in(client, UserFactory.create(), next=elsewhere)
        assert answer["Location"] == reverse("uploads:list")

    def test_it_tells_browsers_what_the_fields_are(self, client: Client) -> None:
        page = client.get(reverse("accounts:login")).text
        assert re.search(r'name="username"[^>]*autocomplete="username"', page)
        assert re.search(r'name="password"[^>]*autocomplete="current-password"', page)
        assert 'name="otp"' not in page
        assert "<script" not in page
        assert "style=" not in page

    def test_it_refuses_and_keeps_the_name_but_not_the_password(self, client: Client) -> None:
        user = UserFactory.create()
        page = client.post(reverse("accounts:login"), {"username": user.username, "password": "wrong"})
        assert page.status_code == 200
        assert "do not belong together" in page.text
        assert f'value="{user.username}"' in page.text
        assert "wrong" not in page.text
        assert not signed_in(client)

    def test_it_is_kept_by_no_cache(self, client: Client) -> None:
        assert "no-store" in client.get(reverse("accounts:login"))["Cache-Control"]

    def test_the_session_gets_a_new_key(self, client: Client) -> None:
        client.get(reverse("accounts:login"))
        client.session.save()
        before = client.session.session_key
        sign_in(client, UserFactory.create())
        assert client.session.session_key != before

    def test_it_wants_a_csrf_token(self) -> None:
        careful = Client(enforce_csrf_checks=True)
        assert sign_in(careful, UserFactory.create()).status_code == 403

    def test_who_is_signed_in_goes_on(self, client: Client) -> None:
        client.force_login(person(Role.CLINICIAN))
        assert client.get(reverse("accounts:login"))["Location"] == reverse("uploads:list")


class TestSecondFactor:
    def test_the_code_is_asked_for_only_where_there_is_a_device(self, client: Client) -> None:
        device = TOTPDeviceFactory.create()
        asked = sign_in(client, device.user)
        assert 'name="otp"' in asked.text
        assert re.search(r'name="otp"[^>]*autocomplete="one-time-code"', asked.text)
        assert not signed_in(client)
        assert sign_in(client, device.user, otp=code_of(device)).status_code == 302
        assert client.session["otp_device_id"] == device.persistent_id

    def test_an_error_is_tied_to_its_field(self, client: Client) -> None:
        page = sign_in(client, TOTPDeviceFactory.create().user, otp="000000").text
        field = re.search(r'<input[^>]*name="otp"[^>]*>', page)
        assert field is not None
        assert 'aria-invalid="true"' in field[0]
        described = re.search(r'aria-describedby="([^"]+)"', field[0])
        assert described is not None
        assert all(f'id="{name}"' in page for name in described[1].split())
        assert "This code is not right" in page
        assert not re.search(r'<input[^>]*name="otp"[^>]*value=', page)


class TestLogout:
    def test_it_ends_the_session(self, client: Client) -> None:
        client.force_login(UserFactory.create())
        assert client.post(reverse("accounts:logout"))["Location"] == reverse("accounts:login")
        assert not signed_in(client)

    def test_a_link_cannot_do_it(self, client: Client) -> None:
        client.force_login(UserFactory.create())
        assert client.get(reverse("accounts:logout")).status_code == 405
        assert signed_in(client)


class TestPasswordChange:
    def change(self, client: Client, *, old: str = PASSWORD, new: str = NEW, again: str = NEW):
        sent = {"old_password": old, "new_password1": new, "new_password2": again}
        return client.post(reverse("accounts:password_change"), sent, follow=True)

    def test_it_ends_every_other_session(self) -> None:
        user = person(Role.CLINICIAN)
        here, there = Client(), Client()
        here.force_login(user)
        there.force_login(user)
        page = self.change(here)
        assert page.redirect_chain == [(reverse("accounts:password_change_done"), 302)]
        assert "Password changed" in page.text
        assert here.get(reverse("accounts:password_change")).status_code == 200
        assert there.get(reverse("accounts:password_change")).status_code == 302
        user.refresh_from_db()
        assert user.check_password(NEW)

    @pytest.mark.parametrize(
        "sent", [{"old": "wrong"}, {"again": "something else"}, {"new": "short", "again": "short"}]
    )
    def test_it_refuses_beside_the_field(self, client: Client, sent: dict[str, str]) -> None:
        user = person(Role.CLINICIAN)
        client.force_login(user)
        page = self.change(client, **sent)
        assert page.status_code == 200
        assert 'class="errorlist"' in page.text
        assert 'aria-invalid="true"' in page.text
        user.refresh_from_db()
        assert user.check_password(PASSWORD)

    def test_it_tells_browsers_what_the_fields_are(self, client: Client) -> None:
        client.force_login(person(Role.CLINICIAN))
        page = client.get(reverse("accounts:password_change")).text
        assert re.search(r'name="old_password"[^>]*autocomplete="current-password"', page)
        assert len(re.findall(r'autocomplete="new-password"', page)) == 2


def test_a_person_who_is_deactivated_is_out_at_the_next_step(client: Client) -> None:
    user = person(Role.CLINICIAN)
    client.force_login(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert client.get(reverse("accounts:password_change")).status_code == 302
