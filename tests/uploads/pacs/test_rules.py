"""An administrator says what the answers of one destination mean."""

from typing import Any

import pytest
from pydicom._uid_dict import UID_dictionary

from tests.uploads.pacs.packs import CT
from uploads.pacs.optional import GROUPS
from uploads.pacs.outcomes import Kind, classify, context_refused, odd_length
from uploads.pacs.rows import RuleError
from uploads.pacs.rules import DEFAULT_RULES, may_skip, read

pytestmark = [pytest.mark.unit, pytest.mark.clinical]

DOSE, KEY_OBJECT, PRESENTATION, PRIVATE = (
    "1.2.840.10008.5.1.4.1.1.88.67",
    "1.2.840.10008.5.1.4.1.1.88.59",
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.3.12.2.1107.5.9.1",
)
PROCEDURE_LOG = "1.2.840.10008.5.1.4.1.1.88.40"  # a report, though its name does not say so
JPEG, EXPLICIT = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.1"


def rule(status: str, action: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "action": action, **more}


def code_of(rows: object, **more: Any) -> tuple[str, int]:
    with pytest.raises(RuleError) as caught:
        read(rows, **more)
    assert caught.value.detail.endswith(".")
    return caught.value.code, caught.value.row


def test_without_rows_each_answer_means_what_the_table_says() -> None:
    assert all(DEFAULT_RULES.classify(status) == classify(status) for status in (None, *range(0x10000)))
    assert read([]) == DEFAULT_RULES


def test_a_row_decides_before_the_table_and_the_first_row_before_the_next() -> None:
    rules = read([rule("A710", "give_up", note="Disk of the old archive."), rule("a700-a7ff", "retry", attempts=50)])
    given_up, retried = rules.classify(0xA710), rules.classify(0xA7FF)
    assert (given_up.kind, given_up.max_attempts) == (Kind.REFUSED, None)
    assert given_up.sentence == (
        "The PACS answered A710; as set for this destination, it is not sent again. Disk of the old archive."
    )
    assert given_up.clause == "PS3.4 B.2.3, as set for this destination"
    assert (retried.kind, retried.max_attempts, retried.code) == (Kind.RETRY, 50, "out_of_resources")
    assert rules.classify(0xA900) == classify(0xA900)


@pytest.mark.parametrize(
    ("action", "kind"), [("retry", Kind.RETRY), ("give_up", Kind.REFUSED), ("pause", Kind.PAUSE), ("ask", Kind.UNKNOWN)]
)
def test_each_action_has_its_kind(action: str, kind: Kind) -> None:
    assert read([rule("0110", action)]).classify(0x0110).kind is kind


def test_a_mix_up_keeps_its_alert() -> None:
    outcome = read([rule("A778", "retry", attempts=2)]).classify(0xA778)
    assert (outcome.kind, outcome.alert) == (Kind.RETRY, True)


def test_a_duplicate_that_counts_as_stored_is_still_asked_about_first() -> None:
    outcome = read([rule("0111", "stored_with_warning")]).classify(0x0111)
    assert (outcome.kind, outcome.verify_first) == (Kind.STORED_WITH_WARNING, True)
    assert not read([rule("0111", "give_up")]).classify(0x0111).verify_first


def test_no_answer_is_no_status_and_no_row_changes_it() -> None:
    rules = read([rule(f"{block:X}000-{block:X}FFF", "give_up") for block in range(1, 16)])
    assert rules.classify(None) == classify(None)


def test_no_row_can_make_a_refused_image_count_as_stored() -> None:
    may_count = {0x0001, 0x0107, 0x0111, 0x0116, *range(0xB000, 0xC000)}
    for status in range(0x10000):
        try:
            outcome = read([rule(f"{status:04X}", "stored_with_warning")]).classify(status)
        except RuleError:
            assert status not in may_count
        else:
            assert status in may_count
            assert outcome.kind is Kind.STORED_WITH_WARNING


@pytest.mark.parametrize("action", ["retry", "give_up", "stored_with_warning", "pause", "ask"])
def test_success_stays_success(action: str) -> None:
    assert code_of([rule("0110", "retry"), rule("0000", action)]) == ("success_stays", 2)
    assert code_of([rule("0000-0010", action)]) == ("success_stays", 1)


@pytest.mark.parametrize("status", ["B000", "B006", "B0FF", "0001", "0107", "0116", "0111"])
@pytest.mark.parametrize("action", ["retry", "pause"])
def test_what_the_pacs_has_is_never_sent_again_by_a_rule(status: str, action: str) -> None:
    assert code_of([rule(status, action)]) == ("sent_again", 1)


@pytest.mark.parametrize(
    ("rows", "code", "number"),
    [
        ("A700", "rows_malformed", 0),
        ([rule("A700", "retry")] * 101, "too_many_rows", 0),
        (["A700"], "row_malformed", 1),
        ([rule("A700", "retry", colour="red")], "key_unknown", 1),
        ([rule("A7", "retry")], "status_malformed", 1),
        ([rule("A700-A70", "retry")], "status_malformed", 1),
        ([rule("A7FF-A700", "retry")], "status_malformed", 1),
        ([{"action": "retry"}], "status_malformed", 1),
        ([{"status": 0xA700, "action": "retry"}], "status_malformed", 1),
        ([rule("A000-B000", "give_up")], "range_too_wide", 1),
        ([rule("A700", "forget")], "action_unknown", 1),
        ([rule("A700", "stored")], "action_unknown", 1),
        ([{"status": "A700"}], "action_unknown", 1),
        ([{"status": "A700", "action": ["retry"]}], "action_unknown", 1),
        ([rule("A700", "give_up", attempts=3)], "attempts_without_retry", 1),
        ([rule("A700", "retry", attempts=0)], "attempts_invalid", 1),
        ([rule("A700", "retry", attempts=True)], "attempts_invalid", 1),
        ([rule("A700", "retry", attempts=101)], "attempts_invalid", 1),
        ([rule("A900", "retry")], "attempts_missing", 1),
        ([rule("0124", "retry")], "attempts_missing", 1),
        ([rule("B000", "ask")], "warning_hidden", 1),
        ([rule("A700", "retry", note="two\nlines")], "note_invalid", 1),
        ([rule("A700", "retry", note="x" * 201)], "note_invalid", 1),
        ([rule("A700-A7FF", "give_up"), rule("A710", "retry")], "rule_shadowed", 2),
        ([rule("A700-A7FF", "retry")], "attempts_missing", 1),
    ],
)
def test_it_names_the_fault_and_its_row(rows: object, code: str, number: int) -> None:
    assert code_of(rows) == (code, number)


def test_a_class_that_is_refused_and_optional_is_skipped_with_its_note() -> None:
    rules = read([], optional=[{"sop_class": "dose_report", "note": "The archive takes no dose reports."}])
    for outcome in (classify(0x0122), classify(0xA900), context_refused(DOSE, EXPLICIT, result=3)):
        skipped = rules.skip(outcome, DOSE)
        assert skipped is not None
        assert (skipped.kind, skipped.status) == (Kind.SKIPPED, outcome.status)
        assert skipped.comment.startswith("Left out, as this destination allows. The archive takes no dose reports.")
        assert outcome.sentence in skipped.comment
        assert rules.skip(outcome, CT) is None
    assert rules.context_refused(DOSE, EXPLICIT, result=3).kind is Kind.SKIPPED
    assert rules.context_refused(CT, EXPLICIT, result=3).kind is Kind.REFUSED


@pytest.mark.parametrize("status", [0xA777, 0xA778, 0xA779, 0xA77B, 0x0117, 0x0119, 0xC409])
def test_a_mix_up_or_damage_is_never_skipped(status: int) -> None:
    rules = read([], optional=[{"sop_class": DOSE}])
    assert rules.skip(classify(status), DOSE) is None
    assert rules.skip(odd_length(), DOSE) is None


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xA700, 0x0110, 0x0124, None])
def test_what_is_not_refused_for_good_is_not_skipped(status: int | None) -> None:
    assert read([], optional=[{"sop_class": DOSE}]).skip(classify(status), DOSE) is None


def test_what_a_row_gives_up_may_be_skipped() -> None:
    rules = read([rule("0110", "give_up")], optional=[{"sop_class": DOSE}])
    skipped = rules.skip(rules.classify(0x0110), DOSE)
    assert skipped is not None
    assert skipped.kind is Kind.SKIPPED


def test_what_may_still_be_sent_decoded_is_not_skipped_yet() -> None:
    rules = read([], optional=[{"sop_class": "secondary_capture"}], transcode=True)
    capture = "1.2.840.10008.5.1.4.1.1.7"
    assert rules.context_refused(capture, JPEG, result=4).kind is Kind.REFUSED
    assert rules.context_refused(capture, EXPLICIT, result=4).kind is Kind.SKIPPED


def test_groups_hold_the_classes_that_bear_their_name() -> None:
    words = {
        "structured_report": " SR Storage",
        "dose_report": "Radiation Dose SR",
        "key_object": "Key Object Selection",
        "presentation_state": "Presentation State Storage",
        "secondary_capture": "Secondary Capture Image Storage",
        "encapsulated_document": "Encapsulated ",
        "waveform": "Waveform Storage",
        "raw_data": "Raw Data Storage",
    }
    assert set(words) == set(GROUPS)
    known = {uid: name for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class"}
    classes = {uid: name for uid, name in known.items() if "Storage" in name}
    for group, word in words.items():
        held = {uid for uid in classes if may_skip(uid, [{"sop_class": group}]) is not None}
        assert held - {PROCEDURE_LOG} == {uid for uid, name in classes.items() if word in name}, group


def test_private_is_what_is_not_of_the_standard() -> None:
    rows = [{"sop_class": "private", "note": "Kept here."}]
    assert may_skip(PRIVATE, rows) == "Kept here."
    assert may_skip(CT, rows) is None
    assert may_skip(CT, [{"sop_class": CT}]) == ""
    assert may_skip(CT + ".1", [{"sop_class": CT}]) is None


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ({}, "rows_malformed"),
        ([{"sop_class": "reports"}], "class_unknown"),
        ([{"sop_class": "1.02.3"}], "class_unknown"),
        ([{"note": "x"}], "class_unknown"),
        ([{"sop_class": "private", "why": "x"}], "key_unknown"),
        ([{"sop_class": "private", "note": 7}], "note_invalid"),
        ([{"sop_class": "private"}, {"sop_class": "private"}], "class_twice"),
    ],
)
def test_it_names_the_fault_of_an_optional_class(rows: object, code: str) -> None:
    number = 0 if code == "rows_malformed" else len(rows)  # type: ignore[arg-type]
    assert code_of([], optional=rows) == (code, number)
