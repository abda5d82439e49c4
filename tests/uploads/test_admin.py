"""Destinations are managed and asked; uploads, deliveries and the ledger are looked at and never touched."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Role, User
from tests.factories import (
    ClinicFactory,
    DeliveryFactory,
    DestinationFactory,
    HoldFactory,
    LedgerEntryFactory,
    StudyFactory,
    TransitionFactory,
    UploadFactory,
    person,
)
from tests.peers import free_port, scripted_scp
from uploads.models import Answer, Delivery, Destination, Upload
from uploads.states import DeliveryState, UploadState

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

DESTINATIONS, UPLOADS, DELIVERIES = (
    f"admin:uploads_{name}_changelist" for name in ("destination", "upload", "delivery")
)


@pytest.fixture
def administrator() -> User:
    return person(Role.ADMIN)


@pytest.fixture
def desk(client: Client, administrator: User) -> Client:
    client.force_login(administrator)
    return client


def do(desk: Client, action: str, *destinations: Destination) -> str:
    """What the page says after this action."""
    chosen = {"action": action, "_selected_action": [str(one.pk) for one in destinations]}
    answer = desk.post(reverse(DESTINATIONS), chosen, follow=True)
    return " ".join(re.findall(r'<li class="(?:success|error|warning|info)">(.*?)</li>', answer.text))


class TestDestinations:
    form: dict[str, Any] = {"name": "Main", "url": "dicom://PACS@pacs.example:104", "max_associations": 2}

    def add(self, desk: Client, **changes: Any):
        return desk.post(reverse("admin:uploads_destination_add"), self.form | changes)

    def test_it_makes_one(self, desk: Client) -> None:
        assert desk.get(reverse("admin:uploads_destination_add")).status_code == 200
        assert self.add(desk, active="on", required="on").status_code == 302
        made = Destination.objects.get(name="Main")
        assert (made.url, made.active, made.required, made.max_associations) == (self.form["url"], True, True, 2)

    @pytest.mark.parametrize(
        ("url", "sentence"),
        [
            ("ftp://x", "begins with none of dicom"),
            ("dicom://host:104", "AE title of the PACS is missing"),
            ("dicom://PACS@host:99999", "port"),
        ],
    )
    def test_it_reads_the_address_strictly(self, desk: Client, url: str, sentence: str) -> None:
        page = self.add(desk, url=url)
        assert page.status_code == 200
        assert sentence in page.text
        assert not Destination.objects.exists()

    def test_a_new_address_is_tried_afresh_and_at_once(self, desk: Client) -> None:
        down = DestinationFactory.create(down_since=timezone.now(), probe_at=timezone.now(), last_error="no route")
        later = timezone.now() + timedelta(hours=1)
        delivery = DeliveryFactory.create(destination=down, state=DeliveryState.WAITING, due_at=later)
        where = reverse("admin:uploads_destination_change", args=[down.pk])
        sent = self.form | {"name": down.name, "required": "on", "active": "on", "max_associations": 4}
        assert desk.post(where, sent).status_code == 302
        down.refresh_from_db()
        delivery.refresh_from_db()
        assert (down.url, down.down_since, down.probe_at, down.last_error) == (self.form["url"], None, None, "")
        assert delivery.due_at is not None
        assert delivery.due_at <= timezone.now()

    def test_saving_leaves_alone_what_workers_write(self, desk: Client) -> None:
        down = DestinationFactory.create(down_since=timezone.now(), last_error="no route")
        where = reverse("admin:uploads_destination_change", args=[down.pk])
        assert desk.post(where, {"name": "New name", "url": down.url, "max_associations": 4}).status_code == 302
        down.refresh_from_db()
        assert (down.name, down.required, down.last_error) == ("New name", False, "no route")
        assert down.down_since is not None

    def test_it_tells_how_each_stands(self, desk: Client) -> None:
        DestinationFactory.create(name="one", paused=True, paused_because="moved house")
        DestinationFactory.create(name="two", down_since=timezone.now())
        DestinationFactory.create(name="three", last_success_at=timezone.now())
        DestinationFactory.create(name="four")
        page = desk.get(reverse(DESTINATIONS)).text
        states = re.findall(r'<td class="field-standing">(.*?)</td>', page)
        assert [state[:10] for state in states] == ["Not tried ", "Paused. mo", "Up", "Down since"]

    def test_it_counts_what_is_under_way(self, desk: Client) -> None:
        destination = DestinationFactory.create()
        for state in (DeliveryState.PENDING, DeliveryState.WAITING, DeliveryState.VERIFIED):
            DeliveryFactory.create(destination=destination, state=state)
        assert '<td class="field-waiting">2</td>' in desk.get(reverse(DESTINATIONS)).text

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


class TestTruth:
    def whole(self) -> Delivery:
        study = StudyFactory.create(patient_name="Muster^Max", accession_number="A77")
        delivery = DeliveryFactory.create(study=study, state=DeliveryState.PARTIAL)
        refused = {"answer": Answer.REFUSED, "status": 0xA900, "comment": "no such class", "attempts": 1}
        LedgerEntryFactory.create(delivery=delivery, answer=Answer.STORED, status=0)
        LedgerEntryFactory.create(delivery=delivery, **refused)
        HoldFactory.create(upload=study.upload, decided_by=study.upload.created_by)
        TransitionFactory.create(upload=study.upload, delivery=delivery, because="partial")
        return delivery

    def test_an_upload_is_shown_whole(self, desk: Client) -> None:
        upload = self.whole().upload
        page = desk.get(reverse("admin:uploads_upload_change", args=[upload.pk])).text
        for shown in ("Muster^Max", "A77", "Some files cannot be used.", "partial", upload.clinic.name, "Partial"):
            assert shown in page

    def test_a_delivery_shows_its_ledger_with_what_is_missing_first(self, desk: Client) -> None:
        delivery = self.whole()
        page = desk.get(reverse("admin:uploads_delivery_change", args=[delivery.pk])).text
        assert "Refused: 1, Stored: 1" in page
        assert page.index("A900") < page.index("0000")
        assert "no such class" in page

    def test_a_long_ledger_is_cut(self, desk: Client) -> None:
        delivery = DeliveryFactory.create()
        for _ in range(205):
            LedgerEntryFactory.create(delivery=delivery)
        page = desk.get(reverse("admin:uploads_delivery_change", args=[delivery.pk])).text
        assert page.count("Not sent yet</td>") == 200
        assert "Not sent yet: 205" in page

    @pytest.mark.parametrize("model", ["upload", "delivery"])
    def test_nothing_of_it_can_be_changed(self, desk: Client, model: str) -> None:
        row = self.whole() if model == "delivery" else self.whole().upload
        page = desk.get(reverse(f"admin:uploads_{model}_change", args=[row.pk])).text
        assert 'name="_save"' not in page
        assert not re.search(r'<(input type="(?!hidden|submit|search)|select|textarea)', page)
        for route, form in [("change", {"state": "verified"}), ("delete", {"post": "yes"})]:
            where = reverse(f"admin:uploads_{model}_{route}", args=[row.pk])
            assert desk.post(where, form).status_code == 403
        assert desk.get(reverse(f"admin:uploads_{model}_add")).status_code == 403
        sent = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
        desk.post(reverse(f"admin:uploads_{model}_changelist"), sent)
        assert type(row).objects.get(pk=row.pk).state == row.state

    @pytest.mark.parametrize(
        ("term", "found"),
        [
            ("id", True),
            ("muster", True),
            ("Max Muster", True),
            ("P-123", True),
            ("A77", True),
            ("harbour", True),
            ("nobody", False),
            ("muster nobody", False),
            ("%", False),
            ("1" * 40, False),
        ],
    )
    def test_uploads_are_found_by_id_clinic_and_patient(self, desk: Client, term: str, found: bool) -> None:
        upload = UploadFactory.create(clinic=ClinicFactory.create(name="Harbour clinic"))
        words = {"patient_name": "Muster^Max", "patient_id": "P-123", "accession_number": "A77"}
        for _ in range(2):
            StudyFactory.create(upload=upload, search_text="muster max p 123 p-123 a77 ct of a phantom", **words)
        StudyFactory.create()
        page = desk.get(reverse(UPLOADS), {"q": str(upload.pk) if term == "id" else term}).text
        assert page.count('<th class="field-id">') == (1 if found else 0)
        assert (str(upload.pk) in page) == found

    def test_uploads_are_filtered(self, desk: Client) -> None:
        delivery = DeliveryFactory.create()
        other = DeliveryFactory.create(study__upload__state=UploadState.FAILED).upload
        filters = {
            "state__exact": delivery.upload.state,
            "clinic__id__exact": str(delivery.upload.clinic_id),
            "deliveries__destination__id__exact": str(delivery.destination_id),
        }
        for name, value in filters.items():
            page = desk.get(reverse(UPLOADS), {name: value}).text
            assert str(delivery.upload.pk) in page
            assert str(other.pk) not in page

    def test_deliveries_are_found_by_their_upload(self, desk: Client) -> None:
        delivery, other = DeliveryFactory.create(), DeliveryFactory.create()
        for term in (delivery.pk, delivery.upload.pk, delivery.study.study_instance_uid):
            page = desk.get(reverse(DELIVERIES), {"q": str(term)}).text
            assert reverse("admin:uploads_delivery_change", args=[delivery.pk]) in page
            assert reverse("admin:uploads_delivery_change", args=[other.pk]) not in page

    @pytest.mark.parametrize("where", [UPLOADS, DELIVERIES, DESTINATIONS])
    def test_a_list_asks_no_more_for_more_rows(
        self, desk: Client, django_assert_max_num_queries: Any, where: str
    ) -> None:
        for _ in range(15):
            DeliveryFactory.create()
        with django_assert_max_num_queries(14):
            assert desk.get(reverse(where)).status_code == 200

    def test_an_upload_asks_no_more_for_more_parts(self, desk: Client, django_assert_max_num_queries: Any) -> None:
        upload = UploadFactory.create(state=UploadState.DELIVERING)
        for _ in range(10):
            delivery = DeliveryFactory.create(study=StudyFactory.create(upload=upload))
            TransitionFactory.create(upload=upload, delivery=delivery, actor=upload.created_by)
        with django_assert_max_num_queries(16):
            desk.get(reverse("admin:uploads_upload_change", args=[upload.pk]))

    def test_the_long_declaration_is_never_loaded(self, desk: Client, django_assert_num_queries: Any) -> None:
        upload = UploadFactory.create(declared_instances=[{"sop_instance_uid": "2.25.424242"}])
        page = desk.get(reverse("admin:uploads_upload_change", args=[upload.pk])).text
        assert "2.25.424242" not in page


def test_only_administrators_see_any_of_it(client: Client) -> None:
    client.force_login(person(Role.RADIOLOGIST))
    for where in (DESTINATIONS, UPLOADS, DELIVERIES):
        assert client.get(reverse(where)).status_code == 302
    assert Upload.objects.count() == 0
