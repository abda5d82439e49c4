"""What may come between the first byte and the last: a pause, a lost line, a closed tab, a dead server."""

import pytest
from playwright.sync_api import Dialog, expect

from tests.browser.studies import Studies
from tests.browser.upload_page import Line, UploadPage
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.long]

SLICES, EDGE = 24, 256  # about 3.2 MB, thirteen chunks of 256 KiB
CHUNKS = 13


def begin(upload_page: UploadPage, studies: Studies) -> Line:
    """In the middle of an upload; answers the line, which is slow."""
    upload_page.choose_folder(studies.write(slices=SLICES, edge=EDGE))
    line = upload_page.slow_down()
    upload_page.tick()
    upload_page.send()
    upload_page.wait_for_share(0.3)
    return line


def everything_arrived(upload_page: UploadPage) -> None:
    upload_page.expect_state("verified")
    [delivery] = upload_page.truth()["deliveries"]
    assert (delivery["verified"], delivery["instances"]) == (SLICES, SLICES)


def test_it_pauses_and_goes_on(upload_page: UploadPage, studies: Studies) -> None:
    line = begin(upload_page, studies)
    card = upload_page.cards.first
    card.get_by_role("button", name="Pause").click()
    expect(card.locator(".phase-badge")).to_have_text("Paused")
    expect(upload_page.page.locator("#overall-title")).to_have_text("Not finished")
    sent = upload_page.chunks
    upload_page.page.wait_for_timeout(1500)
    assert upload_page.chunks == sent < CHUNKS
    line.become()
    card.get_by_role("button", name="Resume").click()
    everything_arrived(upload_page)


def test_it_goes_on_by_itself_when_the_line_is_back(upload_page: UploadPage, studies: Studies) -> None:
    line = begin(upload_page, studies)
    line.become(cut=True)
    badge = upload_page.cards.first.locator(".phase-badge")
    expect(badge).to_have_text("Waiting for the network")
    expect(upload_page.cards.first.locator(".figures")).to_contain_text("are safe")
    line.become()
    everything_arrived(upload_page)


def test_it_sends_only_what_is_missing_after_a_reload(upload_page: UploadPage, studies: Studies) -> None:
    """The browser asks before it leaves; then the same folder is chosen again."""
    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page = upload_page.page
    line = begin(upload_page, studies)
    upload_page.wait_for_share(0.6)
    page.on("dialog", leave)
    page.reload()
    assert asked == ["beforeunload"]
    expect(page.locator("#unfinished")).to_contain_text("have arrived")
    line.become()
    upload_page.chunks = 0
    upload_page.choose_folder(studies.folder)
    upload_page.tick()
    upload_page.send()
    everything_arrived(upload_page)
    assert 0 < upload_page.chunks < CHUNKS
    page.reload()
    assert asked == ["beforeunload"]


def test_what_cannot_be_changed_any_more_is_said_when_it_goes_on(upload_page: UploadPage, studies: Studies) -> None:
    line = begin(upload_page, studies)
    page = upload_page.page
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    upload_page.choose_folder(studies.folder)
    upload_page.cards.first.get_by_role("radio", name="STAT").check()
    upload_page.tick()
    upload_page.send()
    expect(upload_page.cards.first.locator(".continued")).to_contain_text("Its service level is Routine")
    line.become()
    everything_arrived(upload_page)
    assert upload_page.truth()["service_level"] == "routine"


def test_it_survives_the_end_of_the_web_server(running: Stack, upload_page: UploadPage, studies: Studies) -> None:
    line = begin(upload_page, studies)
    old = running.kill("web")
    expect(upload_page.cards.first.locator(".phase-badge")).to_have_text("Waiting for the network")
    running.wait_back("web", old=old)
    line.become()
    everything_arrived(upload_page)


def test_a_cancelled_upload_leaves_nothing(upload_page: UploadPage, studies: Studies) -> None:
    begin(upload_page, studies)
    page = upload_page.page
    page.on("dialog", lambda dialog: dialog.accept())
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as told:
        upload_page.cards.first.get_by_role("button", name="Cancel").click()
    assert told.value.status == 204
    expect(upload_page.cards.first.locator(".phase-badge")).to_have_text("Cancelled")
    page.goto(told.value.url.replace("/api/v1", "") + "/")
    expect(page.locator("#truth")).to_contain_text("Nothing of it had reached a PACS")


def test_a_file_that_changes_stops_the_upload(upload_page: UploadPage, studies: Studies) -> None:
    folder = studies.write(slices=SLICES, edge=EDGE)
    upload_page.choose_folder(folder)
    line = upload_page.slow_down()
    upload_page.tick()
    upload_page.send()
    upload_page.wait_for_share(0.2)
    last = max(folder.iterdir())
    last.write_bytes(last.read_bytes()[:-1] + b"!")
    card = upload_page.cards.first
    expect(card.locator(".phase-badge")).to_have_text("Stopped")
    expect(card.locator(".trouble")).to_contain_text("A file has changed")
    line.become()
    expect(card.get_by_role("link", name="Open the page of this upload")).to_have_count(0)


def test_a_study_that_waits_for_its_turn_can_be_paused(upload_page: UploadPage, studies: Studies) -> None:
    first = studies.write(slices=SLICES, edge=EDGE, patient="Aardvark^A")
    studies.write(patient="Zebra^Z")
    upload_page.choose_folder(first.parent, cards=2)
    line = upload_page.slow_down()
    for number in (0, 1):
        upload_page.tick(upload_page.cards.nth(number))
    upload_page.send()
    second = upload_page.cards.nth(1)
    expect(second.locator(".phase-badge")).to_have_text("Waiting for its turn")
    second.get_by_role("button", name="Pause").click()
    line.become()
    upload_page.expect_state("verified")
    expect(second.locator(".phase-badge")).to_have_text("Paused")
    second.get_by_role("button", name="Resume").click()
    expect(second.locator(".truth")).to_have_attribute("data-state", "verified", timeout=60_000)
