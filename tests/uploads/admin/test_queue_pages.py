"""The queue is shown as it is, and steered: each act is asked for, done once, told and written down."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from accounts.models import Role, User
from tests.factories import DeliveryFactory, DestinationFactory, LedgerEntryFactory, StudyFactory, person
from uploads import queue
from uploads.models import Answer, Delivery, Upload
from uploads.states import DeliveryState, UploadState

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

D, U = DeliveryState, UploadState
QUEUE, NOW, ACT = (f"admin:uploads_delivery_{name}" for name in ("queue", "queue_now", "act"))


def delivery(
    state: DeliveryState = D.WAITING, *answers: Answer, upload: UploadState = U.DELIVERING, **fields: Any
) -> Delivery:
    row = DeliveryFactory.create(state=state, study__upload__state=upload, **fields)
    for answer in answers:
        LedgerEntryFactory.create(delivery=row, answer=answer)
    return row


def act(desk: Client, name: str, *rows: Delivery, **sent: str) -> Any:
    chosen = {"act": name, "delivery": [str(row.pk) for row in rows], **sent}
    return desk.post(reverse(ACT), chosen, follow=True)


def said(page: Any) -> str:
    return " ".join(re.findall(r'<li class="(?:success|error|warning|info)">(.*?)</li>', page.text))


def shown(page: str) -> set[str]:
    return set(re.findall(r'name="delivery" value="([^"]+)"', page))


class TestShown:
    def test_it_has_what_is_open_and_nothing_else(self, desk: Client) -> None:
        open_ones = [delivery(state) for state in (D.PENDING, D.SENDING, D.WAITING, D.PAUSED, D.STORED)]
        open_ones += [delivery(D.REFUSED, upload=U.FAILED), delivery(D.PARTIAL, upload=U.VERIFIED, required=False)]
        delivery(D.VERIFIED)
        delivery(D.STORED, due_at=None)  # cannot be asked
        delivery(D.WAITING, upload=U.CANCELLED)
        gone = delivery(D.PARTIAL, upload=U.VERIFIED, required=False)
        Upload.objects.filter(pk=gone.upload_id).update(pack_removed_at=timezone.now())
        delivery(D.PARTIAL, redirected_to=open_ones[0])
        page = desk.get(reverse(QUEUE))
        assert shown(page.text) == {str(row.pk) for row in open_ones}

    def test_it_is_sorted_by_destination_and_urgency(self, desk: Client) -> None:
        calm, busy = DestinationFactory.create(name="A calm one"), DestinationFactory.create(name="B busy one")
        for destination, urgency in [(calm, 2), (busy, 2), (busy, 0), (busy, 1)]:
            delivery(D.WAITING, destination=destination, urgency=urgency)
        found = queue.lines()
        assert [(line.destination, line.urgent, line.total) for line in found] == [(busy, 2, 3), (calm, 0, 1)]
        assert [row.level for row in found[0].rows] == ["stat", "emergency", "routine"]

    def test_a_row_says_how_far_it_is_and_why_it_waits(self, desk: Client) -> None:
        later = timezone.now() + timedelta(minutes=5)
        delivery(
            D.WAITING,
            Answer.STORED,
            Answer.CHANGED,
            Answer.REFUSED,
            Answer.UNSENT,
            due_at=later,
            last_error_detail="The PACS is congested just now.",
            destination__down_since=None,
        )
        page = " ".join(strip_tags(desk.get(reverse(QUEUE)).text).split())
        assert "2 of 4, 1 refused" in page
        assert "The PACS is congested just now." in page
        assert f"{later:%H:%M:%S} UTC" in page

    def test_a_long_line_is_cut_and_says_so(self, desk: Client) -> None:
        destination = DestinationFactory.create()
        for _ in range(queue.MOST_OF_ONE + 3):
            delivery(D.PENDING, destination=destination)
        page = desk.get(reverse(QUEUE)).text
        assert len(shown(page)) == queue.MOST_OF_ONE
        assert "And 3 more" in page
        assert f"{queue.MOST_OF_ONE + 3} waiting" in page

    def test_it_is_sieved(self, desk: Client) -> None:
        paused, waiting = delivery(D.PAUSED), delivery(D.WAITING)
        for query, row in [
            (f"destination={waiting.destination_id}", waiting),
            ("group=paused", paused),
            (f"group=waiting&destination={waiting.destination_id}", waiting),
        ]:
            for where in (QUEUE, NOW):
                text = desk.get(f"{reverse(where)}?{query}").content.decode().replace('\\"', '"')
                assert shown(text) == {str(row.pk)}
        assert len(shown(desk.get(reverse(QUEUE), {"destination": "nonsense", "group": "nonsense"}).text)) == 2
        assert "nothing waits here" in desk.get(reverse(QUEUE), {"group": "asked"}).text

    def test_the_fragment_is_what_the_page_shows(self, desk: Client) -> None:
        row = delivery()
        answer = desk.get(reverse(NOW))
        assert answer.headers["Cache-Control"].startswith("max-age=0, no-cache, no-store")
        told = answer.json()
        assert set(told) == {"html", "at", "total"}
        assert told["total"] == 1
        assert shown(told["html"]) == {str(row.pk)}
        Delivery.objects.update(state=D.VERIFIED)
        assert desk.get(reverse(NOW)).json()["total"] == 0

    def test_it_asks_no_more_for_more_rows(self, desk: Client, django_assert_max_num_queries: Any) -> None:
        destination = DestinationFactory.create()
        for _ in range(20):
            delivery(D.WAITING, Answer.UNSENT, destination=destination)
        with django_assert_max_num_queries(9):
            desk.get(reverse(NOW))

    def test_names_from_outside_are_text(self, desk: Client) -> None:
        study = StudyFactory.create(patient_name="<script>alert(1)</script>", upload__state=U.DELIVERING)
        delivery(study=study, last_error_detail="<b>x</b>")
        page = desk.get(reverse(QUEUE)).text
        assert "<script>alert" not in page
        assert "<b>x</b>" not in page

    def test_the_way_there_is_shown(self, desk: Client) -> None:
        destination = DestinationFactory.create()
        for where in (
            reverse("admin:uploads_delivery_changelist"),
            reverse("admin:uploads_destination_changelist"),
            reverse("admin:uploads_destination_change", args=[destination.pk]),
        ):
            assert reverse(QUEUE) in desk.get(where).text


class TestActs:
    def test_a_retry_needs_no_asking(self, desk: Client, administrator: User) -> None:
        rows = [delivery(D.WAITING), delivery(D.PAUSED)]
        assert "2 studies were tried at once." in said(act(desk, "retry", *rows))
        assert set(Delivery.objects.values_list("state", flat=True)) == {D.PENDING}
        entries = LogEntry.objects.all()
        assert {(entry.user, entry.object_id, entry.change_message) for entry in entries} == {
            (administrator, str(row.pk), "Tried at once") for row in rows
        }

    def test_what_cannot_be_done_is_said_and_the_rest_is_done(self, desk: Client) -> None:
        sending, refused = delivery(D.SENDING), delivery(
            D.PARTIAL, Answer.REFUSED, upload=U.FAILED, study__upload__failed_from=U.DELIVERING
        )
        words = said(act(desk, "retry_refused", sending, refused))
        assert "A worker has this study in its hands" in words
        assert "1 study was tried again with what was refused." in words
        refused.refresh_from_db()
        assert refused.state == D.PENDING
        assert LogEntry.objects.get().object_id == str(refused.pk)

    def test_a_redirection_asks_whereto_and_why(self, desk: Client, administrator: User) -> None:
        row, other = delivery(D.WAITING, Answer.UNSENT), DestinationFactory.create(name="Other")
        DestinationFactory.create(name="Switched off", active=False)
        asked = act(desk, "redirect", row, query="group=waiting")
        assert "What the first has stored stays there" in asked.text
        assert "Other</option>" in asked.text
        assert "Switched off</option>" not in asked.text
        assert Delivery.objects.count() == 1
        incomplete = act(desk, "redirect", row, sure="yes", to=str(other.pk), reason=" ")
        assert incomplete.status_code == 400
        assert Delivery.objects.count() == 1
        done = act(desk, "redirect", row, sure="yes", to=str(other.pk), reason="It is full.", query="group=waiting")
        assert done.redirect_chain[-1][0] == f"{reverse(QUEUE)}?group=waiting"
        assert "1 study was redirected." in said(done)
        row.refresh_from_db()
        assert row.redirected_to is not None
        assert row.redirected_to.destination == other
        assert LogEntry.objects.get().change_message == "Redirected to Other: It is full."

    def test_giving_up_asks_why(self, desk: Client) -> None:
        row = delivery(D.PAUSED, Answer.UNSENT)
        assert "Give up" in act(desk, "give_up", row).text
        assert Delivery.objects.get().state == D.PAUSED
        assert "1 study was given up." in said(act(desk, "give_up", row, sure="yes", reason="The PACS is gone."))
        assert Upload.objects.get().state == U.FAILED
        assert "The PACS is gone." in Delivery.objects.get().last_error_detail

    def test_a_cancel_is_asked_for_and_takes_the_upload(self, desk: Client, administrator: User) -> None:
        row = delivery(D.WAITING)
        assert "for good" in act(desk, "cancel", row).text
        assert Upload.objects.get().state == U.DELIVERING
        assert "1 study was cancelled with its upload." in said(act(desk, "cancel", row, sure="yes"))
        upload = Upload.objects.get()
        assert upload.state == U.CANCELLED
        assert upload.transitions.get(delivery=None).actor == administrator

    def test_nothing_chosen_and_nonsense_do_nothing(self, desk: Client) -> None:
        row = delivery(D.WAITING)
        assert "Please tick at least one study" in said(act(desk, "retry"))
        assert "Please tick" in said(desk.post(reverse(ACT), {"act": "retry", "delivery": ["x"]}, follow=True))
        for name in ("delete", ""):
            act(desk, name, row)
        assert desk.get(reverse(ACT), {"act": "retry", "delivery": str(row.pk)}).status_code == 302
        row.refresh_from_db()
        assert row.state == D.WAITING

    @pytest.mark.parametrize("query", ["//evil.example", "\r\nLocation: https://evil.example", "http://evil.example"])
    def test_it_leads_back_to_the_queue_alone(self, desk: Client, query: str) -> None:
        answer = desk.post(reverse(ACT), {"act": "retry", "query": query})
        assert answer.headers["Location"].startswith(reverse(QUEUE))


@pytest.mark.parametrize("role", [Role.RADIOLOGIST, Role.RADIOGRAPHER, Role.CLINICIAN])
@pytest.mark.parametrize("staff", [False, True])
def test_only_administrators_see_and_steer_it(client: Client, role: Role, staff: bool) -> None:
    user = person(role)
    user.is_staff = staff
    user.save()
    client.force_login(user)
    row = delivery(D.WAITING)
    for where in (QUEUE, NOW):
        assert client.get(reverse(where)).status_code == (403 if staff else 302)
    assert client.post(reverse(ACT), {"act": "retry", "delivery": str(row.pk)}).status_code == (403 if staff else 302)
    row.refresh_from_db()
    assert row.state == D.WAITING
