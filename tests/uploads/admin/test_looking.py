"""Uploads, deliveries and the ledger are looked at and never touched."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from tests.factories import (
    ClinicFactory,
    DeliveryFactory,
    HoldFactory,
    LedgerEntryFactory,
    StudyFactory,
    TransitionFactory,
    UploadFactory,
    person,
)
from uploads.models import Answer, Delivery, Upload
from uploads.states import DeliveryState, UploadState

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

DESTINATIONS, UPLOADS, DELIVERIES = (
    f"admin:uploads_{name}_changelist" for name in ("destination", "upload", "delivery")
)


class TestTruth:
    def whole(self) -> Delivery:
        study = StudyFactory.create(patient_name="Muster^Max", accession_number="A77")
        notes = [{"code": "redirected", "detail": "Sent to Second instead.", "instances": 1}]
        delivery = DeliveryFactory.create(study=study, state=DeliveryState.PARTIAL, notes=notes)
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
        assert "<p>Sent to Second instead. (1 images)</p>" in page
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
