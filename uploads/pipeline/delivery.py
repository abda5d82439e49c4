"""Fourth leg: a study goes to a destination, one outcome per instance; only what lacks a final answer is sent again."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from relaypacs.errors import TryLater
from uploads.dicom.fence import FenceFailed
from uploads.dicom.source import FileSlice
from uploads.models import KEPT, Answer, Delivery, Destination, LeaseLost, LedgerEntry, Upload
from uploads.pacs import doors, rules
from uploads.pacs.address import AddressError, Target
from uploads.pacs.errors import PeerError, QueryRefused
from uploads.pacs.outcomes import Kind
from uploads.pacs.rows import RuleError
from uploads.pacs.rules import Rules
from uploads.pacs.store import Item, Source
from uploads.pipeline import addressing, asking, decoding, destinations, durability, early, ledger, noting, settling
from uploads.pipeline.backoff import next_try
from uploads.pipeline.derived import described
from uploads.pipeline.keeper import Keeper
from uploads.pipeline.sharing import Share
from uploads.states import DeliveryState
from uploads.storage import pack_of

logger = logging.getLogger(__name__)

D = DeliveryState
UNKNOWN_AT_MOST = 10  # sends of one instance that ended without an answer, before the leg gives up on it
BOUNDED_FAILURES = 5  # refusals of the association without a reason, before a person is asked to look


@dataclass(frozen=True)
class Trouble:
    """Why a delivery did not get through; kept with it in words."""

    code: str
    detail: str


GAVE_WAY = Trouble("gave_way", "It made room for a more urgent study and goes on by itself.")


def deliver(delivery: Delivery, keeper: Keeper) -> None:
    """Sends what the ledger says is still to be sent, and moves to stored, waiting, paused, partial or refused."""
    if delivery.state != D.SENDING:
        delivery.move(D.SENDING, keep_lease=True, due_at=delivery.due_at)
    delivery.write(total_attempts=delivery.total_attempts + 1)
    share = Share(delivery)
    if delivery.early:
        durability.withdraw_lost(delivery.upload_id)  # a worker may be up after a power cut before the sweep is
    try:
        target = addressing.target_of(delivery.destination)
        asking.resolve_doubts(delivery)
        pause = _send_all(delivery, target, keeper, share)
        asking.resolve_doubts(delivery)  # what the PACS says it had already is looked for before it counts
    except (AddressError, RuleError) as error:
        _pause(delivery, Trouble(error.code, error.detail))
    except TryLater as error:  # no room, or no process, for what is to be decoded
        postpone(delivery, Trouble(error.code, error.detail))
    except PeerError as error:
        _peer_trouble(delivery, error)
    else:
        destinations.came_up(delivery.destination)
        if pause is not None:
            _pause(delivery, pause)
        elif share.gave_way:
            _give_way(delivery)
        else:
            _conclude(delivery)


def _send_all(delivery: Delivery, target: Target, keeper: Keeper, share: Share) -> Trouble | None:
    """Sends, and goes on with what came in meanwhile and with what was decoded because it was refused as it is."""
    means = rules_of(delivery.destination)
    while True:
        pause = _send(delivery, target, keeper, share, means)
        if pause is not None or share.gave_way:
            return pause
        if not (_more_came(delivery) or _decoded(delivery, means, keeper)):
            return None


def _decoded(delivery: Delivery, means: Rules, keeper: Keeper) -> bool:
    try:
        return decoding.decode_refused(delivery, means, keeper)
    except FenceFailed as error:
        raise TryLater("decoder_unavailable", str(error)) from error


def _send(delivery: Delivery, target: Target, keeper: Keeper, share: Share, means: Rules) -> Trouble | None:
    """Sends over as many associations as are its share; what the PACS asked for that a person must mend, if it did."""
    entries = list(_to_send(delivery))
    asking.look_beforehand(delivery)
    with pack_of(delivery.upload_id).open() as fd:
        items = [_item(entry, fd) for entry in entries]
        share.expect(len(items))
        book = ledger.Ledger(delivery, items, {entry.pk: entry.attempts for entry in entries})
        try:
            doors.store(
                target,
                items,
                on_sending=book.on_sending,
                on_outcome=book.on_outcome,
                should_stop=lambda: keeper.lost() or book.pause is not None or share.gave_way,
                lanes=share,
                rules=means,
            )
        except LeaseLost:
            book.last_words()
            raise
        except (PeerError, OSError):
            book.close()
            raise
        except BaseException:  # nothing is promised of what was under way: it is asked about
            book.flush()
            raise
        book.close()
    keeper.check()
    return Trouble(book.pause.code, book.pause.sentence) if book.pause else None


def _to_send(delivery: Delivery) -> "QuerySet[LedgerEntry]":
    """What has no final answer; while more images come in, each of which sends at once, a refusal keeps its wait."""
    rows = asking.entries_of(delivery).filter(answer__in=ledger.TO_SEND)
    if not delivery.early or early.is_dispatched(Upload.objects.get(pk=delivery.upload_id)):
        return rows
    just_now = timezone.now() - timedelta(seconds=settings.RETRY_FIRST_SECONDS / 2)
    as_it_is = Q(answer=Answer.RETRY) | Q(derived_sha256="")  # else it was decoded, and is another sending
    return rows.exclude(as_it_is, attempts__gt=0, answered_at__gt=just_now)


def rules_of(destination: Destination) -> Rules:
    """What its answers mean. Raises RuleError where its rows were made unreadable."""
    return rules.read(destination.outcome_rules, optional=destination.optional_classes, transcode=destination.transcode)


def _item(entry: LedgerEntry, fd: int) -> Item:
    instance = entry.instance
    source: Source = FileSlice(fd, instance.dataset_offset, instance.dataset_size)
    if entry.derived_sha256:
        made = described(instance)
        source = decoding.DerivedSlice(made.path, made.offset, made.size)
    return Item(
        key=entry.pk,
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        transfer_syntax_uid=entry.transfer_syntax_uid,
        source=source,
    )


def _more_came(delivery: Delivery) -> bool:
    """Whether images were entered while it was sending, which only an upload that is still received does."""
    return delivery.early and delivery.entries.filter(answer=Answer.UNSENT, attempts=0).exists()


def _rest_is_to_come(delivery: Delivery) -> bool:
    """Waits without a time for the rest of the study; False where all of the study is here."""
    with transaction.atomic():
        delivery.guard()
        upload = Upload.objects.get(pk=delivery.upload_id)
        if early.is_dispatched(upload):
            return False
        due, failures = _again_early(delivery, upload)
        delivery.move(D.WAITING, because="rest_awaited", due_at=due, failures=failures, **_error(None))
    return True


def _again_early(delivery: Delivery, upload: Upload) -> tuple[datetime | None, int]:
    """When it goes on before the rest has come: at once with what was never sent, in time with what was not taken."""
    left = delivery.entries.filter(answer__in=(*ledger.TO_SEND, *ledger.UNCERTAIN))
    if not early.may_go(upload) or not left.exists():
        return None, 0
    if left.filter(answer=Answer.UNSENT, attempts=0).exists():
        return timezone.now(), delivery.failures
    failures = delivery.failures + 1
    return next_try(failures), failures


def _conclude(delivery: Delivery) -> None:
    """What the answers add up to."""
    if delivery.early and _rest_is_to_come(delivery):
        return
    answers = list(delivery.entries.values_list("answer", flat=True))
    left = asking.unsettled(answers)
    refused = answers.count(Answer.REFUSED)
    if left:
        gone = _give_up_unanswered(delivery)
        if gone < left:
            trouble = _last_refusal(delivery, Answer.RETRY) or Trouble(
                "not_answered", f"{left} of {len(answers)} images have no final answer yet."
            )
            postpone(delivery, trouble)
            return
        refused += gone
    notes = noting.of_the_sending(delivery)
    with transaction.atomic():
        if refused:
            _end_short(delivery, answers, refused, notes=notes)
        elif not any(answer in KEPT for answer in answers):
            nothing = Trouble("nothing_taken", "The PACS takes none of the images of this study; all were left out.")
            delivery.move(D.REFUSED, because=nothing.code, notes=notes, **_error(nothing))
        else:
            now = timezone.now()
            delivery.move(D.STORED, due_at=now, stored_at=now, failures=0, notes=notes, **_error(None))
        settling.settle(delivery.upload_id)


def _end_short(delivery: Delivery, answers: Sequence[str], refused: int, *, notes: list[noting.Note]) -> None:
    trouble = _last_refusal(delivery, Answer.REFUSED) or Trouble("refused", "The PACS refused images.")
    detail = f"{refused} of {len(answers)} images refused. {trouble.detail}"
    to = D.PARTIAL if any(answer in KEPT for answer in answers) else D.REFUSED
    delivery.move(to, because=trouble.code, notes=notes, **_error(Trouble(trouble.code, detail)))


def _give_up_unanswered(delivery: Delivery) -> int:
    """Instances that were sent too often without any answer count as refused."""
    with transaction.atomic():
        delivery.guard()
        return delivery.entries.filter(
            answer__in=(*ledger.UNCERTAIN, *ledger.TO_SEND), attempts__gte=UNKNOWN_AT_MOST
        ).update(answer=Answer.REFUSED, comment="The PACS never answered for this image.")


def _last_refusal(delivery: Delivery, answer: Answer) -> Trouble | None:
    entry = delivery.entries.filter(answer=answer).order_by("-answered_at").first()
    if entry is None:
        return None
    code = f"status_{entry.status:04X}" if entry.status is not None else entry.code or "refused"
    return Trouble(code, entry.comment)


def _peer_trouble(delivery: Delivery, error: PeerError) -> None:
    """No association, or one that was lost. What was in flight is in doubt and will be asked about."""
    trouble = Trouble(error.code, error.detail)
    if error.kind is Kind.PAUSE or (error.bounded and delivery.failures + 1 >= BOUNDED_FAILURES):
        _pause(delivery, trouble)
        return
    if not isinstance(error, QueryRefused):  # who does not answer a question may well store
        destinations.went_down(delivery.destination, error.detail, retry_after=error.retry_after or 0.0)
    left = asking.unsettled(delivery.entries.values_list("answer", flat=True))
    if left and _give_up_unanswered(delivery) >= left:
        _conclude(delivery)
    else:
        postpone(delivery, trouble)


def postpone(delivery: Delivery, trouble: Trouble) -> None:
    """Waits, visibly, with the time of the next attempt."""
    failures = delivery.failures + 1
    with transaction.atomic():
        delivery.move(D.WAITING, because=trouble.code, due_at=next_try(failures), failures=failures, **_error(trouble))
        settling.settle(delivery.upload_id)
    logger.info("delivery waits: %s", trouble.code)


def _give_way(delivery: Delivery) -> None:
    """Back into the queue, due at once and behind what is more urgent; nothing has failed."""
    with transaction.atomic():
        delivery.move(D.WAITING, because=GAVE_WAY.code, due_at=timezone.now(), **_error(GAVE_WAY))
        settling.settle(delivery.upload_id)


def _pause(delivery: Delivery, trouble: Trouble) -> None:
    """Something at the destination must be put right by a person; the study is kept and waits."""
    with transaction.atomic():
        delivery.move(D.PAUSED, because=trouble.code, **_error(trouble))
        settling.settle(delivery.upload_id)
        destinations.pause(delivery.destination, trouble.detail)
    logger.warning("destination paused: %s", trouble.code)


def _error(trouble: Trouble | None) -> dict[str, Any]:
    return {
        "last_error_code": trouble.code[:40] if trouble else "",
        "last_error_detail": trouble.detail if trouble else "",
    }
