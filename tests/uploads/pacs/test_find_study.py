"""The PACS is asked whose a study is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tests.peers import ScriptedSCP, orthanc, scripted_scp
from tests.uploads.pacs.packs import ct_series, pack_of, send
from uploads.dicom.changes import KEYWORDS, changed
from uploads.pacs.address import Peer
from uploads.pacs.errors import FindUnsupported, PeerError
from uploads.pacs.find import find_study
from uploads.pacs.identifier import FoundStudy

pytestmark = [pytest.mark.integration, pytest.mark.clinical]

STUDY = str(generate_uid())
Answers = Iterator[tuple[int, Dataset | None]]
Answering = Callable[[Dataset, ScriptedSCP], Answers]


def study(**values: str) -> Dataset:
    answer = Dataset()
    answer.QueryRetrieveLevel = "STUDY"
    answer.StudyInstanceUID = STUDY
    for keyword, value in values.items():
        setattr(answer, keyword, value)
    return answer


def asked(*answers: Dataset, ending: int = 0x0000) -> tuple[FoundStudy | None, list[Dataset]]:
    def answer(_identifier: Dataset, _scp: ScriptedSCP) -> Answers:
        for one in answers:
            yield 0xFF00, one
        if ending:
            yield ending, None

    with scripted_scp(find=answer) as scp:
        return find_study(Peer(scp.ae, "127.0.0.1", scp.port), STUDY), scp.finds


def test_orthanc_shows_what_it_was_sent(tmp_path: Path) -> None:
    samples = ct_series(2, study=STUDY)
    with orthanc(tmp_path / "orthanc") as server:
        peer = Peer(server.ae, "127.0.0.1", server.port)
        send(peer, pack_of(samples, tmp_path / "pack"))
        found, nothing = find_study(peer, STUDY), find_study(peer, str(generate_uid()))
    assert nothing is None
    assert found is not None
    assert (found.doubtful, found.ambiguous) == (False, False)
    sent = {"PatientID": "1CT1", "PatientName": "CompressedSamples^CT1", "PatientSex": "O", "StudyInstanceUID": STUDY}
    assert changed(sent, found.values).changes == ()
    assert changed(sent | {"PatientID": "other"}, found.values).mismatch


def test_it_asks_for_all_that_identifies_at_study_level() -> None:
    found, [identifier] = asked(study(PatientID="P-17", PatientName="Muster^Erika"))
    assert identifier.QueryRetrieveLevel == "STUDY"
    assert identifier.StudyInstanceUID == STUDY
    assert {element.keyword for element in identifier} == {"QueryRetrieveLevel", *KEYWORDS}
    assert found == FoundStudy({"PatientID": "P-17", "PatientName": "Muster^Erika", "StudyInstanceUID": STUDY})


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "M\u00fcller^J\u00f6rg"),
        ("ISO_IR 100", "M\u00fcller^J\u00f6rg"),
        ("ISO_IR 144", "\u041b\u044e\u043ace\u043c\u0431yp\u0433"),
        ("GB18030", "Wang^XiaoDong=\u738b^\u5c0f\u4e1c"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046"),
    ],
)
def test_names_come_in_the_character_set_that_the_answer_names(charset: str, name: str) -> None:
    answer = Dataset()
    answer.SpecificCharacterSet = charset.split("\\")
    answer.QueryRetrieveLevel = "STUDY"
    answer.StudyInstanceUID = STUDY
    answer.PatientName = name
    found, _ = asked(answer)
    assert found is not None
    assert (found.values["PatientName"], found.doubtful) == (name, False)


def test_a_name_in_no_character_set_is_shown_raw_and_doubted() -> None:
    answer = study()
    answer.add_new(0x00100010, "UN", "M\u00fcller".encode("latin_1") + b" ")
    found, _ = asked(answer)
    assert found is not None
    assert (found.values["PatientName"], found.doubtful) == ("M\u00fcller", True)


def test_an_empty_value_is_returned_as_one() -> None:
    found, _ = asked(study(PatientID="", PatientName="Muster^Erika"))
    assert found is not None
    assert found.values == {"PatientID": "", "PatientName": "Muster^Erika", "StudyInstanceUID": STUDY}


def test_a_study_under_two_patients_is_told() -> None:
    found, _ = asked(study(PatientID="P-17"), study(PatientID="P-18"))
    assert found is not None
    assert (found.values["PatientID"], found.ambiguous) == ("P-17", True)
    twice, _ = asked(study(PatientID="P-17"), study(PatientID="P-17"))
    assert twice is not None
    assert not twice.ambiguous


def test_a_peer_that_ignores_the_question_is_not_believed() -> None:
    other = study(PatientID="P-99")
    other.StudyInstanceUID = "1.2.3"
    assert asked(other)[0] is None
    found, _ = asked(other, study(PatientID="P-17"))
    assert found is not None
    assert (found.values["PatientID"], found.ambiguous) == ("P-17", False)


def test_a_peer_that_refuses_optional_keys_is_asked_without_them() -> None:
    def answer(identifier: Dataset, _scp: ScriptedSCP) -> Answers:
        if "IssuerOfPatientID" in identifier:
            yield 0xA900, None
        else:
            yield 0xFF00, study(PatientID="P-17")

    with scripted_scp(find=answer) as scp:
        found = find_study(Peer(scp.ae, "127.0.0.1", scp.port), STUDY)
    assert found is not None
    assert found.values["PatientID"] == "P-17"
    assert len(scp.finds) == 2


@pytest.mark.parametrize("ending", [0xA700, 0xC001, 0xFE00])
def test_a_query_that_fails_is_no_absence(ending: int) -> None:
    with pytest.raises(PeerError):
        asked(ending=ending)


def test_a_peer_without_find_is_told_apart() -> None:
    with scripted_scp(contexts=[build_context(Verification)]) as scp, pytest.raises((FindUnsupported, PeerError)):
        find_study(Peer(scp.ae, "127.0.0.1", scp.port), STUDY)
    with pytest.raises(FindUnsupported):
        asked(ending=0x0122)
