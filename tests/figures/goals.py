"""The rows of the performance table: what is measured against what, and what must be reached."""

from dataclasses import dataclass
from typing import Final, Literal

Better = Literal["more", "less"]

SPEED, TIME, COST = "MB/s", "s", "CPU-s/GB"


@dataclass(frozen=True)
class Goal:
    """One line of the table.

    `must` and `stretch` are ratios to the best rival, or values of `unit` where there is no rival to compare with;
    None: the line is told and not judged.
    """

    row: str
    case: str
    what: str
    unit: str
    better: Better
    must: float | None
    stretch: float | None
    rival: bool = True

    @property
    def key(self) -> tuple[str, str]:
        return self.row, self.case


def _cases(row: str, what: str, unit: str, better: Better, **reach: tuple[float, float]) -> list[Goal]:
    return [Goal(row, case, what, unit, better, must, stretch) for case, (must, stretch) in reach.items()]


_INGEST: Final = "ingest of 8 MiB chunks through the API"
_JOURNEY: Final = "first byte to verified"

_ALL: Final = [
    Goal("P1", "4 connections", _INGEST, SPEED, "more", 0.7, 1.0),
    Goal("P1", "16 connections", _INGEST, SPEED, "more", 0.6, 1.0),
    Goal("P2", "4 connections", _INGEST, SPEED, "more", 1.0, 1.2),
    Goal("P2", "16 connections", _INGEST, SPEED, "more", 1.0, 1.2),
    Goal("P2", "3,000 files", "ingest of small files, packed", SPEED, "more", 10, 20),
    Goal("P3", "200 slow clients", "a fast client's ingest beside them", SPEED, "more", 0.85, 0.95),
    *_cases("P4", "C-STORE to a tuned storescp", SPEED, "more", a=(1.2, 1.7), d=(1.2, 1.7)),
    Goal("P5", "storescp", "C-STORE of a into an untouched storescp", SPEED, "more", 50, 100),
    Goal("P5", "Orthanc", "C-STORE of a into an untouched Orthanc", SPEED, "more", 12, 18),
    *_cases("P6", "the sender's processor time", COST, "less", a=(0.7, 0.45)),
    *_cases("P7", "STOW-RS to Orthanc", SPEED, "more", a=(1.5, 2.0)),
    *_cases(
        "P8",
        f"{_JOURNEY}, hold then deliver",
        TIME,
        "less",
        a=(0.95, 0.85),
        b=(0.75, 0.65),
        c=(0.95, 0.85),
        d=(0.7, 0.55),
    ),
    Goal("P8", "a, untouched TCP", f"{_JOURNEY}, hold then deliver", TIME, "less", None, None),
    *_cases(
        "P9",
        f"{_JOURNEY}, relaying while receiving",
        TIME,
        "less",
        a=(0.8, 0.55),
        b=(0.75, 0.55),
        c=(0.87, 0.65),
        d=(0.6, 0.4),
    ),
    *_cases("P9a", f"{_JOURNEY}, relaying while receiving", TIME, "less", a=(1.4, 1.1), d=(1.0, 0.6)),
    *_cases("P10", f"{_JOURNEY} on a line of 100 Mbit/s", TIME, "less", a=(1.15, 1.05)),
    *_cases("P11", "processor time of web and workers", COST, "less", a=(0.6, 0.3), d=(0.3, 0.15)),
    Goal("P12", "one file", "memory beyond a 10 MB study", "MB", "less", 32, 8, rival=False),
    Goal("P12", "600 slices", "memory beyond a 10 MB study", "MB", "less", 32, 8, rival=False),
    Goal("P13", "a", "header index, instances per second", "1/s", "more", 8, 15),
    Goal("P14", "one file", "bytes written per byte received", "x", "less", 1.02, 1.0, rival=False),
    Goal("P14", "600 slices", "bytes written per byte received", "x", "less", 1.02, 1.0, rival=False),
    Goal("P14", "requests", "requests beyond the chunks", "", "less", 5, 5, rival=False),
    Goal("P15", "kill -9 at 90 %", "sent again, in chunks per connection", "", "less", 1, 1, rival=False),
    Goal("G1", "C-STORE", "memory for 2 GB beyond that for 1 MB", "MB", "less", 8, 2, rival=False),
    Goal("G2", "C-STORE", "time per instance, of 10,000 to of 10", "x", "less", 1.2, 1.0, rival=False),
]

GOALS: Final = {goal.key: goal for goal in _ALL}
ROWS: Final = tuple(dict.fromkeys(goal.row for goal in _ALL))
