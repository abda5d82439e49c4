"""The ledger of one delivery while it is sent: the attempt is written before the send, the answer after.

Both are written for a few dozen instances at a time. What a dead worker left as `sending` may or may not have arrived;
the next worker asks the PACS before it sends any of that again.
"""

import time
from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from relaypacs import metrics
from uploads.models import KEPT, Answer, Delivery, LeaseLost, LedgerEntry, Upload
from uploads.pacs.dimse import Item, Kind, Outcome
from uploads.pipeline import settling
from uploads.states import UploadState

AHEAD = 32  # instances marked as being sent in one write
FLUSH_SECONDS = 1.0

ANSWERS = {
    Kind.STORED: Answer.STORED,
    Kind.STORED_WITH_WARNING: Answer.CHANGED,
    Kind.REFUSED: Answer.REFUSED,
    Kind.RETRY: Answer.RETRY,
    Kind.PAUSE: Answer.RETRY,
    Kind.UNKNOWN: Answer.UNKNOWN,
}
FINAL_KINDS = (Kind.STORED, Kind.STORED_WITH_WARNING, Kind.REFUSED)
UNCERTAIN = (Answer.SENDING, Answer.UNKNOWN)
TO_SEND = (Answer.UNSENT, Answer.RETRY)


class Ledger:
    """Writes down what happens to the items of one association, fenced by the delivery's lease."""

    def __init__(self, delivery: Delivery, items: Sequence[Item]) -> None:
        self._delivery = delivery
        self._keys = [item.key for item in items]
        self._place = {key: place for place, key in enumerate(self._keys)}
        self._marked: set[int] = set()
        self._done: set[int] = set()
        self._answers: list[tuple[int, Outcome]] = []
        self._flushed_at = time.monotonic()
        self.pause: Outcome | None = None

    def on_sending(self, item: Item) -> None:
        if item.key not in self._marked:
            self.flush()
            start = self._place[item.key]
            ahead = self._keys[start : start + AHEAD]
            self._mark([key for key in ahead if key not in self._done | self._marked])

    def on_outcome(self, item: Item, outcome: Outcome) -> None:
        self._answers.append((item.key, outcome))
        self._marked.discard(item.key)
        self._done.add(item.key)
        metrics.instances_total.labels(kind=outcome.kind.name.lower()).inc()
        if outcome.kind is Kind.PAUSE:
            self.pause = outcome
        if len(self._answers) >= AHEAD or time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self.flush()

    def close(self) -> None:
        """Writes what is left; what was marked and never begun was not sent."""
        self.flush()
        with transaction.atomic():
            self._delivery.guard()
            rows = LedgerEntry.objects.filter(pk__in=self._marked, answer=Answer.SENDING)
            rows.update(answer=Answer.UNSENT, attempts=F("attempts") - 1)
        self._marked.clear()

    def flush(self) -> None:
        if self._answers:
            try:
                self._write()
            except LeaseLost:
                note_after_cancel(self._delivery, self._answers)
                raise
            finally:
                self._answers = []
        self._flushed_at = time.monotonic()

    def _write(self) -> None:
        """Fenced. A worker that gets answers is no victim of the study, whatever happens to it later."""
        with transaction.atomic():
            self._delivery.guard()
            write_answers(self._answers)
            if self._delivery.crashes and any(outcome.kind in FINAL_KINDS for _, outcome in self._answers):
                self._delivery.write(crashes=0)

    def _mark(self, keys: Iterable[int]) -> None:
        keys = list(keys)
        with transaction.atomic():
            self._delivery.guard()
            LedgerEntry.objects.filter(pk__in=keys).update(
                answer=Answer.SENDING, attempts=F("attempts") + 1, sent_at=timezone.now()
            )
        self._marked.update(keys)


def note_after_cancel(delivery: Delivery, answers: Sequence[tuple[int, Outcome]]) -> None:
    """What the PACS answered while the upload was being cancelled: nobody sends again, and the receipt must say it."""
    with transaction.atomic():
        upload = Upload.objects.select_for_update().get(pk=delivery.upload_id)
        if upload.state != UploadState.CANCELLED:
            return
        rows = LedgerEntry.objects.filter(pk__in=[key for key, _ in answers], answer=Answer.SENDING)
        open_still = set(rows.values_list("pk", flat=True))
        write_answers([(key, outcome) for key, outcome in answers if key in open_still])
        settling.account(upload)


def write_answers(answers: Sequence[tuple[int, Outcome]]) -> None:
    """Keeps the PACS's answers. Call inside a transaction that guards the delivery."""
    now = timezone.now()
    rows = {row.pk: row for row in LedgerEntry.objects.filter(pk__in=[key for key, _ in answers])}
    for key, outcome in answers:
        row = rows[key]
        row.answer = _answer(row, outcome)
        row.status = outcome.status
        comment = outcome.comment.replace("\x00", "") or ("" if row.answer in KEPT else outcome.sentence)
        row.comment = comment[:400]
        row.answered_at = now
        row.stored_count += row.answer in KEPT
    LedgerEntry.objects.bulk_update(
        rows.values(), ["answer", "status", "comment", "answered_at", "stored_count"], batch_size=500
    )


def _answer(row: LedgerEntry, outcome: Outcome) -> Answer:
    """A passing refusal that has passed too often is a refusal. "I have one of that name" says nothing of ours."""
    answer = Answer.UNKNOWN if outcome.verify_first else ANSWERS[outcome.kind]
    limit = outcome.max_attempts
    if answer == Answer.RETRY and limit is not None and row.attempts >= limit:
        return Answer.REFUSED
    return answer


def note_found(delivery: Delivery, found: Iterable[int]) -> None:
    """Instances in doubt that the PACS was found to have: stored, without being sent again."""
    with transaction.atomic():
        delivery.guard()
        LedgerEntry.objects.filter(pk__in=list(found)).update(
            answer=Answer.STORED,
            answered_at=timezone.now(),
            stored_count=F("stored_count") + 1,
            comment="The answer was lost; the PACS lists it.",
        )


def note_absent(delivery: Delivery, absent: Iterable[int]) -> None:
    """Instances in doubt that the PACS does not have, or cannot be asked about: they are sent again."""
    with transaction.atomic():
        delivery.guard()
        LedgerEntry.objects.filter(pk__in=list(absent), answer__in=UNCERTAIN).update(answer=Answer.UNSENT)
