"""Studies through the real processes by every way out: proved, sent early, over the web, in sealed lines, in turn."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import server_context
from tests.journeys.gateway import (
    KIB256,
    PATIENCE,
    Gateway,
    Truth,
    data_sets,
    digest_of,
    open_upload,
    put,
    small_study,
)
from tests.loopback import LOOPBACK, wait_until
from tests.peers import Orthanc, ScriptedSCP, orthanc, scripted_scp, storescp
from tests.uploads.pacs.test_over_tls import AUTHORITY, STRANGER, secured_storescp
from tests.uploads.pacs.webpeers import nginx_before, web_orthanc

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long]


def hand_in(gateway: Gateway, folder: Path, **wishes: Any) -> str:
    """Sealed and received; the upload's id."""
    with gateway.client() as client:
        return client.send([folder], wait="received", **wishes).id


def at(scp: Orthanc | ScriptedSCP, *, scheme: str = "dicom") -> str:
    return f"{scheme}://{scp.ae}@{LOOPBACK}:{scp.port}"


def kept_by(pacs: Orthanc) -> list[str]:
    return sorted(hashlib.sha256(pacs.data_set(one)).hexdigest() for one in pacs.instances())


def sent_of(paths: list[Path]) -> list[str]:
    return sorted(data_sets(paths).values())


def the_delivery(truth: Truth) -> Truth:
    [delivery] = truth["deliveries"]
    found: Truth = delivery
    return found


# --- Storage commitment ----------------------------------------------------------------------------------------------

LOSES_ONE = """
lost = false
function OnStoredInstance(instance, tags, metadata)
  if not lost then
    lost = true
    RestApiDelete('/instances/' .. instance)
  end
end
"""


@contextmanager
def orthanc_that_reports(gateway: Gateway, folder: Path, **config: Any) -> Iterator[Orthanc]:
    """It reports to the listener of the stack, and waits for a slow one."""
    us = ["RELAYPACS", LOOPBACK, int(gateway.stack.environment["DICOM_PORT"])]
    with orthanc(folder, DicomModalities={"relay": us}, DicomScuTimeout=60, **config) as pacs:
        yield pacs


def test_a_report_that_comes_when_its_asker_was_killed_proves_the_study(gateway: Gateway, tmp_path: Path) -> None:
    paths = small_study(tmp_path / "study", seed=600)
    with (
        orthanc_that_reports(gateway, tmp_path / "pacs") as pacs,
        gateway.only("--proof", "commitment", Committing=at(pacs)),
    ):
        with gateway.frozen("dicom-listener"):  # the report is on its way and nobody takes it yet
            upload = hand_in(gateway, tmp_path / "study")
            wait_until(lambda: bool(gateway.commitments(upload)), "the request", seconds=PATIENCE)
            asker = gateway.stack.kill("worker-delivery")
            gateway.stack.wait_back("worker-delivery", old=asker)
            assert the_delivery(gateway.truth(upload))["state"] == "stored"
        delivery = the_delivery(gateway.wait_verified(upload))
        assert kept_by(pacs) == sent_of(paths)
    assert (delivery["proof"], delivery["verified"]) == ("commitment", len(paths))
    assert delivery["proof_detail"].startswith("Storage commitment")
    assert gateway.stored_counts(upload) == {1}


def test_a_report_that_comes_late_proves_the_study_that_waits_for_it(gateway: Gateway, tmp_path: Path) -> None:
    paths = small_study(tmp_path / "study", seed=601)
    with (
        orthanc_that_reports(gateway, tmp_path / "pacs") as pacs,
        gateway.only("--proof", "commitment", Late=at(pacs)),
    ):
        with gateway.frozen("dicom-listener"):
            upload = hand_in(gateway, tmp_path / "study")
            waiting = the_delivery(gateway.wait_for(upload, lambda truth: code_of(truth) == "commitment_awaited"))
            asker = gateway.stack.kill("worker-delivery")
            gateway.stack.wait_back("worker-delivery", old=asker)
        delivery = the_delivery(gateway.wait_verified(upload))
    assert (waiting["state"], waiting["proof"], waiting["verified"]) == ("stored", "none", 0)
    assert (delivery["proof"], delivery["verified"]) == ("commitment", len(paths))
    assert [state for state, _ in gateway.commitments(upload)] == ["read"]
    assert gateway.stored_counts(upload) == {1}


def code_of(truth: Truth) -> str | None:
    errors = [delivery["last_error"]["code"] for delivery in truth["deliveries"] if delivery["last_error"]]
    return errors[0] if errors else None


def test_an_image_that_the_pacs_has_lost_is_reported_and_sent_again(gateway: Gateway, tmp_path: Path) -> None:
    paths = small_study(tmp_path / "study", seed=602)
    script = tmp_path / "loses-one.lua"
    script.write_text(LOSES_ONE)
    with (
        orthanc_that_reports(gateway, tmp_path / "pacs", LuaScripts=[str(script)]) as pacs,
        gateway.only("--proof", "commitment", "--max-associations", "1", Losing=at(pacs)),
    ):
        upload = hand_in(gateway, tmp_path / "study")
        delivery = the_delivery(gateway.wait_verified(upload))
        assert kept_by(pacs) == sent_of(paths)
    assert (delivery["proof"], delivery["verified"]) == ("commitment", len(paths))
    (_, first), (_, second) = gateway.commitments(upload)
    [(lost, _)] = first["failed"]
    assert (len(first["committed"]), second["committed"], second["failed"]) == (len(paths) - 1, [lost], [])
    assert "not_kept" in gateway.reasons(upload)
    assert gateway.stored_counts(upload) == {1, 2}


# --- While it is received --------------------------------------------------------------------------------------------


class Slowly:
    """A study that is uploaded chunk by chunk with pauses."""

    def __init__(self, gateway: Gateway, http: httpx.Client, paths: list[Path]) -> None:
        files = {path.name: path.read_bytes() for path in paths}
        opened = open_upload(http, files, chunk_size=KIB256)
        self.id = str(opened["id"])
        self._gateway, self._http, self._pack = gateway, http, b"".join(files.values())
        self.left = list(range(opened["chunk_count"]))

    def send(self, count: int) -> None:
        for index in self.left[:count]:
            octets = self._pack[index * KIB256 : (index + 1) * KIB256]
            wait_until(partial(self._is_taken, index, octets), f"chunk {index}", seconds=PATIENCE)
            time.sleep(0.1)
        del self.left[:count]

    def _is_taken(self, index: int, octets: bytes) -> bool:
        """Where the gateway is busy it says so, and is asked again."""
        return put(self._http, self.id, index, octets).status_code == 204

    def complete(self) -> None:
        assert not self.left
        assert self._http.post(f"/uploads/{self.id}/complete", json={}).status_code == 202


def count_at(pacs: Orthanc) -> int:
    return int(pacs.statistics()["CountInstances"])


def nothing_happens(_: Gateway) -> None:
    pass


def the_early_worker_is_killed(gateway: Gateway) -> None:
    gateway.stack.wait_back("worker-early", old=gateway.stack.kill("worker-early"))


def the_delivery_worker_is_killed(gateway: Gateway) -> None:
    gateway.stack.wait_back("worker-delivery", old=gateway.stack.kill("worker-delivery"))


@pytest.mark.parametrize(
    ("seed", "strike"),
    [(610, nothing_happens), (611, the_early_worker_is_killed), (612, the_delivery_worker_is_killed)],
)
def test_images_are_at_the_pacs_before_the_study_is_whole(
    gateway: Gateway, tmp_path: Path, seed: int, strike: Callable[[Gateway], None]
) -> None:
    paths = small_study(tmp_path / "study", seed=seed, slices=40, rows=256)
    with (
        orthanc(tmp_path / "pacs") as pacs,
        gateway.only("--relay-early", "--proof", "query", Early=at(pacs)),
        gateway.http() as http,
    ):
        slow = Slowly(gateway, http, paths)
        slow.send(len(slow.left) // 2)
        wait_until(lambda: count_at(pacs) >= 5, "the first images", seconds=PATIENCE)
        strike(gateway)
        before = count_at(pacs)
        slow.send(len(slow.left))
        wait_until(lambda: count_at(pacs) > before, "more images", seconds=PATIENCE)
        assert gateway.truth(slow.id)["state"] == "receiving"
        slow.complete()
        delivery = the_delivery(gateway.wait_verified(slow.id))
        assert kept_by(pacs) == sent_of(paths)
    assert (delivery["proof"], delivery["verified"]) == ("query", len(paths))
    assert gateway.stored_counts(slow.id) == {1}


# --- Over the web ----------------------------------------------------------------------------------------------------


def test_orthanc_takes_a_study_by_stow_and_lists_it_by_qido(gateway: Gateway, tmp_path: Path) -> None:
    paths = small_study(tmp_path / "study", seed=620)
    with (
        web_orthanc(tmp_path / "pacs") as (pacs, _),
        gateway.only(Web=f"http://{LOOPBACK}:{pacs.http_port}/dicom-web"),
    ):
        assert_proved_by_qido(gateway, hand_in(gateway, tmp_path / "study"), len(paths))
        assert kept_by(pacs) == sent_of(paths)


def test_a_web_server_of_our_own_authority_takes_a_study_over_https(gateway: Gateway, tmp_path: Path) -> None:
    paths = small_study(tmp_path / "study", seed=621)
    with (
        web_orthanc(tmp_path / "pacs") as (pacs, _),
        nginx_before(pacs.http_port, tmp_path / "nginx", AUTHORITY.server) as port,
        gateway.only("--ca", str(authority_file(tmp_path)), SecureWeb=f"https://{LOOPBACK}:{port}/dicom-web"),
    ):
        assert_proved_by_qido(gateway, hand_in(gateway, tmp_path / "study"), len(paths))
        assert kept_by(pacs) == sent_of(paths)


def assert_proved_by_qido(gateway: Gateway, upload: str, count: int) -> None:
    delivery = the_delivery(gateway.wait_verified(upload))
    assert (delivery["proof"], delivery["verified"], delivery["last_error"]) == ("query", count, None)
    assert delivery["proof_detail"].startswith("QIDO-RS")
    assert gateway.stored_counts(upload) == {1}


def authority_file(folder: Path) -> Path:
    file = folder / "authority.pem"
    file.write_text(AUTHORITY.pem)
    return file


# --- In sealed lines -------------------------------------------------------------------------------------------------


def proving_us(folder: Path) -> tuple[str, ...]:
    """Options with our certificate, and the authority that we trust."""
    certificate, key = AUTHORITY.client.files(folder)
    return "--ca", str(authority_file(folder)), "--certificate", str(certificate), "--key", str(key)


def test_a_pacs_that_asks_for_our_certificate_gets_every_octet(gateway: Gateway, tmp_path: Path) -> None:
    paths = small_study(tmp_path / "study", seed=630)
    context = server_context(AUTHORITY.server, clients=AUTHORITY)
    with (
        scripted_scp(tls=context) as pacs,
        gateway.only(*proving_us(tmp_path), Sealed=at(pacs, scheme="dicoms")),
    ):
        upload = hand_in(gateway, tmp_path / "study")
        delivery = the_delivery(gateway.wait_verified(upload))
        assert sorted(one.sha256 for one in pacs.received) == sent_of(paths)
    assert (delivery["proof"], delivery["verified"]) == ("query", len(paths))


def test_storescp_that_asks_for_our_certificate_gets_every_octet(gateway: Gateway, tmp_path: Path) -> None:
    paths = small_study(tmp_path / "study", seed=631)
    with (
        secured_storescp(tmp_path, "+B", clients=AUTHORITY) as pacs,
        gateway.only(*proving_us(tmp_path), SealedDisk=f"dicoms://STORESCP@{LOOPBACK}:{pacs.port}"),
    ):
        upload = hand_in(gateway, tmp_path / "study")
        gateway.wait_for(upload, lambda truth: truth["state"] == "delivered")
        assert sorted(digest_of(path) for path in (tmp_path / "in").iterdir()) == sent_of(paths)
    assert gateway.stored_counts(upload) == {1}


@pytest.mark.clinical
def test_a_server_of_another_authority_gets_nothing_and_the_study_is_kept(gateway: Gateway, tmp_path: Path) -> None:
    small_study(tmp_path / "study", seed=632)
    with (
        scripted_scp(tls=server_context(STRANGER.server)) as pacs,
        gateway.only("--ca", str(authority_file(tmp_path)), Stranger=at(pacs, scheme="dicoms")),
    ):
        upload = hand_in(gateway, tmp_path / "study")
        truth = gateway.wait_for(upload, lambda truth: {one["state"] for one in truth["deliveries"]} == {"paused"})
        assert (pacs.received, pacs.associations) == ([], 0)
    delivery = the_delivery(truth)
    assert delivery["last_error"]["code"] == "tls_untrusted"
    assert delivery["held_back"]["code"] == "paused"
    assert (delivery["stored"], delivery["verified"], delivery["proof"]) == (0, 0, "none")
    assert gateway.pack(upload).stat().st_size == truth["total_size"]


# --- What answers "stored" and keeps nothing -------------------------------------------------------------------------


@pytest.mark.clinical
def test_what_keeps_nothing_and_cannot_be_asked_is_never_verified(gateway: Gateway, tmp_path: Path) -> None:
    small_study(tmp_path / "study", seed=640)
    with (
        storescp("--ignore", directory=tmp_path / "pacs") as pacs,
        gateway.only(Forgetful=f"dicom://STORESCP@{LOOPBACK}:{pacs.port}"),
    ):
        upload = hand_in(gateway, tmp_path / "study")
        truth = gateway.wait_for(upload, lambda truth: code_of(truth) == "find_unsupported")
        assert list((tmp_path / "pacs").iterdir()) == []
    delivery = the_delivery(truth)
    assert (truth["state"], delivery["state"], delivery["proof"]) == ("delivered", "stored", "none")
    assert (delivery["verified"], truth["verified_at"]) == (0, None)
    assert gateway.pack(upload).exists()


@pytest.mark.clinical
def test_what_keeps_nothing_and_is_asked_fails_the_study(gateway: Gateway, tmp_path: Path) -> None:
    small_study(tmp_path / "study", seed=641, slices=2)
    with (
        scripted_scp(find=lambda identifier, scp: iter(())) as pacs,
        gateway.only(Hollow=at(pacs)),
    ):
        upload = hand_in(gateway, tmp_path / "study")
        truth = gateway.wait_for(upload, lambda truth: truth["state"] == "failed")
        assert len(pacs.received) == 6, "each was sent three times"
    delivery = the_delivery(truth)
    assert (delivery["state"], delivery["verified"], delivery["proof"]) == ("refused", 0, "none")
    assert delivery["last_error"]["code"] == "not_kept"
    assert gateway.pack(upload).exists()


# --- In turn ---------------------------------------------------------------------------------------------------------


def test_a_stat_study_is_verified_before_the_large_one_it_met(gateway: Gateway, tmp_path: Path) -> None:
    large = small_study(tmp_path / "large", seed=650, slices=400, rows=512)
    small = small_study(tmp_path / "stat", seed=651, slices=4)
    assert sum(path.stat().st_size for path in large) > 200_000_000
    with (
        orthanc(tmp_path / "pacs", StorageCompression=True) as pacs,  # so that the large one takes a while
        gateway.only("--max-associations", "4", "--proof", "query", Busy=at(pacs)),
    ):
        slow = hand_in(gateway, tmp_path / "large")
        met = gateway.wait_for(slow, lambda truth: any(one["stored"] >= 8 for one in truth["deliveries"]))
        urgent = hand_in(gateway, tmp_path / "stat", service_level="stat")
        truths = [gateway.wait_verified(urgent), gateway.wait_verified(slow)]
        assert count_at(pacs) == len(large) + len(small)
    assert met["state"] == "delivering", json.dumps(met)[:2000]
    assert truths[0]["verified_at"] < truths[1]["verified_at"]
    assert gateway.stored_counts(slow, urgent) == {1}
