"""Which rows are measured together, and how a group that cannot be measured is told."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from tests.figures import rows_cost, rows_growth, rows_ingest, rows_journey, rows_wire
from tests.figures.bench import Bench, guarded
from tests.figures.figure import Figure
from tests.figures.goals import GOALS

Measure = Callable[[Bench, Collection[str]], list[Figure]]


@dataclass(frozen=True)
class Group:
    """Rows whose sides run in the same rounds."""

    rows: tuple[str, ...]
    measure: Measure


def _whole(measure: Callable[[Bench], list[Figure]]) -> Measure:
    return lambda bench, wanted: measure(bench)


GROUPS = (
    Group(("P1", "P2"), rows_ingest.chunks),
    Group(("P3",), _whole(rows_ingest.slow_clients)),
    Group(("P4", "P6"), _whole(rows_wire.tuned)),
    Group(("P5",), _whole(rows_wire.untouched)),
    Group(("P7",), _whole(rows_wire.web)),
    Group(("P8", "P9", "P9a", "P11"), rows_journey.journeys),
    Group(("P10",), _whole(rows_journey.slow_line)),
    Group(("P12", "P14"), _whole(rows_cost.footprint)),
    Group(("P13",), _whole(rows_cost.header_index)),
    Group(("P15",), _whole(rows_cost.after_a_kill)),
    Group(("G1", "G2"), _whole(rows_growth.growth)),
)


def measured(bench: Bench, wanted: Collection[str]) -> Iterator[Figure]:
    """The figures of the rows wanted, group by group, as they are there."""
    for group in GROUPS:
        rows = [row for row in group.rows if row in wanted]
        if rows:
            bench.say(f"{', '.join(rows)} ...")
            keys = [key for key in GOALS if key[0] in rows]
            found = guarded(keys, lambda measure=group.measure, rows=rows: measure(bench, rows))  # type: ignore[misc]
            yield from (one for one in found if one.goal.row in rows)
