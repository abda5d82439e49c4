"""An answer to STOW-RS is read, in whatever hand it is written."""

import json
from typing import Any

import pytest

from uploads.pacs.outcomes import Kind
from uploads.pacs.stowanswer import read

pytestmark = pytest.mark.unit

SENT = ["1.2.3", "1.2.4", "1.2.5"]


def kinds(answer: Any) -> list[Kind]:
    outcomes = read(json.dumps(answer).encode(), SENT)
    assert list(outcomes) == SENT
    return [outcome.kind for outcome in outcomes.values()]


def item(uid: Any, tag: str = "", reason: Any = None) -> dict[str, Any]:
    named: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return named | ({tag: {"vr": "US", "Value": [reason]}} if tag else {})


def referenced(*items: Any) -> dict[str, Any]:
    return {"00081199": {"vr": "SQ", "Value": list(items)}}


def failed(*items: Any) -> dict[str, Any]:
    return {"00081198": {"vr": "SQ", "Value": list(items)}}


S, W, U, F = Kind.STORED, Kind.STORED_WITH_WARNING, Kind.UNKNOWN, Kind.REFUSED


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (referenced(*map(item, SENT)), [S, S, S]),
        ([referenced(item("1.2.3")), referenced(item("1.2.4"))], [S, S, U]),
        (referenced(item("1.2.3\0"), item(" 1.2.4 ")), [S, S, U]),
        (referenced(item("1.2.3")) | failed(item("1.2.4", "00081197", 0xA900)), [S, F, U]),
        (referenced(item("1.2.3")) | failed(item("1.2.4", "00081197", "43264")), [S, F, U]),
        (referenced(item("1.2.3")) | failed(item("1.2.4", "00081197", 43264.0)), [S, F, U]),
        ({"00081199": {"Value": {"00081155": {"Value": "1.2.3"}}}}, [S, U, U]),
        ({"00081199": {"value": [{"00081155": {"value": ["1.2.3"]}}]}}, [S, U, U]),
        (referenced(item("1.2.3", "00081196", 0xB006), item("1.2.4", "00081196", 0)), [W, S, U]),
        (referenced(item("1.2.3", "00081196", 0xA700), item("1.2.4", "00081196", 0x0000)), [W, S, U]),
        (referenced(item("1.2.999")) | failed(item("1.2.998", "00081197", 0xA900)), [U, U, U]),
    ],
)
def test_it_reads_each_instance(answer: Any, expected: list[Kind]) -> None:
    assert kinds(answer) == expected


@pytest.mark.clinical
@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        None,
        "1.2.3",
        [[]],
        {"00081199": None},
        {"00081199": {"Value": None}},
        {"00081199": {"Value": ["1.2.3", 7, None]}},
        {"00081199": {"Value": [{"00081155": {"Value": [{"1.2.3": 1}]}}]}},
        {"00081190": {"vr": "UR", "Value": ["http://pacs/studies/1.2.3"]}},
        failed(item("1.2.3")),
        failed(item("1.2.3", "00081197", 0x0000)),
        failed(item("1.2.3", "00081197", 0xB000)),
        failed(item("1.2.3", "00081197", True)),
        failed(item("1.2.3", "00081197", [])),
        referenced(item("1.2.3")) | failed(item("1.2.3", "00081197", 0xA900)),
    ],
)
def test_what_it_does_not_settle_is_in_doubt(answer: Any) -> None:
    assert kinds(answer) == [U, U, U]


def test_a_duplicate_is_to_be_verified() -> None:
    outcome = read(json.dumps(failed(item("1.2.3", "00081197", 0x0111))).encode(), SENT)["1.2.3"]
    assert (outcome.kind, outcome.verify_first, outcome.code) == (S, True, "duplicate")


def test_a_warning_nobody_knows_keeps_its_number() -> None:
    outcome = read(json.dumps(referenced(item("1.2.3", "00081196", 0xA700))).encode(), SENT)["1.2.3"]
    assert (outcome.status, outcome.code) == (0xA700, "stored_with_warning")


@pytest.mark.clinical
@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "NaN", "1e400", "9" * 5000, "1.5", "-1", '"' + "9" * 5000 + '"', '"٣"']
)
def test_a_number_that_is_none_is_no_reason(number: str) -> None:
    body = b'{"00081198":{"Value":[{"00081155":{"Value":["1.2.3"]},"00081197":{"Value":[%s]}}]}}' % number.encode()
    outcome = read(body, SENT)["1.2.3"]
    assert outcome.kind in (U, Kind.RETRY)
