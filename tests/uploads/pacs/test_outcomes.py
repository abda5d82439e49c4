"""A PACS answers a C-STORE with a status."""

import pytest

from uploads.pacs.errors import rejection
from uploads.pacs.outcomes import TABLE, Kind, classify, context_refused, unanswered

pytestmark = pytest.mark.unit

WARNINGS = [0xB000, 0xB006, 0xB007, 0xB001, 0xBFFF, 0x0001, 0x0107, 0x0116]
REFUSED = [
    *range(0xA770, 0xA77A),
    0xA77B,
    *(0xA900, 0xA901, 0xA9FF),
    *(0xC000, 0xC003, 0xC122, 0xC20F, 0xC212, 0xC409, 0xC499, 0xCFFF),
    *(0x0105, 0x0106, 0x0112, 0x0114, 0x0115, 0x0117, 0x0118, 0x0119, 0x0120, 0x0121, 0x0122, 0x0123),
]
RETRY_WITHOUT_LIMIT = [0xA700, 0x0213]
RETRY_BOUNDED = [0xA701, 0xA702, 0xA76F, 0xA77A, 0xA77C, 0xA7FF, 0x0110, 0xC001, 0xC002, 0xC210, 0xC211]
RETRY_ONCE = [0x0210, 0x0211, 0x0212]
UNHEARD_OF = [0x0002, 0x1234, 0x9000, 0xD000, 0xF000, 0xFF00, 0xFFFF]


@pytest.mark.parametrize("status", WARNINGS)
def test_it_takes_a_warning_for_stored(status: int) -> None:
    assert classify(status).kind is Kind.STORED_WITH_WARNING


@pytest.mark.parametrize("status", REFUSED)
def test_it_takes_it_for_refused(status: int) -> None:
    outcome = classify(status)
    assert (outcome.kind, outcome.max_attempts) == (Kind.REFUSED, None)


@pytest.mark.parametrize("status", RETRY_WITHOUT_LIMIT)
def test_it_tries_again_as_long_as_it_takes(status: int) -> None:
    outcome = classify(status)
    assert (outcome.kind, outcome.max_attempts) == (Kind.RETRY, None)


@pytest.mark.parametrize("status", RETRY_BOUNDED + UNHEARD_OF)
def test_it_tries_again_a_few_times(status: int) -> None:
    outcome = classify(status)
    assert (outcome.kind, outcome.max_attempts) == (Kind.RETRY, 5)


@pytest.mark.parametrize("status", RETRY_ONCE)
def test_it_tries_once_more_on_a_new_association(status: int) -> None:
    outcome = classify(status)
    assert (outcome.kind, outcome.max_attempts) == (Kind.RETRY, 2)


@pytest.mark.parametrize("status", [0x0124, 0x0214])
def test_it_pauses_a_destination_that_does_not_allow_it(status: int) -> None:
    assert classify(status).kind is Kind.PAUSE


def test_it_takes_success_for_stored() -> None:
    outcome = classify(0)
    assert (outcome.kind, outcome.verify_first) == (Kind.STORED, False)


def test_it_takes_a_duplicate_for_stored_only_after_asking() -> None:
    outcome = classify(0x0111)
    assert (outcome.kind, outcome.verify_first) == (Kind.STORED, True)


@pytest.mark.parametrize("status", [None, 0xFE00])
def test_it_does_not_know(status: int | None) -> None:
    assert classify(status).kind is Kind.UNKNOWN


@pytest.mark.parametrize("status", [0xA778, 0xA77B])
def test_it_alerts_people_to_a_mix_up(status: int) -> None:
    assert classify(status).alert
    assert not classify(0xA779).alert


def test_each_status_keeps_its_number_and_has_a_sentence() -> None:
    for status in range(0x10000):
        outcome = classify(status)
        assert outcome.status == status
        assert outcome.sentence.endswith(".")
        assert outcome.code.isidentifier()
        assert outcome.clause


def test_each_row_of_the_table_can_be_reached() -> None:
    reached = {(outcome.code, outcome.sentence, outcome.clause) for outcome in map(classify, range(0x10000))}
    assert {(row.code, row.sentence, row.clause) for row in TABLE} <= reached


@pytest.mark.parametrize(("result", "named"), [(3, "abstract syntax"), (4, "transfer syntax"), (1, "user"), (9, "no")])
def test_it_names_what_the_peer_refused(result: int, named: str) -> None:
    outcome = context_refused("1.2.3", "1.2.840.10008.1.2.1", result=result)
    assert (outcome.kind, outcome.code) == (Kind.REFUSED, "context_refused")
    assert named in outcome.comment
    assert "1.2.3" in outcome.sentence


def test_it_names_why_no_answer_came() -> None:
    assert unanswered("peer_silent").kind is Kind.UNKNOWN
    assert unanswered("peer_silent").comment == "peer_silent"


@pytest.mark.parametrize(
    ("numbers", "code", "kind", "bounded"),
    [
        ((1, 1, 3), "calling_ae_unknown", Kind.PAUSE, False),
        ((1, 1, 7), "called_ae_unknown", Kind.PAUSE, False),
        ((1, 1, 1), "rejected", Kind.RETRY, True),
        ((1, 1, 2), "rejected", Kind.RETRY, True),
        ((1, 2, 2), "rejected", Kind.RETRY, True),
        ((1, 3, 1), "rejected_congestion", Kind.RETRY, False),
        ((1, 3, 2), "rejected_limit", Kind.RETRY, False),
        ((2, 3, 1), "rejected_congestion", Kind.RETRY, False),
        ((2, 1, 1), "rejected_transient", Kind.RETRY, False),
        ((2, 1, 7), "rejected_transient", Kind.RETRY, False),
    ],
)
def test_it_reads_a_rejection(numbers: tuple[int, int, int], code: str, kind: Kind, bounded: bool) -> None:
    result, source, reason = numbers
    error = rejection(result=result, source=source, reason=reason)
    assert (error.code, error.kind, error.bounded) == (code, kind, bounded)
