"""RelayPACS as it is measured: a whole stack as it comes, driven through its API by the lean client."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from relaypacs.demo.phantom import generate_study
from relaypacs.embedded.paths import database_url
from tests.figures.bench import OursFailed
from tests.figures.corpora import Corpus, opened
from tests.figures.line import Line, Pace, over_lines
from tests.figures.processes import RunFailed, cpu_of
from tests.figures.watch import SERVING, with_descendants
from tests.journeys.gateway import API, Gateway
from tests.peers import Orthanc
from tests.stack import stack

PACS = "Measured PACS"
PATIENCE = 900.0  # seconds
LOOK_EVERY = 0.02
ENDED_BADLY = frozenset({"failed", "held", "rejected", "cancelled", "expired"})


@dataclass(frozen=True)
class Journey:
    """One study through RelayPACS: `moments` by state, in seconds from the first byte; `cpu` in processor seconds."""

    moments: dict[str, float]
    cpu: float

    @property
    def seconds(self) -> float:
        return self.moments["verified"]

    @property
    def sent(self) -> float:
        """When the last byte was acknowledged."""
        return self.moments["sent"]

    def __str__(self) -> str:
        legs = ", ".join(f"{name} {moment:.2f}" for name, moment in self.moments.items())
        return f"{legs} s, CPU {self.cpu:.2f} s"


class Relay:
    """One running stack."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = int(gateway.stack.environment["PORT"])
        self._rows = psycopg.connect(database_url(gateway.stack.data_dir, "relaypacs_app"), autocommit=True)

    def close(self) -> None:
        self._rows.close()

    # What the administrator does.

    def send_to(self, pacs: Orthanc, *, early: bool) -> None:
        """New studies go to this PACS alone; `early`: relayed while they are received."""
        url = f"dicom://{pacs.ae}@127.0.0.1:{pacs.port}"
        if not self.row("SELECT count(*) FROM uploads_destination WHERE name = %s", PACS)[0]:
            self.gateway.add_destination(PACS, url)
        self._rows.execute("UPDATE uploads_destination SET active = (name = %s)", (PACS,))
        self._rows.execute(
            "UPDATE uploads_destination SET url = %s, relay_early = %s, paused = false, down_since = NULL,"
            " probe_at = NULL WHERE name = %s",
            (url, early, PACS),
        )

    # What the clinic does.

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.gateway.token()}"}

    def put_chunks(
        self,
        upload: str,
        corpus: Corpus,
        descriptor: int,
        *,
        connections: int,
        headers: dict[str, str],
        pace: Pace | None = None,
    ) -> None:
        jobs = [
            _put(f"{API}/uploads/{upload}/chunks/{number}", (descriptor, offset, size), digest)
            for number, (offset, size, digest) in enumerate(corpus.chunks)
        ]
        over_lines(self.port, jobs, connections=connections, headers=headers, pace=pace)

    def journey(self, corpus: Corpus, *, connections: int = 4, pace: Pace | None = None) -> Journey:
        """Hands the study in and waits until it is verified; digests were computed beforehand.

        The moments after the last byte are those of the rows: asking for them often would cost what is measured.
        """
        headers, manifest = self.headers(), corpus.manifest
        with opened(corpus) as descriptor, Line(self.port, headers=headers) as line:
            spent = self.cpu()
            began = time.time()
            upload = str(line.ask("POST", f"{API}/uploads", manifest)["id"])
            self.put_chunks(upload, corpus, descriptor, connections=connections, headers=headers, pace=pace)
            sent = time.time() - began
            line.ask("POST", f"{API}/uploads/{upload}/complete", {})
        self._wait_verified(upload)
        self._wait_printed(upload)
        cpu = self.cpu() - spent
        self.forget(upload)
        return Journey({"sent": sent, **self._moments(upload, since=began)}, cpu)

    def _moments(self, upload: str, *, since: float) -> dict[str, float]:
        """When the upload came into each state after the first."""
        sql = "SELECT to_state, at FROM uploads_transition WHERE upload_id = %s AND delivery_id IS NULL ORDER BY id"
        rows = self._rows.execute(sql, (upload,)).fetchall()
        return {state: at.timestamp() - since for state, at in rows[1:]}

    def _wait_verified(self, upload: str) -> None:
        sql = "SELECT state FROM uploads_upload WHERE id = %s"
        until, state = time.monotonic() + PATIENCE, "not there"
        while time.monotonic() < until:
            (state,) = self.row(sql, upload)
            if state == "verified":
                return
            if state in ENDED_BADLY:
                break
            time.sleep(LOOK_EVERY)
        raise OursFailed(f"the upload is {state}: {self.gateway.truth(upload)}")

    def _wait_printed(self, upload: str) -> None:
        """The receipt is work that the study causes, too."""
        sql = "SELECT count(*) FROM uploads_receipt WHERE upload_id = %s AND rendered_at IS NULL"
        until = time.monotonic() + 30
        while self.row(sql, upload)[0] and time.monotonic() < until:
            time.sleep(LOOK_EVERY * 5)

    def forget(self, upload: str) -> None:
        """Room for the next round: retention would come to it later."""
        self.gateway.pack(upload).unlink(missing_ok=True)

    def row(self, sql: str, *values: object) -> tuple[Any, ...]:
        found = self._rows.execute(sql.encode(), values).fetchone()
        if found is None:
            raise RunFailed("a row is missing")
        return found

    def cpu(self) -> float:
        """Processor seconds of web and workers so far."""
        pids = self.gateway.stack.pids()
        return cpu_of(pid for name in SERVING for pid in with_descendants(pids[name]))


def _put(path: str, span: tuple[int, int, int], digest: str) -> Callable[[Line], Any]:
    headers = {"Content-Digest": digest, "Content-Type": "application/octet-stream"}
    return lambda line: line.send("PUT", path, span, headers=headers)


@contextmanager
def relay(folder: Path) -> Iterator[Relay]:
    """A stack as it comes: nothing is tuned for the measurement but what it keeps free on the disk."""
    with stack(folder / "data", DISK_RESERVE_BYTES="0") as running:
        one = Relay(Gateway(running))
        try:
            _warm_up(one, folder / "warm-up")
            yield one
        finally:
            one.close()


def _warm_up(one: Relay, folder: Path) -> None:
    """Until each process has done each leg once: a gateway is started seldom, and studies come often."""
    for seed in range(3):
        with one.gateway.client() as client:
            sent = client.send(generate_study(folder / str(seed), slices=20, rows=128, columns=128, seed=9000 + seed))
        if sent.truth["state"] != "verified":
            raise OursFailed(f"the warm-up is {sent.truth['state']}")
