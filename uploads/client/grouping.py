"""What lies in files, folders and archives, by study; what is left behind, and why."""

import contextlib
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uploads.client.wire import ClientError
from uploads.dicom.inspect import Inspection, inspect
from uploads.dicom.source import FileSlice

ARCHIVE_FILES = 50_000
ARCHIVE_BYTES = 50 * 1024**3
ARCHIVE_RATIO = 200  # octets out for one octet in; images do not compress so well


@dataclass
class StudyFiles:
    """One study's files, by path and by the name to hand them in under, with the identifiers found in their headers."""

    study_instance_uid: str
    files: list[tuple[Path, str]] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)


@dataclass
class Grouped:
    """Studies to send, and files that are no part of any, with the reason."""

    studies: list[StudyFiles]
    left_out: list[tuple[str, str, str]]  # name, code, sentence


@contextlib.contextmanager
def group(paths: Sequence[Path]) -> Iterator[Grouped]:
    """Looks into everything; archives are expanded into a scratch folder that lasts as long as the block.

    A file that claims to be DICOM and is damaged goes with the study it names, so that the gateway tells of it; one
    that names none is left out.

    Raises:
        ClientError: nothing_there, archive_refused.
    """
    with tempfile.TemporaryDirectory(prefix="relaypacs-archive-") as scratch:
        studies: dict[str, StudyFiles] = {}
        left_out: list[tuple[str, str, str]] = []
        for path, name in _files(paths, Path(scratch)):
            seen = _look(path)
            uid = seen.header.study_instance_uid if seen.header is not None else ""
            if seen.verdict == "ignored" or not uid:
                left_out.append((name, seen.code or "not_dicom", seen.detail))
                continue
            study = studies.setdefault(uid, StudyFiles(uid))
            study.files.append((path, name))
            if seen.header is not None and seen.verdict == "dicom":
                study.instances.append(seen.header.sop_instance_uid)
        yield Grouped(list(studies.values()), left_out)


def _look(path: Path) -> Inspection:
    with path.open("rb") as file:
        return inspect(FileSlice(file.fileno(), 0, path.stat().st_size), name=path.name)


def _files(paths: Iterable[Path], scratch: Path) -> Iterator[tuple[Path, str]]:
    for number, path in enumerate(paths):
        if path.is_dir():
            for one in sorted(one for one in path.rglob("*") if one.is_file()):
                yield one, str(Path(path.name) / one.relative_to(path))
        elif zipfile.is_zipfile(path):
            yield from _expand(path, scratch / str(number))
        elif path.is_file():
            yield path, path.name
        else:
            raise ClientError("nothing_there", f"There is no file or folder {path}.")


def _expand(path: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """The members, each under a number of our own: a name from inside an archive is never a place to write."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        _refuse_bombs(path, members)
        for number, member in enumerate(members):
            target = folder / str(number)
            with archive.open(member) as source, target.open("wb") as file:
                left = member.file_size
                while piece := source.read(1024 * 1024):
                    left -= len(piece)
                    if left < 0:
                        raise ClientError("archive_refused", f"{path.name} holds more than it says.")
                    file.write(piece)
            yield target, f"{path.name}!/{member.filename}"[-1024:]


def _refuse_bombs(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    size = sum(member.file_size for member in members)
    if len(members) > ARCHIVE_FILES or size > ARCHIVE_BYTES or size > ARCHIVE_RATIO * max(path.stat().st_size, 1):
        raise ClientError("archive_refused", f"{path.name} is too large when expanded; please unpack it yourself.")
    if any(member.flag_bits & 1 for member in members):
        raise ClientError("archive_refused", f"{path.name} is encrypted; please unpack it yourself.")
