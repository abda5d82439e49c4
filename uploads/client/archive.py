"""ZIP archives of this side, expanded where nothing of them can do harm."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from uploads.client.local import tellable
from uploads.client.wire import ClientError

MAX_FILES = 50_000
MAX_BYTES = 50 * 1024**3
MAX_RATIO = 200  # octets out for one octet in; images do not compress so well
_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def is_archive(path: Path) -> bool:
    """Whether it begins as a ZIP does, too: an image may well carry one in its tail."""
    with path.open("rb") as file:
        return file.read(4) in _BEGINNINGS and zipfile.is_zipfile(path)


def expand(path: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """Each member, under a number of our own: a name from inside an archive is never a place to write.

    Raises:
        ClientError: archive_refused.
    """
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if _is_file(member)]
            _refuse(path, members, room=shutil.disk_usage(folder).free)
            for number, member in enumerate(members):
                target = folder / str(number)
                with archive.open(member) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1024 * 1024)  # zipfile reads no more than the size it declares
                yield target, tellable(f"{path.name}/{member.filename}")
    except _DAMAGE as error:
        raise ClientError("archive_refused", f"{path.name} is damaged or of a kind unknown here; unpack it.") from error


def _is_file(member: zipfile.ZipInfo) -> bool:
    """Neither a folder nor a symbolic link."""
    return not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16)


def _refuse(path: Path, members: Sequence[zipfile.ZipInfo], *, room: int) -> None:
    size = sum(member.file_size for member in members)
    if len(members) > MAX_FILES or size > MAX_BYTES or size > MAX_RATIO * max(path.stat().st_size, 1):
        raise ClientError("archive_refused", f"{path.name} is too large when expanded; please unpack it yourself.")
    if size > room:
        raise ClientError("archive_refused", f"There is no room to expand {path.name}.")
    if any(member.flag_bits & 1 for member in members):
        raise ClientError("archive_refused", f"{path.name} is encrypted; please unpack it yourself.")
