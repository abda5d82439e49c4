"""The ledger of one delivery while it is sent: the attempt is written before the send, the answer after.

Both are written for a few dozen instances at a time. What a dead worker left as `sending` may or may not have arrived;
the next worker asks the PACS before it sends any of that again.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from relaypacs import metrics
from uploads.models import KEPT, UNUSABLE, Answer, Delivery, LeaseLost, LedgerEntry, Upload
from uploads.pacs.crew import AHEAD
from uploads.pacs.outcomes import Kind, Outcome
from uploads.pacs.store import Item
from uploads.pipeline import settling
from uploads.states import UploadState

FLUSH_SECONDS = 1.0
PEER_BUSY = "peer_busy"

ANSWERS = {
    Kind.STORED: Answer.STORED,
    Kind.STORED_WITH_WARNING: Answer.CHANGED,
    Kind.REFUSED: Answer.REFUSED,
    Kind.RETRY: Answer.RETRY,
    Kind.PAUSE: Answer.RETRY,
    Kind.UNKNOWN: Answer.UNKNOWN,
    Kind.SKIPPED: Answer.SKIPPED,
}
FINAL_KINDS = (Kind.STORED, Kind.STORED_WITH_WARNING, Kind.REFUSED, Kind.SKIPPED)
UNCERTAIN = (Answer.SENDING, Answer.UNKNOWN)
TO_SEND = (Answer.UNSENT, Answer.RETRY)
LEFT_OUT: Mapping[str, Any] = {
    "answer": Answer.SKIPPED,
    "code": "left_out",
    "comment": "Entered while the study was received, and left out of it since.",
}


@dataclass(frozen=True, slots=True)
class Answered:
    """One line to write: what the PACS said of one entry."""

    pk: int
    answer: Answer
    status: int | None
    comment: str
    code: str = ""


class Ledger:
    """Writes down what happens to the items of one sending, fenced by the delivery's lease."""

    def __init__(self, delivery: Delivery, items: Sequence[Item], attempts: Mapping[int, int] | None = None) -> None:
        """`attempts`: how often each entry was sent before."""
        self._delivery = delivery
        self._attempts = attempts or {}
        self._keys = [item.key for item in items]
        self._place = {key: place for place, key in enumerate(self._keys)}
        self._marked: set[int] = set()
        self._done: set[int] = set()
        self._answers: list[Answered] = []
        self._final = False
        self._flushed_at = time.monotonic()
        self.pause: Outcome | None = None

    def on_sending(self, item: Item) -> None:
        if item.key not in self._marked:
            self.flush()
            start = self._place[item.key]
            ahead = self._keys[start : start + AHEAD]
            self._mark([key for key in ahead if key not in self._done | self._marked])

    def on_outcome(self, item: Item, outcome: Outcome) -> None:
        if outcome.code == PEER_BUSY:
            return  # the request was turned away at the door: `close` takes the mark back, as if it had not begun
        self._answers.append(self._answered(item.key, outcome))
        self._marked.discard(item.key)
        self._done.add(item.key)
        self._final = self._final or outcome.kind in FINAL_KINDS
        metrics.instances_total.labels(kind=outcome.kind.name.lower()).inc()
        if outcome.kind is Kind.PAUSE:
            self.pause = outcome
        if len(self._answers) >= AHEAD or time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self.flush()

    def _answered(self, key: int, outcome: Outcome) -> Answered:
        """A passing refusal that has passed too often is a refusal. "I have one of that name" says nothing of ours."""
        answer = Answer.UNKNOWN if outcome.verify_first else ANSWERS[outcome.kind]
        limit = outcome.max_attempts
        if answer == Answer.RETRY and limit is not None and self._attempts.get(key, 0) + 1 >= limit:
            answer = Answer.REFUSED
        comment = outcome.comment.replace("\x00", "") or ("" if answer in KEPT else outcome.sentence)
        code = "" if answer in KEPT else outcome.code
        return Answered(key, answer, outcome.status, comment[:400], code[:40])

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

    def last_words(self) -> None:
        """The row is lost; what came in after that is kept where the upload was cancelled."""
        if self._answers:
            note_after_cancel(self._delivery, self._answers)
            self._answers = []

    def _write(self) -> None:
        """Fenced. A worker that gets answers is no victim of the study, whatever happens to it later."""
        with transaction.atomic():
            self._delivery.guard()
            write_answers(self._answers)
            if self._delivery.crashes and self._final:
                self._delivery.write(crashes=0)

    def _mark(self, keys: Sequence[int]) -> None:
        with transaction.atomic():
            self._delivery.guard()
            LedgerEntry.objects.filter(pk__in=keys).update(
                answer=Answer.SENDING, attempts=F("attempts") + 1, sent_at=timezone.now()
            )
        self._marked.update(keys)


def note_after_cancel(delivery: Delivery, answers: Sequence[Answered]) -> None:
    """What the PACS answered while the upload was being cancelled: nobody sends again, and the receipt must say it."""
    with transaction.atomic():
        upload = Upload.objects.select_for_update().get(pk=delivery.upload_id)
        if upload.state != UploadState.CANCELLED:
            return
        rows = LedgerEntry.objects.filter(pk__in=[one.pk for one in answers], answer=Answer.SENDING)
        open_still = set(rows.values_list("pk", flat=True))
        write_answers([one for one in answers if one.pk in open_still])
        settling.account(upload)


WRITE = """
    UPDATE uploads_ledgerentry AS entry
    SET answer = said.answer, status = said.status, comment = said.comment, code = said.code, answered_at = %s,
        stored_count = entry.stored_count + said.kept
    FROM unnest(%s::bigint[], %s::text[], %s::integer[], %s::text[], %s::text[], %s::integer[])
        AS said (id, answer, status, comment, code, kept)
    WHERE entry.id = said.id
"""


def write_answers(answers: Sequence[Answered]) -> None:
    """Keeps the PACS's answers, in one statement. Call inside a transaction that guards the delivery."""
    with connection.cursor() as cursor:
        cursor.execute(
            WRITE,
            [
                timezone.now(),
                [one.pk for one in answers],
                [str(one.answer) for one in answers],
                [one.status for one in answers],
                [one.comment for one in answers],
                [one.code for one in answers],
                [int(one.answer in KEPT) for one in answers],
            ],
        )


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
        rows = LedgerEntry.objects.filter(pk__in=list(absent), answer__in=UNCERTAIN)
        rows.filter(instance__file__status__in=UNUSABLE).update(**LEFT_OUT)
        rows.update(answer=Answer.UNSENT)
