"""The files on the client's side: one stream of bytes, and a file that changes meanwhile is noticed."""

import os
import zipfile
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from uploads.client import ClientError, LocalFile, Pack, group

pytestmark = pytest.mark.unit


def local(folder: Path, **files: bytes) -> list[LocalFile]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [LocalFile.of(folder / name, name) for name in files]


def test_a_pack_is_its_files_end_to_end_wherever_it_is_read(tmp_path: Path) -> None:
    data = {"a": os.urandom(1000), "empty": b"", "b": os.urandom(1), "c": os.urandom(3_000_000), "z": b""}
    pack = Pack(local(tmp_path, **data))
    whole = b"".join(data.values())
    assert pack.size == len(whole)
    for offset, length in ((0, 10), (999, 3), (0, len(whole)), (1000, 1), (1001, 2_000_000), (len(whole) - 1, 1)):
        assert pack.read(offset, length) == whole[offset : offset + length]


def test_reading_a_file_that_has_changed_says_so(tmp_path: Path) -> None:
    pack = Pack(local(tmp_path, a=b"first"))
    (tmp_path / "a").write_bytes(b"second")
    with pytest.raises(ClientError) as caught:
        pack.read(0, 5)
    assert caught.value.code == "file_changed"


def test_a_file_that_is_gone_has_changed(tmp_path: Path) -> None:
    [file] = local(tmp_path, a=b"first")
    (tmp_path / "a").unlink()
    with pytest.raises(ClientError) as caught:
        list(file.read(0, 5))
    assert caught.value.code == "file_changed"


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def test_it_finds_studies_in_folders_and_archives_and_names_what_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "CD"
    folder.mkdir()
    (folder / "IM1").write_bytes(sample("CT_small.dcm"))
    (folder / "readme.txt").write_bytes(b"hello")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("../../IM2", sample("MR_small.dcm"))
    with group([folder, tmp_path / "study.zip"]) as found:
        names = [[name for _, name in study.files] for study in found.studies]
        assert names == [["CD/IM1"], ["study.zip/../../IM2"]]
        assert all(path.is_file() for study in found.studies for path, _ in study.files)
        assert [len(study.instances) for study in found.studies] == [1, 1]
        assert [(name, code) for name, code, _ in found.left_out] == [("CD/readme.txt", "viewer_file")]
    assert not (tmp_path.parent / "IM2").exists()


def test_a_damaged_file_goes_with_the_study_it_names(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(sample("CT_small.dcm")[:20_000])
    with group([tmp_path / "cut"]) as found:
        [study] = found.studies
        assert [name for _, name in study.files] == ["cut"]
        assert study.instances == []


def test_an_archive_that_blows_up_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50_000_000))
    with pytest.raises(ClientError) as caught, group([tmp_path / "bomb.zip"]):
        pass
    assert caught.value.code == "archive_refused"


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClientError) as caught, group([tmp_path / "nowhere"]):
        pass
    assert caught.value.code == "nothing_there"
