"""The upload page as a test drives it: choose, tick, send, follow."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

CHUNK = re.compile(r"/api/v1/uploads/[0-9a-f-]+/chunks/\d+$")
SLOW_LINE = 400_000  # bytes per second
SMALL_CHUNKS = 20_000  # a rate at which the page asks for chunks of 256 KiB


class Line:
    """The line between the browser and the server, as the browser's debugger can spoil it."""

    def __init__(self, page: Page) -> None:
        self.debugger = page.context.new_cdp_session(page)
        self.debugger.send("Network.enable")

    def become(self, *, rate: int = -1, cut: bool = False) -> None:
        """Of so many bytes per second (-1: as it is), or cut."""
        conditions = {"offline": cut, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate}
        self.debugger.send("Network.emulateNetworkConditions", conditions)


class UploadPage:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.chunks = 0
        page.on("request", self._count)

    def _count(self, request: Any) -> None:
        if request.method == "PUT" and CHUNK.search(request.url):
            self.chunks += 1

    def open(self) -> "UploadPage":
        self.page.goto("/uploads/new")
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Until the page's script has taken hold of its buttons."""
        expect(self.page.locator("#choose-folder")).to_be_enabled()

    @property
    def cards(self) -> Locator:
        return self.page.locator(".study-card")

    @property
    def send_button(self) -> Locator:
        return self.page.locator("#send")

    def choose_folder(self, folder: Path, *, cards: int = 1) -> None:
        self.wait_until_ready()
        self.page.locator("#folder").set_input_files(folder)
        expect(self.cards).to_have_count(cards)

    def choose_files(self, files: Sequence[Path], *, cards: int = 1) -> None:
        self.wait_until_ready()
        self.page.locator("#files").set_input_files(list(files))
        expect(self.cards).to_have_count(cards)

    def drop(self, folder: Path) -> None:
        """Drops it from the desktop, as the browser's own debugger can."""
        box = self.page.locator("#choose").bounding_box()
        assert box is not None
        debugger = self.page.context.new_cdp_session(self.page)
        data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            debugger.send(
                "Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 40, "y": box["y"] + 40, "data": data}
            )

    def tick(self, card: Locator | None = None) -> None:
        (card or self.cards.first).get_by_role("checkbox").check()

    def send(self) -> None:
        self.send_button.click()

    def slow_down(self) -> "Line":
        """A slow line and small chunks, so that there is a middle in which something can happen."""
        self.page.evaluate(f"localStorage.setItem('relaypacs.rate', '{SMALL_CHUNKS}')")
        line = Line(self.page)
        line.become(rate=SLOW_LINE)
        return line

    def wait_for_share(self, share: float) -> None:
        """Until so much of it (0 to 1) has been sent."""
        self.page.wait_for_function(
            "share => { const bar = document.querySelector('.going > progress');"
            " const badge = document.querySelector('.phase-badge');"
            " return badge?.textContent === 'Uploading' && bar.value > bar.max * share }",
            arg=share,
        )

    def upload_id(self) -> str:
        """From the link to the upload's page, which stands there once it is received."""
        address = self.cards.first.get_by_role("link", name="Open the page of this upload").get_attribute("href")
        assert address is not None
        return address.strip("/").rsplit("/", 1)[-1]

    def truth(self) -> dict[str, Any]:
        answer = self.page.request.get(f"/api/v1/uploads/{self.upload_id()}")
        assert answer.status == 200
        body: dict[str, Any] = answer.json()
        return body

    def expect_state(self, state: str) -> None:
        """As the card tells it while it follows the upload."""
        expect(self.cards.first.locator(".truth")).to_have_attribute("data-state", state, timeout=60_000)
