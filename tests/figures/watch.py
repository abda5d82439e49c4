"""What a study uses while it travels: memory, octets written and requests, of web, workers and what they start."""

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.journeys.gateway import Gateway

WORKERS = ("interactive", "early", "delivery", "rendering", "maintenance")
SERVING = ("web", "dicom-listener", *(f"worker-{queue}" for queue in WORKERS))
KEEPING = ("postgres", "redis-server")
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
