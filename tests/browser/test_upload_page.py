"""The upload page: choosing, what it finds, confirming, and following a study until it is verified."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from relaypacs.demo.phantom import write_sample
from tests.browser.studies import Studies, rename
from tests.browser.upload_page import UploadPage

pytestmark = [pytest.mark.browser, pytest.mark.integration]


def test_it_takes_the_sample_study_to_verified(upload_page: UploadPage, tmp_path: Path) -> None:
    write_sample(tmp_path / "sample")
    upload_page.choose_folder(tmp_path / "sample")
    card = upload_page.cards.first
    for words in ("TEST, PATIENT", "RELAYPACS-DEMO", "1 Jan 1900, other", "CT · RelayPACS test phantom, head"):
        expect(card).to_contain_text(words)
    expect(card).to_contain_text("1 series, 24 images")
    expect(upload_page.send_button).to_be_disabled()
    card.get_by_role("radio", name="STAT").check()
    card.get_by_label("Clinical history").fill("Fell from a ladder. Fracture?")
    upload_page.tick()
    upload_page.send()
    expect(upload_page.page.locator("#safe")).to_contain_text("You may close this page")
    upload_page.expect_state("verified")
    truth = upload_page.truth()
    assert (truth["service_level"], truth["clinical_history"]) == ("stat", "Fell from a ladder. Fracture?")
    [delivery] = truth["deliveries"]
    assert (delivery["state"], delivery["verified"], delivery["instances"]) == ("verified", 24, 24)


def test_it_never_says_more_than_the_server_does(upload_page: UploadPage, studies: Studies) -> None:
    """Every word on the card is looked at as it changes."""
    upload_page.page.evaluate("""
        globalThis.told = [];
        new MutationObserver(() => {
          const truth = document.querySelector(".follow .truth");
          if (truth) told.push([truth.dataset.state, truth.querySelector(".truth-badges").textContent.trim()]);
          else told.push(["", document.querySelector(".phase-badge")?.textContent ?? ""]);
        }).observe(document.getElementById("cards"), { subtree: true, childList: true, characterData: true });
    """)
    upload_page.choose_folder(studies.write())
    upload_page.tick()
    upload_page.send()
    upload_page.expect_state("verified")
    told = upload_page.page.evaluate("told")
    before = {badge for state, badge in told if not state}
    assert not {badge for badge in before if re.search("[Dd]elivered|[Vv]erified", badge)}
    assert all(badge.lower().startswith(state) for state, badge in told if state)
    received = upload_page.truth()["completed_at"]
    assert received < upload_page.truth()["delivered_at"] < upload_page.truth()["verified_at"]


def test_a_disc_shows_its_study_and_what_is_left_out(upload_page: UploadPage, studies: Studies) -> None:
    upload_page.choose_folder(studies.disc(slices=4))
    expect(upload_page.cards.first).to_contain_text("1 series, 4 images")
    left_out = upload_page.page.locator("#left-out")
    expect(left_out.locator("summary")).to_have_text("4 files will not be sent")
    left_out.locator("summary").click()
    for reason, name in (
        ("part of a viewer program", "viewer.exe"),
        ("empty", "empty.dcm"),
        ("not DICOM", "notes.txt"),
    ):
        expect(left_out.locator(f"h3:has-text('{reason}') + ul")).to_contain_text(name)


def test_a_folder_without_images_is_told_so(upload_page: UploadPage, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("Dear colleague, please find enclosed nothing at all.\n")
    upload_page.choose_folder(tmp_path / "letters", cards=0)
    expect(upload_page.page.locator("#warnings")).to_contain_text("No DICOM image was found")
    expect(upload_page.page.locator("#send-panel")).to_be_hidden()


def test_a_dropped_folder_is_read_to_its_end(upload_page: UploadPage, studies: Studies) -> None:
    """The browser hands out the entries of a folder a hundred at a time."""
    studies.write(slices=230, edge=16)
    upload_page.drop(studies.folder)
    expect(upload_page.cards.first).to_contain_text("1 series, 230 images")


def test_single_files_may_be_chosen(upload_page: UploadPage, studies: Studies) -> None:
    files = sorted(studies.write(slices=5).iterdir())
    upload_page.choose_files(files[:3])
    expect(upload_page.cards.first).to_contain_text("1 series, 3 images")


def test_two_patients_are_two_uploads_each_confirmed_by_itself(upload_page: UploadPage, studies: Studies) -> None:
    studies.write(patient="Roe^Rick")
    studies.write(patient="Müller^Jürgen")
    upload_page.choose_folder(studies.folder, cards=2)
    expect(upload_page.page.locator("#warnings")).to_contain_text("There are 2 patients here")
    expect(upload_page.cards.first).to_contain_text("Müller, Jürgen")
    upload_page.tick(upload_page.cards.first)
    expect(upload_page.send_button).to_have_text("Upload 1 study")
    upload_page.send()
    upload_page.expect_state("verified")
    expect(upload_page.cards.nth(1).get_by_role("checkbox")).not_to_be_checked()
    assert [study["patient"]["name"] for study in upload_page.truth()["studies"]] == ["Müller^Jürgen"]


def test_two_names_in_one_study_are_shown_before_anything_is_sent(upload_page: UploadPage, studies: Studies) -> None:
    folder = studies.write(slices=4)
    rename(min(folder.iterdir()), "Other^Person")
    upload_page.choose_folder(folder)
    expect(upload_page.cards.first).to_contain_text("This one study names 2 patients")


def test_a_study_handed_in_before_is_shown_with_a_choice(upload_page: UploadPage, studies: Studies) -> None:
    folder = studies.write()
    upload_page.choose_folder(folder)
    upload_page.tick()
    upload_page.send()
    upload_page.expect_state("verified")
    first = upload_page.upload_id()
    upload_page.open()
    upload_page.choose_folder(folder)
    upload_page.tick()
    upload_page.send()
    trouble = upload_page.cards.first.locator(".trouble")
    expect(trouble).to_contain_text("handed in before")
    link = trouble.get_by_role("link", name="Look at the earlier upload")
    expect(link).to_have_attribute("href", f"/uploads/{first}/")
    expect(upload_page.page.locator("#overall-title")).to_have_text("Nothing was sent")
    upload_page.cards.first.get_by_role("button", name="Send it again all the same").click()
    upload_page.expect_state("verified")
    assert upload_page.upload_id() != first


def test_it_works_by_keyboard_alone(page: Page, studies: Studies) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement?.matches(selector) ?? false", selector):
                return
        raise AssertionError(f"{selector} is not reached with Tab")

    page.goto("/uploads/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab_to(".main-nav a[href='/uploads/new']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/uploads/new")
    expect(page.locator("#choose-folder")).to_be_enabled()
    tab_to("#choose-folder")
    page.evaluate("document.querySelector('#folder').addEventListener('click', () => { window.asked = true })")
    page.keyboard.press("Enter")
    page.wait_for_function("window.asked === true")  # the system's own dialog is open now
    page.locator("#folder").set_input_files(studies.write())
    expect(page.locator("#found-title")).to_be_focused()
    tab_to("input[type=radio]")
    page.keyboard.press("ArrowDown")
    tab_to("textarea")
    page.keyboard.type("Cough for three weeks.")
    tab_to(".confirmed")
    page.keyboard.press("Space")
    tab_to("#send")
    page.keyboard.press("Enter")
    upload_page = UploadPage(page)
    upload_page.expect_state("verified")
    truth = upload_page.truth()
    assert (truth["service_level"], truth["clinical_history"]) == ("emergency", "Cough for three weeks.")
