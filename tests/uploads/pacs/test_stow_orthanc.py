"""Orthanc with its DICOMweb plugin is sent studies, asked what it has, and gives instances back."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.peers import Orthanc, data_set_of
from tests.uploads.pacs.packs import CT, Ledger, Sample, Slice, ct_series, pack_of, sendable_samples
from tests.uploads.pacs.webpeers import at, put, web_orthanc
from uploads.pacs import qido, wado
from uploads.pacs.address import WebPeer
from uploads.pacs.dimse import Item, Kind
from uploads.pacs.errors import InstanceAbsent, PeerError
from uploads.pacs.fetched import Wanted
from uploads.pacs.security import Basic

pytestmark = pytest.mark.integration

STUDY, SERIES, OTHER = (str(generate_uid()) for _ in range(3))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return ct_series(12, series=SERIES, study=STUDY) + ct_series(3, series=OTHER, study=STUDY)


@pytest.fixture(scope="module")
def filled(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, WebPeer]]:
    """An Orthanc that was sent the study."""
    place = tmp_path_factory.mktemp("filled")
    with web_orthanc(place / "orthanc") as (server, peer):
        assert put(peer, pack_of(samples, place / "pack")).kinds() == [Kind.STORED] * 15
        yield server, peer


def wanted(sample: Sample, *, series: str = SERIES) -> Wanted:
    return Wanted(STUDY, series, sample.sop_instance_uid, sample.sop_class_uid, sample.transfer_syntax_uid)


def every_sample() -> dict[str, Sample]:
    """SOP Instance UID to one of pydicom's files; without those that have another name inside than outside."""
    samples = {sample.sop_instance_uid: sample for sample in sendable_samples()}
    return {uid: sample for uid, sample in samples.items() if uid == _name_inside(sample)}


def _name_inside(sample: Sample) -> str:
    return str(pydicom.dcmread(BytesIO(sample.file), stop_before_pixels=True).get("SOPInstanceUID"))


def digests(server: Orthanc) -> dict[str, str]:
    """SOP Instance UID to the SHA-256 of the data set that Orthanc keeps."""
    uids = {row["ID"]: row["MainDicomTags"]["SOPInstanceUID"] for row in server.get("/instances?expand")}
    return {uid: hashlib.sha256(server.data_set(name)).hexdigest() for name, uid in uids.items()}


@pytest.mark.clinical
@pytest.mark.parametrize("lanes", [1, 3])
def test_what_orthanc_stores_is_what_the_pack_holds_in_every_transfer_syntax(tmp_path: Path, lanes: int) -> None:
    everything = list(every_sample().values())
    with web_orthanc(tmp_path / "orthanc") as (server, peer):
        ledger = put(peer, pack_of(everything, tmp_path / "pack"), lanes=lanes, batch_bytes=200_000)
        kept = digests(server)
    assert ledger.trouble is None
    stored = [sample for key, sample in enumerate(everything) if ledger.outcomes[key].kind is Kind.STORED]
    assert {sample.sop_instance_uid: sample.sha256 for sample in stored} == kept
    assert len({sample.transfer_syntax_uid for sample in stored}) >= 8
    others = {sample.name: ledger.outcomes[key] for key, sample in enumerate(everything) if sample not in stored}
    assert all(outcome.kind in (Kind.UNKNOWN, Kind.RETRY, Kind.REFUSED) for outcome in others.values()), others
    assert len(others) < len(everything) / 4


def test_one_that_is_no_dicom_does_not_take_the_others_with_it(samples: list[Sample], tmp_path: Path) -> None:
    items = pack_of(samples[:3], tmp_path / "pack")
    (tmp_path / "rubbish").write_bytes(b"rubbish " * 100)
    rubbish = Slice(os.open(tmp_path / "rubbish", os.O_RDONLY), 0, 800)
    mixed = [items[0], Item(1, CT, "1.2.3.9", str(ExplicitVRLittleEndian), rubbish), items[2]]
    with web_orthanc(tmp_path / "orthanc") as (server, peer):
        ledger = put(peer, mixed)
        kept = server.sop_instance_uids()
    assert ledger.outcomes[1].kind is not Kind.STORED
    told = {key for key in (0, 2) if ledger.outcomes[key].kind is Kind.STORED}
    assert {samples[key].sop_instance_uid for key in told} == kept


@pytest.mark.clinical
def test_one_with_another_name_inside_is_not_taken_for_the_one_that_was_sent(tmp_path: Path) -> None:
    (sample,) = [one for one in sendable_samples() if one.name == "rtplan.dcm"]
    assert _name_inside(sample) != sample.sop_instance_uid
    with web_orthanc(tmp_path / "orthanc") as (server, peer):
        ledger = put(peer, pack_of([sample], tmp_path / "pack"))
        kept = server.sop_instance_uids()
    assert kept == {_name_inside(sample)}
    assert ledger.kinds() == [Kind.UNKNOWN]


def test_sent_again_it_is_stored_once(samples: list[Sample], tmp_path: Path) -> None:
    items = pack_of(samples[:3], tmp_path / "pack")
    with web_orthanc(tmp_path / "orthanc") as (server, peer):
        assert put(peer, items).kinds() == put(peer, items).kinds() == [Kind.STORED] * 3
        assert server.statistics()["CountInstances"] == 3


def test_orthanc_killed_in_the_middle_has_what_it_is_asked_for(samples: list[Sample], tmp_path: Path) -> None:
    items = pack_of(samples[:12], tmp_path / "pack")
    uids = {SERIES: [sample.sop_instance_uid for sample in samples[:12]]}
    with web_orthanc(tmp_path / "orthanc") as (server, peer):
        killing = Ledger(on_end=lambda item: server.kill() if item.key == 5 else None)
        ledger = put(peer, items, ledger=killing, batch_bytes=1, ahead=1)
        assert isinstance(ledger.trouble, PeerError)
        assert ledger.kinds() == [Kind.STORED] * 6
        server.start()
        found = qido.find_instances(peer, STUDY, [SERIES], expected=uids)
        assert set(found) == set(uids[SERIES][:6])
        assert put(peer, items[6:]).kinds() == [Kind.STORED] * 6
        assert server.sop_instance_uids() == set(uids[SERIES])


def test_a_password_is_asked_for(samples: list[Sample], tmp_path: Path) -> None:
    items = pack_of(samples[:1], tmp_path / "pack")
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {"relay": "s3cret"}}
    with web_orthanc(tmp_path / "orthanc", **users) as (_, peer):
        stranger = put(peer, items)
        known = put(at(peer.port, credentials=Basic("relay", "s3cret")), items)
    assert isinstance(stranger.trouble, PeerError)
    assert (stranger.trouble.code, stranger.trouble.kind) == ("not_authorised", Kind.PAUSE)
    assert known.kinds() == [Kind.STORED]


def test_a_wrong_path_is_told(samples: list[Sample], tmp_path: Path, filled: tuple[Orthanc, WebPeer]) -> None:
    ledger = put(at(filled[1].port, "/wado"), pack_of(samples[:1], tmp_path / "pack"))
    assert isinstance(ledger.trouble, PeerError)
    assert (ledger.trouble.code, ledger.trouble.kind) == ("no_such_service", Kind.PAUSE)


@contextmanager
def small_disk(place: Path, *, megabytes: int) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    place.mkdir()
    size = f"size={megabytes}m"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], check=False).returncode != 0:
        pytest.skip("needs to be allowed to mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.clinical
def test_a_full_orthanc_that_says_200_has_stored_nothing_that_it_does_not_name(tmp_path: Path) -> None:
    items = pack_of(ct_series(40, octets=400_000, series=SERIES, study=STUDY), tmp_path / "pack")
    uids = [item.sop_instance_uid for item in items]
    with (
        small_disk(tmp_path / "small", megabytes=6) as disk,
        web_orthanc(tmp_path / "orthanc", StorageDirectory=str(disk)) as (server, peer),
    ):
        ledger = put(peer, items, batch_bytes=1_000_000)
        kept = server.sop_instance_uids()
    stored = {uid for item, uid in zip(items, uids, strict=True) if ledger.outcomes[item.key].kind is Kind.STORED}
    in_doubt = {item.sop_instance_uid for item in items if ledger.outcomes[item.key].kind is Kind.UNKNOWN}
    assert ledger.trouble is None
    assert stored == kept
    assert 0 < len(kept) < 20
    assert in_doubt == set(uids) - kept


def test_qido_names_each_instance_with_its_series(samples: list[Sample], filled: tuple[Orthanc, WebPeer]) -> None:
    found = qido.find_instances(filled[1], STUDY, [SERIES, OTHER])
    assert set(found) == {sample.sop_instance_uid for sample in samples}
    assert {found[sample.sop_instance_uid].series_instance_uid for sample in samples[:12]} == {SERIES}
    assert {found[sample.sop_instance_uid].series_instance_uid for sample in samples[12:]} == {OTHER}
    one = found[samples[0].sop_instance_uid]
    assert (one.sop_class_uid, one.study_instance_uid, one.rows, one.columns) == (CT, STUDY, 128, 128)
    assert qido.find_instances(filled[1], STUDY, [generate_uid()]) == {}
    assert qido.find_instances(filled[1], generate_uid(), [SERIES]) == {}


def test_an_orthanc_that_lists_a_few_only_names_all_that_are_asked_for(samples: list[Sample], tmp_path: Path) -> None:
    uids = sorted(sample.sop_instance_uid for sample in samples[:12])
    with web_orthanc(tmp_path / "orthanc", LimitFindInstances=5) as (_, peer):
        put(peer, pack_of(samples, tmp_path / "pack"))
        found = qido.find_instances(peer, STUDY, [SERIES], expected={SERIES: [*uids, "1.2.3.999", "1.2.3.998"]})
    assert set(found) == set(uids)


@pytest.mark.clinical
def test_what_comes_back_is_what_was_sent_in_every_transfer_syntax(tmp_path: Path) -> None:
    everything = every_sample()
    with web_orthanc(tmp_path / "orthanc") as (server, peer):
        put(peer, pack_of(list(everything.values()), tmp_path / "pack"))
        came = [wado.fetch(peer, one) for one in _stored(server, everything)]
    sent = [everything[one.sop_instance_uid] for one in came]
    assert [one.sha256 for one in came] == [one.sha256 for one in sent]
    assert [one.transfer_syntax_uid for one in came] == [one.transfer_syntax_uid for one in sent]
    assert [one.size for one in came] == [len(data_set_of(one.file)) for one in sent]
    assert len({one.transfer_syntax_uid for one in came}) >= 8


def _stored(server: Orthanc, samples: dict[str, Sample]) -> Iterator[Wanted]:
    for row in server.get("/instances?expand"):
        sample = samples[row["MainDicomTags"]["SOPInstanceUID"]]
        tags = server.get(f"/instances/{row['ID']}/simplified-tags")
        yield Wanted(
            tags["StudyInstanceUID"],
            tags["SeriesInstanceUID"],
            sample.sop_instance_uid,
            sample.sop_class_uid,
            sample.transfer_syntax_uid,
        )


def test_what_orthanc_does_not_have_is_told_as_absent(samples: list[Sample], filled: tuple[Orthanc, WebPeer]) -> None:
    with pytest.raises(InstanceAbsent):
        wado.fetch(filled[1], wanted(samples[12], series="1.2.3"))
