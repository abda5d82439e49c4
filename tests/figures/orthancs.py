"""Orthanc as the PACS of a measurement and, a second one, as the gateway we are compared with."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.figures.corpora import Corpus, opened
from tests.figures.line import Line, over_lines
from tests.figures.processes import NODELAY, RunFailed, cpu_of
from tests.peers import Orthanc, orthanc

CONNECTIONS = 4
PLUGINS = (Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"), Path("/usr/lib/orthanc/libOrthancDicomWeb.so"))
QUIET = {"StableAge": 3600, "SaveJobs": False, "HttpTimeout": 0, "DicomScuTimeout": 600}
TUNED = {"TcpNoDelay": True, "KeepAlive": True, "MaximumPduLength": 131072, "OverwriteInstances": True}
# What a gateway need not do: it is not the last that has the study. ConcurrentJobs must not hold back four jobs.
GATEWAY = {"StoreMD5ForAttachments": False, "SyncStorageArea": False, "ConcurrentJobs": 4, "DicomThreadsCount": 8}


def dicomweb_plugin() -> Path | None:
    return next((path for path in PLUGINS if path.exists()), None)


@contextmanager
def pacs(folder: Path, *, tuned: bool = True, web: bool = False) -> Iterator[Orthanc]:
    """A fresh and empty one. Untuned it is as it comes, but for its ports."""
    plugin = dicomweb_plugin() if web else None
    config: dict[str, Any] = {**(TUNED if tuned else {}), **({"Plugins": [str(plugin)]} if plugin else {})}
    with orthanc(folder, environment=NODELAY if tuned else {}, **QUIET, **config) as server:
        yield server


@contextmanager
def gateway(folder: Path, target: Orthanc, *, tuned: bool = True) -> Iterator[Orthanc]:
    """A second one that may store to the first."""
    modalities = {"pacs": [target.ae, "127.0.0.1", target.port]}
    config = {**(TUNED | GATEWAY if tuned else {}), "DicomModalities": modalities}
    with orthanc(folder, environment=NODELAY if tuned else {}, **QUIET, **config) as server:
        yield server


def require_all(server: Orthanc, corpus: Corpus) -> None:
    kept = server.statistics()["CountInstances"]
    if kept != corpus.count:
        raise RunFailed(f"the PACS has {kept} of {corpus.count} instances")


def relay(through: Orthanc, target: Orthanc, corpus: Corpus, *, jobs: int) -> tuple[float, float]:
    """Uploads over REST on four connections, then stores by so many jobs; seconds, and processor seconds."""
    with opened(corpus) as descriptor:
        spent = cpu_of([through.pid])
        began = time.monotonic()
        answers = over_lines(
            through.http_port, [_post(descriptor, *span) for span in corpus.spans], connections=CONNECTIONS
        )
        _store(through, answers, jobs)
        seconds = time.monotonic() - began
    require_all(target, corpus)
    return seconds, cpu_of([through.pid]) - spent


def _post(descriptor: int, offset: int, size: int) -> Callable[[Line], Any]:
    return lambda line: line.send("POST", "/instances", (descriptor, offset, size))


def _store(through: Orthanc, answers: Sequence[dict[str, Any]], jobs: int) -> None:
    if jobs == 1:
        parts = [[answers[0]["ParentStudy"]]]
    else:
        ids = sorted(answer["ID"] for answer in answers)
        parts = [ids[first::jobs] for first in range(jobs)]
    over_lines(through.http_port, [_job(part) for part in parts if part], connections=jobs)


def _job(resources: list[str]) -> Callable[[Line], Any]:
    body = {"Resources": resources, "Synchronous": True}
    return lambda line: line.ask("POST", "/modalities/pacs/store", body)
