"""The page of one upload: it follows what happens, and takes the decisions of persons."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.studies import Studies, rename, truncate
from tests.browser.upload_page import UploadPage

pytestmark = [pytest.mark.browser, pytest.mark.integration]


def hand_in(upload_page: UploadPage, studies: Studies) -> Page:
    """What lies in the folder, sent and opened on its own page."""
    upload_page.choose_folder(studies.folder)
    upload_page.tick()
    upload_page.send()
    upload_page.expect_state("held")
    upload_page.cards.first.get_by_role("link", name="Open the page of this upload").click()
    expect(upload_page.page.locator("#truth")).to_have_attribute("data-state", "held")
    return upload_page.page


def test_a_damaged_file_is_held_and_the_rest_sent_by_decision(upload_page: UploadPage, studies: Studies) -> None:
    truncate(max(studies.write(slices=5).iterdir()))
    page = hand_in(upload_page, studies)
    expect(page.locator("#problems")).to_contain_text("truncated")
    hold = page.locator(".hold")
    expect(hold).to_contain_text("Some files cannot be relayed")
    hold.get_by_label("Send the rest without the files that cannot be relayed").check()
    hold.get_by_role("button", name="Decide").click()
    expect(page.locator(".messages")).to_contain_text("The decision was written down")
    # without a reload
    expect(page.locator("#truth")).to_have_attribute("data-state", "verified", timeout=60_000)
    expect(page.locator("#truth")).to_contain_text("committed to keep 4 of 4")
    expect(page.locator("#receipt")).to_be_visible()
    expect(page).to_have_title("Verified: TEST, PATIENT · RelayPACS")


def test_a_decision_being_written_is_not_swept_away(upload_page: UploadPage, studies: Studies) -> None:
    truncate(max(studies.write(slices=3).iterdir()))
    page = hand_in(upload_page, studies)
    page.locator(".hold textarea").fill("Asked the ward: the rest is enough.")
    page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_timeout(6000)  # the page looks again at least every five seconds
    expect(page.locator(".hold textarea")).to_have_value("Asked the ward: the rest is enough.")


def test_two_identities_can_be_rejected_but_not_waved_through(upload_page: UploadPage, studies: Studies) -> None:
    rename(min(studies.write(slices=4).iterdir()), "Other^Person")
    page = hand_in(upload_page, studies)
    hold = page.locator(".hold")
    expect(hold).to_contain_text("One study names two patients")
    expect(hold.get_by_label("Send it as it is")).to_have_count(0)
    hold.get_by_label("Do not send it").check()
    hold.get_by_role("button", name="Decide").click()
    expect(page.locator("#truth")).to_have_attribute("data-state", "rejected")
    expect(page.locator("#truth")).to_contain_text("Nothing was sent to a PACS")


def test_a_cancel_asks_before_it_acts(upload_page: UploadPage, studies: Studies) -> None:
    truncate(max(studies.write(slices=3).iterdir()))
    page = hand_in(upload_page, studies)
    expect(page.get_by_role("button", name="Yes, cancel it")).to_be_hidden()
    page.locator("#cancel summary").click()
    page.get_by_role("button", name="Yes, cancel it").click()
    expect(page.locator("#truth")).to_have_attribute("data-state", "cancelled")
