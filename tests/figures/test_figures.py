"""What a study costs: requests, memory and octets written, for 600 slices and for one file of 500 MB (P12, P14)."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.figures.rows_cost import MB, large_uses, most, slices, small_uses
from tests.figures.watch import SERVING, Use, measure
from tests.journeys.gateway import Gateway
from tests.stack import stack

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """As it comes: no setting is tuned for the measurement."""
    with stack(tmp_path_factory.mktemp("figures") / "data", DISK_RESERVE_BYTES="0") as running:
        yield Gateway(running)


def table(usual: Counter[str], uses: list[Use]) -> str:
    """The figures side by side; memory is what the study took beyond the small ones, in MB."""
    lines = [f"{'study':<22}{'MB':>7}{'chunks':>8}{'requests':>10}{'written/byte':>14}{'pack/byte':>11}{'db/byte':>9}"]
    for use in uses:
        per_byte = [f"{octets / use.received:.3f}" for octets in (use.written, use.pack, use.database)]
        lines.append(
            f"{use.name:<22}{use.received / MB:>7.0f}{use.chunks:>8}{use.requests:>10}"
            f"{per_byte[0]:>14}{per_byte[1]:>11}{per_byte[2]:>9}"
        )
    lines.append(f"{'RssAnon, MB beyond':<22}" + "".join(f"{name:>20}" for name in (*SERVING, "all")))
    for use in uses:
        beyond = [f"{(use.peak[name] - usual[name]) / MB:+.1f}" for name in (*SERVING, "all")]
        lines.append(f"{use.name:<22}" + "".join(f"{one:>20}" for one in beyond))
    return "\n".join(lines)


def test_neither_memory_nor_writing_grows_with_the_study(gateway: Gateway, tmp_path: Path) -> None:
    few = small_uses(gateway, tmp_path, seed=2000)
    usual = most(few)
    many, large = large_uses(gateway, tmp_path, seed=2201)
    again = measure(gateway, "20 slices, after", slices(tmp_path / "again", 20, seed=2203))
    sys.stdout.write("\n" + table(usual, [*few, many, large, again]) + "\n")
    for use in (many, large):
        assert use.requests <= use.chunks + 5
        assert use.written <= 1.02 * use.received
        assert use.pack <= 1.02 * use.received
        assert use.peak["all"] - usual["all"] <= 32 * MB
