"""The PACS is asked what it has."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import build_context

from tests.peers import ScriptedSCP, orthanc, scripted_scp
from tests.scripted import stored_instances
from tests.uploads.pacs.packs import CT, Sample, ct_series, pack_of, send
from uploads.pacs.address import Peer
from uploads.pacs.dimse import Kind, PeerError
from uploads.pacs.errors import FindUnsupported
from uploads.pacs.find import FindLimited, find_instances

pytestmark = pytest.mark.integration

STUDY, SERIES, OTHER = (str(generate_uid()) for _ in range(3))
Answers = Iterator[tuple[int, Dataset | None]]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return ct_series(12, series=SERIES, study=STUDY) + ct_series(3, series=OTHER, study=STUDY)


def uids(samples: list[Sample]) -> set[str]:
    return {sample.sop_instance_uid for sample in samples}


def filled(scp: ScriptedSCP, samples: list[Sample], path: Path) -> Peer:
    peer = Peer(scp.ae, "127.0.0.1", scp.port)
    assert send(peer, pack_of(samples, path / "pack")).trouble is None
    return peer


def test_orthanc_names_each_instance_with_its_series(samples: list[Sample], tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc") as server:
        peer = Peer(server.ae, "127.0.0.1", server.port)
        assert send(peer, pack_of(samples, tmp_path / "pack")).kinds() == [Kind.STORED] * 15
        found = find_instances(peer, STUDY, [SERIES, OTHER])
        nothing = find_instances(peer, STUDY, [generate_uid()])
    assert set(found) == uids(samples)
    assert nothing == {}
    assert {found[sample.sop_instance_uid].series_instance_uid for sample in samples[:12]} == {SERIES}
    assert {found[sample.sop_instance_uid].series_instance_uid for sample in samples[12:]} == {OTHER}
    one = found[samples[0].sop_instance_uid]
    assert (one.sop_class_uid, one.study_instance_uid, one.rows, one.columns) == (CT, STUDY, 128, 128)


def test_an_orthanc_that_lists_a_few_only_names_all_that_are_asked_for(samples: list[Sample], tmp_path: Path) -> None:
    expected = {SERIES: [*sorted(uids(samples[:12])), "1.2.3.999"]}
    with orthanc(tmp_path / "orthanc", LimitFindInstances=5) as server:
        peer = Peer(server.ae, "127.0.0.1", server.port)
        send(peer, pack_of(samples, tmp_path / "pack"))
        found = find_instances(peer, STUDY, [SERIES], expected=expected)
    assert set(found) == uids(samples[:12])


def test_a_scripted_peer_names_what_it_has(samples: list[Sample], tmp_path: Path) -> None:
    with scripted_scp(statuses={samples[0].sop_instance_uid: 0xA900}) as scp:
        peer = filled(scp, samples, tmp_path)
        found = find_instances(peer, STUDY, [SERIES, OTHER])
    assert set(found) == uids(samples[1:])


def limited_to(most: int, ending: int) -> Callable[[Dataset, ScriptedSCP], Answers]:
    def answer(identifier: Dataset, scp: ScriptedSCP) -> Answers:
        matches = list(stored_instances(identifier, scp))
        yield from matches[:most]
        if len(matches) > most:
            yield ending, None

    return answer


@pytest.mark.parametrize("ending", [0xA700, 0xFE00, 0x0000])
@pytest.mark.parametrize("most", [1, 5])
def test_a_list_that_ends_early_is_asked_for_piece_by_piece(
    samples: list[Sample], tmp_path: Path, ending: int, most: int
) -> None:
    with scripted_scp(find=limited_to(most, ending)) as scp:
        peer = filled(scp, samples, tmp_path)
        expected = {SERIES: [sample.sop_instance_uid for sample in samples[:12]]}
        found = find_instances(peer, STUDY, [SERIES], expected=expected)
    assert set(found) == uids(samples[:12])


@pytest.mark.parametrize("ending", [0xA700, 0xFE00])
def test_a_list_that_ends_early_proves_no_absence(samples: list[Sample], tmp_path: Path, ending: int) -> None:
    with scripted_scp(find=limited_to(5, ending)) as scp:
        peer = filled(scp, samples, tmp_path)
        with pytest.raises(FindLimited) as caught:
            find_instances(peer, STUDY, [SERIES])
    assert len(caught.value.found) == 5


def test_a_peer_that_matches_no_lists_is_asked_one_by_one(samples: list[Sample], tmp_path: Path) -> None:
    def answer(identifier: Dataset, scp: ScriptedSCP) -> Answers:
        if isinstance(identifier.SOPInstanceUID, str) and identifier.SOPInstanceUID:
            yield from stored_instances(identifier, scp)

    with scripted_scp(find=answer) as scp:
        peer = filled(scp, samples, tmp_path)
        expected = {OTHER: [sample.sop_instance_uid for sample in samples[12:]]}
        found = find_instances(peer, STUDY, [OTHER], expected=expected)
    assert set(found) == uids(samples[12:])


def test_a_peer_that_knows_the_unique_keys_alone_is_asked_with_those(samples: list[Sample], tmp_path: Path) -> None:
    def answer(identifier: Dataset, scp: ScriptedSCP) -> Answers:
        if "Rows" in identifier:
            yield 0xA900, None
        else:
            yield from stored_instances(identifier, scp)

    with scripted_scp(find=answer) as scp:
        peer = filled(scp, samples, tmp_path)
        found = find_instances(peer, STUDY, [SERIES, OTHER])
        asked = len(scp.finds)
    assert set(found) == uids(samples)
    assert found[samples[0].sop_instance_uid].rows is None
    assert asked == 3


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0xC311])
def test_a_peer_that_refuses_the_query_is_an_error(status: int) -> None:
    with scripted_scp(find=lambda _, __: [(status, None)]) as scp, pytest.raises(PeerError) as caught:
        find_instances(Peer(scp.ae, "127.0.0.1", scp.port), STUDY, [SERIES])
    assert (caught.value.code, caught.value.kind) == ("find_failed", Kind.RETRY)


def test_a_peer_that_refuses_even_one_uid_is_an_error() -> None:
    expected = {SERIES: ["1.2.3", "1.2.4"]}
    with scripted_scp(find=lambda _, __: [(0xA700, None)]) as scp, pytest.raises(PeerError) as caught:
        find_instances(Peer(scp.ae, "127.0.0.1", scp.port), STUDY, [SERIES], expected=expected)
    assert caught.value.code == "find_out_of_resources"


def test_a_peer_that_knows_no_find_is_told_apart(samples: list[Sample], tmp_path: Path) -> None:
    with scripted_scp(contexts=[build_context(CT)]) as scp:
        peer = filled(scp, samples[:1], tmp_path)
        with pytest.raises(FindUnsupported):
            find_instances(peer, STUDY, [SERIES])
    with scripted_scp(find=lambda _, __: [(0x0122, None)]) as scp, pytest.raises(FindUnsupported):
        find_instances(Peer(scp.ae, "127.0.0.1", scp.port), STUDY, [SERIES])
