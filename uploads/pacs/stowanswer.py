"""What a STOW-RS answer says of each instance: its two sequences are read, and its status code proves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from uploads.pacs import dicomjson
from uploads.pacs.dicomjson import NotDicomJson, Object
from uploads.pacs.outcomes import Kind, Outcome, classify, unanswered

# PS3.18 Table I.2-1 (Store Instances Response Module).
REFERENCED_SOPS, FAILED_SOPS = "00081199", "00081198"
SOP_INSTANCE, WARNING_REASON, FAILURE_REASON = "00081155", "00081196", "00081197"
WARNED = 0x0001
"""The general status for "stored, with a warning"."""

KEPT = (Kind.STORED, Kind.STORED_WITH_WARNING)


def read(body: bytes, sent: Iterable[str]) -> dict[str, Outcome]:
    """SOP Instance UID to outcome for each that was `sent`; UNKNOWN for what the answer does not settle.

    Instances that were not sent are ignored. An instance in both sequences is not settled.
    """
    try:
        answers = dicomjson.objects(body)
        stored = {uid: _stored(item) for one in answers for uid, item in _named(one, REFERENCED_SOPS)}
        failed = {uid: _failed(item) for one in answers for uid, item in _named(one, FAILED_SOPS)}
    except NotDicomJson:
        return {uid: unanswered("answer_unreadable") for uid in sent}
    contradicted = {uid: unanswered("answer_contradicts_itself") for uid in stored.keys() & failed.keys()}
    settled = stored | failed | contradicted
    return {uid: settled.get(uid) or unanswered("not_in_answer") for uid in sent}


def _named(one: Object, sequence: str) -> list[tuple[str, Object]]:
    return [(dicomjson.text(item, SOP_INSTANCE), item) for item in dicomjson.items(one, sequence)]


def _stored(item: Object) -> Outcome:
    reason = dicomjson.number(item, WARNING_REASON)
    outcome = classify(reason or 0x0000)
    return outcome if outcome.kind in KEPT else replace(classify(WARNED), status=reason)


def _failed(item: Object) -> Outcome:
    """A failure without a reason, or with one that means success, is none to act upon."""
    reason = dicomjson.number(item, FAILURE_REASON)
    if reason is None:
        return unanswered("failure_without_reason")
    outcome = classify(reason)
    if outcome.kind in KEPT and not outcome.verify_first:
        return unanswered("failure_without_reason")
    return outcome
