"""Hands one study in: opens, sends what is missing, seals, and follows it to where it comes to rest."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from uploads.client.local import LocalFile, Pack
from uploads.client.wire import ClientError, Wire

THREADS = 4
POLL_SECONDS = 2.0
RESTING = frozenset({"verified", "held", "failed", "rejected", "cancelled", "expired"})
Truth = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """How it ended: the last truth, and whether this run or an earlier one had opened the upload."""

    truth: Truth
    resumed: bool

    @property
    def id(self) -> str:
        return str(self.truth["id"])

    @property
    def arrived(self) -> bool:
        """Verified; or delivered where every destination has said that it cannot be asked."""
        state: str = self.truth["state"]
        return state == "verified" or (state == "delivered" and unprovable(self.truth))


def unprovable(truth: Truth) -> bool:
    """Delivered, and at least one required destination offers no way to ask, so that more will not be known."""
    required = [one for one in truth["deliveries"] if one["required"]] or truth["deliveries"]
    stored = [one for one in required if one["state"] != "verified"]
    return bool(stored) and all(
        one["state"] == "stored" and (one["last_error"] or {}).get("code") == "find_unsupported" for one in stored
    )


def rests(truth: Truth) -> bool:
    """Nothing more will happen by itself."""
    return truth["state"] in RESTING or (truth["state"] == "delivered" and unprovable(truth))


class Client:
    """A clinic's program at the gateway's door. Use as a context manager, or `close()` it."""

    def __init__(self, base_url: str, *, username: str = "", password: str = "", token: str = "") -> None:
        self._wire = Wire(base_url, username=username, password=password, token=token)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def send(
        self,
        paths: Sequence[Path],
        *,
        clinic: str | None = None,
        service_level: str = "routine",
        clinical_history: str = "",
        studies: Sequence[dict[str, Any]] = (),
        allow_duplicate: bool = False,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        on_truth: Callable[[Truth], None] = lambda truth: None,
        follow: bool = True,
    ) -> Sent:
        """Hands in all files of these files and folders as one upload; an earlier run's leavings are taken up again.

        Args:
            clinic: id or name, where the person works for several.
            studies: what the headers say, so that the gateway can tell of a duplicate before anything is sent.
            on_progress: called with the bytes acknowledged and the bytes in all.
            on_truth: called with each new truth about the upload.
            follow: stay until it comes to rest; else until it is sealed.

        Raises:
            ClientError: what the gateway refused, `unreachable`, or `file_changed`.
        """
        files = [LocalFile.of(path, name) for path, name in named(paths)]
        fields = {
            "clinic": clinic,
            "service_level": service_level,
            "clinical_history": clinical_history,
            "studies": list(studies),
            "allow_duplicate": allow_duplicate,
        }
        return self.send_files(files, fields, on_progress=on_progress, on_truth=on_truth, follow=follow)

    def send_files(
        self,
        files: Sequence[LocalFile],
        fields: dict[str, Any],
        *,
        on_progress: Callable[[int, int], None],
        on_truth: Callable[[Truth], None],
        follow: bool,
    ) -> Sent:
        """The same for files that were looked at already."""
        pack = Pack(files)
        upload, resumed = self._open(pack, fields)
        truth = self.truth(upload)
        on_truth(truth)
        if truth["state"] == "receiving":
            truth = self._deliver_chunks(pack, truth, on_progress)
            on_truth(truth)
        if follow:
            for truth in self.follow(upload):
                on_truth(truth)
        return Sent(truth, resumed)

    def _open(self, pack: Pack, fields: dict[str, Any]) -> tuple[str, bool]:
        """The same files with the same wishes are the same upload, whoever asks again and when."""
        listed = [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in pack.files]
        body = {"files": listed} | {name: value for name, value in fields.items() if value}
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        for again in ("", *(f"-{n}" for n in range(1, 10))):
            headers = {"Idempotency-Key": key + again}
            response = self._wire.request("POST", "/uploads", json=body, headers=headers)
            opened = response.json()
            # one that was given up or has run out is not taken up again; the next key opens another
            if opened["state"] not in ("cancelled", "expired", "rejected"):
                return str(opened["id"]), response.status_code == 200
        raise ClientError("given_up", "These files were handed in and given up too often.")

    def _deliver_chunks(self, pack: Pack, truth: Truth, on_progress: Callable[[int, int], None]) -> Truth:
        """Sends what is missing and seals it; a gateway that finds parts missing after all gets those again."""
        for _ in range(5):
            self._put_missing(pack, truth, on_progress)
            for file in pack.files:
                file.check()
            try:
                sealed: Truth = self._wire.request("POST", f"/uploads/{truth['id']}/complete", json={}).json()
            except ClientError as error:
                if error.code != "chunks_missing":
                    raise
                truth = self.truth(truth["id"])
                continue
            return sealed
        raise ClientError("chunks_missing", "The gateway lost parts of the upload again and again.")

    def _put_missing(self, pack: Pack, truth: Truth, on_progress: Callable[[int, int], None]) -> None:
        size, total = truth["chunk_size"], truth["total_size"]
        done = truth["progress"]["received_bytes"]
        lock, stop = threading.Lock(), threading.Event()

        def put(index: int) -> None:
            nonlocal done
            if stop.is_set():
                return
            length = min(size, total - index * size)
            self._put(pack, truth["id"], index, index * size, length)
            with lock:
                done += length
                on_progress(done, total)

        with ThreadPoolExecutor(THREADS) as pool:
            missing = (n for first, last in truth["progress"]["missing"] for n in range(first, last + 1))
            futures = [pool.submit(put, index) for index in missing]
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
            stop.set()
        for future in ended:
            future.result()

    def _put(self, pack: Pack, upload: str, index: int, offset: int, length: int) -> None:
        for attempt in (1, 2):
            digest = base64.b64encode(pack.digest(offset, length)).decode()
            headers = {
                "Content-Digest": f"sha-256=:{digest}:",
                "Content-Length": str(length),
                "Content-Type": "application/octet-stream",
            }
            try:
                self._wire.request(
                    "PUT",
                    f"/uploads/{upload}/chunks/{index}",
                    content=lambda: pack.read(offset, length),
                    headers=headers,
                )
            except ClientError as error:
                # read again once: a disk may err; twice is a file that changes under our hands
                if error.code != "digest_mismatch" or attempt == 2:
                    raise
            else:
                return

    def truth(self, upload: str) -> Truth:
        body: Truth = self._wire.request("GET", f"/uploads/{upload}").json()
        return body

    def follow(self, upload: str) -> Iterator[Truth]:
        """Each new truth, by server-sent events, and by asking where these do not come through; ends at rest."""
        last: Truth | None = None
        while True:
            for truth in self._events(upload):
                if truth != last:
                    last = truth
                    yield truth
                if rests(truth):
                    return
            time.sleep(POLL_SECONDS)

    def _events(self, upload: str) -> Iterator[Truth]:
        try:
            for line in self._wire.stream(f"/uploads/{upload}/events"):
                if line.startswith("data:"):
                    yield json.loads(line[5:])
        except (httpx.HTTPError, ClientError):
            yield self.truth(upload)

    def receipt(self, upload: str) -> bytes:
        """The receipt as PDF; ClientError not_ready while the gateway is printing it."""
        return self._wire.request("GET", f"/uploads/{upload}/receipt").content


def named(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Files and the names to hand them in under: of a folder, the path within it."""
    for path in paths:
        if path.is_dir():
            for one in sorted(one for one in path.rglob("*") if one.is_file()):
                yield one, str(Path(path.name) / one.relative_to(path))
        elif path.is_file():
            yield path, path.name
        else:
            raise ClientError("nothing_there", f"There is no file or folder {path}.")
