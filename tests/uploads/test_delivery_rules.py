"""The safety rules of delivery from end to end: left out, decoded, refused beforehand, and changed by the PACS."""

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from accounts.models import Role, User
from tests import factories
from tests.handin import HandIn, make_due, work
from tests.peers import storescp
from tests.scripted import ScriptedSCP, scripted_scp, stored_instances
from tests.uploads.pacs.webpeers import web_orthanc
from tests.uploads.test_delivery import only, study, to
from tests.uploads.test_validation import changed
from uploads.models import Delivery, LedgerEntry
from uploads.pacs import qido
from uploads.storage import pack_of

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]

STUDY = str(pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).StudyInstanceUID)


@pytest.fixture
def user() -> User:
    return factories.person(Role.RADIOGRAPHER)


def file(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def notes() -> list[str]:
    return [note["code"] for note in Delivery.objects.get().notes]


# --- S8: what a destination may do without -------------------------------------------------------------


def with_report() -> dict[str, bytes]:
    report = changed(
        file("reportsi.dcm"), StudyInstanceUID=STUDY, PatientID="1CT1", PatientName="CompressedSamples^CT1"
    )
    return study(2) | {"SR1": report}


def test_a_report_that_the_pacs_refuses_does_not_hold_the_images_where_that_is_allowed(user: User) -> None:
    optional = [{"sop_class": "structured_report", "note": "Reports are read elsewhere."}]
    sop_uid = str(pydicom.dcmread(str(get_testdata_file("reportsi.dcm"))).SOPInstanceUID)
    with scripted_scp(statuses={sop_uid: 0x0122}) as pacs:
        to(pacs, optional_classes=optional)
        hand_in = HandIn(user, with_report()).everything()
        work()
    if hand_in.truth()["state"] == "held":
        pytest.fail(str(hand_in.truth()["holds"]))
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["stored"], found["refused"]) == ("verified", 2, 0)
    assert notes() == ["left_out"]
    assert "Reports are read elsewhere." in Delivery.objects.get().notes[0]["detail"]


def test_where_all_is_left_out_nothing_is_delivered(user: User) -> None:
    with scripted_scp(statuses=[0x0122] * 3) as pacs:
        to(pacs, optional_classes=[{"sop_class": "1.2.840.10008.5.1.4.1.1.2", "note": ""}])
        hand_in = HandIn(user, study(3)).everything()
        work()
    assert (hand_in.truth()["state"], only(hand_in)["last_error"]["code"]) == ("failed", "nothing_taken")


# --- Rules of one destination ---------------------------------------------------------------------------


def test_a_rule_of_the_destination_says_what_its_answer_means(user: User) -> None:
    with scripted_scp(statuses=[0xC000]) as pacs:
        to(pacs, outcome_rules=[{"status": "C000", "action": "retry", "attempts": 3, "note": "It is busy then."}])
        hand_in = HandIn(user, study(1)).everything()
        work()
        assert only(hand_in)["state"] == "waiting"
        make_due()
        work()
    assert hand_in.truth()["state"] == "verified"


def test_rules_that_cannot_be_read_pause_the_destination_and_keep_the_study(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, outcome_rules=[{"status": "0000", "action": "give_up"}])
        hand_in = HandIn(user, study(1)).everything()
        work()
        assert (only(hand_in)["state"], pacs.received) == ("paused", [])


# --- S6: decoded where it is allowed ---------------------------------------------------------------------


def compressed() -> dict[str, bytes]:
    return {"J2K": file("JPEG2000.dcm")}


def test_an_image_refused_for_its_encoding_is_sent_decoded_where_that_is_allowed(user: User, tmp_path: Path) -> None:
    with storescp("+x=") as pacs:  # takes uncompressed images alone
        to(pacs, transcode=True, proof_wanted="none")
        hand_in = HandIn(user, compressed()).everything()
        work()
        [stored] = list(pacs.directory.iterdir())
        sent = pydicom.dcmread(stored)
    assert (hand_in.truth()["state"], only(hand_in)["stored"]) == ("delivered", 1)
    original = pydicom.dcmread(str(get_testdata_file("JPEG2000.dcm")))
    assert str(sent.file_meta.TransferSyntaxUID) == "1.2.840.10008.1.2.1"
    assert sent.SOPInstanceUID == original.SOPInstanceUID
    assert (sent.pixel_array == original.pixel_array).all()
    assert notes() == ["decoded"]
    assert LedgerEntry.objects.get().derived_sha256
    pack_of(hand_in.upload.pk).remove()
    assert not pack_of(hand_in.upload.pk).derived.exists()
    assert not pack_of(hand_in.upload.pk).exists()


def test_it_is_refused_where_it_is_not_allowed(user: User) -> None:
    with storescp("+x=") as pacs:
        to(pacs)
        hand_in = HandIn(user, compressed()).everything()
        work()
        assert list(pacs.directory.iterdir()) == []
    assert (hand_in.truth()["state"], only(hand_in)["refused"]) == ("failed", 1)


# --- S13, S14: refused before anything is sent -----------------------------------------------------------


def test_what_lacks_a_required_tag_is_not_sent_and_the_reason_names_it(user: User) -> None:
    with scripted_scp() as pacs:
        to(pacs, required_tags=["AccessionNumber"])
        hand_in = HandIn(user, study(2)).everything()
        work()
        assert pacs.received == []
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["refused"]) == ("failed", 2)
    assert found["last_error"]["code"] == "required_tag_missing"
    assert "AccessionNumber" in found["last_error"]["detail"]


def test_a_destination_without_names_gets_no_image_that_may_show_one(user: User) -> None:
    files = study(2)
    files["IM2"] = changed(files["IM2"], BurnedInAnnotation="YES")
    with scripted_scp() as pacs:
        to(pacs, deidentified=True)
        hand_in = HandIn(user, files).everything()
        work()
        assert len(pacs.received) == 1
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["last_error"]["code"]) == ("failed", "burned_in_candidate")


# --- S15: what the PACS made of the identity ---------------------------------------------------------------


def shows(**values: str) -> Any:
    """A PACS that answers at study level with these values, and at image level with what it has."""

    def find(query: Dataset, scp: ScriptedSCP) -> Any:
        if query.QueryRetrieveLevel != "STUDY":
            yield from stored_instances(query, scp)
            return
        answer = Dataset()
        answer.QueryRetrieveLevel = "STUDY"
        answer.StudyInstanceUID = query.StudyInstanceUID
        for keyword, value in values.items():
            setattr(answer, keyword, value)
        yield 0xFF00, answer

    return find


def test_a_changed_spelling_is_told_and_the_study_is_verified(user: User) -> None:
    with scripted_scp(statuses=[0xB000], find=shows(PatientID="1CT1", PatientName="COMPRESSEDSAMPLES^CT1")) as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        work()
    assert (hand_in.truth()["state"], only(hand_in)["changed"]) == ("verified", 1)
    assert notes() == ["details_changed"]


def test_another_patient_id_is_never_verified(user: User) -> None:
    with scripted_scp(statuses=[0xB000], find=shows(PatientID="SOMEBODY", PatientName="Else^Somebody")) as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        work()
    found = only(hand_in)
    assert (hand_in.truth()["state"], found["state"], found["proof"]) == ("delivered", "stored", "none")
    assert found["last_error"]["code"] == "identity_changed"
    assert notes() == ["identity_changed"]


def test_a_pacs_that_changed_nothing_of_the_patient_has_nothing_told(user: User) -> None:
    with scripted_scp(statuses=[0xB000], find=shows(PatientID="1CT1", PatientName="CompressedSamples^CT1")) as pacs:
        to(pacs)
        hand_in = HandIn(user, study(1)).everything()
        work()
    assert (hand_in.truth()["state"], notes()) == ("verified", [])


def test_qido_shows_whose_the_study_is(user: User, tmp_path: Path) -> None:
    with web_orthanc(tmp_path) as (pacs, peer):
        to(pacs, proof_wanted="none")
        HandIn(user, study(1)).everything()
        work()
        found = qido.find_study(peer, STUDY)
        assert qido.find_study(peer, "1.2.3") is None
    assert found is not None
    assert (found.values["PatientID"], found.values["PatientName"]) == ("1CT1", "CompressedSamples^CT1")
