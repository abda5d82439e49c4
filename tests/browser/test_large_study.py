"""A whole CT through the page: 600 slices, 315 MB, with the web server killed in the middle."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.studies import Studies
from tests.browser.upload_page import UploadPage
from tests.loopback import data_set_of
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.long]

SLICES, EDGE = 600, 512


def digests_at_the_pacs(data_dir: Path, study: str) -> set[str]:
    """SHA-256 of the data sets that the demo PACS keeps of a study."""
    folder = data_dir / "demo-pacs"
    with closing(sqlite3.connect(folder / "index.sqlite3")) as index:
        files = [row[0] for row in index.execute("SELECT file FROM object WHERE study = ?", (study,))]
    return {sha256_of_data_set(folder / "objects" / name) for name in files}


def sha256_of_data_set(path: Path) -> str:
    return hashlib.sha256(data_set_of(path.read_bytes())).hexdigest()


def test_six_hundred_slices_survive_the_end_of_the_web_server(
    running: Stack, upload_page: UploadPage, studies: Studies
) -> None:
    folder = studies.write(slices=SLICES, edge=EDGE)
    expected = {sha256_of_data_set(path) for path in folder.iterdir()}
    upload_page.choose_folder(folder)
    upload_page.tick()
    upload_page.send()
    upload_page.wait_for_share(0.3)
    old = running.kill("web")
    running.wait_back("web", old=old)
    card = upload_page.cards.first
    expect(card.locator(".truth")).to_have_attribute("data-state", "verified", timeout=240_000)
    truth = upload_page.truth()
    [delivery] = truth["deliveries"]
    assert (delivery["stored"], delivery["verified"], delivery["instances"]) == (SLICES, SLICES, SLICES)
    assert truth["total_size"] > 315_000_000
    assert upload_page.chunks <= truth["chunk_count"] * 1.3 + 8, "only what was under way is sent again"
    assert digests_at_the_pacs(running.data_dir, truth["studies"][0]["study_instance_uid"]) == expected
