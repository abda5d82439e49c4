"""The table on the terminal and the one in the documentation say the same figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.figures.figure import OURS, Figure, figure
from tests.figures.table import number, text, write_page

pytestmark = pytest.mark.unit


def sending(*ours: float) -> Figure:
    runs = {OURS: list(ours), "storescu": [1000.0] * len(ours), "pynetdicom": [30.0] * len(ours)}
    return figure("P4", "a", runs=runs, rivals=("storescu",), note="one association")


def test_columns_are_aligned() -> None:
    head, first, second, *_ = text([sending(2000.0), figure("P1", "4 connections", missing="x")]).splitlines()
    assert head.index("ratio") == first.index("2.00 x")
    assert head.index("verdict") == first.index("stretch", head.index("stretch") + 1)
    assert second.endswith("not measured")


def test_a_row_says_its_ratio_its_spread_and_what_it_had_to_reach() -> None:
    line = text([sending(1100.0, 1500.0, 1300.0)]).splitlines()[1]
    for part in ("1,300 MB/s", "storescu 1,000 MB/s", "1.30 x", "1.10 to 1.50", "at least 1.20 x", "met"):
        assert part in line


def test_below_it_stands_what_was_missing_and_what_stood_beside() -> None:
    told = text([sending(1300.0), figure("P1", "4 connections", missing="nginx is not installed")])
    assert "P1 4 connections: not measured: nginx is not installed" in told
    assert "P4 a: beside these, pynetdicom 30.0 MB/s" in told
    assert "P4 a: one association" in told


def test_the_page_keeps_lines_of_rows_that_were_not_measured_again(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    write_page(page, [sending(1300.0), figure("P12", "one file", runs={OURS: [3.0]})])
    write_page(page, [sending(1500.0), replace(figure("P12", "one file"), missing="gone")])
    rows = [line for line in page.read_text().splitlines() if line.startswith("| P")]
    assert [row.split(" | ")[0] for row in rows] == ["| P4 a", "| P12 one file"]
    assert "1.50 x" in rows[0]
    assert "at most 32.0 MB | 3.00 MB" in rows[1]


def test_a_missed_goal_stands_on_the_page_as_missed(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    write_page(page, [sending(900.0)])
    assert "0.90 x, missed" in page.read_text()


@pytest.mark.parametrize(("quantity", "shown"), [(1234.5, "1,234"), (12.34, "12.3"), (1.234, "1.23"), (-0.5, "-0.50")])
def test_three_digits_are_enough(quantity: float, shown: str) -> None:
    assert number(quantity) == shown
