"""What a study costs: requests, memory and octets written, for 600 slices and for one file of 500 MB (P12, P14)."""

import contextlib
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path

import httpx
import pytest

from relaypacs.demo.phantom import generate_multiframe, generate_study
from tests.journeys.gateway import Gateway
from tests.stack import stack

pytestmark = pytest.mark.bench

SERVING = ("web", "worker-interactive", "worker-early", "worker-delivery", "worker-rendering", "worker-maintenance")
KEEPING = ("postgres", "redis-server")
MB = 1_000_000
SMALL = 4  # whether their short-lived children meet is chance: the most that any of them took counts
WARM_UPS = 3  # until each worker process has done each leg once and has imported what it needs
SAMPLE_SECONDS = 0.01


@dataclass(frozen=True)
class Use:
    """What the journey of one study used."""

    name: str
    peak: Counter[str]  # bytes of RssAnon by role: the most that its processes had together at one moment
    received: int  # bytes
    written: int  # bytes that web and workers caused to be written, by /proc/PID/io
    database: int  # the same of PostgreSQL and Redis
    pack: int  # bytes of the disk blocks of the pack
    requests: int
    chunks: int


class Watch:
    """Looks at web, workers and the fenced children they start many times a second while a study travels."""

    def __init__(self, gateway: Gateway) -> None:
        pids = gateway.stack.pids()
        self._roots = {name: pids[name] for name in SERVING}
        self._keeping = {name: gateway.process(name).pid for name in KEEPING}
        self._io: dict[str, dict[int, int]] = {name: {} for name in (*SERVING, *KEEPING)}
        self.peak: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._look()
        self._before = {name: dict(seen) for name, seen in self._io.items()}
        self.peak.clear()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def written(self, *names: str) -> int:
        return sum(octets - self._before[name].get(pid, 0) for name in names for pid, octets in self._io[name].items())

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        now = Counter({name: self._note(name, root) for name, root in self._roots.items()})
        now["all"] = now.total()
        self.peak |= now  # the larger of each
        for name, root in self._keeping.items():
            self._note(name, root)

    def _note(self, name: str, root: int) -> int:
        """RssAnon of a process and its descendants, in bytes."""
        anon = 0
        for pid in with_descendants(root):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                anon += field_of(Path(f"/proc/{pid}/status"), "RssAnon:") * 1024
                self._io[name][pid] = field_of(Path(f"/proc/{pid}/io"), "write_bytes:")
        return anon


def with_descendants(pid: int) -> Iterator[int]:
    """Asks the kernel about this family alone: a look at every process of the machine would miss short lives."""
    yield pid
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from with_descendants(int(child))


def field_of(path: Path, label: str) -> int:
    found = re.search(rf"^{label}\s+(\d+)", path.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """As it comes: no setting is tuned for the measurement."""
    with stack(tmp_path_factory.mktemp("figures") / "data", DISK_RESERVE_BYTES="0") as running:
        yield Gateway(running)


def requests_made(gateway: Gateway) -> int:
    """Requests answered so far, by the gateway's own count."""
    text = httpx.get(f"{gateway.stack.base_url}/metrics").raise_for_status().text
    return int(sum(float(n) for n in re.findall(r"^http_requests_total\{.*\} (\S+)$", text, re.MULTILINE)))


def measure(gateway: Gateway, name: str, paths: list[Path]) -> Use:
    """Relays one study until it is verified."""
    before = requests_made(gateway)
    with gateway.client() as client, Watch(gateway) as watch:
        sent = client.send(paths)
    assert sent.truth["state"] == "verified"
    return Use(
        name=name,
        peak=watch.peak,
        received=sent.truth["total_size"],
        written=watch.written(*SERVING),
        database=watch.written(*KEEPING),
        pack=gateway.pack(sent.id).stat().st_blocks * 512,
        requests=requests_made(gateway) - before - 1,  # the first question for the count is in the second answer
        chunks=sent.truth["chunk_count"],
    )


def slices(folder: Path, count: int, *, seed: int) -> list[Path]:
    return generate_study(folder, slices=count, rows=512, columns=512, seed=seed)


def table(usual: Counter[str], uses: list[Use]) -> str:
    """The figures side by side; memory is what the study took beyond the small ones, in MB."""
    lines = [f"{'study':<22}{'MB':>7}{'chunks':>8}{'requests':>10}{'written/byte':>14}{'pack/byte':>11}{'db/byte':>9}"]
    for use in uses:
        per_byte = [f"{octets / use.received:.3f}" for octets in (use.written, use.pack, use.database)]
        lines.append(
            f"{use.name:<22}{use.received / MB:>7.0f}{use.chunks:>8}{use.requests:>10}"
            f"{per_byte[0]:>14}{per_byte[1]:>11}{per_byte[2]:>9}"
        )
    lines.append(f"{'RssAnon, MB beyond':<22}" + "".join(f"{name:>20}" for name in (*SERVING, "all")))
    for use in uses:
        beyond = [f"{(use.peak[name] - usual[name]) / MB:+.1f}" for name in (*SERVING, "all")]
        lines.append(f"{use.name:<22}" + "".join(f"{one:>20}" for one in beyond))
    return "\n".join(lines)


def test_neither_memory_nor_writing_grows_with_the_study(gateway: Gateway, tmp_path: Path) -> None:
    for seed in range(WARM_UPS):
        measure(gateway, "warm-up", slices(tmp_path / f"warm{seed}", 20, seed=2000 + seed))
    few = [measure(gateway, "20 slices", slices(tmp_path / f"small{n}", 20, seed=2100 + n)) for n in range(SMALL)]
    usual = reduce(or_, (use.peak for use in few))
    many = measure(gateway, "600 slices", slices(tmp_path / "many", 600, seed=2201))
    large = measure(
        gateway, "one file", [generate_multiframe(tmp_path / "large" / "IM1.dcm", megabytes=500, seed=2202)]
    )
    again = measure(gateway, "20 slices, after", slices(tmp_path / "again", 20, seed=2203))
    sys.stdout.write("\n" + table(usual, [*few, many, large, again]) + "\n")
    for use in (many, large):
        assert use.requests <= use.chunks + 5
        assert use.written <= 1.02 * use.received
        assert use.pack <= 1.02 * use.received
        assert use.peak["all"] - usual["all"] <= 32 * MB
