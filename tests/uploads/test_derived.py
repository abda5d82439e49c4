"""A derived image is made once beside its pack, proved, and removed with it."""

import hashlib
import io
import os
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from accounts.models import Role
from tests import factories
from tests.handin import HandIn
from tests.peers import storescp
from uploads.dicom.source import FileSlice
from uploads.dicom.transcode import EXPLICIT, NoSpace, TranscodeFailed, Transcoder
from uploads.models import Instance, Upload
from uploads.pacs.address import Peer
from uploads.pacs.dimse import Item, Kind, Outcome, store
from uploads.pipeline import legs
from uploads.pipeline.derived import derive, transcoder_of
from uploads.storage import DerivedFile, StorageFull, pack_of

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]

NAME = "MR_small_jp2klossless.dcm"


def sample(name: str = NAME) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


@pytest.fixture
def instance() -> Instance:
    """One JPEG 2000 image that was validated."""
    factories.DestinationFactory.create(paused=True)
    HandIn(factories.person(Role.RADIOGRAPHER), {"notes": b"read me", "IM1": sample()}).everything()
    while legs.advance():
        pass
    return Instance.objects.select_related("upload", "study").get()


def test_it_is_made_once_and_is_the_same_again(instance: Instance) -> None:
    with transcoder_of(instance.upload) as transcoder:
        first = derive(instance, transcoder)
        made = first.path.stat().st_mtime_ns
        again = derive(instance, transcoder)
    assert again == first
    assert first.path.stat().st_mtime_ns == made
    assert list(first.path.parent.iterdir()) == [first.path]
    octets = first.path.read_bytes()[first.offset :]
    assert (len(octets), hashlib.sha256(octets).hexdigest()) == (first.size, first.sha256)
    after, before = pydicom.dcmread(first.path), pydicom.dcmread(io.BytesIO(sample()))
    assert after.file_meta.TransferSyntaxUID == EXPLICIT
    assert after.SOPInstanceUID == before.SOPInstanceUID == instance.sop_instance_uid
    assert (after.pixel_array == before.pixel_array).all()


def test_a_pacs_without_compression_takes_it(instance: Instance, tmp_path: Path) -> None:
    outcomes: dict[str, Outcome] = {}

    def send(key: str, syntax: str, source: FileSlice, peer: Peer) -> None:
        item = Item(key, instance.sop_class_uid, instance.sop_instance_uid, syntax, source)
        store(peer, [item], on_sending=lambda _: None, on_outcome=lambda one, got: outcomes.update({one.key: got}))

    with transcoder_of(instance.upload) as transcoder:
        derived = derive(instance, transcoder)
    with storescp("+x=", "--bit-preserving", directory=tmp_path / "pacs") as server:
        peer = Peer(server.ae, "127.0.0.1", server.port)
        with pack_of(instance.upload_id).open() as fd:
            pack = FileSlice(fd, instance.dataset_offset, instance.dataset_size)
            send("compressed", instance.transfer_syntax_uid, pack, peer)
        with derived.path.open("rb") as file:
            send("plain", EXPLICIT, FileSlice(file.fileno(), derived.offset, derived.size), peer)
        [kept] = (tmp_path / "pacs").iterdir()
        stored = pydicom.dcmread(kept)
    assert (outcomes["compressed"].code, outcomes["plain"].kind) == ("context_refused", Kind.STORED)
    assert (stored.pixel_array == pydicom.dcmread(io.BytesIO(sample())).pixel_array).all()


def test_it_goes_with_the_pack(instance: Instance) -> None:
    with transcoder_of(instance.upload) as transcoder:
        derived = derive(instance, transcoder)
    pack_of(instance.upload_id).remove()
    assert not derived.path.exists()
    assert not derived.path.parent.exists()
    pack_of(instance.upload_id).remove()


def test_an_image_that_cannot_be_decoded_leaves_nothing_behind(instance: Instance) -> None:
    instance.transfer_syntax_uid = "1.2.840.10008.1.2.5"
    with transcoder_of(instance.upload) as transcoder, pytest.raises(TranscodeFailed):
        derive(instance, transcoder)
    assert list(pack_of(instance.upload_id).derived.iterdir()) == []


@pytest.mark.parametrize("field", ["sop_instance_uid", "sop_class_uid", "series_instance_uid"])
def test_what_bears_other_names_than_the_image_is_not_kept(instance: Instance, field: str) -> None:
    setattr(instance, field, "1.2.3.4")
    with transcoder_of(instance.upload) as transcoder, pytest.raises(TranscodeFailed):
        derive(instance, transcoder)
    assert not DerivedFile(instance.upload_id, instance.pk).exists()


def test_a_full_disk_is_told_as_such_and_leaves_nothing_behind(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(self: Transcoder, encoded: object, target: int, *, on_frame: object) -> None:
        real(self, encoded, full, on_frame=on_frame)  # type: ignore[arg-type]

    real = Transcoder.write
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(Transcoder, "write", write)
    try:
        with transcoder_of(instance.upload) as transcoder, pytest.raises(StorageFull) as caught:
            derive(instance, transcoder)
    finally:
        os.close(full)
    assert isinstance(caught.value.__cause__, NoSpace)
    assert list(pack_of(instance.upload_id).derived.iterdir()) == []


def test_a_pack_that_is_gone_is_an_error_of_the_world() -> None:
    upload: Upload = factories.UploadFactory.create()
    with pytest.raises(FileNotFoundError):
        transcoder_of(upload)
