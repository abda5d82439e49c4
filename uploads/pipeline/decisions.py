"""What persons decide: to answer a hold, to try again, to give up. Each is a recorded move with a name to it."""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from relaypacs.errors import NotAllowed, Rejected, WrongState
from uploads import hints
from uploads.models import KEPT, Delivery, Destination, FileStatus, Hold, Upload
from uploads.pipeline import settling, steering
from uploads.pipeline.intake import may_change
from uploads.states import CANCELLABLE, UNDECIDED, DeliveryState, UploadState
from uploads.truth import NEVER_PLAIN, choices_for

U, D = UploadState, DeliveryState
NEEDS_REASON = frozenset({"identity_near"})


def confirm(
    user: User,
    upload: Upload,
    *,
    hold: uuid.UUID,
    decision: str,
    reason: str = "",
    files: Sequence[int | str] = (),
) -> Upload:
    """Answers one hold; with the last one answered the upload goes on.

    Args:
        files: for `exclude`, the files to leave out, by index or by name.

    Raises:
        Rejected: decision_invalid, reason_required. NotAllowed: forbidden. WrongState: wrong_state.
    """
    may_change(user, upload)
    with transaction.atomic():
        upload = _locked(upload)
        if upload.state != U.HELD:
            raise WrongState("wrong_state", f"This upload is {upload.state}; there is nothing to decide.")
        question = upload.holds.filter(pk=hold, decided_at__isnull=True).first()
        if question is None:
            raise WrongState("wrong_state", "This question was answered already, or was never asked.")
        _check(user, question, decision, reason)
        _record(user, upload, question, decision, reason, files)
        if decision == "reject":
            because = "rejected by a person"
            settling.end(upload, U.REJECTED, code=question.code, detail=question.detail, because=because, actor=user)
        elif not upload.holds.filter(decided_at__isnull=True).exists():
            upload.move(U.VALIDATING, because=decision, actor=user, due_at=timezone.now())
    return upload


def _check(user: User, question: Hold, decision: str, reason: str) -> None:
    allowed = choices_for(question.code)
    administrator = user.is_administrator
    if decision == "proceed" and question.code in NEVER_PLAIN and not administrator:
        raise NotAllowed("forbidden", "This must not go on as it is; only an administrator may decide that.")
    if decision not in allowed and not (administrator and decision == "proceed"):
        raise Rejected("decision_invalid", f"This can be answered by: {', '.join(allowed)}.")
    needs_reason = question.code in NEEDS_REASON | NEVER_PLAIN
    if decision == "proceed" and needs_reason and not reason.strip():
        raise Rejected("reason_required", "Please say why this may go on.")


def _record(user: User, upload: Upload, question: Hold, decision: str, reason: str, files: Sequence[int | str]) -> None:
    question.decision, question.reason = decision, reason
    question.decided_at, question.decided_by = timezone.now(), user
    if decision == "exclude":
        question.excluded = _exclude(upload, files)
    question.save()


def _exclude(upload: Upload, files: Sequence[int | str]) -> list[int]:
    """Leaves files out; what is left is looked at again."""
    indices = {int(file) for file in files if str(file).isdecimal()}
    names = {str(file) for file in files}
    rows = [row for row in upload.files.only("pk", "index", "name") if row.index in indices or row.name in names]
    if not rows:
        raise Rejected("decision_invalid", "Please name the files of this upload that are to be left out.")
    upload.files.filter(pk__in=[row.pk for row in rows]).update(
        status=FileStatus.EXCLUDED, problem_code="excluded", problem_detail="Left out by a person's decision."
    )
    return sorted(row.index for row in rows)


def retry(user: User, upload: Upload) -> Upload:
    """Tries again what failed, or at once what waits. Raises WrongState where there is nothing to retry."""
    may_change(user, upload)
    with transaction.atomic():
        upload = _locked(upload)
        if upload.state == U.FAILED:
            _retry_failed(user, upload)
        elif upload.state == U.DELIVERING and upload.deliveries.filter(state=D.WAITING).exists():
            _try_now(upload)
        else:
            raise WrongState("wrong_state", f"This upload is {upload.state}; there is nothing to retry.")
    return upload


def _retry_failed(user: User, upload: Upload) -> None:
    fresh: dict[str, Any] = {"problem_code": "", "problem_detail": "", "failed_from": ""}
    if upload.failed_from != U.DELIVERING:
        to = U(upload.failed_from or U.VALIDATING)
        upload.move(to, because="retried", actor=user, due_at=timezone.now(), **fresh)
        return
    upload.move(U.DELIVERING, because="retried", actor=user, **fresh)
    stopped = upload.deliveries.select_for_update().filter(state__in=(D.PARTIAL, D.REFUSED))
    for delivery in stopped.filter(redirected_to__isnull=True):
        steering.unrefuse(delivery)
        delivery.move(D.PENDING, because="retried", actor=user, due_at=timezone.now(), failures=0, questions=0)
    _try_now(upload)


def _try_now(upload: Upload) -> None:
    """Makes what waits due, and a destination that is down due for a probe."""
    now = timezone.now()
    waiting = upload.deliveries.filter(state__in=(D.WAITING, D.PENDING)).filter(Delivery.free())
    waiting.update(due_at=now)
    Destination.objects.filter(deliveries__in=waiting, down_since__isnull=False).update(probe_at=now)
    for pk in waiting.values_list("pk", flat=True):
        hints.nudge("delivery", pk)


def cancel(user: User, upload: Upload) -> Upload:
    """Gives up. Final; what a PACS already stored stays listed. Raises WrongState once delivered."""
    may_change(user, upload)
    with transaction.atomic():
        upload = _locked(upload)
        if upload.state == U.CANCELLED:
            return upload
        if upload.state not in CANCELLABLE:
            raise WrongState("wrong_state", f"This upload is {upload.state} and can no longer be cancelled.")
        for delivery in upload.deliveries.select_for_update().filter(state__in=sorted(UNDECIDED | {D.STORED})):
            _stop(user, delivery)
        upload.move(U.CANCELLED, because="cancelled", actor=user, ended_at=timezone.now())
        settling.account(upload)
    return upload


def _stop(user: User, delivery: Delivery) -> None:
    """The next epoch fences off a worker that is sending or asking; what it was told stays in the ledger."""
    if delivery.state == D.SENDING:
        kept = delivery.entries.filter(answer__in=KEPT).exists()
        delivery.move(D.PARTIAL if kept else D.WAITING, because="cancelled", actor=user)
    else:
        delivery.write(lease_epoch=delivery.lease_epoch + 1, due_at=None, lease_until=None, lease_owner="")


def _locked(upload: Upload) -> Upload:
    return Upload.objects.select_for_update(of=("self",)).select_related("clinic", "created_by").get(pk=upload.pk)
