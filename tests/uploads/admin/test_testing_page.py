"""The page on which a destination is tested: every step in words, for administrators alone."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_context

from accounts.models import Role
from tests.factories import DestinationFactory, person
from tests.peers import free_port, scripted_scp
from uploads.models import Destination

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

ECHO = "1.2.840.10008.1.1"


def where(destination: Destination) -> str:
    return reverse("admin:uploads_destination_test", args=[destination.pk])


def words(page: str) -> str:
    return " ".join(strip_tags(page).split())


def test_it_shows_each_step_and_each_kind_of_image_in_words(desk: Client) -> None:
    contexts = [build_context(ECHO), build_context(CTImageStorage, [ExplicitVRLittleEndian])]
    with scripted_scp(contexts=contexts) as scp:
        destination = DestinationFactory.create(
            url=f"dicom://{scp.ae}@127.0.0.1:{scp.port}", down_since=timezone.now(), last_error="no route"
        )
        assert "It was not tested yet." in desk.get(where(destination)).text
        page = desk.post(where(destination))
    shown = words(page.text)
    assert page.status_code == 200
    assert "Association and C-ECHO yes The PACS answered." in shown
    assert "Query: C-FIND no It does not offer C-FIND (Study Root)." in shown
    assert "CT Image Storage 1.2.840.10008.5.1.4.1.1.2" in shown
    assert "Explicit VR Little Endian 1.2.840.10008.1.2.1" in shown
    assert "transfer syntax refused JPEG Baseline (Process 1) 1.2.840.10008.1.2.4.50" in shown
    assert "SOP class refused" in shown
    assert re.search(r"\d ms", shown)
    destination.refresh_from_db()
    assert (destination.down_since, destination.offers["echo"]) == (None, True)
    assert LogEntry.objects.get().change_message == "Tested."
    again = words(desk.get(where(destination)).text)
    assert "The last test, on" in again
    assert "MR Image Storage, Explicit VR Little Endian: SOP class refused" in again


def test_one_that_is_away_says_why_and_stays_down(desk: Client) -> None:
    away = DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{free_port()}", down_since=timezone.now())
    shown = words(desk.post(where(away)).text)
    assert "Name and connection no Nothing listens at the address of the PACS. (connection_refused)" in shown
    away.refresh_from_db()
    assert away.down_since is not None


def test_a_secret_that_cannot_be_read_is_said(desk: Client) -> None:
    broken = DestinationFactory.create(url="dicoms://PACS@127.0.0.1:9", tls_key="gAAAA-not-ours")
    page = desk.post(where(broken))
    assert "[secret_unreadable]" in page.text
    assert not LogEntry.objects.exists()


def test_only_administrators_test(client: Client) -> None:
    destination = DestinationFactory.create()
    for staff, status in ((False, 302), (True, 403)):
        user = person(Role.RADIOGRAPHER)
        user.is_staff = staff
        user.save()
        client.force_login(user)
        for answer in (client.get(where(destination)), client.post(where(destination))):
            assert answer.status_code == status
    destination.refresh_from_db()
    assert destination.probed_at is None


def test_one_that_is_not_there_is_not_found(desk: Client) -> None:
    gone = DestinationFactory.create()
    address = where(gone)
    gone.delete()
    assert desk.get(address).status_code == 404
