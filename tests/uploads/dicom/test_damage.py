"""Flipped bits and random bytes: every file gets a verdict, whatever was done to it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.uploads.dicom.builders import BIG_ENDIAN, EXPLICIT, IMPLICIT, JPEG, corpus, ct, part10
from uploads.dicom.codes import EFFECTS
from uploads.dicom.header import Header
from uploads.dicom.inspect import inspect
from uploads.dicom.source import BytesSource, FileSlice

pytestmark = [pytest.mark.unit, pytest.mark.clinical]

SMALL = [(name, path) for name, path in corpus() if path.suffix == ".dcm" and path.stat().st_size < 12_000]


def judged(data: bytes) -> None:
    found = inspect(BytesSource(data), name="IM000001")
    assert found.verdict == ("dicom" if found.code is None else EFFECTS[found.code])
    assert 0 <= found.dataset_offset <= found.dataset_offset + found.dataset_size <= len(data)
    assert found.header is None or isinstance(found.header, Header)
    assert found.code is not None or found.header is not None


@pytest.mark.parametrize(("name", "path"), SMALL, ids=[name for name, _ in SMALL])
def test_it_survives_flipped_bits(name, path):
    chance = random.Random(name)
    whole = path.read_bytes()
    for _ in range(30):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(min(len(data), 2000))] ^= 1 << chance.randrange(8)
        judged(bytes(data))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN, JPEG]))
def test_it_survives_any_data_set(dataset, syntax):
    judged(part10(dataset, syntax=syntax))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_it_survives_any_file(data):
    judged(data)


def test_it_reads_a_slice_and_nothing_around_it(tmp_path):
    pack = tmp_path / "pack"
    pack.write_bytes(b"before" + ct() + ct())
    with pack.open("rb") as file:
        part = FileSlice(file.fileno(), 6, len(ct()))
        assert part.pread(10, part.size - 4) == ct()[-4:]
        assert part.pread(10, part.size) == b""
        assert inspect(part, name="IM1").verdict == "dicom"
        assert inspect(FileSlice(file.fileno(), 6, len(ct()) + 1), name="IM1").code == "truncated"
