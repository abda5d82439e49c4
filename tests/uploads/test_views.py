"""The pages of the journey out, as a browser without script meets them."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
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
    MembershipFactory,
    ReceiptFactory,
    StudyFactory,
    TransitionFactory,
    UploadFactory,
    UploadFileFactory,
    person,
)
from uploads.models import Answer, Hold, Upload
from uploads.states import DeliveryState, UploadState
from uploads.storage import pack_of, write_document

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

PAGES = ("list", "new", "plain")


def as_user(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def url(name: str, upload: Upload) -> str:
    return reverse(f"uploads:{name}", args=[upload.pk])


def shown(client: Client, upload: Upload) -> str:
    answer = client.get(url("detail", upload))
    assert answer.status_code == 200
    return " ".join(answer.text.split())


class TestEveryPage:
    def test_it_asks_for_a_log_in(self, client: Client) -> None:
        upload = UploadFactory.create()
        for address in [reverse(f"uploads:{name}") for name in PAGES] + [url("detail", upload), url("receipt", upload)]:
            answer = client.get(address)
            assert (answer.status_code, answer["Location"]) == (302, f"{reverse('accounts:login')}?next={address}")

    def test_it_runs_no_inline_script_or_style(self, client: Client) -> None:
        upload = UploadFactory.create()
        as_user(client, upload.created_by)
        for address in [reverse(f"uploads:{name}") for name in PAGES] + [url("detail", upload)]:
            page = client.get(address).text
            assert not re.search(r"<script(?![^>]*\bsrc=)", page)
            assert not re.search(r"\s(style|on[a-z]+)=\"", page)
            assert "<style" not in page

    def test_it_says_that_received_is_not_delivered(self, client: Client) -> None:
        as_user(client, person(Role.CLINICIAN))
        page = client.get(reverse("uploads:list"))
        assert "Received is not delivered, and delivered is not verified." in page.text
        assert "no-store" in page["Cache-Control"]

    def test_another_clinics_upload_is_not_there(self, client: Client) -> None:
        upload = UploadFactory.create()
        as_user(client, person(Role.RADIOGRAPHER))
        for name in ("detail", "receipt"):
            answer = client.get(url(name, upload))
            assert answer.status_code == 404
            assert str(upload.clinic) not in answer.text
        for name in ("confirm", "retry", "cancel"):
            assert client.post(url(name, upload)).status_code == 404

    def test_a_get_changes_nothing(self, client: Client) -> None:
        upload = UploadFactory.create()
        as_user(client, upload.created_by)
        for name in ("confirm", "retry", "cancel"):
            assert client.get(url(name, upload)).status_code == 405
        upload.refresh_from_db()
        assert upload.state == UploadState.RECEIVING

    def test_a_form_from_elsewhere_changes_nothing(self) -> None:
        client = Client(enforce_csrf_checks=True)
        upload = UploadFactory.create()
        as_user(client, upload.created_by)
        assert client.post(url("cancel", upload)).status_code == 403
        upload.refresh_from_db()
        assert upload.state == UploadState.RECEIVING


class TestList:
    def test_it_shows_patient_study_state_and_destination(self, client: Client) -> None:
        study = StudyFactory.create(patient_name="Doe^Jane", upload__state=UploadState.DELIVERING, instance_count=24)
        DeliveryFactory.create(study=study, destination__name="Ward PACS")
        page = as_user(client, study.upload.created_by).get(reverse("uploads:list")).text
        for words in ("Doe, Jane", study.patient_id, "Delivering", "Ward PACS", "24", "CT of a phantom"):
            assert words in page
        assert url("detail", study.upload) in page

    def test_it_escapes_what_comes_from_headers(self, client: Client) -> None:
        study = StudyFactory.create(patient_name="<script>alert(1)</script>", description='"><img src=x>')
        as_user(client, study.upload.created_by)
        for address in (reverse("uploads:list"), url("detail", study.upload)):
            page = client.get(address).text
            assert "<script>alert" not in page
            assert "<img" not in page

    def test_it_filters_by_state_and_words_and_keeps_both_in_the_address(self, client: Client) -> None:
        clinic = ClinicFactory.create()
        for name, state in (("Doe^Jane", UploadState.HELD), ("Roe^Rick", UploadState.HELD), ("Doe^Jim", "verified")):
            StudyFactory.create(patient_name=name, upload__clinic=clinic, upload__state=state)
        as_user(client, person(Role.RADIOGRAPHER, clinic))
        page = client.get(reverse("uploads:list"), {"state": "held,failed", "q": "doe"}).text
        assert "Doe, Jane" in page
        assert "Roe, Rick" not in page
        assert "Doe, Jim" not in page
        assert 'value="doe"' in page
        assert re.search(r'<option value="held,failed" selected', page)

    def test_it_pages_by_cursor_and_keeps_the_filter(self, client: Client) -> None:
        clinic = ClinicFactory.create()
        now = timezone.now()
        for age in range(60):
            upload = UploadFactory.create(clinic=clinic, created_at=now - timedelta(minutes=age))
            StudyFactory.create(upload=upload, patient_name=f"No{age}")
        as_user(client, person(Role.RADIOGRAPHER, clinic))
        seen, address, pages = [], reverse("uploads:list") + "?state=receiving", 0
        while address:
            page = client.get(address).text
            seen += re.findall(r">No(\d+)</a>", page)
            pages += 1
            link = re.search(r'rel="next" href="([^"]+)"', page)
            address = reverse("uploads:list") + link[1].replace("&amp;", "&") if link else ""
            assert not link or "state=receiving" in address
        assert (pages, [int(age) for age in seen]) == (3, list(range(60)))
        back = re.search(r'rel="prev" href="([^"]+)"', page)
        assert back
        assert ">No25</a>" in client.get(reverse("uploads:list") + back[1].replace("&amp;", "&")).text

    def test_it_says_what_to_do_when_there_is_nothing(self, client: Client) -> None:
        as_user(client, person(Role.CLINICIAN))
        assert "No uploads yet" in client.get(reverse("uploads:list")).text
        assert "Nothing matches" in client.get(reverse("uploads:list"), {"q": "nobody"}).text

    @pytest.mark.parametrize("query", [{"state": "nonsense"}, {"cursor": "rubbish"}, {"q": "x" * 500}])
    def test_it_survives_a_mangled_address(self, client: Client, query: dict[str, str]) -> None:
        as_user(client, person(Role.CLINICIAN))
        assert client.get(reverse("uploads:list"), query).status_code in (200, 400)


class TestNew:
    def test_it_offers_the_persons_clinics_when_there_are_several(self, client: Client) -> None:
        user = person(Role.CLINICIAN)
        second = MembershipFactory.create(user=user, role=Role.RADIOGRAPHER)
        reading = MembershipFactory.create(user=user, role=Role.RADIOLOGIST)
        page = as_user(client, user).get(reverse("uploads:new")).text
        assert str(second.clinic) in page
        assert str(reading.clinic) not in page

    def test_it_asks_nothing_where_there_is_one_clinic(self, client: Client) -> None:
        user = person(Role.CLINICIAN)
        page = as_user(client, user).get(reverse("uploads:new")).text
        assert f'<input type="hidden" id="clinic" value="{user.memberships.get().clinic_id}">' in page

    def test_who_only_reads_is_told_so(self, client: Client) -> None:
        as_user(client, person(Role.RADIOLOGIST))
        assert client.get(reverse("uploads:new")).status_code == 403
        assert reverse("uploads:new") not in client.get(reverse("uploads:list")).text

    def test_it_leads_to_the_plain_form_where_no_script_runs(self, client: Client) -> None:
        page = as_user(client, person(Role.CLINICIAN)).get(reverse("uploads:new")).text
        noscript = re.search(r"<noscript>(.*?)</noscript>", page, re.DOTALL)
        assert noscript
        assert reverse("uploads:plain") in noscript[1]


class TestPlainForm:
    def send(self, client: Client, *files: SimpleUploadedFile, **fields: Any):
        data = {"service_level": "stat", "clinical_history": "fell", "images": list(files), **fields}
        return client.post(reverse("uploads:plain"), data)

    def test_whole_files_become_a_sealed_upload_byte_for_byte(self, client: Client) -> None:
        user = person(Role.CLINICIAN)
        as_user(client, user)
        contents = [bytes([n]) * (3 * 1024 * 1024 + n) for n in range(4)]
        files = [SimpleUploadedFile(f"IM{n}", content) for n, content in enumerate(contents)]
        answer = self.send(client, *files, clinic=str(user.memberships.get().clinic_id))
        upload = Upload.objects.get()
        assert (answer.status_code, answer["Location"]) == (302, url("detail", upload))
        assert upload.state == UploadState.ASSEMBLING
        assert (upload.service_level, upload.clinical_history) == ("stat", "fell")
        assert list(upload.files.values_list("name", "size")) == [(f"IM{n}", len(c)) for n, c in enumerate(contents)]
        assert pack_of(upload.pk).path.read_bytes() == b"".join(contents)
        assert upload.chunks.count() == upload.chunk_count == 2
        assert "has not been delivered" in shown(client, upload)

    def test_an_empty_hand_in_is_refused_in_words(self, client: Client) -> None:
        user = person(Role.CLINICIAN)
        as_user(client, user)
        answer = self.send(client, SimpleUploadedFile("IM", b""), clinic=str(user.memberships.get().clinic_id))
        assert answer.status_code == 400
        assert "There is nothing in these files" in answer.text
        assert not Upload.objects.exists()

    def test_without_files_or_for_another_clinic_nothing_happens(self, client: Client) -> None:
        user = person(Role.CLINICIAN)
        as_user(client, user)
        assert self.send(client, clinic=str(user.memberships.get().clinic_id)).status_code == 400
        other = str(ClinicFactory.create().pk)
        assert self.send(client, SimpleUploadedFile("IM", b"x"), clinic=other).status_code == 400
        assert not Upload.objects.exists()

    def test_more_files_than_a_form_may_hold_are_refused_in_words(self, client: Client) -> None:
        user = person(Role.CLINICIAN)
        as_user(client, user)
        files = [SimpleUploadedFile(f"IM{n}", b"x") for n in range(101)]
        answer = self.send(client, *files, clinic=str(user.memberships.get().clinic_id))
        assert answer.status_code == 400
        assert "too many files for one form" in answer.text
        assert not Upload.objects.exists()


class TestDetail:
    def test_it_shows_the_ledger_of_each_destination(self, client: Client) -> None:
        study = StudyFactory.create(upload__state=UploadState.DELIVERING, instance_count=2)
        delivery = DeliveryFactory.create(
            study=study,
            destination__name="Ward PACS",
            state=DeliveryState.WAITING,
            due_at=timezone.now() + timedelta(minutes=5),
            last_error_code="unreachable",
            last_error_detail="Nobody answers at this address.",
            total_attempts=3,
        )
        for answer in (Answer.STORED, Answer.UNKNOWN):
            LedgerEntryFactory.create(delivery=delivery, answer=answer)
        page = shown(as_user(client, study.upload.created_by), study.upload)
        for words in ("Ward PACS", "1 of 2", "Nobody answers at this address.", "Next attempt at Ward PACS", "Waiting"):
            assert words in page
        assert "Try now" in page
        assert "not been delivered everywhere" in page

    def test_it_shows_every_leg_with_its_time_and_who_decided(self, client: Client) -> None:
        upload = UploadFactory.create(state=UploadState.CANCELLED)
        TransitionFactory.create(upload=upload, from_state="", to_state="receiving")
        TransitionFactory.create(upload=upload, to_state="cancelled", because="cancelled", actor=upload.created_by)
        page = shown(as_user(client, upload.created_by), upload)
        assert page.count('data-time="seconds"') == 2
        assert f"by {upload.created_by.username}" in page

    def test_it_lists_problems_by_file_with_what_to_do(self, client: Client) -> None:
        upload = UploadFactory.create(state=UploadState.HELD)
        UploadFileFactory.create(
            upload=upload, name="CD/IM7", status="rejected", problem_code="truncated", problem_detail="It ends early."
        )
        page = shown(as_user(client, upload.created_by), upload)
        for words in ("CD/IM7", "It ends early.", "(truncated)", "copy or export it from its source again"):
            assert words in page

    def test_it_offers_only_what_can_be_done_now(self, client: Client) -> None:
        clinic = ClinicFactory.create()
        as_user(client, person(Role.RADIOGRAPHER, clinic))
        failed = UploadFactory.create(clinic=clinic, state=UploadState.FAILED)
        verified = UploadFactory.create(clinic=clinic, state=UploadState.VERIFIED)
        assert "Try again" in shown(client, failed)
        assert url("cancel", failed) in shown(client, failed)
        assert url("cancel", verified) not in shown(client, verified)
        assert url("retry", verified) not in shown(client, verified)
        as_user(client, person(Role.RADIOLOGIST, clinic))
        assert url("retry", failed) not in shown(client, failed)
        assert url("cancel", failed) not in shown(client, failed)


class TestDeciding:
    def hold(self, **fields: Any) -> Hold:
        hold = HoldFactory.create(upload__clinic=ClinicFactory.create(), files=[1], **fields)
        for index in range(2):
            UploadFileFactory.create(upload=hold.upload, index=index, name=f"CD/IM{index}")
        return hold

    def test_it_asks_with_the_choices_and_the_files_in_question(self, client: Client) -> None:
        hold = self.hold(code="uid_reused")
        page = shown(as_user(client, hold.upload.created_by), hold.upload)
        assert 'value="exclude"' in page
        assert 'value="reject"' in page
        assert 'value="proceed"' not in page
        assert "CD/IM1" in page
        assert "CD/IM0" not in page

    def test_an_administrator_may_let_it_through_with_a_reason(self, client: Client) -> None:
        hold = self.hold(code="uid_reused")
        as_user(client, person(Role.ADMIN))
        assert 'value="proceed"' in shown(client, hold.upload)
        data = {"hold": str(hold.pk), "decision": "proceed"}
        answer = client.post(url("confirm", hold.upload), data, follow=True)
        assert "Please say why this may go on." in answer.text
        client.post(url("confirm", hold.upload), data | {"reason": "seen both"})
        hold.refresh_from_db()
        assert (hold.decision, hold.reason) == ("proceed", "seen both")

    def test_files_are_left_out_and_the_rest_goes_on(self, client: Client) -> None:
        hold = self.hold(code="uid_reused")
        as_user(client, hold.upload.created_by)
        data = {"hold": str(hold.pk), "decision": "exclude", "files": ["1"]}
        answer = client.post(url("confirm", hold.upload), data)
        assert (answer.status_code, answer["Location"]) == (302, url("detail", hold.upload))
        hold.refresh_from_db()
        hold.upload.refresh_from_db()
        assert hold.excluded == [1]
        assert hold.upload.state == UploadState.VALIDATING

    def test_a_refusal_is_told_and_changes_nothing(self, client: Client) -> None:
        hold = self.hold(code="two_identities")
        as_user(client, hold.upload.created_by)
        answer = client.post(url("confirm", hold.upload), {"hold": str(hold.pk), "decision": "proceed"}, follow=True)
        assert "only an administrator may decide that" in answer.text
        hold.refresh_from_db()
        assert hold.decision == ""

    @pytest.mark.parametrize("hold_id", ["", "rubbish", str(uuid.UUID(int=7))])
    def test_an_unknown_question_is_told(self, client: Client, hold_id: str) -> None:
        hold = self.hold()
        as_user(client, hold.upload.created_by)
        answer = client.post(url("confirm", hold.upload), {"hold": hold_id, "decision": "reject"}, follow=True)
        assert 'class="note note-error"' in answer.text

    def test_who_only_reads_is_asked_nothing(self, client: Client) -> None:
        hold = self.hold()
        as_user(client, person(Role.RADIOLOGIST, hold.upload.clinic))
        page = shown(client, hold.upload)
        assert "Somebody who may hand in for this clinic has to decide." in page
        assert url("confirm", hold.upload) not in page


class TestActing:
    def test_cancelling_is_final_and_told(self, client: Client) -> None:
        upload = UploadFactory.create()
        as_user(client, upload.created_by)
        answer = client.post(url("cancel", upload), follow=True)
        assert "The upload was cancelled." in answer.text
        assert "Nothing of it had reached a PACS" in answer.text
        upload.refresh_from_db()
        assert upload.state == UploadState.CANCELLED

    def test_trying_again_moves_a_failed_upload_on(self, client: Client) -> None:
        study = StudyFactory.create(upload__state=UploadState.FAILED, upload__failed_from=UploadState.DELIVERING)
        DeliveryFactory.create(study=study, state=DeliveryState.REFUSED, destination=DestinationFactory.create())
        as_user(client, study.upload.created_by)
        assert "It is being tried again." in client.post(url("retry", study.upload), follow=True).text
        study.upload.refresh_from_db()
        assert study.upload.state == UploadState.DELIVERING

    def test_what_cannot_be_done_now_is_said(self, client: Client) -> None:
        upload = UploadFactory.create(state=UploadState.VERIFIED)
        as_user(client, upload.created_by)
        assert "can no longer be cancelled" in client.post(url("cancel", upload), follow=True).text
        assert "there is nothing to retry" in client.post(url("retry", upload), follow=True).text

    def test_who_only_reads_changes_nothing(self, client: Client) -> None:
        upload = UploadFactory.create()
        as_user(client, person(Role.RADIOLOGIST, upload.clinic))
        assert "not change it" in client.post(url("cancel", upload), follow=True).text
        upload.refresh_from_db()
        assert upload.state == UploadState.RECEIVING


class TestReceipt:
    def test_it_is_the_document_that_was_kept(self, client: Client) -> None:
        receipt = ReceiptFactory.create(rendered_at=timezone.now(), document=write_document(b"%PDF-1.7 kept"))
        as_user(client, receipt.upload.created_by)
        assert url("receipt", receipt.upload) in shown(client, receipt.upload)
        answer = client.get(url("receipt", receipt.upload))
        assert answer.content == b"%PDF-1.7 kept"
        assert answer["Content-Type"] == "application/pdf"
        assert receipt.upload.created_by.username not in answer["Content-Disposition"]

    def test_before_it_is_printed_a_page_says_so(self, client: Client) -> None:
        receipt = ReceiptFactory.create()
        as_user(client, receipt.upload.created_by)
        assert url("receipt", receipt.upload) not in shown(client, receipt.upload)
        answer = client.get(url("receipt", receipt.upload))
        assert answer.status_code == 409
        assert "not printed yet" in answer.text
        assert "not_ready" in answer.text
