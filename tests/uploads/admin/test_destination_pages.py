"""Destinations are managed: read strictly, secrets never shown, each act written down, and how each stands is told."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from accounts.models import Role, User
from relaypacs.sealing import seal, unseal
from tests.certificates import Authority
from tests.factories import ClinicFactory, DeliveryFactory, DestinationFactory, person
from tests.peers import free_port, scripted_scp
from uploads.models import Destination
from uploads.states import DeliveryState, UploadState

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

DESTINATIONS = "admin:uploads_destination_changelist"
FORM: dict[str, Any] = {
    "name": "Main",
    "url": "dicom://PACS@pacs.example:104",
    "max_associations": 2,
    "auth": "none",
    "proof_wanted": "auto",
    "fetch_sample": 0,
    "fetch_by": "auto",
    "quiet_zone": "UTC",
    "routes-TOTAL_FORMS": 0,
    "routes-INITIAL_FORMS": 0,
}
WEB = {"url": "https://pacs.example/dicom-web"}
SECRET = "not for any page 7391"


def do(desk: Client, action: str, *destinations: Destination) -> str:
    """What the page says after this action."""
    chosen = {"action": action, "_selected_action": [str(one.pk) for one in destinations]}
    answer = desk.post(reverse(DESTINATIONS), chosen, follow=True)
    return " ".join(re.findall(r'<li class="(?:success|error|warning|info)">(.*?)</li>', answer.text))


@pytest.fixture
def add(desk: Client) -> Callable[..., Any]:
    return lambda **changes: desk.post(reverse("admin:uploads_destination_add"), FORM | changes)


@pytest.fixture
def change(desk: Client) -> Callable[..., Any]:
    def changed(destination: Destination, **changes: Any) -> Any:
        where = reverse("admin:uploads_destination_change", args=[destination.pk])
        same = {"name": destination.name, "url": destination.url, "required": "on", "active": "on"}
        answer = desk.post(where, FORM | same | {"max_associations": destination.max_associations} | changes)
        destination.refresh_from_db()
        return answer

    return changed


def complaints(page: Any) -> str:
    return " ".join(re.findall(r'<ul class="errorlist[^"]*"[^>]*>(.*?)</ul>', page.text, re.DOTALL))


class TestForm:
    def test_it_makes_one(self, desk: Client, add: Callable[..., Any]) -> None:
        page = desk.get(reverse("admin:uploads_destination_add"))
        assert page.status_code == 200
        assert "How it stands" not in page.text
        assert add(active="on", required="on").status_code == 302
        made = Destination.objects.get(name="Main")
        assert (made.url, made.active, made.required, made.max_associations) == (FORM["url"], True, True, 2)

    @pytest.mark.parametrize(
        ("url", "sentence"),
        [
            ("ftp://x", "begins with none of dicom, dicoms, http, https"),
            ("dicom://host:104", "AE title of the PACS is missing"),
            ("dicom://PACS@host:99999", "port"),
            ("https://me:secret@host/dicom-web", "fields of their own"),
        ],
    )
    def test_it_reads_the_address_strictly(self, add: Callable[..., Any], url: str, sentence: str) -> None:
        for field in ("url", "query_url"):
            page = add(**{field: url})
            assert page.status_code == 200
            assert sentence in complaints(page)
        assert not Destination.objects.exists()

    def test_a_new_address_is_tried_afresh_and_at_once(self, change: Callable[..., Any]) -> None:
        down = DestinationFactory.create(
            down_since=timezone.now(), probe_at=timezone.now(), last_error="no route", offers={"echo": True}
        )
        later = timezone.now() + timedelta(hours=1)
        delivery = DeliveryFactory.create(destination=down, state=DeliveryState.WAITING, due_at=later)
        assert change(down, url=FORM["url"]).status_code == 302
        delivery.refresh_from_db()
        assert (down.url, down.down_since, down.probe_at, down.last_error) == (FORM["url"], None, None, "")
        assert down.offers == {}
        assert delivery.due_at is not None
        assert delivery.due_at <= timezone.now()

    def test_saving_leaves_alone_what_workers_write(self, change: Callable[..., Any]) -> None:
        down = DestinationFactory.create(down_since=timezone.now(), last_error="no route")
        assert change(down, name="New name", required="").status_code == 302
        assert (down.name, down.required, down.last_error) == ("New name", False, "no route")
        assert down.down_since is not None

    def test_everything_else_is_kept_as_typed(self, add: Callable[..., Any]) -> None:
        clinic = ClinicFactory.create()
        rules = '[{"status": "A700-A7FF", "action": "retry", "attempts": 5}]'
        sent = {
            "outcome_rules": rules,
            "optional_classes": '[{"sop_class": "dose_report", "note": "kept elsewhere"}]',
            "required_tags": "AccessionNumber, PatientBirthDate  AccessionNumber",
            "proof_wanted": "query",
            "query_url": "dicom://FIND@pacs.example:105",
            "fetch_sample": 3,
            "transcode": "on",
            "relay_early": "on",
            "quiet_from": "22:00",
            "quiet_until": "06:00",
            "quiet_zone": "Europe/Berlin",
            "routes-TOTAL_FORMS": 1,
            "routes-0-clinic": str(clinic.pk),
            "routes-0-modality": "ct ",
            "routes-0-sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        }
        assert add(**sent).status_code == 302
        made = Destination.objects.get()
        assert made.outcome_rules == [{"status": "A700-A7FF", "action": "retry", "attempts": 5}]
        assert made.optional_classes == [{"sop_class": "dose_report", "note": "kept elsewhere"}]
        assert made.required_tags == ["AccessionNumber", "PatientBirthDate"]
        assert (made.proof_wanted, made.fetch_sample, made.quiet_zone) == ("query", 3, "Europe/Berlin")
        assert (made.transcode, made.deidentified, made.relay_early) == (True, False, True)
        route = made.routes.get()
        assert (route.clinic, route.modality, route.required) == (clinic, "CT", None)

    def test_nothing_typed_changes_nothing(self, desk: Client, change: Callable[..., Any]) -> None:
        kept = {"outcome_rules": [{"status": "A700", "action": "pause"}], "required_tags": ["PatientID"]}
        before = DestinationFactory.create(down_since=timezone.now(), offers={"echo": True}, **kept)
        page = desk.get(reverse("admin:uploads_destination_change", args=[before.pk]))
        assert "PatientID" in page.text
        shown = page.context["adminform"].form
        sent = {name: shown[name].value() for name in ("outcome_rules", "required_tags")}
        assert change(before, **sent).status_code == 302
        assert (before.outcome_rules, before.required_tags) == (kept["outcome_rules"], kept["required_tags"])
        assert before.offers == {"echo": True}
        assert LogEntry.objects.get().get_change_message() == "No fields changed."

    @pytest.mark.parametrize(
        ("sent", "sentence"),
        [
            ({"outcome_rules": "{"}, "Enter a valid JSON"),
            ({"outcome_rules": "{}"}, "This is no list"),
            ({"outcome_rules": '[{"status": "0000", "action": "retry"}]'}, "Row 1: 0000 is success"),
            ({"optional_classes": '[{"sop_class": "CT"}]'}, "Row 1: This is neither the UID"),
            ({"required_tags": "PatientsName"}, "DICOM knows no attribute PatientsName"),
            ({"quiet_from": "22:00"}, "a beginning and an end"),
            ({"quiet_zone": "Mars/North"}, "time zone is not known"),
            ({"auth": "basic", "auth_user": "u", "new_secret": "s"}, "Only an http:// or https:// address"),
            ({"auth": "basic", "new_secret": "s"} | WEB, "Which user name"),
            ({"auth": "bearer"} | WEB, "none is stored"),
            ({"tls_ca": "no PEM"}, "cannot be read. Paste it as PEM"),
            ({"routes-TOTAL_FORMS": 1, "routes-0-sop_class_uid": "CT Image"}, "This is no UID"),
        ],
    )
    def test_what_cannot_work_is_refused_in_words(
        self, add: Callable[..., Any], sent: dict[str, Any], sentence: str
    ) -> None:
        page = add(**sent)
        assert page.status_code == 200
        assert sentence in complaints(page)
        assert not Destination.objects.exists()


class TestSecrets:
    def test_a_password_is_sealed_and_never_shown(self, desk: Client, add: Callable[..., Any]) -> None:
        assert add(**WEB, auth="basic", auth_user="relay", new_secret=SECRET).status_code == 302
        made = Destination.objects.get()
        assert SECRET not in made.auth_secret
        assert unseal(made.auth_secret) == SECRET
        page = desk.get(reverse("admin:uploads_destination_change", args=[made.pk])).text
        assert "One is stored; leave it empty to keep that." in page
        assert SECRET not in page
        assert made.auth_secret not in page
        assert SECRET not in str(LogEntry.objects.values_list())

    def test_what_was_typed_is_not_shown_even_where_the_form_is_wrong(self, add: Callable[..., Any]) -> None:
        page = add(**WEB, auth="basic", new_secret=SECRET, new_key=SECRET)
        assert page.status_code == 200
        assert SECRET not in page.text

    def test_an_empty_field_keeps_it_and_a_tick_forgets_it(self, change: Callable[..., Any]) -> None:
        kept = DestinationFactory.create(**WEB, auth="bearer", auth_secret=seal("token"))
        before = kept.auth_secret
        assert change(kept, auth="bearer").status_code == 302
        assert kept.auth_secret == before
        assert "none is stored" in complaints(change(kept, auth="bearer", clear_secret="on"))
        assert change(kept, auth="none", clear_secret="on").status_code == 302
        assert kept.auth_secret == ""

    def test_one_sealed_with_a_forgotten_key_is_asked_for_again(self, change: Callable[..., Any]) -> None:
        kept = DestinationFactory.create(**WEB, auth="bearer", auth_secret="gAAAA-not-ours")
        assert "please type it again" in complaints(change(kept, auth="bearer"))
        assert change(kept, auth="bearer", new_secret="token").status_code == 302
        assert unseal(kept.auth_secret) == "token"

    def test_a_password_over_plain_http_is_warned_of(self, desk: Client) -> None:
        sent = FORM | {"url": "http://pacs.example/dicom-web", "auth": "bearer", "new_secret": "t"}
        page = desk.post(reverse("admin:uploads_destination_add"), sent, follow=True)
        assert "goes over the network in the clear" in page.text


class TestCertificates:
    ends = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)

    def test_ours_are_checked_kept_and_their_end_noted(self, add: Callable[..., Any]) -> None:
        authority = Authority()
        ours = authority.issue(subject="relaypacs", ends=self.ends)
        sent = {"tls_ca": authority.pem, "tls_certificate": ours.pem, "new_key": ours.key}
        assert add(url="dicoms://PACS@pacs.example:2762", **sent).status_code == 302
        made = Destination.objects.get()
        assert made.certificates_end_at == self.ends
        assert unseal(made.tls_key) == ours.key.strip()
        assert "PRIVATE KEY" not in made.tls_key

    def test_a_key_that_belongs_to_another_is_refused_where_it_was_typed(self, add: Callable[..., Any]) -> None:
        authority = Authority()
        one, other = authority.issue(subject="one"), authority.issue(subject="other")
        page = add(tls_certificate=one.pem, new_key=other.key)
        assert "does not belong to our certificate" in str(page.context["adminform"].form.errors["new_key"])
        assert other.key.splitlines()[1] not in page.text

    def test_a_new_certificate_is_a_new_way_there(self, change: Callable[..., Any]) -> None:
        authority = Authority()
        ours = authority.issue(subject="relaypacs", ends=self.ends)
        down = DestinationFactory.create(url="dicoms://PACS@pacs.example:2762", down_since=timezone.now())
        assert change(down, tls_certificate=ours.pem, new_key=ours.key).status_code == 302
        assert (down.certificates_end_at, down.down_since) == (self.ends, None)
        assert change(down, tls_certificate="", clear_key="on").status_code == 302
        assert (down.certificates_end_at, down.tls_key) == (None, "")


def cells(page: str, column: str) -> list[str]:
    return [strip_tags(cell).strip() for cell in re.findall(rf'<td class="field-{column}[^"]*">(.*?)</td>', page)]


class TestStanding:
    def test_it_tells_how_each_stands(self, desk: Client) -> None:
        DestinationFactory.create(name="a", paused=True, paused_because="moved house")
        DestinationFactory.create(name="b", down_since=timezone.now(), last_error="No route.")
        DestinationFactory.create(name="c", last_success_at=timezone.now())
        DestinationFactory.create(name="d")
        all_day = {"quiet_from": "00:00", "quiet_until": "23:59:59.999999"}
        DestinationFactory.create(name="e", last_success_at=timezone.now(), **all_day)
        states = cells(desk.get(reverse(DESTINATIONS)).text, "standing")
        assert states[0] == "Paused moved house"
        assert re.fullmatch(r"Down since .*\. No route\.", states[1])
        assert states[2:4] == ["Up", "Not tried yet"]
        assert states[4] == "Quiet until 23:59 UTC"

    def test_it_warns_of_certificates_thirty_days_before(self, desk: Client) -> None:
        now = timezone.now()
        for name, ours, its in [("a", 31, 400), ("b", 29, None), ("c", 400, 0.5), ("d", -1, 5), ("e", None, None)]:
            DestinationFactory.create(
                name=name,
                certificates_end_at=now + timedelta(days=ours, minutes=1) if ours is not None else None,
                peer_certificate_ends_at=now + timedelta(days=its) if its is not None else None,
            )
        shown = cells(desk.get(reverse(DESTINATIONS)).text, "certificates")
        assert shown[0].startswith("Until ")
        assert shown[1].startswith("Ends in 29 days ours, on ")
        assert shown[2].startswith("Ends in less than a day its own, on ")
        assert shown[3].startswith("Expired ours, on ")
        assert shown[4] == "none known"

    def test_it_tells_which_proof_was_found_last(self, desk: Client) -> None:
        at = {"probed_at": timezone.now()}
        both = {"commitment_offered": True, "query": "find"}
        DestinationFactory.create(name="a", offers=both, **at)
        DestinationFactory.create(name="b", offers=both, proof_wanted="query", **at)
        DestinationFactory.create(
            name="c", offers={"commitment": False, "commitment_offered": True, "query": "qido"}, **at
        )
        DestinationFactory.create(name="d", offers={"commitment": False, "query": None}, **at)
        DestinationFactory.create(name="e")
        DestinationFactory.create(name="f", proof_wanted="none")
        shown = cells(desk.get(reverse(DESTINATIONS)).text, "proof_offered")
        assert shown == [
            "Storage commitment",
            "C-FIND",
            "QIDO-RS",
            "It offers none",
            "Not tested yet",
            "None is asked for",
        ]

    def test_it_counts_what_is_under_way(self, desk: Client) -> None:
        destination = DestinationFactory.create()
        for state in (DeliveryState.PENDING, DeliveryState.WAITING, DeliveryState.VERIFIED):
            DeliveryFactory.create(destination=destination, state=state)
        cancelled = {"state": DeliveryState.WAITING, "study__upload__state": UploadState.CANCELLED}
        DeliveryFactory.create(destination=destination, **cancelled)
        assert cells(desk.get(reverse(DESTINATIONS)).text, "waiting") == ["2"]

    def test_one_with_deliveries_cannot_go(self, desk: Client) -> None:
        delivery = DeliveryFactory.create()
        where = reverse("admin:uploads_destination_delete", args=[delivery.destination_id])
        desk.post(where, {"post": "yes"})
        assert Destination.objects.filter(pk=delivery.destination_id).exists()


class TestEcho:
    def test_a_pacs_that_is_there_answers_and_is_up_again(self, desk: Client) -> None:
        with scripted_scp() as scp:
            url = f"dicom://{scp.ae}@127.0.0.1:{scp.port}"
            destination = DestinationFactory.create(name="Main", url=url, down_since=timezone.now())
            said = do(desk, "send_c_echo", destination)
        assert f"Main ({scp.ae} at 127.0.0.1:{scp.port}, called as RELAYPACS): The PACS answered." in said
        destination.refresh_from_db()
        assert destination.down_since is None
        assert scp.associations == 1

    def test_one_that_is_not_there_is_named_with_the_reason(self, desk: Client) -> None:
        gone = DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{free_port()}")
        assert "Nothing listens at the address of the PACS. [connection_refused]" in do(desk, "send_c_echo", gone)

    def test_a_secret_that_cannot_be_read_is_named_and_no_crash(self, desk: Client) -> None:
        broken = DestinationFactory.create(url="dicoms://PACS@127.0.0.1:9", tls_key="gAAAA-not-ours")
        assert "[secret_unreadable]" in do(desk, "send_c_echo", broken)

    def test_it_asks_a_handful_at_a_time(self, desk: Client) -> None:
        many = [DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{free_port()}") for _ in range(6)]
        said = do(desk, "send_c_echo", *many)
        assert said.count("connection_refused") == 5
        assert "Only the first 5 were asked." in said


class TestPause:
    def test_a_paused_one_gets_nothing_until_it_is_resumed(self, desk: Client, administrator: User) -> None:
        destination = DestinationFactory.create()
        delivery = DeliveryFactory.create(destination=destination, state=DeliveryState.PAUSED, due_at=None)
        do(desk, "pause", destination)
        destination.refresh_from_db()
        assert (destination.paused, destination.paused_because) == (True, f"Paused by {administrator.username}.")
        assert "1 paused delivery goes on" in do(desk, "resume", destination)
        destination.refresh_from_db()
        delivery.refresh_from_db()
        assert (destination.paused, delivery.state) == (False, DeliveryState.PENDING)
        assert delivery.upload.transitions.get().actor == administrator
        assert [entry.change_message for entry in LogEntry.objects.order_by("id")] == ["Paused.", "Resumed."]

    def test_pausing_twice_keeps_the_first_reason(self, desk: Client) -> None:
        destination = DestinationFactory.create(paused=True, paused_because="it refuses us")
        do(desk, "pause", destination)
        destination.refresh_from_db()
        assert destination.paused_because == "it refuses us"


def test_only_administrators_see_destinations(client: Client) -> None:
    client.force_login(person(Role.RADIOGRAPHER))
    assert client.get(reverse(DESTINATIONS)).status_code == 302
    assert client.post(reverse("admin:uploads_destination_add"), FORM).status_code == 302
    assert not Destination.objects.exists()
