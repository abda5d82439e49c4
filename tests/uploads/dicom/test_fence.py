"""What harms the process that reads foreign bytes harms nobody else: bounded in memory and time, and reported."""

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import psutil
import pytest

from tests.uploads.dicom.builders import (
    DEFLATED,
    SR,
    UNDEFINED,
    ct,
    element,
    head,
    item,
    part10,
    picture,
    report,
)
from uploads.dicom.fence import Limits, Slice, inspect_fenced
from uploads.dicom.filled import Asked
from uploads.dicom.inspect import inspect
from uploads.dicom.source import BytesSource
from uploads.dicom.wire import Garbled, result_from_line, result_to_line

pytestmark = [pytest.mark.unit, pytest.mark.clinical]


def pack(folder: Path, *files: bytes) -> tuple[Path, list[Slice]]:
    path = folder / "pack"
    path.write_bytes(b"".join(files))
    slices, offset = [], 0
    for index, data in enumerate(files):
        slices.append(Slice(index, offset, len(data), f"IM{index}"))
        offset += len(data)
    return path, slices


def codes(path: Path, slices: list[Slice], **limits) -> list[str | None]:
    results = list(inspect_fenced(path, slices, limits=Limits(**limits)))
    assert [index for index, _ in results] == [part.index for part in slices]
    return [found.code for _, found in results]


def growing_bomb() -> bytes:
    """1 MB that inflates to 1 GiB: one block of zeros, over and over (a full flush makes blocks independent)."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    start = head(sop_class=SR) + element(0x00420011, "OB", b"", length=2**30)
    stream = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return part10(stream + block * 1024 + packer.flush(), syntax=DEFLATED, sop_class=SR)


def deep(levels: int) -> bytes:
    opening = element(0x0040A730, "SQ", b"", length=UNDEFINED) + item(b"", length=UNDEFINED)
    return report(opening * levels)


def test_it_answers_as_the_reader_itself_does(tmp_path):
    files = [ct(), report(), b"text", ct()[:-5], b""]
    path, slices = pack(tmp_path, *files)
    direct = [(n, inspect(BytesSource(data), name=f"IM{n}")) for n, data in enumerate(files)]
    assert list(inspect_fenced(path, slices)) == direct


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (growing_bomb, "bomb"),
        (lambda: deep(1000), "too_deep"),
        (lambda: deep(100_000), "too_deep"),
        (lambda: report(element(0x00420011, "OB", b"", length=0xFFFFFFF0)), "truncated"),
        (lambda: report(element(0x0040A730, "SQ", item(b"") * 300_000)), "bomb"),
        (lambda: part10(head() + picture(), preamble=b"MZ"), "bomb"),
    ],
    ids=["deflate", "depth 1000", "depth 100000", "length 4 GiB", "300000 items", "program"],
)
def test_a_bomb_is_bounded_and_named(tmp_path, make, code):
    path, slices = pack(tmp_path, make(), ct())
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    ours = psutil.Process().memory_info().rss
    assert codes(path, slices, wall_seconds=60, memory=160 * 2**20) == [code, None]
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    # Until it starts its own program, a child counts with what its parent held.
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after <= max(before, inherited, 160 * 1024)
    assert psutil.Process().memory_info().rss - ours < 20 * 2**20


def test_pixels_without_an_end_are_not_read(tmp_path):
    start = part10(head() + picture() + element(0x7FE00010, "OB", b"", length=UNDEFINED), syntax="1.2.840.10008.1.2.5")
    path = tmp_path / "pack"
    path.write_bytes(start)
    os.truncate(path, len(start) + 50 * 2**20)  # sparse: the zeros take no room
    size = path.stat().st_size
    assert codes(path, [Slice(0, 0, size, "IM0")], memory=64 * 2**20) == ["truncated"]


def test_a_large_instance_takes_no_more_memory_than_a_small_one(tmp_path):
    start = part10(head() + picture(rows=32768, columns=8192) + element(0x7FE00010, "OW", b"", length=2**29))
    path = tmp_path / "pack"
    path.write_bytes(start)
    os.truncate(path, len(start) + 2**29)
    assert codes(path, [Slice(0, 0, len(start) + 2**29, "IM0")], memory=64 * 2**20) == [None]


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "uploads.dicom.child" in child.cmdline()]


def test_a_hanging_file_is_reported_and_the_next_ones_are_read(tmp_path):
    path, slices = pack(tmp_path, *([ct()] * 4))
    results = inspect_fenced(path, slices, limits=Limits(wall_seconds=0.5))
    codes = [next(results)[1].code]
    # Stopped between two files, the child stands for one that hangs; its successor reads the same file again.
    for child in children():
        child.send_signal(signal.SIGSTOP)
    codes += [found.code for _, found in results]
    assert codes == [None] * 4
    assert not children()


def test_a_file_that_hangs_twice_is_a_bomb(tmp_path):
    slow = report(element(0x0040A730, "SQ", (item(element(0x00080100, "SH", "A") * 4)) * 190_000))
    path, slices = pack(tmp_path, ct(), slow, ct())
    assert codes(path, slices, wall_seconds=0.05, start_seconds=60)[1:] in (["bomb", None], ["bomb", "bomb"])


def test_processor_time_is_limited_per_file():
    script = "from uploads.dicom.child import allow_cpu\nallow_cpu(0)\nwhile True: pass"
    burnt = subprocess.run([sys.executable, "-c", script], check=False)
    assert burnt.returncode == -signal.SIGXCPU


def test_a_killed_child_costs_no_file(tmp_path):
    path, slices = pack(tmp_path, *([ct()] * 200))
    results = inspect_fenced(path, slices)
    codes = [next(results)[1].code]
    for child in children():
        child.kill()
    assert codes + [found.code for _, found in results] == [None] * 200


def test_closing_the_iterator_ends_the_child(tmp_path):
    path, slices = pack(tmp_path, *([ct()] * 500))
    results = inspect_fenced(path, slices)
    next(results)
    assert len(children()) == 1
    results.close()  # type: ignore[attr-defined]
    assert not children()


def test_it_works_in_threads(tmp_path):
    outcomes: dict[int, list[str | None]] = {}

    def run(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        path, slices = pack(folder, *([ct()] * (number + 1)), b"text")
        outcomes[number] = codes(path, slices)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {number: [None] * (number + 1) + ["not_dicom"] for number in range(4)}


def test_the_child_knows_no_secret_and_no_django(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    path, slices = pack(tmp_path, *([ct()] * 100))
    results = inspect_fenced(path, slices)
    next(results)
    (child,) = children()
    assert "DATABASE_URL" not in child.environ()
    assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_AS) == (512 * 2**20, 512 * 2**20)
    results.close()  # type: ignore[attr-defined]
    script = "import sys, uploads.dicom.child; print([m for m in ('django', 'celery', 'pydicom') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_it_tells_which_of_the_asked_elements_each_file_has_not_filled(tmp_path):
    name, number, study = Asked(0x00100010, True), Asked(0x00200013, True), Asked(0x0020000D, True)
    path, slices = pack(tmp_path, ct(), report(), b"text")
    results = [found for _, found in inspect_fenced(path, slices, asked=(name, study, number))]
    assert [found.missing for found in results] == [(number.tag,), (number.tag,), ()]


def test_a_child_that_names_what_was_not_asked_is_not_believed():
    asked = (Asked(0x00100010, True), Asked(0x00200013, True))
    part = Slice(3, 0, len(ct()), "IM3")
    line = result_to_line(3, inspect(BytesSource(ct()), name="IM3", asked=asked))
    assert result_from_line(line, expected=part, asked=asked).missing == (0x00200013,)
    for lie in (b"[2097170]", b"[2097171, 2097171]", b'["x"]', b"null", b"[true]", b"[1048592.0]"):
        with pytest.raises(Garbled):
            result_from_line(line.replace(b"[2097171]", lie), expected=part, asked=asked)


def test_a_pack_that_is_not_there_is_an_error_of_the_world(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(inspect_fenced(tmp_path / "gone", [Slice(0, 0, 1, "IM0")]))


def test_it_believes_nothing_a_broken_child_says():
    part = Slice(3, 0, len(ct()), "IM3")
    line = result_to_line(3, inspect(BytesSource(ct()), name="IM3"))
    assert result_from_line(line, expected=part).verdict == "dicom"
    chance = random.Random(3)
    lies = [b"", b"[]", b"null", b"{}", b"[" * 100_000, line.replace(b'"dicom"', b'"verified"')]
    lies += [line.replace(b"[3,", b"[4,"), line.replace(b"null", b'"bomb"'), line.replace(b"false", b"0")]
    lies += [line.replace(b'"Test^Patient"', b'["a"]'), b'[3, "dicom", null, "", 0, 5, null]', line[:-9]]
    lies += [b'[3, "ignored", "bomb", "", 0, 0, null]', b'[3, "rejected", "bomb", "", 0, 99999999, null]']
    lies += [bytes(chance.randrange(256) for _ in range(50)) for _ in range(50)]
    for lie in lies:
        with pytest.raises(Garbled):
            result_from_line(lie, expected=part)
