"""Our senders in a process of their own, warm as a delivery worker is: `store` and `stow`, nothing else."""

import importlib
import inspect
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.figures.answering import Job, answer_jobs, timed
from uploads.pacs.address import Peer, WebPeer
from uploads.pacs.outcomes import Kind, Outcome
from uploads.pacs.store import Item, store


@dataclass(frozen=True)
class Slice:
    """A data set inside the open pack."""

    descriptor: int
    offset: int
    size: int

    def fileno(self) -> int:
        return self.descriptor

    def pread(self, length: int, offset: int, /) -> bytes:
        return os.pread(self.descriptor, min(length, self.size - offset), self.offset + offset)


def work(job: Job) -> Job:
    """Sends the items of `job`; the index of the pack is made beforehand, as validation makes it."""
    send, peer = (_dimse if job["op"] == "store" else _web)(job)
    told: Counter[str] = Counter()

    def on_outcome(item: Item, outcome: Outcome) -> None:
        told[outcome.kind.name] += 1

    descriptor = os.open(job["pack"], os.O_RDONLY)
    try:
        items = [_item(file, descriptor) for file in job["files"]]
        options = {"on_sending": _nothing, "on_outcome": on_outcome, **_lanes(send, job["lanes"])}
        answer = timed(lambda: send(peer, items, **options))
    finally:
        os.close(descriptor)
    if told[Kind.STORED.name] != len(items):
        return {"trouble": f"of {len(items)} instances: {dict(told)}"}
    return answer


def _dimse(job: Job) -> tuple[Any, Any]:
    return store, Peer(job["ae"], "127.0.0.1", job["port"])


def _web(job: Job) -> tuple[Any, Any]:
    return importlib.import_module("uploads.pacs.stow").store, WebPeer("127.0.0.1", job["port"], "/dicom-web")


def _item(file: dict[str, Any], descriptor: int) -> Item:
    source = Slice(descriptor, file["dataset_offset"], file["dataset_size"])
    names = (file["sop_class_uid"], file["sop_instance_uid"], file["transfer_syntax_uid"])
    return Item(file["name"], *names, source)


def _lanes(send: Any, lanes: int) -> dict[str, int]:
    """A sender that has no lanes uses one association, whatever is wished."""
    return {"lanes": lanes} if "lanes" in inspect.signature(send).parameters else {}


def _nothing(item: Item) -> None: ...


if __name__ == "__main__":
    answer_jobs(work)
