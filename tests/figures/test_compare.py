"""The gate compares ratios, and a row that has gone is a regression too."""

from typing import Any

import pytest

from tests.figures.compare import regressions
from tests.figures.figure import OURS, Figure, figure

pytestmark = pytest.mark.unit


def told(*figures: Figure) -> dict[str, Any]:
    return {"figures": [one.told() for one in figures]}


def speed(ours: float, theirs: float = 100.0) -> Figure:
    return figure("P4", "a", runs={OURS: [ours], "storescu": [theirs]}, rivals=("storescu",))


def journey(ours: float, theirs: float = 10.0) -> Figure:
    return figure("P8", "a", runs={OURS: [ours], "Orthanc": [theirs]}, rivals=("Orthanc",))


def memory(ours: float) -> Figure:
    return figure("P12", "one file", runs={OURS: [ours]})


def test_a_slower_machine_is_no_regression() -> None:
    assert regressions(told(speed(200), journey(8)), told(speed(20, 10), journey(80, 100)), tolerance=1.3) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (speed(200), speed(155), 0),
        (speed(200), speed(150), 1),
        (journey(8), journey(10), 0),
        (journey(8), journey(11), 1),
        (memory(1), memory(31), 0),
        (memory(1), memory(33), 1),
        (memory(40), memory(50), 0),
    ],
)
def test_a_ratio_may_be_worse_by_the_tolerance(old: Figure, new: Figure, found: int) -> None:
    assert len(regressions(told(old), told(new), tolerance=1.3)) == found


def test_a_row_that_is_not_measured_any_more_is_told() -> None:
    gone = ["P4 a: was measured before and is not now"]
    assert regressions(told(speed(200)), told(), tolerance=1.3) == gone
    assert regressions(told(speed(200)), told(figure("P4", "a", missing="no dcmtk")), tolerance=1.3) == gone


def test_what_was_not_measured_before_cannot_be_worse() -> None:
    assert regressions(told(figure("P4", "a", missing="no dcmtk")), told(speed(1)), tolerance=1.3) == []
