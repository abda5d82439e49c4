"""Rows of growth: memory of the sender from 1 MB to 2 GB an instance, and its cost from 10 to 10,000 of them."""

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.figures import dcmtk
from tests.figures.bench import Bench
from tests.figures.figure import OURS, Figure, figure
from tests.figures.processes import Helper, missing
from tests.figures.watch import field_of
from tests.peers import Program

MB = 1_000_000
SMALL, LARGE = 1 * MB, 2_000 * MB  # octets of one instance
FEW, MANY = 10, 10_000
SLICE = 131_072  # octets
AT = {SLICE: 0, SMALL: MB, LARGE: 10 * MB}  # where in the pack the data set of this size begins
CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
KEYS = (("G1", "C-STORE"), ("G2", "C-STORE"))


def growth(bench: Bench) -> list[Figure]:
    """Both into a receiver that neither waits nor writes; the pack is a sparse file, so that no disk is in the way."""
    if sentence := missing("storescp"):
        return [figure(*key, missing=sentence) for key in KEYS]
    with bench.scratch() as folder, dcmtk.tuned_receiver() as peer, Helper("our_sender") as sender:
        pack = _pack(folder / "pack")
        _send(sender, peer, pack, count=FEW, size=SLICE)  # its first time
        memory, cost = [], []
        for _ in range(bench.rounds):
            memory.append((_peak(sender, peer, pack, LARGE) - _peak(sender, peer, pack, SMALL)) / MB)
            cost.append(_per_instance(sender, peer, pack, MANY) / _per_instance(sender, peer, pack, FEW))
    return [figure(*KEYS[0], runs={OURS: memory}), figure(*KEYS[1], runs={OURS: cost})]


def _pack(path: Path) -> Path:
    """Data sets of one element, pixels of zeros, which are holes in the file."""
    with path.open("wb") as file:
        for size, offset in AT.items():
            file.seek(offset)
            file.write(struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OB", size - 12))
            file.truncate(offset + size)
    return path


def _send(sender: Helper, peer: Program, pack: Path, *, count: int, size: int) -> Any:
    files = [
        {
            "name": str(number),
            "dataset_offset": AT[size],
            "dataset_size": size,
            "sop_class_uid": CT,
            "sop_instance_uid": f"2.25.{number + 1}",
            "transfer_syntax_uid": EXPLICIT,
        }
        for number in range(count)
    ]
    return sender.cost(op="store", port=peer.port, ae=peer.ae, pack=str(pack), files=files, lanes=1)


def _per_instance(sender: Helper, peer: Program, pack: Path, count: int) -> float:
    """Seconds for one instance; for a few of them the mean of several associations."""
    times = 50 if count == FEW else 1
    return sum(_send(sender, peer, pack, count=count, size=SLICE).seconds for _ in range(times)) / times / count


def _peak(sender: Helper, peer: Program, pack: Path, size: int) -> int:
    with _watched(sender.pid) as peak:
        _send(sender, peer, pack, count=1, size=size)
    return peak[0]


@contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """The most RssAnon, in bytes, that the process had inside the block."""
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            peak[0] = max(peak[0], field_of(Path(f"/proc/{pid}/status"), "RssAnon:") * 1024)

    thread = threading.Thread(target=look)
    thread.start()
    os.sched_yield()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
        peak[0] = max(peak[0], field_of(Path(f"/proc/{pid}/status"), "RssAnon:") * 1024)
