"""`add_destination`: the same name again updates it."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.factories import DestinationFactory
from uploads.models import Destination

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

URL = "dicom://PACS@pacs.example:104?calling=GATE"


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("add_destination", *words, stdout=out)
    return out.getvalue()


def test_it_makes_a_required_destination() -> None:
    assert run("main", URL) == f"Created main: {URL}, required.\n"
    made = Destination.objects.get()
    assert (made.name, made.url, made.required, made.active) == ("main", URL, True, True)


def test_the_same_name_updates_it_and_tries_the_new_address_afresh() -> None:
    DestinationFactory.create(name="main", down_since=timezone.now(), last_error="no route")
    assert run("main", URL, "--optional") == f"Updated main: {URL}, optional.\n"
    made = Destination.objects.get()
    assert (made.url, made.required, made.down_since, made.last_error) == (URL, False, None, "")


def test_the_same_address_again_changes_nothing_that_was_learned() -> None:
    before = DestinationFactory.create(name="main", url=URL, down_since=timezone.now(), last_error="no route")
    run("main", URL)
    after = Destination.objects.get()
    assert (after.down_since, after.last_error) == (before.down_since, "no route")


def test_it_says_what_still_stops_it() -> None:
    DestinationFactory.create(name="main", paused=True, active=False)
    said = run("main", URL)
    assert "It is paused" in said
    assert "It is not active" in said


@pytest.mark.parametrize(
    ("name", "url", "sentence"),
    [
        ("main", "pacs.example", "begins with none of dicom"),
        ("main", "dicom://pacs.example:104", "AE title of the PACS is missing"),
        ("", URL, "blank"),
        ("x" * 121, URL, "at most 120"),
    ],
)
def test_it_refuses_with_a_sentence_and_makes_nothing(name: str, url: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run(name, url)
    assert not Destination.objects.exists()
