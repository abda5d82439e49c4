"""The row is the queue: what is due, who works on it, until when, and which state may follow.

A claim raises the fencing epoch and commits the attempt before any work. Every write-back names the epoch; whoever
lost the row finds that nothing was written. A worker that dies leaves a lease that lapses, and the sweep finds the row.
"""

import os
import socket
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

if TYPE_CHECKING:
    from accounts.models import User

MAX_CRASHES = 3  # workers that died on one leg before it is given up and a person is told


class LeaseLost(Exception):
    """Another worker took the row over, or a person decided. Drop the work; nothing was written."""


class Leased(models.Model):
    """A row with a next step, done by one worker at a time."""

    MOVES: ClassVar[Mapping[Any, frozenset[Any]]] = {}

    if TYPE_CHECKING:
        state: Any  # a column of every kind that moves

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    due_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    crashes = models.PositiveIntegerField(default=0, db_default=0)
    lease_owner = models.CharField(max_length=120, default="", db_default="", blank=True)
    lease_epoch = models.BigIntegerField(default=0, db_default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    last_error_code = models.CharField(max_length=40, default="", db_default="", blank=True)
    last_error_detail = models.TextField(default="", db_default="", blank=True)

    class Meta:
        abstract = True

    @classmethod
    def free_and_due(cls) -> Q:
        """Rows whose time has come and that no living worker holds."""
        now = timezone.now()
        return Q(due_at__lte=now) & cls.free()

    @classmethod
    def free(cls) -> Q:
        return Q(lease_until__isnull=True) | Q(lease_until__lt=timezone.now())

    @classmethod
    def claim(cls, rows: "models.QuerySet[Self]") -> Self | None:
        """Takes the first of these rows for this process, or none. Of two racing workers exactly one gets it."""
        with transaction.atomic():
            row = rows.select_for_update(skip_locked=True, of=("self",)).first()
            if row is not None:
                row.take()
        return row

    def take(self) -> None:
        """Raises the epoch and counts the attempt; call with the row locked. A lapsed lease means its holder died."""
        self.crashes = self.crashes + 1 if self.lease_until is not None else 0
        self.attempts += 1
        self.lease_epoch += 1
        self.lease_owner = f"{socket.gethostname()}:{os.getpid()}"
        self.lease_until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
        self.save(update_fields=["crashes", "attempts", "lease_epoch", "lease_owner", "lease_until"])

    def renew(self) -> None:
        """Keeps the row for another lease; raises LeaseLost when it is somebody else's by now."""
        self.write(lease_until=timezone.now() + timedelta(seconds=settings.LEASE_SECONDS))

    def write(self, **changes: Any) -> None:
        """Writes columns back, fenced by the epoch."""
        rows = type(self)._default_manager.filter(pk=self.pk, lease_epoch=self.lease_epoch)
        if not rows.update(**changes):
            raise LeaseLost(f"{type(self).__name__} {self.pk}")
        for name, value in changes.items():
            if not isinstance(value, models.expressions.BaseExpression | F):
                setattr(self, name, value)

    def guard(self) -> None:
        """Locks the row and checks the epoch, so that what else this transaction writes is fenced as well."""
        rows = type(self)._default_manager.select_for_update().filter(pk=self.pk, lease_epoch=self.lease_epoch)
        if not rows.exists():
            raise LeaseLost(f"{type(self).__name__} {self.pk}")

    def postpone(self, until: datetime, *, code: str, detail: str) -> None:
        """Gives the row back, to be tried again later, saying why."""
        self.write(
            due_at=until,
            lease_until=None,
            lease_owner="",
            crashes=0,
            last_error_code=code,
            last_error_detail=detail,
        )

    def move(
        self,
        to: Any,
        *,
        because: str = "",
        actor: "User | None" = None,
        due_at: datetime | None = None,
        keep_lease: bool = False,
        **changes: Any,
    ) -> None:
        """The only place that assigns a state. One fenced UPDATE and one Transition row, or LeaseLost and neither.

        Args:
            because: a code or a few words for the timeline, without patient data.
            actor: the person who decided, if a person did.
            due_at: when a worker has the next step; None when none has.
            keep_lease: the same worker goes on with the row.
            changes: further columns to write with the move.
        """
        state = self.state
        if to not in self.MOVES[type(to)(state)]:
            raise ValueError(f"{type(self).__name__}: {state} may not become {to}")
        if not keep_lease:
            # whoever held the row before is fenced off by the next epoch
            changes |= {"lease_until": None, "lease_owner": "", "attempts": 0, "crashes": 0}
            changes["lease_epoch"] = self.lease_epoch + 1
        with transaction.atomic():
            self.guard()
            rows = type(self)._default_manager.filter(pk=self.pk).filter(Q(state=state))
            if not rows.update(state=to, due_at=due_at, **changes):
                raise LeaseLost(f"{type(self).__name__} {self.pk}")
            self.state, self.due_at = to, due_at
            for name, value in changes.items():
                setattr(self, name, value)
            self.moved(state, to, because=because, actor=actor)

    def moved(self, before: str, to: str, *, because: str, actor: "User | None") -> None:
        """What a kind of row does when it has moved, in the same transaction."""
        raise TypeError(f"{type(self).__name__} has no states")
