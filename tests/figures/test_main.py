"""The command line: rows that do not exist are refused, and a regression ends with 1."""

import fcntl
import json
from pathlib import Path

import pytest

from tests.figures.__main__ import as_told, main
from tests.figures.figure import OURS, Figure, figure

pytestmark = pytest.mark.unit


def told(path: Path, ours: float) -> str:
    one: Figure = figure("P4", "a", runs={OURS: [ours], "storescu": [100.0]}, rivals=("storescu",))
    path.write_text(json.dumps(as_told([one])))
    return str(path)


def test_a_row_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["P99"])
    assert "there is no row P99" in capsys.readouterr().err


@pytest.mark.parametrize(("now", "status"), [(160.0, 0), (140.0, 1)])
def test_compare_ends_with_one_on_a_regression(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], now: float, status: int
) -> None:
    words = ["compare", told(tmp_path / "old", 200.0), told(tmp_path / "new", now), "--tolerance", "1.3"]
    assert main(words) == status
    assert ("P4 a: 2 x before, 1.4 x now" in capsys.readouterr().out) is bool(status)


def test_two_measurements_at_once_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "measuring.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit, match="Another measurement is running"):
            main(["P13", "--data", str(tmp_path)])
