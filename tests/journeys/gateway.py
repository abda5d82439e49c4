"""A running stack as its users and its administrator meet it: the API, the commands, and the rows when it matters."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from pydicom import dcmread

from relaypacs.demo.phantom import generate_study
from relaypacs.embedded.paths import database_url
from tests.loopback import data_set_of
from tests.stack import ROOT, Stack
from uploads.client import Client, Sent

API = "/api/v1"
KIB256 = 256 * 1024
SOON = {  # waits that a person would not notice; the shape of everything stays
    "RETRY_FIRST_SECONDS": "0.5",
    "RETRY_CAP_SECONDS": "2",
    "PROBE_SECONDS": "0.5",
    "VERIFY_FIRST_SECONDS": "0.3",
    "SWEEP_SECONDS": "0.5",
    "LEASE_SECONDS": "4",
    "DISK_RESERVE_BYTES": "0",
}
PATIENCE = 120.0  # seconds; a machine busy with other tests is no failure
Truth = dict[str, Any]


@dataclass
class Gateway:
    """One stack, by its doors."""

    stack: Stack

    def client(self, role: str = "radiographer", *, chunk_size: int | None = None) -> Client:
        username, password = self.stack.accounts[role]
        return Client(self.stack.base_url, username=username, password=password, chunk_size=chunk_size)

    @contextmanager
    def http(self, role: str = "radiographer") -> Iterator[httpx.Client]:
        """Plain HTTP with somebody's token, for what a careful client would not do."""
        with httpx.Client(base_url=self.stack.base_url + API, timeout=60) as plain:
            plain.headers["Authorization"] = f"Bearer {self.token(role)}"
            yield plain

    def token(self, role: str = "radiographer") -> str:
        username, password = self.stack.accounts[role]
        answer = httpx.post(
            f"{self.stack.base_url}{API}/auth/login", json={"username": username, "password": password}, timeout=60
        )
        return str(answer.raise_for_status().json()["access_token"])

    # What the administrator does.

    def add_destination(self, name: str, url: str, *options: str) -> None:
        self._manage("add_destination", name, url, *options)

    @contextmanager
    def only(self, *options: str, **destinations: str) -> Iterator[None]:
        """New studies go to these alone, by name and URL, added with `options`; afterwards to the demo PACS again."""
        self.rows("UPDATE uploads_destination SET active = false")
        for name, url in destinations.items():
            self.add_destination(name, url, *options)
            self.rows("UPDATE uploads_destination SET active = true WHERE name = %s", name)
        try:
            yield
        finally:
            self.rows("UPDATE uploads_destination SET active = (name = 'Demo PACS')")

    def _manage(self, *words: str) -> None:
        command = [sys.executable, str(ROOT / "manage.py"), *words]
        subprocess.run(command, cwd=ROOT, env=self.stack.environment, check=True, capture_output=True)

    # What the truth is, and what stands in the rows.

    def truth(self, upload: str, role: str = "radiographer") -> Truth:
        with self.http(role) as http:
            body: Truth = http.get(f"/uploads/{upload}").raise_for_status().json()
            return body

    def wait_for(self, upload: str, true: Callable[[Truth], bool]) -> Truth:
        """Until the truth about the upload is so; fails with the last truth."""
        deadline = time.monotonic() + PATIENCE
        with self.http() as http:
            while True:
                truth: Truth = http.get(f"/uploads/{upload}").raise_for_status().json()
                if true(truth):
                    return truth
                if time.monotonic() > deadline:
                    raise AssertionError(f"did not come about: {json.dumps(truth)[:2000]}")
                time.sleep(0.1)

    def wait_verified(self, upload: str) -> Truth:
        return self.wait_for(upload, lambda truth: truth["state"] == "verified")

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        url = database_url(self.stack.data_dir, "relaypacs_app")
        with psycopg.connect(url) as connection:
            cursor = connection.execute(sql.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def stored_counts(self, *uploads: str) -> set[int]:
        """How often, by the ledger, a PACS said that it stored an instance of these uploads."""
        sql = """SELECT DISTINCT stored_count FROM uploads_ledgerentry e JOIN uploads_delivery d ON d.id = e.delivery_id
                 WHERE d.upload_id = ANY(%s::uuid[])"""
        return {count for (count,) in self.rows(sql, list(uploads))}

    def reasons(self, upload: str) -> list[str]:
        """Why its deliveries moved, in order."""
        sql = "SELECT because FROM uploads_transition WHERE upload_id = %s AND delivery_id IS NOT NULL ORDER BY id"
        return [because for (because,) in self.rows(sql, upload)]

    def commitments(self, upload: str) -> list[tuple[str, dict[str, Any]]]:
        """State and report of each storage commitment that was asked for, in order."""
        sql = """SELECT c.state, c.report FROM uploads_commitment c JOIN uploads_delivery d ON d.id = c.delivery_id
                 WHERE d.upload_id = %s ORDER BY c.id"""
        return [(str(state), dict(report)) for state, report in self.rows(sql, upload)]

    def pack(self, upload: str) -> Path:
        mark = upload.replace("-", "")
        return self.stack.data_dir / "packs" / mark[:2] / f"{mark}.pack"

    def at_demo_pacs(self) -> dict[str, str]:
        """What the demo PACS keeps: SOP Instance UID to SHA-256 of the data set, read from its files, each once."""
        kept: dict[str, str] = {}
        for path in (self.stack.data_dir / "demo-pacs" / "objects").iterdir():
            uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
            if uid in kept:
                raise AssertionError(f"the demo PACS keeps {uid} twice")
            kept[uid] = digest_of(path)
        return kept

    # What goes wrong.

    def process(self, name: str) -> psutil.Process:
        """One of the stack's processes, by the name the kernel shows."""
        for process in self.stack.tree():
            if process.name() == name:
                return process
        raise AssertionError(f"no process is called {name}")

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A child of `up` by the name it has there, or else a process by the one the kernel shows, stands still."""
        child = self.stack.pids().get(name)
        process = self.process(name) if child is None else psutil.Process(child)
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)


def digest_of(path: Path) -> str:
    return hashlib.sha256(data_set_of(path.read_bytes())).hexdigest()


def data_sets(paths: list[Path]) -> dict[str, str]:
    """SOP Instance UID to SHA-256 of the data set."""
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): digest_of(path) for path in paths}


def small_study(folder: Path, *, seed: int, slices: int = 6, rows: int = 64) -> list[Path]:
    return generate_study(folder, slices=slices, rows=rows, columns=rows, seed=seed, label=False)


def at_half(act: Callable[[], object]) -> Callable[[int, int], None]:
    """A progress handler that acts once, when half of the bytes are acknowledged."""
    done: list[int] = []

    def on_progress(acknowledged: int, total: int) -> None:
        if acknowledged * 2 >= total and not done:
            done.append(acknowledged)
            act()

    return on_progress


def send_disturbed(gateway: Gateway, folder: Path, act: Callable[[], object]) -> Sent:
    """Hands the folder in, in small chunks; `act` happens when half of it is acknowledged."""
    with gateway.client(chunk_size=KIB256) as client:
        return client.send([folder], on_progress=at_half(act))


def assert_whole(gateway: Gateway, sent: Sent, paths: list[Path]) -> None:
    """Verified, at the demo PACS byte for byte, and told to be stored once."""
    if sent.truth["state"] != "verified":
        raise AssertionError(f"not verified: {json.dumps(sent.truth)[:2000]}")
    kept = gateway.at_demo_pacs()
    expected = data_sets(paths)
    if {uid: kept.get(uid) for uid in expected} != expected:
        raise AssertionError("the PACS has other octets")
    if gateway.stored_counts(sent.id) != {1}:
        raise AssertionError(f"stored {gateway.stored_counts(sent.id)} times")


def open_upload(http: httpx.Client, files: Mapping[str, bytes], *, chunk_size: int = 256 * 1024) -> Truth:
    listed = [
        {"name": name, "size": len(octets), "sha256": hashlib.sha256(octets).hexdigest()}
        for name, octets in files.items()
    ]
    answer = http.post("/uploads", json={"files": listed, "chunk_size": chunk_size, "allow_duplicate": True})
    opened: Truth = answer.raise_for_status().json()
    return opened


def content_digest(octets: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(octets).digest()).decode()}:"


def put(http: httpx.Client, upload: str, index: int, octets: bytes) -> httpx.Response:
    headers = {"Content-Digest": content_digest(octets), "Content-Type": "application/octet-stream"}
    return http.put(f"/uploads/{upload}/chunks/{index}", content=octets, headers=headers)


def side_by_side(works: Iterable[Callable[[], Truth]], *, threads: int = 4) -> list[Truth]:
    with ThreadPoolExecutor(threads) as pool:
        return [done.result() for done in [pool.submit(work) for work in works]]


def kill_now(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
