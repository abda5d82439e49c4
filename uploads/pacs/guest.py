"""One association that a PACS has opened with us: its requests are answered in turn, and what it sends is hashed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from uploads.pacs import accepting, command, commitment, pdu, report
from uploads.pacs.accepting import Agreed
from uploads.pacs.conversation import Conversation, Message
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import AssociationAborted
from uploads.pacs.fetched import Digest, Fetched
from uploads.pacs.report import Report
from uploads.pacs.wire import Wire

logger = logging.getLogger(__name__)

OnReport = Callable[[str, Report], bool]
OnInstance = Callable[[str, Fetched], bool]
Refusal = Callable[[str], tuple[int, int, int] | None]

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NOT_AUTHORISED = 0x0124
UNRECOGNISED = 0x0211
OUT_OF_RESOURCES = 0xA700
IMPLICIT = "1.2.840.10008.1.2"


class Guest(Conversation):
    """Whoever called; it is a guest once it has said who it is and was given a seat."""

    def __init__(
        self, wire: Wire, deadlines: Deadlines, *, on_report: OnReport, on_instance: OnInstance | None
    ) -> None:
        super().__init__(wire, deadlines)
        self._on_report = on_report
        self._on_instance = on_instance
        self._calling_ae = ""
        self._contexts: dict[int, Agreed] = {}
        self._digest = Digest("")

    def attend(self, refusal: Refusal) -> None:
        """From the first octet to the end; raises PeerError where that was not a release."""
        try:
            if self._take_call(refusal):
                self._serve()
        except AssociationAborted as trouble:
            if trouble.code != "peer_released":
                self.abort()
                raise
        except BaseException:
            self.abort()
            raise
        finally:
            self.close()

    def _take_call(self, refusal: Refusal) -> bool:
        deadline = Deadline.after(self.deadlines.negotiate)
        kind, body = self.unit(deadline, longest=pdu.LONGEST_REQUEST)
        if kind != pdu.ASSOCIATE_RQ:
            raise self.unexpected(kind, body)
        call = accepting.read(body)
        reasons = refusal(call.calling_ae)
        if reasons is not None:
            self.send([accepting.reject(reasons)], deadline)
            return False
        acceptance, self._contexts = accepting.accept(call, storage=self._on_instance is not None)
        self._calling_ae = call.calling_ae
        self.agree_on(call.longest)
        self.send([acceptance], deadline)
        return True

    def _serve(self) -> None:
        while True:
            deadline = Deadline.after(self.deadlines.idle)
            message = self.message(deadline, sinks=self._sink, longest=report.LONGEST_REPORT)
            agreed = self._contexts.get(message.context_id)
            if agreed is None:
                raise pdu.garbled("message over a context that was not agreed on")
            self._answer(message, agreed)

    def _sink(self, message: Message) -> Digest | None:
        agreed = self._contexts.get(message.context_id)
        if agreed is None or message.field != command.C_STORE_RQ or not agreed.storage:
            return None
        self._digest = Digest(agreed.transfer_syntax_uid)
        return self._digest

    def _answer(self, message: Message, agreed: Agreed) -> None:
        match message.field, agreed.sop_class_uid:
            case command.C_ECHO_RQ, accepting.VERIFICATION:
                self._reply(message, SUCCESS)
            case command.N_EVENT_REPORT_RQ, accepting.COMMITMENT:
                implicit = agreed.transfer_syntax_uid == IMPLICIT
                commitment.receive(self, message, implicit=implicit, judge=self._judge)
            case command.C_STORE_RQ, _ if agreed.storage:
                self._reply(message, self._judge_instance(message, agreed))
            case field, _ if field is not None and not field & command.ANSWER:
                self._reply(message, UNRECOGNISED)
            case _:
                raise pdu.garbled("answer that was not asked for")

    def _reply(self, message: Message, status: int) -> None:
        self.reply(message, status, Deadline.after(self.deadlines.answer))

    def _judge(self, found: Report) -> int:
        """Success once it is written down, also where it was before; else the PACS must try again, or knows better."""
        try:
            known = self._on_report(self._calling_ae, found)
        except Exception:  # whatever kept it from being written down may have passed when the PACS tries again
            logger.exception("a commitment report was not written down")
            return PROCESSING_FAILURE
        logger.info("commitment report: %d kept, %d not, known: %s", len(found.committed), len(found.failed), known)
        return SUCCESS if known else commitment.NO_SUCH_INSTANCE

    def _judge_instance(self, message: Message, agreed: Agreed) -> int:
        """Nothing is stored here: whoever sends what was not asked for must not believe that it was."""
        instance = message.text(command.AFFECTED_SOP_INSTANCE)
        fetched = self._digest.fetched(instance)
        try:
            asked_for = self._on_instance is not None and self._on_instance(self._calling_ae, fetched)
        except Exception:  # as above
            logger.exception("an instance that came back was not written down")
            return OUT_OF_RESOURCES
        return SUCCESS if asked_for else NOT_AUTHORISED
