"""A pynetdicom SCP that commits to what it is told it has, and reports in the way that the test names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

from tests.loopback import LOOPBACK, free_port, wait_until

WAYS = {"after", "before", "twice", "never", "garbage", "wrong_transaction", "hangs_up"}


@dataclass
class Committing:
    """The SCP; `statuses` is how its reports were answered, in order, None where there was no answer."""

    port: int
    has: set[str]
    way: str
    action_status: int
    ae: str = "COMMITTING"
    asked: list[Dataset] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    reported: threading.Event = field(default_factory=threading.Event)

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        asked = event.action_information
        self.asked.append(asked)
        for _ in range({"before": 1, "twice": 2}.get(self.way, 0)):
            self.report(event.assoc, report_on(asked, self.has))
        if self.way not in ("before", "twice", "never"):
            threading.Thread(target=self._later, args=(event.assoc, asked), daemon=True).start()
        return self.action_status, None

    def _later(self, association: Association, asked: Dataset) -> None:
        threading.Event().wait(0.2)
        report = report_on(asked, self.has)
        if self.way == "hangs_up":
            association.abort()
        elif self.way == "garbage":
            self.statuses.append(send_garbage(association, b"\x08\x00\x95\x11\xff\xff\xff\x7f1.2"))
        elif self.way == "wrong_transaction":
            wrong = report_on(asked, self.has)
            wrong.TransactionUID = generate_uid()
            self.report(association, wrong)
            self.report(association, report)
        else:
            self.report(association, report)
        self.reported.set()

    def report(self, association: Association, report: Dataset) -> None:
        self.statuses.append(send_report(association, report))


def report_on(asked: Dataset, has: set[str]) -> Dataset:
    """What a PACS that `has` these instances says of the references that it was asked about."""
    report = Dataset()
    report.TransactionUID = asked.TransactionUID
    report.ReferencedSOPSequence = [one for one in asked.ReferencedSOPSequence if one.ReferencedSOPInstanceUID in has]
    missing = [one for one in asked.ReferencedSOPSequence if one.ReferencedSOPInstanceUID not in has]
    if missing:
        report.FailedSOPSequence = [_failed(one) for one in missing]
    return report


def _failed(reference: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.ReferencedSOPClassUID
    item.ReferencedSOPInstanceUID = reference.ReferencedSOPInstanceUID
    item.FailureReason = 0x0112
    return item


def asked_for(transaction_uid: str, instances: Sequence[str]) -> Dataset:
    """The action information that names these CT instances."""
    asked = Dataset()
    asked.TransactionUID = transaction_uid
    asked.ReferencedSOPSequence = []
    for instance in instances:
        item = Dataset()
        item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        item.ReferencedSOPInstanceUID = instance
        asked.ReferencedSOPSequence.append(item)
    return asked


def send_report(association: Association, report: Dataset, *, event_type: int | None = None) -> int | None:
    kind = event_type or (2 if "FailedSOPSequence" in report else 1)
    answer, _ = association.send_n_event_report(
        report, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    return int(answer.Status) if "Status" in answer else None


def send_garbage(association: Association, octets: bytes) -> int | None:
    """A report whose data set is no data set; how it was answered."""
    primitive = N_EVENT_REPORT()
    primitive.MessageID = 77
    primitive.AffectedSOPClassUID = StorageCommitmentPushModel
    primitive.AffectedSOPInstanceUID = StorageCommitmentPushModelInstance
    primitive.EventTypeID = 1
    primitive.EventInformation = BytesIO(octets)
    [context] = [one for one in association.accepted_contexts if one.abstract_syntax == StorageCommitmentPushModel]
    association._reactor_checkpoint.clear()
    wait_until(lambda: association._is_paused, "pause of the reactor")
    association.dimse.send_msg(primitive, context.context_id or 1)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return None if answer is None else int(answer.Status or 0)


@contextmanager
def committing_scp(
    *, has: set[str], way: str = "after", offered: bool = True, action_status: int = 0x0000
) -> Iterator[Committing]:
    if way not in WAYS:
        raise ValueError(f"nobody reports by {way}")
    scp = Committing(free_port(), has, way, action_status)
    entity = AE(scp.ae)
    entity.add_supported_context(Verification)
    if offered:
        entity.add_supported_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    handlers: list[Any] = [(evt.EVT_N_ACTION, scp.on_action)]
    server = entity.start_server((LOOPBACK, scp.port), block=False, evt_handlers=handlers)
    try:
        yield scp
    finally:
        if server is not None:
            server.shutdown()


@contextmanager
def calling(
    port: int,
    *,
    calling_ae: str = "COMMITTING",
    role: bool = True,
    syntax: str = ExplicitVRLittleEndian,
    contexts: Sequence[str] = (StorageCommitmentPushModel,),
    called_ae: str = "RELAYPACS",
    prepare: Callable[[AE], None] = lambda _: None,
) -> Iterator[Association]:
    """An association that a PACS opens with the listener at `port`, as the provider where `role`."""
    entity = AE(calling_ae)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    for uid in contexts:
        entity.add_requested_context(uid, syntax)
    prepare(entity)
    roles = [build_role(UID(StorageCommitmentPushModel), scp_role=True)] if role else []
    association = entity.associate(LOOPBACK, port, ae_title=called_ae, ext_neg=list(roles))
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
