"""The figures for people: aligned on the terminal, and as a short table in deploy/benchmarks.md."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.figures.figure import OURS, Figure
from tests.figures.goals import ROWS, Goal

HEAD = ("row", "case", "what", "RelayPACS", "against", "ratio", "spread", "must", "stretch", "verdict")
COLUMNS = ("row", "what", "against", "must", "reached", "rounds", "date", "machine")
PAGE_HEAD = """# Benchmarks

What `make bench` measured: RelayPACS and its peers on one machine, over loopback, in turns. Each ratio is the median of
the rounds, each round compared within itself. Absolute times belong to the machine and are left out.

"""


def text(figures: Sequence[Figure]) -> str:
    """Aligned columns; below them whatever stood beside, why something is missing, and notes."""
    rows = [HEAD, *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *(line for one in figures for line in _beneath(one))]).rstrip() + "\n"


def _cells(one: Figure) -> tuple[str, ...]:
    goal = one.goal
    return (
        goal.row,
        goal.case,
        goal.what,
        value(one, OURS),
        f"{one.against} {value(one, one.against)}".strip(),
        ratio_of(one),
        spread_of(one),
        wanted(goal, goal.must),
        wanted(goal, goal.stretch),
        one.verdict,
    )


def _beneath(one: Figure) -> list[str]:
    name = f"{one.goal.row} {one.goal.case}:"
    lines = []
    if one.missing:
        lines.append(f"{name} not measured: {one.missing}")
    if one.failed:
        lines.append(f"{name} failed: {one.failed}")
    beside = [f"{who} {value(one, who)}" for who in one.runs if who not in (OURS, one.against)]
    if beside:
        lines.append(f"{name} beside these, {', '.join(beside)}")
    if one.note:
        lines.append(f"{name} {one.note}")
    return lines


def value(one: Figure, who: str) -> str:
    """The median of one side, with its unit."""
    runs = one.runs.get(who)
    return f"{number(median(runs))} {one.goal.unit}".strip() if runs else ""


def number(quantity: float) -> str:
    if abs(quantity) >= 100:
        return f"{quantity:,.0f}"
    return f"{quantity:.1f}" if abs(quantity) >= 10 else f"{quantity:.2f}"


def ratio_of(one: Figure) -> str:
    return "" if one.ratio is None else _measured(one.goal, one.ratio)


def spread_of(one: Figure) -> str:
    ratios = one.ratios
    return f"{number(min(ratios))} to {number(max(ratios))}" if len(ratios) > 1 else ""


def wanted(goal: Goal, reach: float | None) -> str:
    if reach is None:
        return ""
    return f"{'at least' if goal.better == 'more' else 'at most'} {_measured(goal, reach)}"


def _measured(goal: Goal, quantity: float) -> str:
    return f"{number(quantity)} x" if goal.rival else f"{number(quantity)} {goal.unit}".strip()


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"


def write_page(page: Path, figures: Sequence[Figure]) -> None:
    """Puts the measured rows into the page; lines of rows that were not measured now stay as they were."""
    lines = _lines_of(page)
    for one in figures:
        if one.verdict not in ("not measured", "failed"):
            lines[f"{one.goal.row} {one.goal.case}"] = _markdown(one)
    order = sorted(lines, key=lambda name: ROWS.index(name.split(" ")[0]) if name.split(" ")[0] in ROWS else len(ROWS))
    head = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    page.write_text(PAGE_HEAD + "\n".join([*head, *(lines[name] for name in order)]) + "\n")


def _lines_of(page: Path) -> dict[str, str]:
    if not page.exists():
        return {}
    rows = [line for line in page.read_text().splitlines() if line.startswith("| P")]
    return {row.split("|")[1].strip(): row for row in rows}


def _markdown(one: Figure) -> str:
    spread = spread_of(one)
    cells = (
        f"{one.goal.row} {one.goal.case}",
        one.goal.what,
        one.against or "–",
        wanted(one.goal, one.goal.must) or "–",
        ratio_of(one) + (f" ({spread})" if spread else "") + ("" if one.verdict != "missed" else ", missed"),
        str(one.rounds),
        datetime.now(UTC).date().isoformat(),
        machine(),
    )
    return f"| {' | '.join(cells)} |"
