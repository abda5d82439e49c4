"""One measured line of the table: the runs of each side, the ratio round by round, and the verdict."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from tests.figures.goals import GOALS, Goal

OURS = "RelayPACS"
Verdict = Literal["not measured", "failed", "told", "missed", "met", "stretch"]


@dataclass(frozen=True)
class Figure:
    """`runs` has the values of each side in the order of the rounds; only `rivals` count, others stand beside.

    `missing` says why there is nothing to compare; `failed`, that RelayPACS itself did not get through.
    """

    goal: Goal
    runs: dict[str, list[float]] = field(default_factory=dict)
    rivals: tuple[str, ...] = ()
    missing: str = ""
    failed: str = ""
    note: str = ""

    @property
    def against(self) -> str:
        """The best of the rivals by its median; "" where there is none."""
        best = max if self.goal.better == "more" else min
        measured = [name for name in self.rivals if self.runs.get(name)]
        return best(measured, key=lambda name: median(self.runs[name])) if measured else ""

    @property
    def rounds(self) -> int:
        return len(self.runs.get(OURS, ()))

    @property
    def ratios(self) -> list[float]:
        """Ours to the best rival's, in each round by itself: the machine drifts between rounds more than within."""
        ours = self.runs.get(OURS, [])
        if not self.goal.rival:
            return list(ours)
        theirs = self.runs.get(self.against, [])
        return [mine / its for mine, its in zip(ours, theirs, strict=False) if its]

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> Verdict:
        if self.failed:
            return "failed"
        if self.missing or self.ratio is None:
            return "not measured"
        if self.goal.must is None or self.goal.stretch is None:
            return "told"
        if reaches(self.ratio, self.goal.stretch, self.goal):
            return "stretch"
        return "met" if reaches(self.ratio, self.goal.must, self.goal) else "missed"

    def told(self) -> dict[str, Any]:
        """As it stands in the file of figures."""
        goal = self.goal
        return {
            "row": goal.row,
            "case": goal.case,
            "what": goal.what,
            "unit": goal.unit,
            "better": goal.better,
            "rival": goal.rival,
            "must": goal.must,
            "stretch": goal.stretch,
            "against": self.against,
            "ratio": self.ratio,
            "ratios": self.ratios,
            "verdict": self.verdict,
            "missing": self.missing,
            "failed": self.failed,
            "note": self.note,
            "runs": self.runs,
        }


def reaches(ratio: float, wanted: float, goal: Goal) -> bool:
    return ratio >= wanted if goal.better == "more" else ratio <= wanted


def figure(row: str, case: str, **facts: Any) -> Figure:
    return Figure(GOALS[row, case], **facts)
