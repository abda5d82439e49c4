"""What comes back is hashed as it passes: the data set alone, however the file is cut into pieces."""

import hashlib

import pytest

from tests.peers import data_set_of
from tests.uploads.dicom import builders
from tests.uploads.pacs.packs import Sample, sendable_samples
from uploads.pacs.errors import AssociationAborted
from uploads.pacs.fetched import MOST_META, DataSetDigest, Fetched

pytestmark = pytest.mark.unit


def digested(file: bytes, piece: int) -> Fetched:
    digest = DataSetDigest()
    for start in range(0, len(file), piece):
        digest.feed(file[start : start + piece])
    return digest.fetched()


@pytest.mark.parametrize("piece", [1, 7, 333, 65_536])
@pytest.mark.parametrize("sample", sendable_samples()[:12], ids=lambda sample: sample.name)
def test_it_hashes_what_follows_the_meta_group(sample: Sample, piece: int) -> None:
    fetched = digested(sample.file, piece)
    assert fetched.sha256 == sample.sha256
    assert fetched.size == len(data_set_of(sample.file))
    assert (fetched.sop_instance_uid, fetched.transfer_syntax_uid) == (
        sample.sop_instance_uid,
        sample.transfer_syntax_uid,
    )


@pytest.mark.parametrize("piece", [1, 100, 65_536])
def test_a_group_without_its_length_ends_where_another_begins(piece: int) -> None:
    data_set = builders.head() + builders.picture() + builders.pixels()
    file = bytes(128) + b"DICM" + builders.meta()[12:] + data_set
    fetched = digested(file, piece)
    assert fetched.sha256 == hashlib.sha256(data_set).hexdigest()
    assert fetched.transfer_syntax_uid == builders.EXPLICIT


@pytest.mark.parametrize(
    "file",
    [
        b"<html>" * 100,
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + builders.meta(),
        bytes(128) + b"DICM" + builders.element(0x00020000, "UL", b"\xff\xff\xff\x7f") + bytes(MOST_META + 1),
    ],
    ids=["web page", "nothing", "no data set", "endless"],
)
def test_what_is_no_file_is_an_error(file: bytes) -> None:
    with pytest.raises(AssociationAborted) as caught:
        digested(file, 65_536)
    assert caught.value.code == "protocol_error"
