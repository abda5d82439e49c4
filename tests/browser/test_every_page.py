"""What holds for each page: its width, its console, its words for who may not enter."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import PASSWORD, fill_in, watched
from tests.browser.studies import Studies
from tests.browser.upload_page import UploadPage
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.integration]

LogIn = Callable[[str], BrowserContext]
NOBODYS = "/uploads/00000000-0000-0000-0000-000000000000/"
PAGES = ("/uploads/", "/uploads/?q=nobody", "/uploads/new", "/uploads/plain", "/accounts/password/")
ADMIN_PAGES = (
    "/admin/",
    "/admin/accounts/user/",
    "/admin/accounts/clinic/",
    "/admin/uploads/destination/",
    "/admin/uploads/destination/add/",
    "/admin/uploads/delivery/",
    "/admin/uploads/delivery/queue/",
    "/admin/uploads/upload/",
    "/api/v1/docs",
)


@pytest.fixture(scope="module")
def delivered(log_in: LogIn, tmp_path_factory: pytest.TempPathFactory, numbers: object) -> str:
    """The page of an upload that has been delivered and verified."""
    context = log_in("radiographer")
    upload_page = UploadPage(context.new_page()).open()
    upload_page.choose_folder(Studies(tmp_path_factory.mktemp("disc"), numbers).write())  # type: ignore[arg-type]
    upload_page.tick()
    upload_page.send()
    upload_page.expect_state("verified")
    return f"/uploads/{upload_page.upload_id()}/"


def test_a_wrong_password_gets_a_clear_sentence(running: Stack, chromium: Browser) -> None:
    page = chromium.new_context(base_url=running.base_url).new_page()
    fill_in(page, "radiographer", "not the password")
    expect(page).to_have_title(re.compile("^Error: Log in"))
    expect(page.get_by_role("alert").or_(page.locator(".errorlist"))).to_contain_text("do not belong together")
    expect(page.get_by_label("Username")).to_have_value("radiographer")
    page.context.close()


def test_after_the_log_in_one_stands_where_one_wanted_to_go(running: Stack, chromium: Browser) -> None:
    page = chromium.new_context(base_url=running.base_url).new_page()
    page.goto("/uploads/new")
    page.get_by_label("Username").fill("clinician")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New upload")
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Log out").click()
    page.goto("/uploads/")
    expect(page).to_have_title(re.compile("Log in"))
    page.context.close()


def test_who_only_reads_is_not_offered_to_upload(log_in: LogIn) -> None:
    page = log_in("radiologist").new_page()
    page.goto("/uploads/")
    expect(page.get_by_role("link", name="New upload")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_scrolls_sideways_on_a_phone(page: Page, delivered: str, studies: Studies, scheme: str) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for address in (*PAGES, delivered, NOBODYS):
        page.goto(address)
        assert overflow(page) <= 0, address
    upload_page = UploadPage(page).open()
    studies.write(patient="Longname-Featherstonehaugh^Maximiliane Wilhelmina")
    upload_page.choose_folder(studies.disc(), cards=2)
    page.locator("#left-out summary").click()
    assert overflow(page) <= 0


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def test_the_console_has_nothing_against_any_page(page: Page, delivered: str, complaints: list[str]) -> None:
    for address in (*PAGES, delivered):
        page.goto(address)
        page.wait_for_timeout(300)
        assert complaints == [], address


def test_the_console_has_nothing_against_the_administration(log_in: LogIn, delivered: str) -> None:
    complaints: list[str] = []
    page = watched(log_in("admin").new_page(), complaints)
    for address in (*ADMIN_PAGES, f"/admin/uploads/upload/{delivered.split('/')[2]}/change/"):
        answer = page.goto(address)
        page.wait_for_timeout(200)
        assert (answer and answer.status, complaints) == (200, []), address


def test_the_list_finds_a_patient_and_leads_to_the_upload(page: Page, delivered: str) -> None:
    page.goto("/uploads/")
    page.get_by_label("Search").fill("test patient")
    page.get_by_role("button", name="Show").click()
    page.locator(f"a[href='{delivered}']").click()
    expect(page.locator("#truth")).to_have_attribute("data-state", "verified")
    expect(page.locator("#receipt")).to_be_visible()
    answer = page.request.get(f"{delivered}receipt")
    assert (answer.status, answer.headers["content-type"], answer.body()[:5]) == (200, "application/pdf", b"%PDF-")


def test_without_script_a_plain_form_hands_in_a_study(log_in: LogIn, studies: Studies, running: Stack) -> None:
    context = log_in("radiographer")
    browser = context.browser
    assert browser is not None
    bare = browser.new_context(
        base_url=running.base_url, storage_state=context.storage_state(), java_script_enabled=False
    )
    page = bare.new_page()
    page.goto("/uploads/new")
    page.get_by_role("link", name="Use the plain form").click()
    page.get_by_label("Files of one study").set_input_files(sorted(studies.write(slices=3).iterdir()))
    page.get_by_role("button", name="Upload").click()
    expect(page.locator(".messages")).to_contain_text("Received. It has not been delivered yet")
    for _ in range(60):
        page.reload()
        if page.locator("#truth").get_attribute("data-state") == "verified":
            break
        page.wait_for_timeout(500)
    expect(page.locator("#truth")).to_contain_text("committed to keep 3 of 3")
    bare.close()
