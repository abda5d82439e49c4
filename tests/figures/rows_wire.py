"""Rows of the wire: C-STORE to tuned and to untouched receivers (P4, P5), its cost (P6), and STOW-RS (P7)."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tests.figures import dcmtk, orthancs
from tests.figures.bench import Bench, guarded
from tests.figures.corpora import Corpus, opened
from tests.figures.figure import OURS, Figure, figure
from tests.figures.processes import GB, Cost, Helper, install, missing, run
from tests.peers import Orthanc, Program, storescp

LANES = 4  # what a destination gets at the same time unless its administrator says otherwise
OURS_LANES = f"{OURS}, {LANES} lanes"
DICOMWEB_CLIENT = "0.61.2"
INDEXED = "ours has its index beforehand, as validation makes it; its imports are in no figure"
MB = 1_000_000
Runs = dict[str, list[Cost]]


def _ours(sender: Helper, corpus: Corpus, peer: Program, *, lanes: int = 1) -> Cost:
    files = corpus.index["files"]
    with opened(corpus):
        return sender.cost(op="store", port=peer.port, ae=peer.ae, pack=str(corpus.pack), files=files, lanes=lanes)


def _beside(bench: Bench, corpus: Corpus, peer: Program) -> Runs:
    """What is no rival, for one round, since each takes longer than all the rivals together."""
    pairs = sorted({(file["sop_class_uid"], file["transfer_syntax_uid"]) for file in corpus.index["files"]})
    job = {"port": peer.port, "ae": peer.ae, "folder": str(corpus.folder / "files"), "pairs": pairs}
    with Helper("peer_pynetdicom") as plain:
        sides: dict[str, Callable[[], Cost]] = {
            **dcmtk.senders(peer, corpus.folder / "files", nodelay=False),
            "pynetdicom": lambda: plain.cost(**job),
        }
        return bench.take_turns(sides, rounds=1, about="P4 a, beside")


def speeds(runs: Runs, corpus: Corpus) -> dict[str, list[float]]:
    return {name: [corpus.octets / MB / cost.seconds for cost in costs] for name, costs in runs.items()}


def costs(runs: Runs, corpus: Corpus) -> dict[str, list[float]]:
    return {name: [cost.cpu * GB / corpus.octets for cost in of] for name, of in runs.items()}


def tuned(bench: Bench) -> list[Figure]:
    """P4 and P6: one association into a receiver that neither waits nor writes."""
    if sentence := missing("storescp", "storescu", "dcmsend"):
        return [figure(*key, missing=sentence) for key in (("P4", "a"), ("P4", "d"), ("P6", "a"))]
    found = []
    for name in ("a", "d"):
        corpus = bench.corpus(name)
        with dcmtk.tuned_receiver() as peer, Helper("our_sender") as sender:
            theirs = dcmtk.senders(peer, corpus.folder / "files", nodelay=True)
            ours = partial(_ours, sender, corpus, peer)
            ours()  # its first time
            sides: dict[str, Callable[[], Cost]] = {OURS: ours, **theirs}
            runs = bench.take_turns(sides, about=f"P4 {name}")
            beside = _beside(bench, corpus, peer) if name == "a" else {}
        rivals = tuple(theirs)
        found.append(figure("P4", name, runs=speeds(runs | beside, corpus), rivals=rivals, note=INDEXED))
        if name == "a":
            found.append(figure("P6", name, runs=costs(runs, corpus), rivals=("storescu, NODELAY",), note=INDEXED))
    return found


def untouched(bench: Bench) -> list[Figure]:
    """P5: the receivers as they come, storescu as it comes; the sender alone can cure the 40 ms stall."""
    found = []
    for case, program in (("storescp", "storescp"), ("Orthanc", "Orthanc")):
        if sentence := missing(program, "storescu"):
            found.append(figure("P5", case, missing=sentence))
            continue
        found += guarded([("P5", case)], lambda case=case: [_untouched(bench, case)])  # type: ignore[misc]
    return found


def _untouched(bench: Bench, case: str) -> Figure:
    corpus = bench.corpus("a")
    folder = corpus.folder / "files"
    receiver = _writing_storescp if case == "storescp" else _orthanc
    lanes = 1 if case == "storescp" else LANES  # storescp takes one association at a time
    with Helper("our_sender") as sender:

        def ours(lanes: int) -> Cost:
            with receiver(bench) as peer:
                return _ours(sender, corpus, peer, lanes=lanes)

        def theirs() -> Cost:
            with receiver(bench) as peer:
                return run(dcmtk.storescu(peer, folder, tuned=False))

        sides: dict[str, Callable[[], Cost]] = {OURS: lambda: ours(lanes), "storescu": theirs}
        if lanes > 1:
            sides[f"{OURS}, 1 lane"] = lambda: ours(1)
        runs = bench.take_turns(sides, about=f"P5 {case}")
    return figure("P5", case, runs=speeds(runs, corpus), rivals=("storescu",), note=f"ours may use {lanes} lanes")


@contextmanager
def _writing_storescp(bench: Bench) -> Iterator[Program]:
    with bench.scratch() as folder, storescp(directory=folder) as peer:
        yield peer


@contextmanager
def _orthanc(bench: Bench) -> Iterator[Orthanc]:
    with bench.scratch() as folder, orthancs.pacs(folder, tuned=False) as peer:
        yield peer


def _no_web() -> str:
    if find_spec("uploads.pacs.stow") is None:
        return "RelayPACS has no STOW-RS sender yet"
    return missing("Orthanc") or ("" if orthancs.dicomweb_plugin() else "orthanc-dicomweb is not installed")


def web(bench: Bench) -> list[Figure]:
    """P7: one connection each, and ours over several beside it."""
    if sentence := _no_web():
        return [figure("P7", "a", missing=sentence)]
    corpus = bench.corpus("a")
    with ExitStack() as stack:
        client = stack.enter_context(Helper("peer_dicomweb", python=str(_dicomweb_python(bench.root))))
        sender = stack.enter_context(Helper("our_sender"))

        def ours(lanes: int) -> Cost:
            with _web_pacs(bench, corpus) as peer:
                files = corpus.index["files"]
                return sender.cost(op="stow", port=peer.http_port, pack=str(corpus.pack), files=files, lanes=lanes)

        def theirs() -> Cost:
            with _web_pacs(bench, corpus) as peer:
                return client.cost(port=peer.http_port, folder=str(corpus.folder / "files"))

        sides = {OURS: lambda: ours(1), OURS_LANES: lambda: ours(LANES), "dicomweb-client": theirs}
        runs = bench.take_turns(sides, about="P7")
    return [figure("P7", "a", runs=speeds(runs, corpus), rivals=("dicomweb-client",), note=INDEXED)]


@contextmanager
def _web_pacs(bench: Bench, corpus: Corpus) -> Iterator[Orthanc]:
    with bench.scratch() as folder, orthancs.pacs(folder, web=True) as peer, opened(corpus):
        yield peer
        orthancs.require_all(peer, corpus)


def _dicomweb_python(root: Path) -> Path:
    """An environment of the client's own, made once."""
    folder = root / f"dicomweb-client-{DICOMWEB_CLIENT}"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        install(sys.executable, "-m", "venv", str(folder), where=root)
        install(str(python), "-m", "pip", "install", "--quiet", f"dicomweb-client=={DICOMWEB_CLIENT}", where=root)
        (folder / "installed").touch()
    return python
