"""Rows of the door: chunks through the API beside nginx and tus (P1, P2), and a fast client beside slow ones (P3)."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.figures import webservers
from tests.figures.bench import Bench
from tests.figures.corpora import CHUNK, Corpus, opened
from tests.figures.figure import OURS, Figure, figure
from tests.figures.line import Line, over_lines
from tests.figures.processes import Helper, RunFailed
from tests.figures.relay import Relay, relay
from tests.journeys.gateway import API
from tests.peers import Program

MB = 1_000_000
NGINX = "nginx DAV PUT"
TUS, TUS_WHOLE = "tus, 8 MiB", "tus, one PATCH"
TUS_HEADERS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
CONNECTIONS = (4, 16)
SLOW = 200  # clients
SLOW_RATE = 20_000  # bytes per second of each
SLOW_CHUNK = 256 * 1024  # what a slow line asks for: about 15 s worth
SLOW_CHUNKS = 64  # a quarter of an hour
Side = Callable[[], float]


# --- Our side ---------------------------------------------------------------------------------------------------------


def _ours(one: Relay, corpus: Corpus, connections: int, *, opening: bool = False) -> float:
    """MB/s from the first chunk to the last 204; with `opening`, from the question for the upload."""
    headers, manifest = one.headers(), corpus.manifest
    with opened(corpus) as descriptor, Line(one.port, headers=headers) as line:
        began = time.monotonic()
        upload = line.ask("POST", f"{API}/uploads", manifest)["id"]
        began = began if opening else time.monotonic()
        one.put_chunks(upload, corpus, descriptor, connections=connections, headers=headers)
        speed = corpus.octets / MB / (time.monotonic() - began)
        line.ask("DELETE", f"{API}/uploads/{upload}")
    return speed


# --- The peers --------------------------------------------------------------------------------------------------------


def _nginx(server: Program, corpus: Corpus, connections: int) -> float:
    with opened(corpus) as descriptor:
        jobs = [
            _sending("PUT", f"/{number}", (descriptor, offset, size), {})
            for number, (offset, size, _) in enumerate(corpus.chunks)
        ]
        speed = _timed(server, jobs, corpus.octets, connections)
    for path in (server.directory / "kept").iterdir():
        path.unlink()
    return speed


def _tus(server: Program, corpus: Corpus, connections: int, *, piece: int) -> float:
    """As many uploads as connections, since one takes its octets in order; each in requests of `piece` bytes."""
    chunks = -(-corpus.octets // CHUNK)
    share = -(-chunks // connections) * CHUNK
    with opened(corpus) as descriptor:
        jobs = []
        for start in range(0, corpus.octets, share):
            size = min(share, corpus.octets - start)
            jobs.append(_patching(_create(server, size), (descriptor, start, size), piece))
        speed = _timed(server, jobs, corpus.octets, connections)
    _empty(server)
    return speed


def _tus_files(server: Program, corpus: Corpus, connections: int) -> float:
    """A file in each request, by the extension creation-with-upload: half the requests of creating and patching."""
    with opened(corpus) as descriptor:
        jobs = [
            _sending("POST", "/files", (descriptor, *span), {**TUS_HEADERS, "Upload-Length": str(span[1])})
            for span in corpus.spans
        ]
        speed = _timed(server, jobs, corpus.octets, connections)
    _empty(server)
    return speed


def _create(server: Program, size: int) -> str:
    with Line(server.port) as line:
        line.ask("POST", "/files", headers={"Tus-Resumable": "1.0.0", "Upload-Length": str(size)})
        return "/" + line.location.split("/", 3)[3]


def _patching(path: str, span: tuple[int, int, int], piece: int) -> Callable[[Line], Any]:
    descriptor, start, size = span

    def patch(line: Line) -> None:
        for offset in range(0, size, piece):
            part = (descriptor, start + offset, min(piece, size - offset))
            line.send("PATCH", path, part, headers={**TUS_HEADERS, "Upload-Offset": str(offset)})

    return patch


def _sending(method: str, path: str, span: tuple[int, int, int], headers: dict[str, str]) -> Callable[[Line], Any]:
    return lambda line: line.send(method, path, span, headers=headers)


def _timed(server: Program, jobs: list[Callable[[Line], Any]], octets: int, connections: int) -> float:
    began = time.monotonic()
    over_lines(server.port, jobs, connections=connections)
    return octets / MB / (time.monotonic() - began)


def _empty(server: Program) -> None:
    for path in server.directory.iterdir():
        path.unlink()


# --- The rows ---------------------------------------------------------------------------------------------------------


def chunks(bench: Bench, wanted: Collection[str]) -> list[Figure]:
    """P1 and P2, in the same rounds; where one peer is missing the other's row is measured."""
    gone: dict[str, str] = {}
    with ExitStack() as running:
        peers = _peers(bench, running, gone, wanted)
        one = running.enter_context(relay(running.enter_context(bench.scratch())))
        found = []
        for connections in CONNECTIONS:
            found += _chunk_figures(bench, one, peers, gone, connections)
        if "P2" in wanted:
            found.append(_small_files(bench, one, peers, gone))
    return found


def _peers(bench: Bench, running: ExitStack, gone: dict[str, str], wanted: Collection[str]) -> dict[str, Program]:
    peers = {}
    if "P1" in wanted and not (sentence := webservers.no_nginx()):
        peers["P1"] = running.enter_context(webservers.nginx(running.enter_context(bench.scratch())))
    elif "P1" in wanted:
        gone["P1"] = sentence
    if "P2" in wanted:
        try:
            program = webservers.install_tus(bench.root)
            peers["P2"] = running.enter_context(webservers.tus(program, running.enter_context(bench.scratch()) / "t"))
        except RunFailed as error:
            gone["P2"] = str(error)
    return peers


def _chunk_figures(
    bench: Bench, one: Relay, peers: dict[str, Program], gone: dict[str, str], connections: int
) -> list[Figure]:
    corpus = bench.corpus("b")
    sides: dict[str, Side] = {OURS: lambda: _ours(one, corpus, connections)}
    if "P1" in peers:
        sides[NGINX] = lambda: _nginx(peers["P1"], corpus, connections)
    if "P2" in peers:
        sides[TUS] = lambda: _tus(peers["P2"], corpus, connections, piece=CHUNK)
        sides[TUS_WHOLE] = lambda: _tus(peers["P2"], corpus, connections, piece=corpus.octets)
    runs = bench.take_turns(sides, about=f"P1, P2, {connections} connections")
    rivals = {"P1": (NGINX,), "P2": (TUS, TUS_WHOLE)}
    return [
        figure(
            row,
            f"{connections} connections",
            runs={name: values for name, values in runs.items() if name in (OURS, *rivals[row])},
            rivals=rivals[row],
            missing=gone.get(row, ""),
        )
        for row in ("P1", "P2")
    ]


def _small_files(bench: Bench, one: Relay, peers: dict[str, Program], gone: dict[str, str]) -> Figure:
    corpus = bench.corpus("d")
    if "P2" not in peers:
        return figure("P2", "3,000 files", missing=gone["P2"])
    sides: dict[str, Side] = {
        OURS: lambda: _ours(one, corpus, CONNECTIONS[0], opening=True),
        "tus": lambda: _tus_files(peers["P2"], corpus, CONNECTIONS[0]),
    }
    runs = bench.take_turns(sides, about="P2, 3,000 files")
    return figure("P2", "3,000 files", runs=runs, rivals=("tus",), note="opening the upload is in our time")


def slow_clients(bench: Bench) -> list[Figure]:
    """P3: the same client alone, and beside 200 who send 20 KB a second each."""
    corpus = bench.corpus("b")
    with bench.scratch() as folder, relay(folder) as one:
        crowd = Crowd(one)

        def beside() -> float:
            with crowd.sending():
                return _ours(one, corpus, CONNECTIONS[0])

        runs = bench.take_turns({OURS: beside, "alone": lambda: _ours(one, corpus, CONNECTIONS[0])}, about="P3")
    return [figure("P3", f"{SLOW} slow clients", runs=runs, rivals=("alone",))]


class Crowd:
    """The slow clients: each has an upload of its own and goes on with it from round to round."""

    def __init__(self, one: Relay) -> None:
        self._one = one
        manifest = {"files": [{"name": "IM1", "size": SLOW_CHUNK * SLOW_CHUNKS}], "chunk_size": SLOW_CHUNK}
        with Line(one.port, headers=one.headers()) as line:
            self._uploads = [line.ask("POST", f"{API}/uploads", manifest)["id"] for _ in range(SLOW)]

    @contextmanager
    def sending(self) -> Iterator[None]:
        """All of them are sending at the beginning of the block, and were still served at its end."""
        headers = self._one.headers()
        with Helper("slow_clients") as helper:
            helper.do(
                op="start",
                port=self._one.port,
                uploads=self._uploads,
                headers=headers,
                rate=SLOW_RATE,
                chunk=SLOW_CHUNK,
            )
            yield
            served = helper.do(op="served")["served"]
        if served < SLOW:
            raise RunFailed(f"only {served} of {SLOW} slow clients were served")
