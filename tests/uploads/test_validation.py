"""Whole, and of one patient: what a hand-in must show before anything leaves for a PACS, with real files."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from accounts.models import Role, User
from tests import factories
from tests.handin import HandIn, let_leases_lapse, work
from uploads.models import Chunk, Upload
from uploads.pipeline import legs
from uploads.storage import pack_of

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]


def sample(name: str = "CT_small.dcm") -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def changed(data: bytes, **values: Any) -> bytes:
    """The same instance with other values; a new SOPInstanceUID goes into the meta header as well."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    target = io.BytesIO()
    dataset.save_as(target)
    return target.getvalue()


@pytest.fixture
def user() -> User:
    """A radiographer; the PACS of these tests is paused, so that nothing is sent."""
    factories.DestinationFactory.create(paused=True)
    return factories.person(Role.RADIOGRAPHER)


@pytest.fixture
def validated(user: User) -> Callable[..., HandIn]:
    def run(files: dict[str, bytes], **fields: Any) -> HandIn:
        hand_in = HandIn(user, files).everything(**fields)
        while legs.advance():
            pass
        return hand_in

    return run


def problems(truth: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {p["file"]: (p["code"], p["effect"]) for p in truth["problems"]}


def test_it_lists_junk_and_goes_on(validated: Callable[..., HandIn]) -> None:
    truth = validated(
        {
            "IM1": sample(),
            "DICOMDIR": sample("DICOMDIR"),
            "viewer.exe": b"MZ" + os.urandom(3000),
            "notes.txt": b"read me",
            "nothing": b"",
        }
    ).truth()
    assert truth["state"] == "delivering"
    assert truth["files"] == {"total": 5, "dicom": 1, "ignored": 4, "rejected": 0}
    assert problems(truth) == {
        "DICOMDIR": ("dicomdir", "ignored"),
        "viewer.exe": ("viewer_file", "ignored"),
        "notes.txt": ("not_dicom", "ignored"),
        "nothing": ("empty_file", "ignored"),
    }
    assert all(problem["detail"] for problem in truth["problems"])


def test_it_rejects_a_hand_in_without_dicom(validated: Callable[..., HandIn]) -> None:
    truth = validated({"notes.txt": b"read me", "other": os.urandom(5000)}).truth()
    assert truth["state"] == "rejected"
    assert truth["problems"][0]["code"] == "no_dicom"
    assert truth["deliveries"] == []


def test_it_holds_the_rest_when_one_file_is_truncated(validated: Callable[..., HandIn]) -> None:
    other = changed(sample(), SOPInstanceUID=generate_uid())
    hand_in = validated({"good": sample(), "cut": other[:20_000]})
    truth = hand_in.truth()
    assert truth["state"] == "held"
    assert problems(truth)["cut"] == ("truncated", "held")
    [hold] = truth["holds"]
    assert (hold["code"], hold["files"]) == ("bad_files", [1])
    assert "proceed" in hold["choices"]
    answer = hand_in.client.post(
        f"{hand_in.url}/confirm", {"hold": hold["id"], "decision": "proceed"}, content_type="application/json"
    )
    assert answer.status_code == 200
    while legs.advance():
        pass
    truth = hand_in.truth()
    assert truth["state"] == "delivering"
    assert truth["deliveries"][0]["instances"] == 1


def test_it_rejects_when_nothing_whole_is_left(validated: Callable[..., HandIn]) -> None:
    truth = validated({"cut": sample()[:20_000]}).truth()
    assert (truth["state"], truth["problems"][0]["code"]) == ("rejected", "truncated")


def test_it_refuses_archives_and_pictures(validated: Callable[..., HandIn]) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("IM1", sample())
    truth = validated({"study.zip": archive.getvalue()}).truth()
    assert (truth["state"], truth["problems"][0]["code"]) == ("rejected", "archive_unsupported")


def test_it_rejects_two_patients(validated: Callable[..., HandIn]) -> None:
    other = changed(
        sample(),
        PatientID="SOMEBODY-ELSE",
        PatientName="Else^Somebody",
        StudyInstanceUID=generate_uid(),
        SeriesInstanceUID=generate_uid(),
        SOPInstanceUID=generate_uid(),
    )
    truth = validated({"one": sample(), "two": other}).truth()
    assert (truth["state"], truth["problems"][0]["code"]) == ("rejected", "several_patients")
    assert truth["deliveries"] == []


def test_it_asks_study_by_study_in_batch_mode(user: User, validated: Callable[..., HandIn]) -> None:
    clinic = user.memberships.get().clinic
    assert clinic is not None
    clinic.batch_mode = True
    clinic.save()
    other = changed(
        sample(),
        PatientID="SOMEBODY-ELSE",
        PatientName="Else^Somebody",
        StudyInstanceUID=generate_uid(),
        SeriesInstanceUID=generate_uid(),
        SOPInstanceUID=generate_uid(),
    )
    truth = validated({"one": sample(), "two": other}).truth()
    assert truth["state"] == "held"
    assert [hold["code"] for hold in truth["holds"]] == ["several_patients"] * 2


def test_it_goes_on_with_several_studies_of_one_patient(validated: Callable[..., HandIn]) -> None:
    other = changed(
        sample(), StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), SOPInstanceUID=generate_uid()
    )
    truth = validated({"one": sample(), "two": other}).truth()
    assert (truth["state"], len(truth["studies"]), len(truth["deliveries"])) == ("delivering", 2, 2)


def test_it_holds_a_study_with_two_identities(validated: Callable[..., HandIn]) -> None:
    other = changed(sample(), PatientID="SOMEBODY-ELSE", PatientName="Else^Somebody", SOPInstanceUID=generate_uid())
    hand_in = validated({"one": sample(), "two": other})
    truth = hand_in.truth()
    [hold] = truth["holds"]
    assert (truth["state"], hold["code"]) == ("held", "two_identities")
    plain = hand_in.client.post(
        f"{hand_in.url}/confirm",
        {"hold": hold["id"], "decision": "proceed", "reason": "it is fine"},
        content_type="application/json",
    )
    assert (plain.status_code, plain.json()["code"]) == (403, "forbidden")
    excluded = hand_in.client.post(
        f"{hand_in.url}/confirm",
        {"hold": hold["id"], "decision": "exclude", "files": ["two"]},
        content_type="application/json",
    )
    assert excluded.status_code == 200
    while legs.advance():
        pass
    truth = hand_in.truth()
    assert (truth["state"], truth["deliveries"][0]["instances"]) == ("delivering", 1)
    assert truth["files"]["ignored"] == 1


def test_it_holds_one_uid_with_two_contents_and_sends_harmless_copies_once(validated: Callable[..., HandIn]) -> None:
    again = changed(sample(), PatientComments="other bytes")
    truth = validated({"one": sample(), "two": again}).truth()
    assert (truth["state"], truth["holds"][0]["code"]) == ("held", "uid_reused")
    truth = validated({"one": sample(), "copy": sample()}, allow_duplicate=True).truth()
    assert (truth["state"], truth["deliveries"][0]["instances"]) == ("delivering", 1)


def test_it_remembers_what_was_delivered_under_a_uid(validated: Callable[..., HandIn]) -> None:
    assert validated({"one": sample()}).truth()["state"] == "delivering"
    truth = validated({"one": changed(sample(), PatientComments="other bytes")}, allow_duplicate=True).truth()
    assert (truth["state"], truth["holds"][0]["code"]) == ("held", "uid_reused")
    moved = changed(sample(), StudyInstanceUID=generate_uid())
    codes = {hold["code"] for hold in validated({"one": moved}, allow_duplicate=True).truth()["holds"]}
    assert "uid_moved" in codes


def test_it_asks_about_a_study_that_was_handed_in_before(validated: Callable[..., HandIn]) -> None:
    validated({"one": sample()})
    hand_in = validated({"one": sample()})
    [hold] = hand_in.truth()["holds"]
    assert hold["code"] == "duplicate_study"
    answer = hand_in.client.post(
        f"{hand_in.url}/confirm", {"hold": hold["id"], "decision": "proceed"}, content_type="application/json"
    )
    assert answer.status_code == 200
    while legs.advance():
        pass
    assert hand_in.truth()["state"] == "delivering"


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        ({"id": "1CT1", "name": "CompressedSamples CT1"}, None),
        ({"id": "1CT1", "name": "CompressedSampels^CT1"}, "identity_near"),
        ({"id": "OTHER", "name": "Else^Somebody", "birth_date": "19700101"}, "identity_mismatch"),
    ],
)
def test_it_compares_with_the_patient_expected(
    validated: Callable[..., HandIn], expected: dict[str, str], code: str | None
) -> None:
    hand_in = validated({"one": sample()}, expected_patient=expected)
    truth = hand_in.truth()
    assert [hold["code"] for hold in truth["holds"]] == ([code] if code else [])
    assert truth["state"] == ("held" if code else "delivering")


def test_a_near_match_needs_a_reason(validated: Callable[..., HandIn]) -> None:
    hand_in = validated({"one": sample()}, expected_patient={"name": "CompressedSampels^CT1"})
    [hold] = hand_in.truth()["holds"]
    body: dict[str, Any] = {"hold": hold["id"], "decision": "proceed"}
    bare = hand_in.client.post(f"{hand_in.url}/confirm", body, content_type="application/json")
    assert (bare.status_code, bare.json()["code"]) == (400, "reason_required")
    said = hand_in.client.post(
        f"{hand_in.url}/confirm", body | {"reason": "typing error"}, content_type="application/json"
    )
    assert said.status_code == 200
    assert Upload.objects.get(pk=hand_in.id).holds.get().reason == "typing error"


def test_a_person_may_reject_what_is_held(validated: Callable[..., HandIn]) -> None:
    hand_in = validated({"good": sample(), "cut": changed(sample(), SOPInstanceUID=generate_uid())[:20_000]})
    [hold] = hand_in.truth()["holds"]
    hand_in.client.post(
        f"{hand_in.url}/confirm", {"hold": hold["id"], "decision": "reject"}, content_type="application/json"
    )
    assert hand_in.truth()["state"] == "rejected"


def test_it_refuses_a_file_whose_digest_is_not_the_one_declared(user: User) -> None:
    hand_in = HandIn(user, {"one": sample()})
    hand_in.open(files=[{"name": "one", "size": len(hand_in.pack), "sha256": "0" * 64}])
    hand_in.send_all()
    hand_in.complete()
    while legs.advance():
        pass
    truth = hand_in.truth()
    assert (truth["state"], truth["problems"][0]["code"]) == ("rejected", "digest_mismatch")


def test_it_asks_again_for_a_chunk_that_rotted_on_disk(user: User) -> None:
    hand_in = HandIn(user, {"one": sample("MR_small.dcm"), "two": os.urandom(600_000)}).everything()
    pack = pack_of(hand_in.upload.pk)
    with pack.open(write=True) as fd:
        os.pwrite(fd, b"rot", 300_000)
    assert legs.advance()
    truth = hand_in.truth()
    assert (truth["state"], truth["progress"]["missing"]) == ("receiving", [[1, 1]])
    assert hand_in.put(1).status_code == 204
    assert hand_in.complete().status_code == 202
    while legs.advance():
        pass
    assert hand_in.truth()["state"] == "delivering"


@pytest.mark.parametrize("leg", ["assembling", "validating"])
def test_a_worker_that_dies_in_a_leg_costs_nothing(user: User, monkeypatch: pytest.MonkeyPatch, leg: str) -> None:
    class Died(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Died

    hand_in = HandIn(user, {"one": sample()}).everything()
    if leg == "validating":
        legs.advance()
    with monkeypatch.context() as patched:
        patched.setitem(legs.LEGS, leg, die)
        with pytest.raises(Died):
            legs.advance()
    assert not legs.advance(), "the lease still holds"
    let_leases_lapse()
    while legs.advance():
        pass
    assert hand_in.truth()["state"] == "delivering"


def test_a_leg_that_kills_every_worker_is_given_up_and_can_be_retried(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    hand_in = HandIn(user, {"one": sample()}).everything()
    with monkeypatch.context() as patched:
        patched.setitem(legs.LEGS, "assembling", die)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                legs.advance()
            let_leases_lapse()
        assert legs.advance()
    truth = hand_in.truth()
    assert (truth["state"], truth["problems"][0]["code"]) == ("failed", "leg_gave_up")
    assert hand_in.client.post(f"{hand_in.url}/retry").status_code == 202
    while legs.advance():
        pass
    assert hand_in.truth()["state"] == "delivering"


def test_complete_does_the_work_itself_where_asked(user: User, settings: Any) -> None:
    settings.ENABLE_ASYNC_UPLOAD = False
    hand_in = HandIn(user, {"one": sample()})
    hand_in.open()
    hand_in.send_all()
    response = hand_in.complete()
    assert (response.status_code, response.json()["state"]) == (202, "delivering")


def test_a_study_without_anywhere_to_go_is_kept_and_can_be_retried() -> None:
    hand_in = HandIn(factories.person(Role.RADIOGRAPHER), {"one": sample()}).everything()
    work()
    truth = hand_in.truth()
    assert (truth["state"], truth["problems"][0]["code"]) == ("failed", "no_destination")
    factories.DestinationFactory.create(paused=True)
    assert hand_in.client.post(f"{hand_in.url}/retry").status_code == 202
    work()
    assert hand_in.truth()["state"] == "delivering"
    assert Chunk.objects.exists()
