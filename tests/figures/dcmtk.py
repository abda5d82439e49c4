"""dcmtk as sender and as receiver, driven as well as it can be: large PDUs, and no Nagle where that is asked for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.figures.processes import NODELAY, Cost, run
from tests.peers import Program, storescp

PDU = "131072"  # bytes; the largest it knows
LOOPBACK = "127.0.0.1"


@contextmanager
def tuned_receiver() -> Iterator[Program]:
    with storescp("--ignore", "--max-pdu", PDU, environment=NODELAY) as receiver:
        yield receiver


def storescu(peer: Program, *sources: Path | str, tuned: bool) -> list[str]:
    options = ["--max-pdu", PDU, "--required", "--no-halt"] if tuned else ["--no-halt"]
    return ["storescu", "-aec", peer.ae, *options, LOOPBACK, str(peer.port), *_sources(sources)]


def dcmsend(peer: Program, *sources: Path | str) -> list[str]:
    options = ["--max-pdu", PDU, "--no-halt", "--no-uid-checks"]
    return ["dcmsend", "-aec", peer.ae, *options, LOOPBACK, str(peer.port), *_sources(sources)]


def _sources(sources: Sequence[Path | str]) -> list[str]:
    named = [str(source) for source in sources]
    return ["--scan-directories", *named] if len(named) == 1 and Path(named[0]).is_dir() else named


def senders(peer: Program, folder: Path, *, nodelay: bool) -> dict[str, Callable[[], Cost]]:
    """Both programs on a folder of files."""
    commands = {"storescu": storescu(peer, folder, tuned=True), "dcmsend": dcmsend(peer, folder)}
    mark, environment = (", NODELAY", NODELAY) if nodelay else ("", {})
    return {name + mark: partial(run, command, environment=environment) for name, command in commands.items()}


def side_by_side(peer: Program, files: Sequence[Path]) -> Cost:
    """Two storescu straight from disk, each with half of the files."""
    halves = (files[::2], files[1::2])
    return run(*(storescu(peer, *half, tuned=True) for half in halves if half), environment=NODELAY)
