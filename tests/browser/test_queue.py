"""The administrator's queue: it keeps itself true while it is open, and fits a phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import LogIn, watched
from tests.browser.studies import Studies
from tests.browser.test_every_page import overflow
from tests.browser.upload_page import UploadPage

pytestmark = [pytest.mark.browser, pytest.mark.integration]

QUEUE, DESTINATIONS = "/admin/uploads/delivery/queue/", "/admin/uploads/destination/"


def act(page: Page, action: str) -> None:
    page.goto(DESTINATIONS)
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").select_option(action)
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".messagelist")).to_be_visible()


@pytest.fixture
def desk(log_in: LogIn) -> Iterator[BrowserContext]:
    """An administrator at work while the destination is paused; afterwards it goes on."""
    context = log_in("admin")
    page = context.new_page()
    act(page, "pause")
    yield context
    act(page, "resume")
    page.close()


def test_a_study_appears_by_itself_stays_ticked_and_is_given_up(
    desk: BrowserContext, upload_page: UploadPage, studies: Studies, complaints: list[str]
) -> None:
    queue = watched(desk.new_page(), complaints)
    queue.goto(QUEUE)
    rows = queue.locator("#queue input[type=checkbox]")
    before = rows.count()
    studies.write(slices=2)
    upload_page.choose_folder(studies.folder)
    upload_page.tick()
    upload_page.send()
    upload_page.expect_state("delivering")
    expect(rows).to_have_count(before + 1)  # nobody has reloaded it
    rows.last.check()
    queue.wait_for_timeout(5000)  # it looks again every four seconds
    expect(rows.last).to_be_checked()
    queue.get_by_role("button", name="Give up…").click()
    queue.get_by_role("button", name="Give up").click()
    expect(queue.get_by_label("Reason")).to_be_focused()  # the browser itself asks for it
    queue.get_by_label("Reason").fill("A test of giving up.")
    queue.get_by_role("button", name="Give up").click()
    expect(queue.locator(".messagelist")).to_contain_text("1 study was given up.")
    expect(queue.locator("#queue")).to_contain_text("A test of giving up.")
    upload_page.expect_state("failed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_the_queue_scrolls_sideways_on_a_phone(log_in: LogIn, scheme: str) -> None:
    page = log_in("admin").new_page()
    page.set_viewport_size({"width": 320, "height": 640})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(DESTINATIONS)
    page.locator("th.field-name a").first.click()
    test = page.get_by_role("link", name="Test it").get_attribute("href")
    page.goto(str(test))
    page.get_by_role("button", name="Test it").click()
    expect(page.locator("table.findings")).to_be_visible()
    assert overflow(page) <= 0
    page.goto(QUEUE)
    assert overflow(page) <= 0
