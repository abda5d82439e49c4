"""Rows of the whole journey: RelayPACS and Orthanc as gateways into a second Orthanc (P8 to P11)."""

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from tests.figures import dcmtk, orthancs
from tests.figures.bench import Bench, guarded
from tests.figures.corpora import Corpus
from tests.figures.figure import OURS, Figure, figure
from tests.figures.goals import GOALS
from tests.figures.line import Pace
from tests.figures.processes import GB, RunFailed, missing
from tests.figures.relay import Journey, Relay, relay

ROWS = ("P8", "P9", "P9a", "P11")
HELD, EARLY = f"{OURS}, hold then deliver", f"{OURS}, relaying while receiving"
ONE_JOB, FOUR_JOBS = "Orthanc, one job", "Orthanc, four jobs"
STRAIGHT = "two storescu from disk"
UNTOUCHED = "a, untouched TCP"
CLINIC_LINE = 12_500_000.0  # bytes per second: 100 Mbit/s


@dataclass(frozen=True)
class Passage:
    """One study through one side: seconds from the first byte, and processor seconds of what stands between."""

    seconds: float
    cpu: float
    legs: str = ""

    def __str__(self) -> str:
        return self.legs or f"{self.seconds:.2f} s, CPU {self.cpu:.2f} s"


Runs = Mapping[str, list[Passage]]
Sides = dict[str, Callable[[], Passage]]


def journeys(bench: Bench, wanted: Collection[str]) -> list[Figure]:
    """P8, P9, P9a and P11, in the same rounds."""
    if sentence := missing("Orthanc"):
        return [figure(*key, missing=sentence) for key in GOALS if key[0] in ROWS]
    found = []
    with bench.scratch() as folder, relay(folder) as one:
        for name in "abcd":
            keys = [key for key in GOALS if key[0] in wanted and key[1] == name]
            if keys:
                found += guarded(keys, lambda name=name: _corpus(bench, one, name, wanted))  # type: ignore[misc]
        if "P8" in wanted:
            found += guarded([("P8", UNTOUCHED)], lambda: [_untouched(bench, one)])
    return found


def _corpus(bench: Bench, one: Relay, name: str, wanted: Collection[str]) -> list[Figure]:
    corpus = bench.corpus(name)
    sides: Sides = {}
    if {"P8", "P11"} & set(wanted):
        sides[HELD] = lambda: _ours(bench, one, corpus, early=False)
    if {"P9", "P9a", "P11"} & set(wanted):
        sides[EARLY] = lambda: _ours(bench, one, corpus, early=True)
    if set(wanted) != {"P9a"}:
        sides[ONE_JOB] = lambda: _orthanc(bench, corpus, jobs=1)
        if corpus.count > 1:
            sides[FOUR_JOBS] = lambda: _orthanc(bench, corpus, jobs=4)
    if "P9a" in wanted and ("P9a", name) in GOALS and not missing("storescu"):
        sides[STRAIGHT] = lambda: _straight(bench, corpus)
    runs = bench.take_turns(sides, about=f"P8 to P11, {name}")
    return list(_figures(runs, corpus))


def _figures(runs: Runs, corpus: Corpus) -> list[Figure]:
    jobs = (ONE_JOB, FOUR_JOBS)
    seconds = {side: [passage.seconds for passage in passages] for side, passages in runs.items()}
    cpu = {side: [passage.cpu * GB / corpus.octets for passage in of] for side, of in runs.items()}
    found = [
        _figure("P8", corpus, seconds, HELD, jobs),
        _figure("P9", corpus, seconds, EARLY, jobs),
        _figure("P9a", corpus, seconds, EARLY, (STRAIGHT,)),
        _figure("P11", corpus, cpu, HELD, jobs, beside=(EARLY,)),
    ]
    return [one for one in found if one is not None]


def _figure(
    row: str,
    corpus: Corpus,
    values: dict[str, list[float]],
    ours: str,
    rivals: tuple[str, ...],
    *,
    beside: tuple[str, ...] = (),
) -> Figure | None:
    """The line of this row; None where the table has none for the corpus, or where our side was not wanted."""
    if (row, corpus.name) not in GOALS or ours not in values:
        return None
    runs = {OURS: values[ours], **{side: values[side] for side in (*rivals, *beside) if side in values}}
    gone = "" if any(side in runs for side in rivals) else f"{rivals[0]} was not run"
    return figure(row, corpus.name, runs=runs, rivals=rivals, missing=gone)


def _ours(bench: Bench, one: Relay, corpus: Corpus, *, early: bool, tuned: bool = True) -> Passage:
    with bench.scratch() as folder, orthancs.pacs(folder, tuned=tuned) as target:
        one.send_to(target, early=early)
        journey = one.journey(corpus)
        orthancs.require_all(target, corpus)
    return Passage(journey.seconds, journey.cpu, str(journey))


def _orthanc(bench: Bench, corpus: Corpus, *, jobs: int, tuned: bool = True) -> Passage:
    with ExitStack() as stack:
        target = stack.enter_context(orthancs.pacs(stack.enter_context(bench.scratch()), tuned=tuned))
        place = stack.enter_context(bench.scratch())
        through = stack.enter_context(orthancs.gateway(place, target, tuned=tuned))
        return Passage(*orthancs.relay(through, target, corpus, jobs=jobs))


def _straight(bench: Bench, corpus: Corpus) -> Passage:
    """As if there were no gateway."""
    with bench.scratch() as folder, orthancs.pacs(folder) as target:
        cost = dcmtk.side_by_side(target, corpus.files)
        orthancs.require_all(target, corpus)
    return Passage(cost.seconds, cost.cpu)


def _untouched(bench: Bench, one: Relay) -> Figure:
    """One round with the TCP settings that Orthanc comes with, on all three: what most sites run."""
    corpus = bench.corpus("a")
    sides: Sides = {
        OURS: lambda: _ours(bench, one, corpus, early=False, tuned=False),
        ONE_JOB: lambda: _orthanc(bench, corpus, jobs=1, tuned=False),
        FOUR_JOBS: lambda: _orthanc(bench, corpus, jobs=4, tuned=False),
    }
    runs = bench.take_turns(sides, rounds=1, about="P8, untouched TCP")
    seconds = {side: [passage.seconds for passage in passages] for side, passages in runs.items()}
    return figure("P8", UNTOUCHED, runs=seconds, rivals=(ONE_JOB, FOUR_JOBS))


def slow_line(bench: Bench) -> list[Figure]:
    """P10: from the first byte to verified, against the time that the upload alone took on the clinic's line."""
    if sentence := missing("Orthanc"):
        return [figure("P10", "a", missing=sentence)]
    corpus = bench.corpus("a")
    with bench.scratch() as folder, relay(folder) as one:

        def ours() -> Journey:
            with bench.scratch() as place, orthancs.pacs(place) as target:
                one.send_to(target, early=True)
                journey = one.journey(corpus, pace=Pace(CLINIC_LINE))
                orthancs.require_all(target, corpus)
            if journey.sent < 0.95 * corpus.octets / CLINIC_LINE:
                raise RunFailed("the line was faster than it was to be")
            return journey

        runs = bench.take_turns({OURS: ours}, about="P10")[OURS]
    both = {OURS: [journey.seconds for journey in runs], "the upload": [journey.sent for journey in runs]}
    return [figure("P10", "a", runs=both, rivals=("the upload",))]
