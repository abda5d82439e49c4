"""`python -m tests.figures [ROW ...]` measures the performance table; `compare OLD NEW` holds two runs side by side."""

import argparse
import fcntl
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.figures import table
from tests.figures.bench import Bench
from tests.figures.compare import load, regressions
from tests.figures.figure import Figure
from tests.figures.goals import ROWS
from tests.figures.groups import measured
from tests.stack import ROOT

PAGE = ROOT / "deploy" / "benchmarks.md"
ROUNDS = 3
WRONG = ("missed", "failed")


def main(words: Sequence[str]) -> int:
    if words[:1] == ["compare"]:
        return compare(words[1:])
    return measure(words)


def measure(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.figures", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}; all unless named")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each side takes its turn ({ROUNDS})")
    parser.add_argument("--write", action="store_true", help=f"put what was measured into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, for `compare`")
    parser.add_argument("--no-fail", action="store_true", help="end with 0 whatever was missed")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where corpora are kept and every side writes; in the temporary folder"
    )
    options = parser.parse_args(words)
    if unknown := [row for row in options.rows if row not in ROWS]:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    figures = run(options.rows or ROWS, rounds=max(1, options.rounds), data=options.data)
    sys.stdout.write("\n" + table.text(figures))
    if options.json:
        options.json.write_text(json.dumps(as_told(figures), indent=1) + "\n")
    if options.write:
        table.write_page(PAGE, figures)
    wrong = [f"{one.goal.row} {one.goal.case}" for one in figures if one.verdict in WRONG]
    if wrong:
        sys.stderr.write(f"Missed: {', '.join(wrong)}\n")
    return 1 if wrong and not options.no_fail else 0


def run(rows: Sequence[str], *, rounds: int, data: Path | None) -> list[Figure]:
    root = (data or Path(tempfile.gettempdir()) / "relaypacs-figures").resolve()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "measuring.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("Another measurement is running here: side by side, both would be worthless.")
        return list(measured(Bench(root, rounds), rows))


def as_told(figures: Sequence[Figure]) -> dict[str, object]:
    return {
        "version": 1,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": table.machine(),
        "figures": [one.told() for one in figures],
    }


def compare(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.figures compare")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=1.3, help="how much worse a ratio may be, as a factor (1.3)")
    options = parser.parse_args(words)
    found = regressions(load(options.old), load(options.new), tolerance=options.tolerance)
    for sentence in found:
        sys.stdout.write(f"{sentence}\n")
    if not found:
        sys.stdout.write("No ratio is worse than it was.\n")
    return 1 if found else 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)  # every process of ours is ended on the way out
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
