"""What the client finds in files, folders and archives."""

import hashlib
import stat
import zipfile
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from uploads.client import ClientError, LocalFile, Pack, group
from uploads.client.archive import is_archive
from uploads.client.local import BLOCK, named, tellable

pytestmark = [pytest.mark.unit]


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def write(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_it_sorts_a_disc_by_study_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    disc = write(
        tmp_path / "disc",
        IM1=sample("CT_small.dcm"),
        IM2=sample("MR_small.dcm"),
        viewer_exe=b"MZ" + bytes(100),
        empty=b"",
        picture=b"\xff\xd8\xff" + bytes(100),
    )
    with group([disc]) as found:
        names = sorted(name for study in found.studies for _, name in study.files)
        assert names == ["disc/IM1", "disc/IM2"]
        assert len(found.studies) == 2
        assert {modality for study in found.studies for modality in study.modalities} == {"CT", "MR"}
        assert {name: code for name, code, _ in found.left_out} == {
            "disc/viewer_exe": "viewer_file",
            "disc/empty": "empty_file",
            "disc/picture": "archive_unsupported",
        }


def test_it_declares_the_instances_of_a_study(tmp_path: Path) -> None:
    with group([write(tmp_path / "disc", IM1=sample("CT_small.dcm"))]) as found:
        (declared,) = found.studies[0].declared
    assert declared["study_instance_uid"] == found.studies[0].study_instance_uid
    assert len(declared["instances"]) == 1


def test_it_keeps_a_damaged_image_with_its_study(tmp_path: Path) -> None:
    whole = sample("CT_small.dcm")
    disc = write(tmp_path / "disc", IM1=whole, IM2=whole[:-5000], IM3=b"\0" * 4096)
    with group([disc]) as found:
        assert len(found.studies) == 1
        assert [name for _, name in found.studies[0].files] == ["disc/IM1", "disc/IM2", "disc/IM3"]
        assert len(found.studies[0].instances) == 1


def test_it_sets_a_nameless_image_apart_where_it_could_be_of_several_studies(tmp_path: Path) -> None:
    disc = write(tmp_path / "disc", IM1=sample("CT_small.dcm"), IM2=sample("MR_small.dcm"), IM3=b"\0" * 4096)
    with group([disc]) as found:
        apart = [study for study in found.studies if not study.study_instance_uid]
    assert [name for _, name in apart[0].files] == ["disc/IM3"]
    assert apart[0].declared == []


def test_it_expands_an_archive_and_lets_no_name_out_of_it(tmp_path: Path) -> None:
    archive, inside = tmp_path / "study.zip", tmp_path / "inside"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../escaped.dcm", sample("CT_small.dcm"))
        file.writestr("/absolute.dcm", sample("MR_small.dcm"))
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("folder/", b"")
    inside.mkdir()
    with group([archive]) as found:
        places = [path for study in found.studies for path, _ in study.files]
        assert [path.name for path in places] == ["0", "1"]
        assert all("relaypacs-archive-" in str(path.parent) for path in places)
        assert {path.read_bytes() for path in places} == {sample("CT_small.dcm"), sample("MR_small.dcm")}
        assert found.left_out == []
    assert not any(path.exists() for path in places)
    assert list(tmp_path.rglob("*.dcm")) == []


def test_it_refuses_an_archive_that_swells(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(20_000_000))
    with pytest.raises(ClientError, match="archive_refused"), group([archive]):
        pass


def test_it_refuses_a_damaged_archive(tmp_path: Path) -> None:
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("IM1", sample("CT_small.dcm"))
    octets = bytearray(archive.read_bytes())
    octets[5000] ^= 0xFF
    archive.write_bytes(octets)
    with pytest.raises(ClientError, match="archive_refused"), group([archive]):
        pass


def test_it_takes_an_image_that_carries_an_archive_for_an_image(tmp_path: Path) -> None:
    archive = tmp_path / "tail.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a", b"b")
    polyglot = tmp_path / "IM1"
    polyglot.write_bytes(sample("CT_small.dcm") + archive.read_bytes())
    assert is_archive(archive)
    assert not is_archive(polyglot)


def test_it_says_when_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="nothing_there"), group([tmp_path / "absent"]):
        pass


def test_it_tells_names_that_are_no_unicode(tmp_path: Path) -> None:
    assert tellable("IM\udce91") == "IM\ufffd1"
    assert tellable("x" * 2000) == "x" * 1024
    assert [name for _, name in named([write(tmp_path / "a" / "b", c=b"1")])] == ["b/c"]


def test_the_pack_is_the_files_end_to_end(tmp_path: Path) -> None:
    sizes = [0, 3, BLOCK - 1, 0, 2 * BLOCK + 5, 1, 0]
    octets = [bytes([n]) * size for n, size in enumerate(sizes)]
    files = []
    for number, data in enumerate(octets):
        path = tmp_path / str(number)
        path.write_bytes(data)
        files.append(LocalFile.of(path, path.name))
    pack, whole = Pack(files), b"".join(octets)
    assert pack.size == len(whole)
    assert [file.sha256 for file in files] == [hashlib.sha256(data).hexdigest() for data in octets]
    for start, length in [(0, len(whole)), (0, 1), (2, 2), (BLOCK, BLOCK), (len(whole) - 1, 1), (3, BLOCK + 7)]:
        assert pack.read(start, length) == whole[start : start + length]
