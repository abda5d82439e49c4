"""The octets of one upload on their way: several chunks at a time, only what the gateway lacks."""

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from uploads.client.local import Pack
from uploads.client.wire import ClientError, Wire

LINES = 4
IN_MEMORY = 96 * 1024**2  # bytes; chunks larger than usual go up fewer at a time


class ChunkSender:
    """Puts the chunks of one pack; `run` may be called again for what turns out to be missing."""

    def __init__(self, wire: Wire, pack: Pack, on_progress: Callable[[int, int], None]) -> None:
        self._wire, self._pack, self._on_progress = wire, pack, on_progress
        self._lock = threading.Lock()
        self._done = 0
        self._ended = threading.Event()

    def run(self, truth: dict[str, Any]) -> None:
        """Sends what this truth says is missing; the first trouble ends it."""
        self._done, self._ended = truth["progress"]["received_bytes"], threading.Event()
        self._on_progress(self._done, truth["total_size"])

        def put(index: int) -> None:
            if self._ended.is_set():
                return
            try:
                self._put(truth, index)
            except BaseException:
                self._ended.set()
                raise

        lines = max(1, min(LINES, IN_MEMORY // truth["chunk_size"]))
        with ThreadPoolExecutor(lines) as pool:
            futures = [pool.submit(put, index) for index in missing_in(truth)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._ended.set()  # also when this thread is interrupted
        troubles = [trouble for future in futures if (trouble := future.exception()) is not None]
        # of several, the one that is not merely the echo of another
        for trouble in sorted(troubles, key=lambda one: isinstance(one, ClientError) and one.code == "stopped"):
            raise trouble

    def _put(self, truth: dict[str, Any], index: int) -> None:
        size, total = truth["chunk_size"], truth["total_size"]
        length = min(size, total - index * size)
        for attempt in (1, 2):
            octets = self._pack.read(index * size, length)
            try:
                self._put_octets(f"/uploads/{truth['id']}/chunks/{index}", octets)
                break
            except ClientError as error:
                # damaged on the way: once more, from the disk
                if error.code != "digest_mismatch" or attempt == 2:
                    raise
        with self._lock:
            self._done += length
            self._on_progress(self._done, total)

    def _put_octets(self, path: str, octets: bytearray) -> None:
        digest = base64.b64encode(hashlib.sha256(octets).digest()).decode()
        headers = {
            "Content-Digest": f"sha-256=:{digest}:",
            "Content-Length": str(len(octets)),
            "Content-Type": "application/octet-stream",
        }
        self._wire.request("PUT", path, content=octets, headers=headers, ended=self._ended)


def missing_in(truth: dict[str, Any]) -> Iterator[int]:
    return (index for first, last in truth["progress"]["missing"] for index in range(first, last + 1))
