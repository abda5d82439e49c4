"""What a destination may do without is kept in the ledger as left out, with its note."""

import pytest

from tests import factories
from uploads.models import KEPT, Answer, LedgerEntry
from uploads.pacs.dimse import Kind
from uploads.pacs.outcomes import classify
from uploads.pacs.rules import read
from uploads.pipeline.ledger import ANSWERS, TO_SEND, UNCERTAIN, Answered, write_answers

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]

DOSE = "1.2.840.10008.5.1.4.1.1.88.67"


def test_each_kind_of_outcome_has_its_answer() -> None:
    assert set(ANSWERS) == set(Kind)


def test_it_is_left_out_with_its_note_and_never_sent_again() -> None:
    entry: LedgerEntry = factories.LedgerEntryFactory.create(answer=Answer.SENDING, attempts=1)
    rules = read([], optional=[{"sop_class": "dose_report", "note": "No dose reports here."}])
    outcome = rules.skip(rules.classify(0x0122), DOSE)
    assert outcome is not None
    write_answers([Answered(entry.pk, ANSWERS[outcome.kind], outcome.status, outcome.comment)])
    entry.refresh_from_db()
    assert (entry.answer, entry.status, entry.stored_count) == (Answer.SKIPPED, 0x0122, 0)
    assert "No dose reports here." in entry.comment
    assert classify(0x0122).sentence in entry.comment
    assert entry.answer not in (*KEPT, *TO_SEND, *UNCERTAIN)
