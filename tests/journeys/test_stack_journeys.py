"""Studies through the real processes: to every kind of PACS, there or not, byte for byte."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.journeys.gateway import (
    SOON,
    Gateway,
    Truth,
    data_sets,
    digest_of,
    open_upload,
    put,
    side_by_side,
    small_study,
)
from tests.peers import orthanc, scripted_scp, storescp
from tests.stack import stack
from tests.uploads.dicom.test_corpus import FILES, REFUSED, SENDABLE
from uploads.client import Client, group

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long]

TRUNCATED = "test_files/MR_truncated.dcm"


# --- Everything pydicom brings ---------------------------------------------------------------------------------------


def instance_of(path: Path) -> str:
    return next(iter(data_sets([path])))


def waves() -> list[list[Path]]:
    """The sendable files, so dealt that no wave holds one SOP Instance UID twice: many samples share theirs."""
    by_uid: dict[str, list[Path]] = defaultdict(list)
    for name in SENDABLE:
        by_uid[instance_of(FILES[name])].append(FILES[name])
    dealt: list[list[Path]] = [[] for _ in range(max(map(len, by_uid.values())))]
    for paths in by_uid.values():
        for wave, path in zip(dealt, paths, strict=False):
            wave.append(path)
    return dealt


def let_through(gateway: Gateway, upload: str) -> Truth:
    """The administrator's decision on samples that have the identifiers of others: on purpose, they are samples."""
    with gateway.http("admin") as http:
        truth: Truth = http.get(f"/uploads/{upload}").json()
        for hold in truth["holds"]:
            assert hold["code"] in ("uid_reused", "uid_moved"), hold
            answer = {"hold": hold["id"], "decision": "proceed", "reason": "samples made from one another"}
            http.post(f"/uploads/{upload}/confirm", json=answer).raise_for_status()
    return gateway.wait_for(upload, lambda truth: truth["state"] in ("verified", "held", "failed", "rejected"))


def relay(gateway: Gateway, client: Client, paths: list[Path]) -> Truth:
    sent = client.send(paths, allow_duplicate=True)
    return let_through(gateway, sent.id) if sent.truth["state"] == "held" else sent.truth


def test_every_sendable_sample_arrives_byte_for_byte(gateway: Gateway) -> None:
    arrived: list[str] = []
    for number, wave in enumerate(waves()):  # each to a PACS that has nothing of the names of the ones before
        with scripted_scp() as pacs, gateway.only(**{f"Samples {number}": f"dicom://{pacs.ae}@127.0.0.1:{pacs.port}"}):
            with gateway.client() as client:
                send_wave(gateway, client, wave)
            arrived += [one.sha256 for one in pacs.received]
    assert sorted(arrived) == sorted(digest_of(FILES[name]) for name in SENDABLE)


def send_wave(gateway: Gateway, client: Client, wave: list[Path]) -> None:
    with group(wave) as found:
        assert found.left_out == []
        studies = [[path for path, _ in study.files] for study in found.studies]
        works = [partial(relay, gateway, client, paths) for paths in studies]
        truths = side_by_side(works)
    for truth in truths:
        codes = {delivery["last_error"]["code"] for delivery in truth["deliveries"] if delivery["last_error"]}
        assert truth["state"] == "verified", (codes, json.dumps(truth)[:2000])


def test_each_broken_sample_is_refused_with_its_reason(gateway: Gateway) -> None:
    files = {name: FILES[name].read_bytes() for name in REFUSED}
    truth = hand_in(gateway, files)
    assert truth["state"] == "rejected"
    assert {one["file"]: one["code"] for one in truth["problems"] if one["file"]} == REFUSED
    assert all(one["detail"] for one in truth["problems"])
    assert truth["deliveries"] == []


def hand_in(gateway: Gateway, files: dict[str, bytes]) -> Truth:
    pack = b"".join(files.values())
    with gateway.http() as http:
        opened = open_upload(http, files)
        for index in range(opened["chunk_count"]):
            size = opened["chunk_size"]
            assert put(http, opened["id"], index, pack[index * size : (index + 1) * size]).status_code == 204
        assert http.post(f"/uploads/{opened['id']}/complete", json={}).status_code == 202
    return gateway.wait_for(opened["id"], lambda truth: truth["state"] not in ("assembling", "validating"))


def test_one_broken_file_alone_gives_the_upload_its_reason(gateway: Gateway) -> None:
    truth = hand_in(gateway, {"IM1": FILES[TRUNCATED].read_bytes()})
    assert truth["state"] == "rejected"
    assert {one["code"] for one in truth["problems"]} == {"truncated"}


def test_a_broken_file_holds_its_study_until_a_person_leaves_it_out(gateway: Gateway, tmp_path: Path) -> None:
    paths = small_study(tmp_path, seed=100, slices=3)
    files = {path.name: path.read_bytes() for path in paths}
    files["IM00003.dcm"] = files["IM00003.dcm"][:-200]
    truth = hand_in(gateway, files)
    assert truth["state"] == "held"
    assert [(hold["code"], hold["files"]) for hold in truth["holds"]] == [("bad_files", [2])]
    assert [(one["code"], one["effect"]) for one in truth["problems"]] == [("truncated", "held")]
    with gateway.http() as http:
        answer = {"hold": truth["holds"][0]["id"], "decision": "exclude", "files": [2]}
        http.post(f"/uploads/{truth['id']}/confirm", json=answer).raise_for_status()
    assert gateway.wait_verified(truth["id"])["deliveries"][0]["verified"] == 2
    kept = gateway.at_demo_pacs()
    expected = data_sets(paths)
    assert {uid for uid in expected if uid in kept} == set(list(expected)[:2])


# --- Into other people's PACS ----------------------------------------------------------------------------------------


def wait_for_two_attempts(gateway: Gateway, upload: str) -> Truth:
    return gateway.wait_for(
        upload,
        lambda truth: bool(truth["deliveries"])
        and truth["deliveries"][0]["attempts"] >= 2
        and truth["deliveries"][0]["state"] == "waiting",
    )


def assert_waits_visibly(truth: Truth) -> None:
    """Down is not failed: the study waits, and says why and until when."""
    delivery = truth["deliveries"][0]
    assert truth["state"] == "delivering"
    assert delivery["next_attempt_at"]
    assert delivery["last_error"]["code"]
    assert delivery["stored"] == 0


@pytest.mark.parametrize("late", [False, True], ids=["there", "down-at-first"])
def test_orthanc_has_every_image_and_shows_it(gateway: Gateway, tmp_path: Path, late: bool) -> None:
    paths = small_study(tmp_path / "study", seed=200 + late)
    with orthanc() as pacs, gateway.only(Orthanc=f"dicom://{pacs.ae}@127.0.0.1:{pacs.port}"):
        if late:
            pacs.stop()
        with gateway.client() as client:
            sent = client.send([tmp_path / "study"], wait="received")
        if late:
            assert_waits_visibly(wait_for_two_attempts(gateway, sent.id))
            pacs.start()
        delivery = gateway.wait_verified(sent.id)["deliveries"][0]
        assert (delivery["proof"], delivery["verified"], delivery["last_error"]) == ("query", len(paths), None)
        kept = sorted(hashlib.sha256(pacs.data_set(one)).hexdigest() for one in pacs.instances())
        assert kept == sorted(data_sets(paths).values())
    assert gateway.stored_counts(sent.id) == {1}


@pytest.mark.parametrize("late", [False, True], ids=["there", "down-at-first"])
def test_storescp_cannot_be_asked_and_the_truth_says_so(gateway: Gateway, tmp_path: Path, late: bool) -> None:
    paths = small_study(tmp_path / "study", seed=300 + late)
    with (
        storescp("+B", directory=tmp_path / "pacs") as pacs,
        gateway.only(Disk=f"dicom://STORESCP@127.0.0.1:{pacs.port}"),
    ):
        if late:
            pacs.stop()
        with gateway.client() as client:
            sent = client.send([tmp_path / "study"], wait="received")
            if late:
                assert_waits_visibly(wait_for_two_attempts(gateway, sent.id))
                pacs.start()
            truth = list(client.follow(sent.id))[-1]
        assert (truth["state"], truth["deliveries"][0]["state"]) == ("delivered", "stored")
        assert truth["deliveries"][0]["proof"] == "none"
        assert truth["deliveries"][0]["last_error"]["code"] == "find_unsupported"
        kept = sorted(digest_of(path) for path in (tmp_path / "pacs").iterdir())
        assert kept == sorted(data_sets(paths).values())
    assert gateway.stored_counts(sent.id) == {1}


# --- Followed by whoever handed it in --------------------------------------------------------------------------------

WAY = ["receiving", "assembling", "validating", "delivering", "delivered", "verified"]


def states_of(lines: Iterator[str]) -> list[Truth]:
    return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


def test_events_come_in_order_and_end_at_verified(gateway: Gateway, tmp_path: Path) -> None:
    small_study(tmp_path / "study", seed=400, slices=20)
    seen: list[Truth] = []
    with gateway.client() as client, gateway.http() as http:
        sent = client.send([tmp_path / "study"], wait="received")
        with http.stream("GET", f"/uploads/{sent.id}/events") as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            seen = states_of(answer.iter_lines())
    states = [truth["state"] for truth in seen]
    assert states == sorted(states, key=WAY.index)
    assert states[-1] == "verified"
    assert seen[-1] == gateway.truth(sent.id)


def test_events_tell_of_octets_as_they_arrive(gateway: Gateway, tmp_path: Path) -> None:
    octets = small_study(tmp_path, seed=401, slices=1, rows=512)[0].read_bytes()
    with gateway.http() as http, gateway.http() as other:
        opened = open_upload(http, {"IM1": octets})
        with http.stream("GET", f"/uploads/{opened['id']}/events") as answer:
            lines = answer.iter_lines()
            assert next_progress(lines) == 0
            for index in range(opened["chunk_count"]):
                size = opened["chunk_size"]
                assert put(other, opened["id"], index, octets[index * size : (index + 1) * size]).status_code == 204
            received = [0]
            while received[-1] < len(octets):
                received.append(next_progress(lines))
    assert received == sorted(received)
    assert received[-1] == len(octets)


def next_progress(lines: Iterator[str]) -> int:
    """Bytes received, as the next event tells."""
    data = next(line for line in lines if line.startswith("data:"))
    return int(json.loads(data[5:])["progress"]["received_bytes"])


# --- Without waiting workers -----------------------------------------------------------------------------------------


def test_complete_answers_past_validating_where_it_is_asked_to_work(tmp_path: Path) -> None:
    paths = small_study(tmp_path / "study", seed=500, slices=3)
    files: dict[str, bytes] = {path.name: path.read_bytes() for path in paths}
    with stack(tmp_path / "data", **SOON, ENABLE_ASYNC_UPLOAD="false") as running:
        gateway = Gateway(running)
        good = complete_at_once(gateway, files)
        assert good["state"] in ("delivering", "delivered", "verified")
        assert good["files"] == {"total": 3, "dicom": 3, "ignored": 0, "rejected": 0}
        assert complete_at_once(gateway, {"IM1": FILES[TRUNCATED].read_bytes()})["state"] == "rejected"
        assert gateway.wait_verified(good["id"])["deliveries"][0]["verified"] == 3


def complete_at_once(gateway: Gateway, files: dict[str, bytes]) -> Truth:
    with gateway.http() as http:
        opened = open_upload(http, files)
        assert opened["chunk_count"] == 1
        assert put(http, opened["id"], 0, b"".join(files.values())).status_code == 204
        answer = http.post(f"/uploads/{opened['id']}/complete", json={})
    assert answer.status_code == 202
    body: Truth = answer.json()
    return body
