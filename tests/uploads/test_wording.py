"""The sentences of the pages: none may claim more than the truth it is made of."""

from datetime import UTC, datetime
from typing import Any

import pytest

from uploads.states import DeliveryState, UploadState
from uploads.templatetags import wording

pytestmark = [pytest.mark.unit, pytest.mark.clinical]


def delivery(state: str, **fields: Any) -> dict[str, Any]:
    return {
        "destination": "Demo PACS",
        "required": True,
        "state": state,
        "instances": 24,
        "stored": 0,
        "changed": 0,
        "verified": 0,
        "refused": 0,
        "skipped": 0,
        "proof": "none",
        "proof_detail": "",
        "notes": [],
        "held_back": None,
        "redirected_to": None,
        "attempts": 1,
        "next_attempt_at": None,
        "last_error": None,
        **fields,
    }


def truth(state: str, *deliveries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "state": state,
        "total_size": 40_000_000,
        "progress": {"received_bytes": 12_300_000},
        "completed_at": None,
        "delivered_at": None,
        "deliveries": list(deliveries),
        "problems": [],
        **fields,
    }


@pytest.mark.parametrize("state", ["receiving", "assembling", "validating", "held", "expired", "rejected"])
def test_it_never_speaks_of_delivery_as_done_before_it_is(state: str) -> None:
    said = wording.sentence(truth(state))
    assert "has not been delivered" in said or "othing" in said
    assert "answered" not in said


def test_it_says_how_much_has_arrived() -> None:
    assert "12.3 MB of 40.0 MB have arrived" in wording.sentence(truth("receiving"))


def test_it_says_delivered_and_not_yet_verified() -> None:
    said = wording.sentence(truth("delivered", delivery("stored", stored=24)))
    assert said == (
        "Demo PACS answered “stored” for 24 of 24. Not yet verified: it is being asked whether it has them."
    )


def test_it_says_that_a_pacs_which_cannot_be_asked_gives_no_proof() -> None:
    silent = delivery("stored", stored=24, last_error={"code": "find_unsupported", "detail": "No C-FIND."})
    said = wording.sentence(truth("delivered", silent))
    assert "Not verified" in said
    assert "no proof" in said
    assert wording.journey(truth("delivered", silent))[3]["word"] == "not possible"


def test_it_says_what_the_pacs_changed() -> None:
    said = wording.sentence(truth("delivered", delivery("stored", stored=24, changed=3)))
    assert "24 of 24 (3 with changes)" in said


@pytest.mark.parametrize(("proof", "words"), [("query", "was asked and listed"), ("commitment", "committed to keep")])
def test_it_names_the_proof(proof: str, words: str) -> None:
    said = wording.sentence(truth("verified", delivery("verified", stored=24, verified=24, proof=proof)))
    assert said == f"Demo PACS {words} 24 of 24."


def test_what_was_left_out_is_never_counted_as_there() -> None:
    for state in ("delivered", "verified"):
        row = delivery(
            "stored" if state == "delivered" else "verified", stored=22, verified=22, skipped=2, proof="query"
        )
        said = wording.sentence(truth(state, row))
        assert "22 of 24" in said
        assert "2 were left out, as it allows." in said


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"proof": "commitment"}, "The PACS committed to keep every image."),
        ({"proof": "query"}, "The PACS listed every image when asked."),
        ({"proof": "query", "skipped": 1}, "The PACS listed every image that it takes when asked."),
        ({}, "None yet."),
        ({"last_error": {"code": "not_listed", "detail": ""}}, "None yet."),
        ({"last_error": {"code": "find_unsupported", "detail": ""}}, "None: it offers no way to ask."),
        ({"last_error": {"code": "proof_not_wanted", "detail": ""}}, "None: it is set up not to be asked."),
        ({"last_error": {"code": "commitment_awaited", "detail": ""}}, "None yet."),
    ],
)
def test_the_proof_is_named_in_words(fields: dict[str, Any], words: str) -> None:
    assert wording.proof_words(delivery("stored", stored=24, **fields)) == words


@pytest.mark.parametrize("state", ["partial", "refused"])
def test_what_has_stopped_has_no_proof_to_come(state: str) -> None:
    assert wording.proof_words(delivery(state)) == "None."


def test_one_that_must_not_be_asked_is_told_from_one_that_cannot() -> None:
    unasked = delivery("stored", stored=24, last_error={"code": "proof_not_wanted", "detail": "Set up so."})
    said = wording.sentence(truth("delivered", unasked))
    assert "set up not to be asked" in said
    assert "no proof" in said
    assert wording.journey(truth("delivered", unasked))[3]["word"] == "not possible"


def test_an_older_copy_is_never_told_as_ours() -> None:
    trouble = {
        "code": "copy_unproved",
        "detail": "3 of 24 images were there before: nothing proves whose copy it keeps.",
    }
    row = delivery("stored", stored=24, verified=24, last_error=trouble)
    said = wording.sentence(truth("delivered", row))
    assert said.endswith("Not verified. 3 of 24 images were there before: nothing proves whose copy it keeps.")
    assert wording.proof_words(row).startswith("None: it had images of these names before")
    assert wording.journey(truth("delivered", row))[3]["word"] == "not possible"


def test_it_says_what_holds_a_study_back() -> None:
    paused = delivery("waiting", stored=3, held_back={"code": "paused", "detail": "Paused by admin."})
    said = wording.sentence(truth("delivering", paused))
    assert "Demo PACS is not sent to just now (3 of 24 stored so far). Paused by admin." in said
    quiet = delivery(
        "pending", held_back={"code": "quiet", "detail": "Quiet hours: until 06:00 UTC nothing but STAT is sent there."}
    )
    assert "Quiet hours: until 06:00 UTC" in wording.sentence(truth("delivering", quiet))
    assert wording.held_back_words(delivery("sending")) == ""
    refused = delivery("paused", held_back={"code": "paused", "detail": "It does not know our AE title"})
    assert wording.held_back_words(refused) == "Paused: It does not know our AE title."


def test_it_says_whereto_a_study_was_redirected() -> None:
    old = delivery("partial", stored=3, required=False, redirected_to="Second PACS")
    said = wording.sentence(truth("delivering", old, delivery("sending") | {"destination": "Second PACS"}))
    assert "It was redirected from Demo PACS (3 of 24 stored there) to Second PACS." in said


def test_it_says_why_a_destination_has_not_taken_the_study() -> None:
    waiting = delivery("waiting", stored=10, last_error={"code": "unreachable", "detail": "Nobody answers"})
    said = wording.sentence(truth("delivering", waiting))
    assert "(10 of 24 stored): Nobody answers. It is tried again." in said
    assert "not been delivered everywhere" in said
    assert "(0 of 24 stored). It is tried again." in wording.sentence(truth("delivering", delivery("waiting")))
    paused = delivery("paused", last_error={"code": "called_ae_unknown", "detail": "Wrong AE."})
    assert "is paused: Wrong AE." in wording.sentence(truth("delivering", paused))


def test_it_lists_what_had_arrived_before_it_was_cancelled() -> None:
    assert "Nothing of it had reached a PACS" in wording.sentence(truth("cancelled", delivery("pending")))
    assert "Demo PACS: 7 of 24" in wording.sentence(truth("cancelled", delivery("sending", stored=7)))


def test_it_says_what_failed_and_that_nothing_is_lost() -> None:
    problem = {"file": None, "code": "refused", "detail": "Demo PACS did not take every image", "effect": "rejected"}
    said = wording.sentence(truth("failed", delivery("partial", stored=20, refused=4), problems=[problem]))
    assert said.startswith("Demo PACS did not take every image. ")
    assert "Nothing that arrived is lost" in said


@pytest.mark.parametrize("state", UploadState.values)
def test_every_state_has_a_sentence_a_colour_and_a_sign(state: str) -> None:
    there = delivery("verified" if state == "verified" else "stored", stored=24, verified=24)
    assert wording.sentence(truth(state, there)).strip()
    assert wording.tone(state)
    assert wording.sign(state)
    assert len(wording.journey(truth(state))) == 4


@pytest.mark.parametrize("state", DeliveryState.values)
def test_every_state_of_a_delivery_has_words(state: str) -> None:
    assert "Demo PACS" in wording.sentence(truth("delivering", delivery(state)))
    assert wording.tone(state)


def test_received_delivered_and_verified_differ_in_colour_and_in_sign() -> None:
    states = ("assembling", "delivered", "verified")
    assert len({wording.tone(state) for state in states}) == 3
    assert len({wording.sign(state) for state in states}) == 3


@pytest.mark.parametrize(
    ("state", "fields", "words"),
    [
        ("receiving", {}, ["now", "not yet", "not yet", "not yet"]),
        ("held", {}, ["done", "held", "not yet", "not yet"]),
        ("delivering", {}, ["done", "done", "now", "not yet"]),
        ("delivered", {}, ["done", "done", "done", "now"]),
        ("verified", {}, ["done", "done", "done", "done"]),
        ("cancelled", {}, ["stopped", "not yet", "not yet", "not yet"]),
        ("rejected", {"completed_at": datetime(2026, 1, 1, tzinfo=UTC)}, ["done", "stopped", "not yet", "not yet"]),
    ],
)
def test_the_journey_shows_what_is_done_and_what_is_not(state: str, fields: dict[str, Any], words: list[str]) -> None:
    assert [step["word"] for step in wording.journey(truth(state, **fields))] == words


def test_a_failed_delivery_stops_the_journey_at_delivered() -> None:
    gone = truth("failed", delivery("refused"), completed_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert [step["word"] for step in wording.journey(gone)] == ["done", "done", "stopped", "not yet"]


def test_it_writes_names_dates_and_sizes_as_people_do() -> None:
    assert wording.person("Doe^Jane^Ann^Dr") == "Doe, Dr Jane Ann"
    assert wording.person("Yamada^Tarou=山田^太郎=やまだ^たろう") == "Yamada, Tarou (山田, 太郎, やまだ, たろう)"
    assert wording.person("") == "No name"
    assert wording.dicom_date("19610203") == "3 Feb 1961"
    assert wording.dicom_date("19611345") == "19611345"
    assert [wording.octets(size) for size in (1, 999, 12_345_678, 2_500_000_000)] == [
        "1 byte",
        "999 bytes",
        "12.3 MB",
        "2.5 GB",
    ]
    assert wording.sex("f") == "female"
