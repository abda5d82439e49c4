"""One RelayPACS and one Chromium for all tests of the pages; each test has a fresh browser profile."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    StorageState,
    expect,
    sync_playwright,
)

from tests.browser.studies import Studies
from tests.browser.upload_page import UploadPage
from tests.loopback import program_path, require
from tests.stack import Stack, stack

PASSWORD = "correct-horse-battery"
NOT_FOR_TESTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The browser's own note of an answer that is no success; the page's answer to it is what tests look at.
NETWORK_NOTE = "Failed to load resource"
NOBODY_ASKED = "/favicon.ico"  # browsers ask for it where a page names no icon

LogIn = Callable[[str], BrowserContext]


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require("chromium")
    folder = tmp_path_factory.mktemp("relaypacs")
    with stack(folder, RELAYPACS_DEMO_PASSWORD=PASSWORD, RETRY_FIRST_SECONDS="1", VERIFY_FIRST_SECONDS="1") as one:
        yield one


@pytest.fixture(scope="package")
def chromium(running: Stack) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program_path("chromium"), args=NOT_FOR_TESTS)
        expect.set_options(timeout=30_000)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def log_in(running: Stack, chromium: Browser) -> Iterator[LogIn]:
    """A browser in which this demo person is logged in; the form is filled in once for each."""
    known: dict[str, StorageState] = {}
    opened: list[BrowserContext] = []

    def enter(who: str) -> BrowserContext:
        if who not in known:
            context = chromium.new_context(base_url=running.base_url)
            fill_in(context.new_page(), who, PASSWORD)
            known[who] = context.storage_state()
            context.close()
        context = chromium.new_context(base_url=running.base_url, storage_state=known[who])
        opened.append(context)
        return context

    yield enter
    for context in opened:
        context.close()


def fill_in(page: Page, who: str, password: str) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill(who)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says against the pages of a test, the network's own notes left out."""
    return []


@pytest.fixture
def page(log_in: LogIn, complaints: list[str]) -> Iterator[Page]:
    """A radiographer's page, which must end without a word against it in the console."""
    context = log_in("radiographer")
    one = watched(context.new_page(), complaints)
    yield one
    one.close(run_before_unload=False)
    context.close()
    assert [text for text in complaints if not text.startswith(NETWORK_NOTE)] == []


def watched(page: Page, complaints: list[str]) -> Page:
    def heed(said: ConsoleMessage) -> None:
        if said.type in ("error", "warning") and not said.location["url"].endswith(NOBODY_ASKED):
            complaints.append(said.text)

    def miss(request: Request) -> None:
        aborted = request.failure == "net::ERR_ABORTED"  # the page was left before it had everything
        if "/static/" in request.url and not aborted and not page.is_closed():
            complaints.append(f"{request.url} was not had: {request.failure}")

    page.on("console", heed)
    page.on("requestfailed", miss)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


@pytest.fixture
def upload_page(page: Page) -> UploadPage:
    return UploadPage(page).open()


@pytest.fixture(scope="package")
def numbers() -> Iterator[int]:
    """So that no study of one test is a duplicate of another's."""
    return iter(range(100, 10_000))


@pytest.fixture
def studies(tmp_path: Path, numbers: Iterator[int]) -> Studies:
    return Studies(tmp_path / "disc", numbers)
