"""Rows of cost: memory and octets written (P12, P14), the header index (P13), octets sent again after a kill (P15)."""

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce
from io import BytesIO
from operator import or_
from pathlib import Path
from typing import Any

import pydicom

from relaypacs.demo.phantom import generate_multiframe, generate_study
from tests.figures.bench import Bench, OursFailed
from tests.figures.corpora import CHUNK, opened
from tests.figures.figure import OURS, Figure, figure
from tests.figures.watch import Use, measure
from tests.journeys.gateway import Gateway
from tests.stack import stack
from uploads.client.chunks import LINES
from uploads.client.client import Client
from uploads.client.wire import Wire
from uploads.dicom.header import WANTED
from uploads.dicom.inspect import inspect
from uploads.dicom.source import FileSlice

MB = 1_000_000
SMALL = 4  # whether their short-lived children meet is chance: the most that any of them took counts
WARM_UPS = 3  # until each worker process has done each leg once and has imported what it needs
HEADER = 16 * 1024  # bytes that hold the header of every slice of corpus a
PYDICOM = "pydicom"
FACTS = tuple(  # what our index has of an instance, by keyword
    keyword for tag in sorted(WANTED) if (keyword := pydicom.datadict.keyword_for_tag(tag))
)


def slices(folder: Path, count: int, *, seed: int) -> list[Path]:
    return generate_study(folder, slices=count, rows=512, columns=512, seed=seed)


def small_uses(gateway: Gateway, folder: Path, *, seed: int) -> list[Use]:
    """What studies of 10 MB take, once everything is warm."""
    for number in range(WARM_UPS):
        measure(gateway, "warm-up", slices(folder / f"warm{number}", 20, seed=seed + number))
    return [
        measure(gateway, "20 slices", slices(folder / f"small{number}", 20, seed=seed + 100 + number))
        for number in range(SMALL)
    ]


def large_uses(gateway: Gateway, folder: Path, *, seed: int) -> Iterator[Use]:
    yield measure(gateway, "600 slices", slices(folder / "many", 600, seed=seed))
    one = generate_multiframe(folder / "large" / "IM1.dcm", megabytes=500, seed=seed + 1)
    yield measure(gateway, "one file", [one])


def most(uses: list[Use]) -> Counter[str]:
    return reduce(or_, (use.peak for use in uses))


def footprint(bench: Bench) -> list[Figure]:
    """P12 and P14."""
    beyond: dict[str, list[float]] = {"one file": [], "600 slices": []}
    written: dict[str, list[float]] = {"one file": [], "600 slices": []}
    requests: list[float] = []
    with bench.scratch() as folder, stack(folder / "data", DISK_RESERVE_BYTES="0") as running:
        gateway = Gateway(running)
        usual = most(small_uses(gateway, folder, seed=2000))
        for number in range(bench.rounds):
            for use in large_uses(gateway, folder / str(number), seed=2200 + 10 * number):
                bench.say(f"  P12, P14 round {number + 1}: {use.name}: {use.requests} requests")
                beyond[use.name].append((use.peak["all"] - usual["all"]) / MB)
                written[use.name].append(max(use.written, use.pack) / use.received)
                requests.append(use.requests - use.chunks)
    found = [figure("P12", name, runs={OURS: values}) for name, values in beyond.items()]
    found += [figure("P14", name, runs={OURS: values}) for name, values in written.items()]
    return [*found, figure("P14", "requests", runs={OURS: requests})]


def header_index(bench: Bench) -> list[Figure]:
    """P13: both read from memory or the page cache; pydicom gets the few octets that it needs and no file to open."""
    corpus = bench.corpus("a")
    spans = list(corpus.spans)
    with opened(corpus) as descriptor:
        heads = [os.pread(descriptor, min(HEADER, size), offset) for offset, size in spans]

        def ours() -> float:
            began = time.perf_counter()
            for offset, size in spans:
                if inspect(FileSlice(descriptor, offset, size), name="IM").verdict != "dicom":
                    raise OursFailed("a slice was not taken for an image")
            return len(spans) / (time.perf_counter() - began)

        def theirs(keywords: Sequence[str]) -> float:
            began = time.perf_counter()
            for head in heads:
                dataset = pydicom.dcmread(BytesIO(head), stop_before_pixels=True)
                for keyword in keywords:
                    dataset.get(keyword)
            return len(heads) / (time.perf_counter() - began)

        sides = {OURS: ours, PYDICOM: lambda: theirs(FACTS), f"{PYDICOM}, no value read": lambda: theirs(())}
        for side in sides.values():
            side()  # once for what only the first time costs
        runs = bench.take_turns(sides, about="P13")
    note = "pydicom finds elements first and reads values when they are asked for; the index is values"
    return [figure("P13", "a", runs=runs, rivals=(PYDICOM,), note=note)]


class CountingWire(Wire):
    """Counts the octets of bodies that it was asked to send, those of requests that failed too."""

    octets = 0

    def _pieces(self, body: memoryview) -> Iterator[bytes]:
        for piece in super()._pieces(body):
            self.octets += len(piece)
            yield piece


class CountingClient(Client):
    """Our own client as it is, with a count."""

    def __init__(self, base_url: str, **options: Any) -> None:
        super().__init__(base_url, **options)
        self.close()
        self.wire = CountingWire(base_url, **options)
        self._wire = self.wire


def after_a_kill(bench: Bench) -> list[Figure]:
    """P15: the web server is killed once nine tenths are acknowledged; our own client goes on by itself."""
    corpus = bench.corpus("a")
    with bench.scratch() as folder, stack(folder / "data", DISK_RESERVE_BYTES="0") as running:
        username, password = running.accounts["radiographer"]

        history = itertools.count()  # other words each time, or the same files would be the same upload

        def ours() -> float:
            killed: list[int] = []

            def on_progress(done: int, total: int) -> None:
                if done >= 0.9 * total and not killed:
                    killed.append(running.kill("web"))

            client = CountingClient(running.base_url, username=username, password=password)
            with client:
                sent = client.send(
                    [corpus.folder / "files"],
                    clinical_history=f"measurement {next(history)}",
                    allow_duplicate=True,
                    on_progress=on_progress,
                )
                if sent.truth["state"] != "verified" or not killed:
                    raise OursFailed(f"after the kill it is {sent.truth['state']}")
                return (client.wire.octets - corpus.octets) / (CHUNK * LINES)

        runs = bench.take_turns({OURS: ours}, about="P15")
    return [figure("P15", "kill -9 at 90 %", runs=runs)]
