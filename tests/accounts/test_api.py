"""Programs sign in, refresh and sign out; what is dead opens nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import Role, User
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

AUTH = "/api/v1/auth/"
Answer = Any


def post(what: str, body: dict[str, Any], **headers: str) -> Answer:
    return Client(headers=headers).post(AUTH + what, body, content_type="application/json")


def login(user: User, **more: str) -> Answer:
    return post("login", {"username": user.username, "password": PASSWORD, **more})


def refresh(token: str) -> Answer:
    return post("refresh", {"refresh_token": token})


def me(token: str, *, scheme: str = "Bearer") -> Answer:
    return Client(headers={"authorization": f"{scheme} {token}"}).get(AUTH + "me")


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"].endswith(".")
    if status == 401:
        assert answer["WWW-Authenticate"].startswith("Bearer")


class TestLogin:
    def test_it_gives_a_pair_that_opens_the_api(self) -> None:
        user = UserFactory.create()
        answer = login(user)
        assert answer.status_code == 200
        assert set(answer.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
        assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 900)
        assert "no-store" in answer["Cache-Control"]
        assert me(answer.json()["access_token"]).json()["username"] == user.username

    def test_it_notes_the_time_and_keeps_no_token(self) -> None:
        user = UserFactory.create()
        tokens = login(user).json()
        user.refresh_from_db()
        assert user.last_login is not None
        row = OutstandingToken.objects.get(user=user)
        assert row.token not in ("", tokens["refresh_token"])
        assert len(row.token) == 32

    @pytest.mark.parametrize(
        ("username", "password"),
        [("ada", "wrong"), ("nobody", PASSWORD), ("ADA", PASSWORD), ("ada", PASSWORD + " "), ("gone", PASSWORD)],
    )
    def test_it_refuses_what_does_not_belong_together_without_saying_what_is_wrong(
        self, username: str, password: str
    ) -> None:
        UserFactory.create(username="ada")
        UserFactory.create(username="gone", is_active=False)
        answer = post("login", {"username": username, "password": password})
        assert_problem(answer, 401, "invalid_credentials")

    def test_an_unknown_name_costs_as_many_hashes_as_a_known_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        UserFactory.create(username="ada")
        hashed: list[str] = []
        encode = MD5PasswordHasher.encode

        def counted(self: Any, password: str, salt: str) -> str:
            hashed.append(password)
            return str(encode(self, password, salt))

        monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
        post("login", {"username": "ada", "password": "wrong"})
        known = len(hashed)
        post("login", {"username": "nobody", "password": "wrong"})
        assert known > 0
        assert len(hashed) - known == known

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"username": "ada"},
            {"username": "a\0b", "password": "x"},
            {"username": "ada", "password": "x" * 1025},
            {"username": ["ada"], "password": {}},
            {"username": "ada", "password": "\ud800"},
        ],
    )
    def test_it_names_the_fields_it_cannot_use(self, body: dict[str, Any]) -> None:
        assert_problem(post("login", body), 400, "invalid_request")

    def test_it_takes_a_name_as_unicode_writes_it(self) -> None:
        user = UserFactory.create(username="rené")
        answer = post("login", {"username": "rene\u0301", "password": PASSWORD})
        assert me(answer.json()["access_token"]).json()["id"] == str(user.pk)

    def test_a_stale_token_in_the_header_does_not_stop_it(self) -> None:
        user = UserFactory.create()
        answer = post("login", {"username": user.username, "password": PASSWORD}, authorization="Bearer stale")
        assert answer.status_code == 200


class TestSecondFactor:
    def test_it_asks_for_the_code_and_takes_it(self) -> None:
        device = TOTPDeviceFactory.create()
        assert_problem(login(device.user), 401, "otp_required")
        answer = login(device.user, otp=code_of(device))
        assert answer.status_code == 200
        assert me(answer.json()["access_token"]).json()["two_factor"] is True

    def test_a_wrong_password_is_told_before_any_code(self) -> None:
        device = TOTPDeviceFactory.create()
        answer = post("login", {"username": device.user.username, "password": "wrong", "otp": code_of(device)})
        assert_problem(answer, 401, "invalid_credentials")

    def test_a_wrong_code_is_refused_and_slows_the_next(self) -> None:
        device = TOTPDeviceFactory.create()
        assert_problem(login(device.user, otp="000000"), 401, "otp_invalid")
        device.refresh_from_db()
        assert device.throttling_failure_count == 1
        assert_problem(login(device.user, otp=code_of(device)), 401, "otp_invalid")

    def test_a_code_is_taken_once(self) -> None:
        device = TOTPDeviceFactory.create()
        code = code_of(device)
        assert login(device.user, otp=code).status_code == 200
        assert_problem(login(device.user, otp=code), 401, "otp_invalid")

    def test_a_backup_code_will_do(self) -> None:
        device = TOTPDeviceFactory.create()
        backup = StaticDevice.objects.create(user=device.user, name="backup")
        backup.token_set.create(token="spare")
        assert login(device.user, otp="spare").status_code == 200
        assert not backup.token_set.exists()

    def test_an_unconfirmed_device_is_not_asked(self) -> None:
        device = TOTPDeviceFactory.create(confirmed=False)
        assert login(device.user).status_code == 200

    @pytest.mark.django_db(transaction=True)
    def test_of_twenty_at_once_one_gets_in_with_the_same_code(self) -> None:
        device = TOTPDeviceFactory.create()
        code = code_of(device)
        answers = at_once(20, lambda: login(device.user, otp=code))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19


class TestRefresh:
    def test_it_gives_a_new_pair_and_the_old_token_is_dead(self) -> None:
        first = login(UserFactory.create()).json()
        second = refresh(first["refresh_token"])
        assert second.status_code == 200
        assert second.json()["refresh_token"] != first["refresh_token"]
        assert me(second.json()["access_token"]).status_code == 200
        assert me(first["access_token"]).status_code == 200
        assert_problem(refresh(first["refresh_token"]), 401, "token_revoked")

    def test_a_token_that_comes_back_after_its_use_ends_the_whole_sign_in(self) -> None:
        user = UserFactory.create()
        other = login(user).json()
        stolen = login(user).json()
        following = refresh(stolen["refresh_token"]).json()
        refresh(stolen["refresh_token"])
        assert_problem(refresh(following["refresh_token"]), 401, "token_revoked")
        assert_problem(me(following["access_token"]), 401, "token_invalid")
        assert refresh(other["refresh_token"]).status_code == 200

    @pytest.mark.django_db(transaction=True)
    def test_of_twenty_at_once_one_wins(self) -> None:
        first = login(UserFactory.create()).json()
        answers = at_once(20, lambda: refresh(first["refresh_token"]))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19
        assert {answer.json()["code"] for answer in answers if answer.status_code == 401} == {"token_revoked"}

    @pytest.mark.parametrize("change", ["password", "inactive", "unusable", "deleted"])
    def test_it_is_refused_once_the_person_has_changed(self, change: str) -> None:
        user = UserFactory.create()
        tokens = login(user).json()
        change_person(user, change)
        answer = refresh(tokens["refresh_token"])
        assert_problem(answer, 401, "token_revoked")
        assert_problem(me(tokens["access_token"]), 401, "token_invalid")

    def test_it_takes_no_access_token(self) -> None:
        tokens = login(UserFactory.create()).json()
        assert_problem(refresh(tokens["access_token"]), 401, "token_invalid")

    @pytest.mark.parametrize("token", ["x", "a.b.c", "ä.ö.ü", ". .", "x" * 4000])
    def test_it_takes_nothing_that_is_no_token(self, token: str) -> None:
        assert_problem(refresh(token), 401, "token_invalid")

    def test_it_takes_no_token_past_its_time(self, time_machine: Any) -> None:
        tokens = login(UserFactory.create()).json()
        later(time_machine, timedelta(days=14, seconds=1))
        assert_problem(refresh(tokens["refresh_token"]), 401, "token_invalid")

    def test_each_refresh_lasts_its_own_fourteen_days(self, time_machine: Any) -> None:
        tokens = login(UserFactory.create()).json()
        for _ in range(3):
            later(time_machine, timedelta(days=13))
            tokens = refresh(tokens["refresh_token"]).json()
        assert me(tokens["access_token"]).status_code == 200
        assert OutstandingToken.objects.count() == 1


class TestLogout:
    def test_it_ends_the_sign_in_at_once_and_may_be_said_twice(self) -> None:
        tokens = login(UserFactory.create()).json()
        for _ in range(2):
            answer = post("logout", {"refresh_token": tokens["refresh_token"]})
            assert (answer.status_code, answer.content) == (204, b"")
        assert_problem(refresh(tokens["refresh_token"]), 401, "token_revoked")
        assert_problem(me(tokens["access_token"]), 401, "token_invalid")

    def test_it_leaves_other_sign_ins_alone(self) -> None:
        user = UserFactory.create()
        here, there = login(user).json(), login(user).json()
        post("logout", {"refresh_token": here["refresh_token"]})
        assert me(there["access_token"]).status_code == 200

    def test_what_is_no_token_has_no_sign_in(self) -> None:
        assert post("logout", {"refresh_token": "x"}).status_code == 204
        assert_problem(post("logout", {}), 400, "invalid_request")


class TestMe:
    def test_it_tells_roles_by_clinic(self) -> None:
        clinic = ClinicFactory.create(name="Harbour")
        user = person(Role.RADIOGRAPHER, clinic)
        MembershipFactory.create(user=user, clinic=ClinicFactory.create(name="Station"), role=Role.CLINICIAN)
        told = me(login(user).json()["access_token"]).json()
        assert (told["id"], told["username"], told["two_factor"]) == (str(user.pk), user.username, False)
        roles = [(one["clinic_name"], one["role"]) for one in told["memberships"]]
        assert roles == [("Harbour", "radiographer"), ("Station", "clinician")]
        assert told["memberships"][0]["clinic"] == str(clinic.pk)

    def test_an_administrators_clinic_is_every_clinic(self) -> None:
        told = me(login(person(Role.ADMIN)).json()["access_token"]).json()
        assert told["memberships"] == [{"clinic": None, "clinic_name": None, "role": "admin"}]

    def test_it_answers_the_session_of_a_page_as_well(self, client: Client) -> None:
        user = UserFactory.create()
        client.force_login(user)
        assert client.get(AUTH + "me").json()["username"] == user.username

    def test_nobody_is_told_to_log_in(self, client: Client) -> None:
        assert_problem(client.get(AUTH + "me"), 401, "not_authenticated")
        assert_problem(me("x", scheme="Basic"), 401, "not_authenticated")

    def test_the_schemes_name_is_read_as_http_reads_it(self) -> None:
        assert me(login(UserFactory.create()).json()["access_token"], scheme="bearer").status_code == 200

    @pytest.mark.parametrize("token", ["", "x", "a.b.c"])
    def test_a_wrong_token_is_an_error_even_beside_a_session(self, client: Client, token: str) -> None:
        client.force_login(UserFactory.create())
        answer = client.get(AUTH + "me", headers={"authorization": f"Bearer {token}"})
        assert_problem(answer, 401, "token_invalid")

    def test_a_refresh_token_opens_nothing(self) -> None:
        assert_problem(me(login(UserFactory.create()).json()["refresh_token"]), 401, "token_invalid")

    def test_a_token_of_no_sign_in_opens_nothing(self) -> None:
        assert_problem(me(str(AccessToken.for_user(UserFactory.create()))), 401, "token_invalid")

    def test_a_token_past_its_time_opens_nothing(self, time_machine: Any) -> None:
        tokens = login(UserFactory.create()).json()
        later(time_machine, timedelta(minutes=15, seconds=1))
        assert_problem(me(tokens["access_token"]), 401, "token_invalid")

    @pytest.mark.parametrize(
        "forged", [{"aud": "another"}, {"iss": "another"}, {"token_type": "refresh"}, {"sub": "somebody"}]
    )
    def test_a_claim_that_is_not_ours_opens_nothing(self, forged: dict[str, str]) -> None:
        token = login(UserFactory.create()).json()["access_token"]
        key = str(settings.SIMPLE_JWT["SIGNING_KEY"])
        claims = jwt.decode(token, key, algorithms=["HS256"], audience="relaypacs-api")
        assert me(jwt.encode(claims, key, algorithm="HS256")).status_code == 200
        assert_problem(me(jwt.encode(claims | forged, key, algorithm="HS256")), 401, "token_invalid")
        assert_problem(me(jwt.encode(claims, "", algorithm="none")), 401, "token_invalid")

    def test_knowing_who_asks_takes_few_questions(self, django_assert_num_queries: Any) -> None:
        token = login(person(Role.CLINICIAN)).json()["access_token"]
        with django_assert_num_queries(4):  # the sign-in with its person and roles, clinics, two kinds of device
            me(token)


def later(time_machine: Any, by: timedelta) -> None:
    time_machine.move_to(timezone.now() + by)


def change_person(user: User, change: str) -> None:
    if change == "password":
        user.set_password("another long password")
    elif change == "unusable":
        user.set_unusable_password()
    elif change == "inactive":
        user.is_active = False
    if change == "deleted":
        user.delete()
    else:
        user.save()


def at_once(count: int, ask: Any) -> list[Answer]:
    """The answers of so many threads that start together, each with a database connection of its own."""
    together = threading.Barrier(count)

    def one() -> Answer:
        together.wait()
        try:
            return ask()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as threads:
        return [future.result() for future in [threads.submit(one) for _ in range(count)]]
