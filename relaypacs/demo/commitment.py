"""Storage commitment of the demo PACS: it looks what it has, and reports over an association of its own, as most do."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt

logger = logging.getLogger(__name__)

COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
ALL_COMMITTED, FAILURES_EXIST = 1, 2
SUCCESS, INVALID_ARGUMENT, NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0000, 0x0115, 0x0112, 0x0119
TRIES = (0.1, 2.0, 10.0)  # seconds before each attempt to report

ClassOf = Callable[[str], str | None]
"""The SOP class of an instance that the PACS has, by its SOP Instance UID."""


@dataclass(frozen=True)
class Committer:
    """Answers requests, and calls whoever asked at `port` of this machine."""

    ae_title: str
    port: int
    class_of: ClassOf

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        """Success means that a report will come, and nothing more (PS3.4 J.3.2)."""
        asked = event.action_information
        if "TransactionUID" not in asked or "ReferencedSOPSequence" not in asked:
            return INVALID_ARGUMENT, None
        calling_ae = event.assoc.requestor.ae_title
        threading.Thread(target=self._report, args=(calling_ae, asked), daemon=True).start()
        return SUCCESS, None

    def _report(self, called_ae: str, asked: Dataset) -> None:
        for seconds in TRIES:
            threading.Event().wait(seconds)
            if self._send(called_ae, report_on(asked, self.class_of)):
                return
        logger.warning("a commitment report was not taken by whoever asked for it")

    def _send(self, called_ae: str, report: Dataset) -> bool:
        entity = AE(ae_title=self.ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = 10
        entity.add_requested_context(COMMITMENT)
        role = build_role(UID(COMMITMENT), scp_role=True)
        association = entity.associate("127.0.0.1", self.port, ae_title=called_ae, ext_neg=[role])
        if not association.is_established:
            return False
        kind = FAILURES_EXIST if "FailedSOPSequence" in report else ALL_COMMITTED
        answer, _ = association.send_n_event_report(report, kind, UID(COMMITMENT), UID(COMMITMENT_INSTANCE))
        association.release()
        return "Status" in answer and answer.Status == SUCCESS


def report_on(asked: Dataset, class_of: ClassOf) -> Dataset:
    """The event information: each instance asked about is kept, or is not with the reason."""
    report = Dataset()
    report.TransactionUID = asked.TransactionUID
    kept, failed = [], []
    for reference in asked.ReferencedSOPSequence:
        item = Dataset()
        item.ReferencedSOPClassUID = reference.ReferencedSOPClassUID
        item.ReferencedSOPInstanceUID = reference.ReferencedSOPInstanceUID
        known = class_of(str(reference.ReferencedSOPInstanceUID))
        if known == reference.ReferencedSOPClassUID:
            kept.append(item)
        else:
            item.FailureReason = NO_SUCH_INSTANCE if known is None else CLASS_CONFLICT
            failed.append(item)
    if kept:
        report.ReferencedSOPSequence = kept
    if failed:
        report.FailedSOPSequence = failed
    return report
