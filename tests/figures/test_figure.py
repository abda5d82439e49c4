"""What counts as met, and against whom, is decided by the figures alone."""

from dataclasses import replace

import pytest

from tests.figures.figure import OURS, Figure, figure
from tests.figures.goals import GOALS, ROWS, Goal

pytestmark = pytest.mark.unit

FASTER = Goal("P4", "a", "sending", "MB/s", "more", 1.2, 1.7)
SHORTER = Goal("P8", "a", "the journey", "s", "less", 0.95, 0.85)
SMALL = Goal("P12", "one file", "memory", "MB", "less", 32, 8, rival=False)


def of(goal: Goal, ours: list[float], **theirs: list[float]) -> Figure:
    return Figure(goal, {OURS: ours, **theirs}, tuple(theirs))


def test_the_best_rival_counts_whichever_way_is_better() -> None:
    assert of(FASTER, [2.0], slow=[1.0], fast=[1.5]).against == "fast"
    assert of(SHORTER, [2.0], slow=[3.0], fast=[2.5]).against == "fast"


def test_what_stands_beside_is_no_rival() -> None:
    one = Figure(FASTER, {OURS: [2.0], "beside": [9.0], "rival": [1.0]}, ("rival",))
    assert (one.against, one.ratio) == ("rival", 2.0)


def test_each_round_is_compared_within_itself() -> None:
    drifting = of(FASTER, [100.0, 10.0, 50.0], rival=[50.0, 5.0, 25.0])
    assert drifting.ratios == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("goal", "ours", "verdict"),
    [
        (FASTER, 1.19, "missed"),
        (FASTER, 1.2, "met"),
        (FASTER, 1.7, "stretch"),
        (SHORTER, 0.96, "missed"),
        (SHORTER, 0.95, "met"),
        (SHORTER, 0.85, "stretch"),
    ],
)
def test_the_verdict_is_by_the_ratio(goal: Goal, ours: float, verdict: str) -> None:
    assert of(goal, [ours], rival=[1.0]).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(33.0, "missed"), (32.0, "met"), (-2.0, "stretch")])
def test_without_a_rival_the_value_itself_is_judged(ours: float, verdict: str) -> None:
    assert Figure(SMALL, {OURS: [ours]}).verdict == verdict


def test_a_missing_rival_never_counts_as_met() -> None:
    assert Figure(FASTER, {OURS: [9.0]}, missing="nginx is not installed").verdict == "not measured"
    assert Figure(FASTER, {OURS: [9.0]}, ("gone",)).verdict == "not measured"


def test_a_failure_of_our_own_is_no_missing_measurement() -> None:
    assert Figure(FASTER, failed="the study was held").verdict == "failed"


def test_a_line_that_is_not_judged_is_told() -> None:
    assert of(replace(FASTER, must=None, stretch=None), [1.0], rival=[2.0]).verdict == "told"


def test_every_row_of_the_table_has_goals() -> None:
    first = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P9a")
    assert (*first, *(f"P{n}" for n in range(10, 16)), "G1", "G2") == ROWS
    for goal in GOALS.values():
        if goal.must is not None and goal.stretch is not None:
            assert goal.stretch >= goal.must if goal.better == "more" else goal.stretch <= goal.must
    assert figure("P6", "a").goal.unit == "CPU-s/GB"
