"""Two files of figures: is a ratio worse than it was? Absolute times belong to their machines and are not compared."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Told = Mapping[str, Any]
MEASURED = frozenset({"told", "missed", "met", "stretch"})


def regressions(old: Mapping[str, Any], new: Mapping[str, Any], *, tolerance: float) -> list[str]:
    """A sentence for each line of `old` that is worse in `new` by more than the factor `tolerance`, or gone.

    A line without a rival has no ratio that another machine could repeat: it is worse where its must was kept and is
    not any more.
    """
    now = {_key(one): one for one in new["figures"]}
    found = [_regression(one, now.get(_key(one)), tolerance) for one in old["figures"] if one["verdict"] in MEASURED]
    return [sentence for sentence in found if sentence]


def load(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def _key(one: Told) -> str:
    return f"{one['row']} {one['case']}"


def _regression(before: Told, after: Told | None, tolerance: float) -> str:
    name = _key(before)
    if after is None or after["verdict"] not in MEASURED:
        return f"{name}: was measured before and is not now"
    if not before["rival"]:
        lost = before["verdict"] in ("met", "stretch") and after["verdict"] == "missed"
        return f"{name}: {after['ratio']:.3g} is beyond {before['must']:g}" if lost else ""
    was, now = before["ratio"], after["ratio"]
    worse = now < was / tolerance if before["better"] == "more" else now > was * tolerance
    return f"{name}: {was:.3g} x before, {now:.3g} x now" if worse else ""
