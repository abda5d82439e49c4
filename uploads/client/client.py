"""Hands one study in: opens, sends what is missing, seals, and follows it to where it comes to rest."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import httpx

from uploads.client.chunks import ChunkSender
from uploads.client.grouping import StudyFiles, sort_out
from uploads.client.local import LocalFile, Pack, named
from uploads.client.wire import PATIENCE_SECONDS, SEALING, ClientError, Wire

POLL_SECONDS = 2.0
RESTING = frozenset({"verified", "held", "failed", "rejected", "cancelled", "expired"})
GIVEN_UP = frozenset({"cancelled", "expired", "rejected"})
# why a delivery that is stored rests there: nothing more can be found out
NEVER_PROVED = frozenset({"find_unsupported", "proof_not_wanted", "sample_unfetchable", "copy_unproved"})
RECEIPT_SECONDS = 60.0
Truth = dict[str, Any]
Until = Literal["received", "delivered", "verified"]


def _read(files: Sequence[tuple[Path, str]], on_read: Callable[[int], None]) -> Iterator[LocalFile]:
    done = 0
    for path, name in files:
        file = LocalFile.of(path, name)
        done += file.size
        on_read(done)
        yield file


@dataclass(frozen=True)
class Sent:
    """How it ended: the last truth, and whether an earlier run had opened the upload."""

    truth: Truth
    resumed: bool

    @property
    def id(self) -> str:
        return str(self.truth["id"])

    @property
    def arrived(self) -> bool:
        """Verified; or delivered where the destinations that have not shown it have said that they cannot be asked."""
        state: str = self.truth["state"]
        return state == "verified" or (state == "delivered" and unprovable(self.truth))


def unprovable(truth: Truth) -> bool:
    """Delivered, and at least one required destination cannot, or must not, be asked: more will not be known."""
    required = [one for one in truth["deliveries"] if one["required"]] or truth["deliveries"]
    stored = [one for one in required if one["state"] != "verified"]
    return bool(stored) and all(
        one["state"] == "stored" and (one["last_error"] or {}).get("code") in NEVER_PROVED for one in stored
    )


def rests(truth: Truth, *, until: Until = "verified") -> bool:
    """Nothing more will happen by itself, or as much has happened as was asked for."""
    state = truth["state"]
    return state in RESTING or (state == "delivered" and (until == "delivered" or unprovable(truth)))


class Client:
    """A clinic's program at the gateway's door. Use as a context manager, or `close()` it.

    Args:
        base_url: of the site, without /api/v1.
        token: an access token; without a user name it is not renewed.
        chunk_size: bytes, a power of two from 256 KiB to 64 MiB; None leaves it to the gateway.
        patience: seconds that one request is tried again while line or gateway are away.
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str = "",
        password: str = "",
        token: str = "",
        chunk_size: int | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._wire = Wire(base_url, username=username, password=password, token=token, patience=patience)
        self._chunk_size = chunk_size

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def stop(self) -> None:
        """From another thread: whatever is under way ends with ClientError `stopped`; what was received stays so."""
        self._wire.stop()

    def send(
        self,
        what: Sequence[Path] | StudyFiles,
        *,
        clinic: str | None = None,
        service_level: str = "routine",
        clinical_history: str = "",
        allow_duplicate: bool = False,
        on_read: Callable[[int], None] = lambda done: None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        on_truth: Callable[[Truth], None] = lambda truth: None,
        wait: Until = "verified",
    ) -> Sent:
        """Hands in one upload; what an earlier run left of it is taken up again.

        Args:
            what: a study of `group`, or files and folders, of which every file is handed in.
            clinic: id or name, where the person works for several.
            on_read: called with the bytes read for their digests, which comes before anything is sent.
            on_progress: called with the bytes acknowledged and the bytes in all.
            on_truth: called with each new truth about the upload.
            wait: stay until it comes to rest, until it is delivered, or only until it is received and sealed.

        Raises:
            ClientError: what the gateway refused (`duplicate_study` has `upload_id` and `kind` in its `extra`), or
                `unreachable`, `file_changed`, `unreadable`, `nothing_there`, `stopped`.
        """
        if isinstance(what, StudyFiles):
            studies, files = [what], what.files
        else:
            files = list(named(what))
            studies = sort_out(iter(files)).studies
        fields = {
            "clinic": clinic,
            "service_level": service_level,
            "clinical_history": clinical_history,
            "studies": [declared for study in studies for declared in study.declared],
            "allow_duplicate": allow_duplicate,
        }
        listed = list(_read(files, on_read))
        return self._hand_in(listed, fields, on_progress=on_progress, on_truth=on_truth, wait=wait)

    def _hand_in(
        self,
        files: Sequence[LocalFile],
        fields: dict[str, Any],
        *,
        on_progress: Callable[[int, int], None],
        on_truth: Callable[[Truth], None],
        wait: Until,
    ) -> Sent:
        pack = Pack(files)
        upload, resumed = self._open(pack, fields)
        truth = self.truth(upload)
        on_truth(truth)
        sender = ChunkSender(self._wire, pack, on_progress)
        while True:
            if truth["state"] == "receiving":
                truth = self._send_and_seal(sender, truth)
                on_truth(truth)
            if wait != "received":
                for truth in self.follow(upload, until=wait):
                    on_truth(truth)
            # back to receiving: the gateway found that a chunk on its disk is no longer what was acknowledged
            if truth["state"] != "receiving":
                return Sent(truth, resumed)

    def _open(self, pack: Pack, fields: dict[str, Any]) -> tuple[str, bool]:
        """The same files with the same wishes are the same upload, whoever asks again and when."""
        listed = [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in pack.files]
        wishes = fields | {"chunk_size": self._chunk_size}
        body = {"files": listed} | {name: value for name, value in wishes.items() if value}
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        for again in ("", *(f"-{n}" for n in range(1, 10))):
            headers = {"Idempotency-Key": key + again}
            response = self._wire.request("POST", "/uploads", json=body, headers=headers)
            opened = response.json()
            # one that was given up or has run out is not taken up again; the next key opens another
            if opened["state"] not in GIVEN_UP:
                return str(opened["id"]), response.status_code == 200
        raise ClientError("given_up", "These files were handed in and given up too often.")

    def _send_and_seal(self, sender: ChunkSender, truth: Truth) -> Truth:
        """Sends what is missing and seals it; a gateway that finds parts missing after all gets those again."""
        for _ in range(5):
            sender.run(truth)
            try:
                path = f"/uploads/{truth['id']}/complete"
                sealed: Truth = self._wire.request("POST", path, json={}, timeout=SEALING).json()
            except ClientError as error:
                if error.code != "chunks_missing":
                    raise
                truth = self.truth(truth["id"])
                continue
            return sealed
        raise ClientError("chunks_missing", "The gateway lost parts of the upload again and again.")

    def truth(self, upload: str) -> Truth:
        """What the gateway says of an upload now."""
        body: Truth = self._wire.request("GET", f"/uploads/{upload}").json()
        return body

    def follow(self, upload: str, *, until: Until = "verified") -> Iterator[Truth]:
        """Each new truth, by server-sent events, and by asking where these do not come through; ends at rest.

        It also ends where the gateway wants chunks again: then the last truth is `receiving`.
        """
        last: Truth | None = None
        streams = True
        while True:
            heard = False
            for truth in self._events(upload) if streams else ():
                heard = True
                if truth != last:
                    last = truth
                    yield truth
                if rests(truth, until=until) or truth["state"] == "receiving":
                    return
            streams = heard  # a proxy that keeps events back is not asked for them again
            truth = self.truth(upload)
            if truth != last:
                last = truth
                yield truth
            if rests(truth, until=until) or truth["state"] == "receiving":
                return
            self._wire.pause(POLL_SECONDS)

    def _events(self, upload: str) -> Iterator[Truth]:
        """The truths of one stream, until it breaks."""
        try:
            for line in self._wire.stream(f"/uploads/{upload}/events"):
                if line.startswith("data:"):
                    yield json.loads(line[5:])
        except httpx.TransportError:
            return
        except ClientError as error:
            if error.code == "stopped":
                raise
            if error.status == 401:  # asking renews the token, and the next stream has it
                yield self.truth(upload)

    def receipt(self, upload: str, *, within: float = RECEIPT_SECONDS) -> bytes:
        """The receipt as PDF; printed by a worker, so that it may take a moment.

        Raises:
            ClientError: not_ready after `within` seconds.
        """
        until = time.monotonic() + within
        while True:
            try:
                return self._wire.request("GET", f"/uploads/{upload}/receipt").content
            except ClientError as error:
                if error.code != "not_ready" or time.monotonic() > until:
                    raise
            self._wire.pause(0.5)
