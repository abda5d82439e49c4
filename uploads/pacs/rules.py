"""What the answers of one destination mean where an administrator has set something else than the table says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import cast

from uploads.pacs import outcomes
from uploads.pacs.optional import OptionalClass, read_optional, skip_note
from uploads.pacs.outcomes import Kind, Outcome
from uploads.pacs.rows import RuleError, known_keys, note_of, rows_of

DUPLICATE = 0x0111
MOST_ATTEMPTS = 100
_STATUS = re.compile(r"([0-9A-F]{4})(?:-([0-9A-F]{4}))?", re.IGNORECASE)
_KEYS = frozenset(("status", "action", "attempts", "note"))
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
# Refusals that speak of the class or of its encoding. Those about a patient, a collision or damage are never skipped.
# The last four are refusals only where a rule has made them so.
_SKIPPABLE = frozenset(
    [
        "context_refused",
        "class_unsupported",
        "class_mismatch",
        "not_understood",
        "out_of_resources",
        "processing_failure",
        "peer_fault",
        "status_unknown",
    ]
)


class Action(Enum):
    RETRY = "retry"
    GIVE_UP = "give_up"
    STORED_WITH_WARNING = "stored_with_warning"
    PAUSE = "pause"
    ASK = "ask"


_KINDS = {
    Action.RETRY: Kind.RETRY,
    Action.GIVE_UP: Kind.REFUSED,
    Action.STORED_WITH_WARNING: Kind.STORED_WITH_WARNING,
    Action.PAUSE: Kind.PAUSE,
    Action.ASK: Kind.UNKNOWN,
}
_MEANS = {
    Action.RETRY: "it is tried again",
    Action.GIVE_UP: "it is not sent again",
    Action.STORED_WITH_WARNING: "it counts as stored, with a warning",
    Action.PAUSE: "a person must look at the PACS first",
    Action.ASK: "the PACS is asked whether it has it",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: for the statuses from `first` to `last`, `action`; `attempts` bounds a retry (None: no bound)."""

    first: int
    last: int
    action: Action
    attempts: int | None = None
    note: str = ""

    def applied(self, status: int, original: Outcome) -> Outcome:
        """The outcome as set here. The alert of a mix-up stays, and what counts as stored only after asking."""
        sentence = f"The PACS answered {status:04X}; as set for this destination, {_MEANS[self.action]}. {self.note}"
        return replace(
            original,
            kind=_KINDS[self.action],
            sentence=sentence.strip(),
            clause=f"{original.clause}, as set for this destination",
            max_attempts=self.attempts,
            verify_first=original.verify_first and self.action is Action.STORED_WITH_WARNING,
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """The rows of one destination, put before the table. `transcode`: compressed images may be sent there decoded."""

    rows: tuple[Rule, ...] = ()
    optional: tuple[OptionalClass, ...] = ()
    transcode: bool = False

    def classify(self, status: int | None) -> Outcome:
        """What a status means at this destination; None stands for "no answer came", which no rule changes."""
        original = outcomes.classify(status)
        if status is None:
            return original
        for rule in self.rows:
            if rule.first <= status <= rule.last:
                return rule.applied(status, original)
        return original

    def context_refused(self, sop_class_uid: str, transfer_syntax_uid: str, *, result: int) -> Outcome:
        """As the table has it, or skipped. What may still be sent decoded is refused, not skipped."""
        outcome = outcomes.context_refused(sop_class_uid, transfer_syntax_uid, result=result)
        if self.transcode and transfer_syntax_uid not in _UNCOMPRESSED:
            return outcome
        return self.skip(outcome, sop_class_uid) or outcome

    def skip(self, outcome: Outcome, sop_class_uid: str) -> Outcome | None:
        """The outcome of an instance that is left out with a note (rule S8); None where it must not be."""
        if outcome.kind is not Kind.REFUSED or outcome.alert or outcome.code not in _SKIPPABLE:
            return None
        note = skip_note(sop_class_uid, self.optional)
        if note is None:
            return None
        sentence = f"Left out, as this destination allows. {note} {outcome.sentence}"
        return replace(
            outcome,
            kind=Kind.SKIPPED,
            sentence=" ".join(sentence.split()),
            comment=" ".join(f"{sentence} {outcome.comment}".split()),
            clause=f"{outcome.clause}, as set for this destination",
        )


DEFAULT_RULES = Rules()


def read(rows: object, *, optional: object = (), transcode: bool = False) -> Rules:
    """`Destination.outcome_rules` and `.optional_classes`, read strictly.

    A row is {"status": "A700" or "A700-A7FF", "action": an Action's value, "attempts": int | null, "note": text}; the
    first row that holds a status decides. Raises RuleError, for the form it was typed in, at the first row at fault.
    """
    found: list[Rule] = []
    for number, row in enumerate(rows_of(rows), start=1):
        rule = _rule(row, number)
        if any(other.first <= rule.first and rule.last <= other.last for other in found):
            raise RuleError("rule_shadowed", "An earlier row decides all of these answers already.", number)
        found.append(rule)
    return Rules(tuple(found), read_optional(optional), transcode)


def _rule(row: Mapping[str, object], number: int) -> Rule:
    known_keys(row, _KEYS, number)
    first, last = _span(row.get("status"), number)
    action = _action(row.get("action"), number)
    rule = Rule(first, last, action, _attempts(row.get("attempts"), action, number), note_of(row, number))
    for status, original in _originals(rule):
        _check_safe(rule, status, original, number=number)
    return rule


def _span(value: object, number: int) -> tuple[int, int]:
    match = _STATUS.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise RuleError("status_malformed", "Write the status as A700, or a range as A700-A7FF.", number)
    first, last = int(match[1], 16), int(match[2] or match[1], 16)
    if last < first:
        raise RuleError("status_malformed", "The range of statuses ends before it begins.", number)
    if first >> 12 != last >> 12:
        raise RuleError("range_too_wide", "A range stays within one block of statuses, as C000-CFFF.", number)
    return first, last


def _action(value: object, number: int) -> Action:
    try:
        return Action(value)
    except ValueError as error:
        words = ", ".join(action.value for action in Action)
        raise RuleError("action_unknown", f"The action is none of {words}.", number) from error


def _attempts(value: object, action: Action, number: int) -> int | None:
    if value is None:
        return None
    if action is not Action.RETRY:
        raise RuleError("attempts_without_retry", "Only a retry has a number of attempts.", number)
    if type(value) is not int or not 1 <= value <= MOST_ATTEMPTS:
        raise RuleError("attempts_invalid", f"The number of attempts goes from 1 to {MOST_ATTEMPTS}.", number)
    return value


def _originals(rule: Rule) -> Iterator[tuple[int, Outcome]]:
    return ((status, outcomes.classify(status)) for status in range(rule.first, rule.last + 1))


def _check_safe(rule: Rule, status: int, original: Outcome, *, number: int) -> None:
    """What no administrator may set: it would let a lost image count as stored, or send again what the PACS has."""
    if status == 0:
        raise RuleError("success_stays", "0000 is success, and stays it.", number)
    has_it = original.kind is Kind.STORED_WITH_WARNING or status == DUPLICATE
    if rule.action is Action.STORED_WITH_WARNING and not has_it:
        detail = f"{status:04X} does not say that the image was stored, so it cannot count as stored."
        raise RuleError("not_stored", detail, number)
    if has_it and rule.action in (Action.RETRY, Action.PAUSE):
        # dcm4chee#4754: the same UID sent twice made the archive delete the file
        detail = f"{status:04X} says that the PACS has the image; sending it again can make a PACS lose it."
        raise RuleError("sent_again", detail, number)
    if has_it and rule.action is Action.ASK and status != DUPLICATE:
        detail = f"{status:04X} says that the image was stored; to ask whether it was would hide the warning."
        raise RuleError("warning_hidden", detail, number)
    if rule.action is Action.RETRY and rule.attempts is None and original.kind is not Kind.RETRY:
        detail = f"{status:04X} is no passing trouble, so a retry needs a number of attempts."
        raise RuleError("attempts_missing", detail, number)


def may_skip(sop_class_uid: str, rows: Sequence[Mapping[str, object]]) -> str | None:
    """The note under which an image of this class may be left out, "" where it has none; None: it may not be.

    `rows` are `Destination.optional_classes` as they are kept; raises RuleError where they cannot be read.
    """
    return skip_note(sop_class_uid, read_optional(cast(object, rows)))
