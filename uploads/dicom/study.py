"""The verdict on a hand-in: which studies it holds, whose they are, and what must not go on unasked (S1, S3, S4)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from uploads.dicom.header import Header
from uploads.dicom.identity import Identity, identity_of, same_patient


@dataclass(frozen=True, slots=True)
class Found:
    """One instance of a hand-in. `dataset_sha256` is over the data set alone: preamble and meta header may differ."""

    index: int
    header: Header
    dataset_sha256: str


@dataclass(frozen=True, slots=True)
class FoundSeries:
    series_instance_uid: str
    modality: str
    number: str
    description: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """One study card. `indices` are the files to send: of harmless duplicates, the first."""

    study_instance_uid: str
    identities: tuple[Identity, ...]
    study_date: str
    description: str
    accession_number: str
    modalities: tuple[str, ...]
    series: tuple[FoundSeries, ...]
    indices: tuple[int, ...]

    @property
    def identity(self) -> Identity:
        return self.identities[0]

    @property
    def instances(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person must decide, or that ends the hand-in; `indices` are the files concerned.

    `study_instance_uid` is empty where the whole hand-in is concerned.
    """

    code: str
    detail: str
    study_instance_uid: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Studies in the order they were met, findings, and harmless duplicates with the file that is sent instead."""

    studies: tuple[FoundStudy, ...]
    findings: tuple[Finding, ...]
    duplicates: dict[int, int]

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(finding.code for finding in self.findings)


def judge(found: Sequence[Found]) -> Verdict:
    """Group the instances of one hand-in into studies and look for contradictions among them."""
    duplicates = _duplicates(found)
    kept = [one for one in found if one.index not in duplicates]
    studies = tuple(_study(uid, members) for uid, members in _by(kept, "study_instance_uid").items())
    findings = [*_identities(studies, kept), *_reused(kept), *_moved(kept), *_patients(studies)]
    return Verdict(studies, tuple(findings), duplicates)


def _by(found: Iterable[Found], field: str) -> dict[str, list[Found]]:
    groups: defaultdict[str, list[Found]] = defaultdict(list)
    for one in found:
        groups[getattr(one.header, field)].append(one)
    return dict(groups)


def _duplicates(found: Sequence[Found]) -> dict[int, int]:
    """The same data set under the same UID twice is sent once: sending it twice can make a PACS drop it (S5)."""
    first: dict[tuple[str, str], int] = {}
    duplicates = {}
    for one in found:
        kept = first.setdefault((one.header.sop_instance_uid, one.dataset_sha256), one.index)
        if kept != one.index:
            duplicates[one.index] = kept
    return duplicates


def _study(uid: str, members: Sequence[Found]) -> FoundStudy:
    headers = [one.header for one in members]
    return FoundStudy(
        study_instance_uid=uid,
        identities=_distinct(identity_of(header) for header in headers),
        study_date=_first(header.study_date for header in headers),
        description=_first(header.study_description for header in headers),
        accession_number=_first(header.accession_number for header in headers),
        modalities=tuple(sorted({header.modality for header in headers if header.modality})),
        series=tuple(_series(series, ones) for series, ones in _by(members, "series_instance_uid").items()),
        indices=tuple(one.index for one in members),
    )


def _series(uid: str, members: Sequence[Found]) -> FoundSeries:
    header = members[0].header
    indices = tuple(one.index for one in members)
    return FoundSeries(uid, header.modality, header.series_number, header.series_description, indices)


def _distinct(identities: Iterable[Identity]) -> tuple[Identity, ...]:
    """One identity per patient: of headers that name the same one, the fullest."""
    groups: list[list[Identity]] = []
    for identity in dict.fromkeys(identities):
        group = next((group for group in groups if all(same_patient(identity, other) for other in group)), None)
        if group is None:
            groups.append([identity])
        else:
            group.append(identity)
    return tuple(max(group, key=_fullness) for group in groups)


def _fullness(identity: Identity) -> int:
    parts = (identity.patient_id, identity.issuer, identity.name, identity.birth_date, identity.sex)
    return sum(1 for part in parts if part)


def _first(values: Iterable[str]) -> str:
    return next((value for value in values if value), "")


def _identities(studies: Iterable[FoundStudy], found: Iterable[Found]) -> Iterable[Finding]:
    members = _by(found, "study_instance_uid")
    for study in studies:
        if len(study.identities) > 1:
            others = [
                one.index
                for one in members[study.study_instance_uid]
                if not same_patient(identity_of(one.header), study.identity)
            ]
            detail = f"The study names {len(study.identities)} patients."
            yield Finding("two_identities", detail, study.study_instance_uid, tuple(others) or study.indices)


def _reused(found: Iterable[Found]) -> Iterable[Finding]:
    for members in _by(found, "sop_instance_uid").values():
        if len(members) > 1:
            detail = f"{len(members)} different images carry the same SOPInstanceUID."
            yield Finding("uid_reused", detail, members[0].header.study_instance_uid, _indices(members))


def _moved(found: Sequence[Found]) -> Iterable[Finding]:
    for members in _by(found, "sop_instance_uid").values():
        if len({one.header.series_instance_uid for one in members}) > 1:
            detail = "An image stands in two series."
            yield Finding("uid_moved", detail, members[0].header.study_instance_uid, _indices(members))
    for members in _by(found, "series_instance_uid").values():
        if len({one.header.study_instance_uid for one in members}) > 1:
            detail = "A series stands in two studies."
            yield Finding("uid_moved", detail, members[0].header.study_instance_uid, _indices(members))


def _patients(studies: Sequence[FoundStudy]) -> Iterable[Finding]:
    """Two studies that share no patient; one study of two patients is a finding of its own."""
    patients: list[FoundStudy] = []
    for study in studies:
        if not any(same_patient(a, b) for other in patients for a in study.identities for b in other.identities):
            patients.append(study)
    if len(patients) > 1:
        indices = tuple(index for study in studies for index in study.indices)
        yield Finding("several_patients", f"The upload holds studies of {len(patients)} patients.", "", indices)


def _indices(members: Iterable[Found]) -> tuple[int, ...]:
    return tuple(one.index for one in members)
