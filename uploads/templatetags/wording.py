"""The truth in words: one honest sentence for every state, and figures, dates and names as people read them."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from django import template
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from accounts.models import User
from uploads.dicom.codes import SENTENCES
from uploads.pipeline.intake import UPLOADING_ROLES

register = template.Library()

Truth = Mapping[str, Any]

# State → the colour and the sign it is shown with. Received, delivered and verified share neither.
SIGNS: dict[str, tuple[str, str]] = {
    "receiving": ("received", "receiving"),
    "assembling": ("received", "received"),
    "validating": ("received", "checking"),
    "held": ("waiting", "held"),
    "delivering": ("waiting", "delivering"),
    "delivered": ("delivered", "delivered"),
    "verified": ("verified", "verified"),
    "failed": ("failed", "failed"),
    "rejected": ("failed", "failed"),
    "cancelled": ("ended", "ended"),
    "expired": ("ended", "ended"),
    # of a delivery
    "pending": ("waiting", "waiting"),
    "sending": ("waiting", "delivering"),
    "waiting": ("waiting", "waiting"),
    "paused": ("waiting", "held"),
    "stored": ("delivered", "delivered"),
    "partial": ("failed", "partial"),
    "refused": ("failed", "failed"),
}
QUEUE_TONES = {"failed": "bad", "waiting": "warn", "delivered": "good", "verified": "good"}
PROOFS = {
    "none": "None yet.",
    "query": "The PACS listed every image when asked.",
    "commitment": "The PACS committed to keep every image.",
}
NO_PROOF = {
    "find_unsupported": "None: it offers no way to ask.",
    "proof_not_wanted": "None: it is set up not to be asked.",
    "sample_unfetchable": "None: a sample was to be fetched back, and it gives none.",
    "copy_unproved": "None: it had images of these names before, and gives none back to be compared.",
}
FIXED = {
    "assembling": "All of it has arrived and is being put together. It has not been delivered.",
    "validating": "All of it has arrived and is being checked: one patient, whole files. It has not been delivered.",
    "held": "It has arrived and waits for a person to decide. Nothing is sent to a PACS until then.",
    "expired": "Not all of it arrived in time, so it was given up. Nothing was sent to a PACS; please upload it again.",
}
HOLDS = {
    "bad_files": "Some files cannot be relayed",
    "two_identities": "One study names two patients",
    "uid_reused": "Two different images carry one identifier",
    "uid_moved": "An image or series appears in two places",
    "identity_near": "The patient is nearly the one expected",
    "identity_mismatch": "The patient is not the one expected",
    "duplicate_study": "This study was handed in before",
    "several_patients": "Several patients in one hand-in",
}
DECISIONS = {
    "proceed": "Send it as it is",
    "exclude": "Send it without the files ticked below",
    "reject": "Do not send it",
}


# --- The frame -------------------------------------------------------------------------------------------------------


@register.simple_tag
def version() -> str:
    return settings.VERSION


@register.simple_tag
def can_upload(user: User | AnonymousUser) -> bool:
    """Whether this person hands in studies anywhere; radiologists only read."""
    return isinstance(user, User) and (user.is_administrator or bool(user.clinics_as(*UPLOADING_ROLES)))


# --- Figures, dates, names -------------------------------------------------------------------------------------------


@register.filter
def octets(size: int) -> str:
    """12.3 MB; a thousand to the step, as the upload page counts."""
    value, units = float(size), ["bytes", "KB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    if units[0] == "bytes":
        return f"{size} byte{'' if size == 1 else 's'}"
    return f"{value:.{0 if value >= 100 else 1}f} {units[0]}"


@register.filter
def person(name: str) -> str:
    """A DICOM person name, family name first; further forms of it in brackets (PS3.5, 6.2.1)."""
    forms = [form for form in map(_one_form, str(name).split("=")) if form]
    if not forms:
        return "No name"
    return forms[0] if len(forms) == 1 else f"{forms[0]} ({', '.join(forms[1:])})"


def _one_form(form: str) -> str:
    family, given, middle, prefix, suffix, *_ = [*(part.strip() for part in form.split("^")), *[""] * 5]
    rest = " ".join(part for part in (prefix, given, middle) if part)
    return ", ".join(part for part in (family, rest, suffix) if part)


@register.filter
def dicom_date(value: str) -> str:
    """YYYYMMDD, or the old YYYY.MM.DD, as 3 Feb 1961; anything else as it stands."""
    match = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", str(value).strip())
    if match is None:
        return str(value)
    try:
        day = date(*map(int, match.groups()))
    except ValueError:
        return str(value)
    return f"{day.day} {day:%b %Y}"


@register.filter
def sex(value: str) -> str:
    return {"M": "male", "F": "female", "O": "other"}.get(str(value).upper(), str(value))


@register.filter
def ago(moment: datetime | None) -> str:
    """How old something is, in one unit."""
    if moment is None:
        return ""
    seconds = (timezone.now() - moment).total_seconds()
    for length, unit in ((86400 * 2, "days"), (3600 * 2, "h"), (120, "min")):
        if seconds >= length:
            size = {"days": 86400, "h": 3600, "min": 60}[unit]
            return f"{int(seconds // size)} {unit}"
    return "1 min" if seconds >= 60 else "just now"


# --- States ----------------------------------------------------------------------------------------------------------


@register.filter
def tone(state: str) -> str:
    return SIGNS[state][0]


@register.filter
def queue_tone(state: str) -> str:
    """The colour of a delivery's state on the administrator's pages."""
    return QUEUE_TONES.get(SIGNS[state][0], "idle")


@register.filter
def sign(state: str) -> str:
    return SIGNS[state][1]


@register.filter
def proof_words(row: Truth) -> str:
    """What proves that a destination has the images, in a sentence."""
    if row["state"] == "stored" and row["last_error"]:
        return NO_PROOF.get(row["last_error"]["code"], PROOFS["none"])
    if row["proof"] == "none" and row["state"] in ("partial", "refused"):
        return "None."
    words = PROOFS.get(row["proof"], row["proof"])
    return words.replace("every image", "every image that it takes") if row["skipped"] else words


@register.filter
def held_back_words(row: Truth) -> str:
    """Why nothing is sent to it just now; "" where nothing holds it back."""
    held = row["held_back"]
    if not held:
        return ""
    detail = held["detail"] or "Paused."
    return _closed(detail if held["code"] == "quiet" or detail.startswith("Paused") else f"Paused: {detail}")


@register.filter
def decision_words(choice: str, hold: str = "") -> str:
    if (choice, hold) == ("proceed", "bad_files"):
        return "Send the rest without the files that cannot be relayed"
    return DECISIONS.get(choice, choice)


@register.filter
def hold_title(code: str) -> str:
    return HOLDS.get(code) or plain(code).capitalize()


@register.filter
def code_words(code: str) -> str:
    """What a code means, for the problems of the page; the bare code where there is no sentence."""
    return SENTENCES.get(code, "")


@register.filter
def plain(word: str) -> str:
    """A code as words: not_listed → not listed."""
    return str(word).replace("_", " ")


@register.filter
def sentence(truth: Truth) -> str:
    """Where an upload stands. It never says more than the rows do."""
    fixed = FIXED.get(truth["state"])
    return fixed or _TOLD[truth["state"]](truth)


def _receiving(truth: Truth) -> str:
    done, total = octets(truth["progress"]["received_bytes"]), octets(truth["total_size"])
    return f"{done} of {total} have arrived. Until all of it has, nothing is sent to a PACS."


def _delivering(truth: Truth) -> str:
    rows = list(truth["deliveries"])
    if not rows:
        return "It has arrived and was checked; it is about to be sent."
    return " ".join(map(_on_its_way, rows)) + " It has not been delivered everywhere it must be."


def _on_its_way(row: Truth) -> str:
    name, figures = row["destination"], f"{row['stored']} of {row['instances']}"
    if row["redirected_to"]:
        return f"It was redirected from {name} ({figures} stored there) to {row['redirected_to']}."
    if row["held_back"] and row["state"] != "paused":
        return f"{name} is not sent to just now ({figures} stored so far). {held_back_words(row)}"
    if row["state"] in ("stored", "verified"):
        return f"{name} answered “stored” for {figures}."
    if row["state"] == "paused":
        return f"{name} is paused: {_error(row)} ({figures} stored so far.)"
    if row["state"] in ("partial", "refused"):
        return f"{name} stored only {figures}."
    if row["state"] == "waiting":
        why = f": {_error(row)}" if row["last_error"] else "."
        return f"{name} has not taken it yet ({figures} stored){why} It is tried again."
    return f"{name} answered “stored” for {figures} so far."


def _error(row: Truth) -> str:
    return _closed(row["last_error"]["detail"]) if row["last_error"] else ""


def _closed(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _delivered(truth: Truth) -> str:
    answers = [_answered(row) for row in truth["deliveries"] if row["stored"]]
    return " ".join(answers) + " " + _not_verified(truth["deliveries"])


def _answered(row: Truth) -> str:
    changed = f" ({row['changed']} with changes)" if row["changed"] else ""
    return f"{row['destination']} answered “stored” for {row['stored']} of {row['instances']}{changed}.{_left_out(row)}"


def _left_out(row: Truth) -> str:
    """An image that was left out is in nobody's PACS, and no sentence may make it seem so."""
    if not row["skipped"]:
        return ""
    return f" {row['skipped']} {'was' if row['skipped'] == 1 else 'were'} left out, as it allows."


def _not_verified(rows: Sequence[Truth]) -> str:
    reasons = {row["last_error"]["code"] for row in rows if _cannot_be_asked(row)}
    if "find_unsupported" in reasons:
        return "Not verified: it offers no way to ask whether it kept them, so there is no proof beyond its answer."
    if "proof_not_wanted" in reasons:
        return "Not verified: it is set up not to be asked whether it kept them; there is no proof beyond its answer."
    if reasons:
        return f"Not verified. {' '.join(_error(row) for row in rows if _cannot_be_asked(row))}"
    return "Not yet verified: it is being asked whether it has them."


def _cannot_be_asked(row: Truth) -> bool:
    error = row["last_error"]
    return bool(row["state"] == "stored" and error and error["code"] in NO_PROOF)


def _verified(truth: Truth) -> str:
    return " ".join(_proven(row) for row in truth["deliveries"] if row["state"] == "verified")


def _proven(row: Truth) -> str:
    verb = "committed to keep" if row["proof"] == "commitment" else "was asked and listed"
    return f"{row['destination']} {verb} {row['verified']} of {row['instances']}.{_left_out(row)}"


def _failed(truth: Truth) -> str:
    return f"{_problem(truth)} Nothing that arrived is lost: it is kept, and sending can be tried again."


def _rejected(truth: Truth) -> str:
    return f"{_problem(truth)} Nothing was sent to a PACS."


def _problem(truth: Truth) -> str:
    """What is wrong with the upload as a whole. A list's summaries have no problems; its row says the state alone."""
    for problem in truth.get("problems", ()):
        if problem["file"] is None:
            return _closed(problem["detail"])
    return ""


def _cancelled(truth: Truth) -> str:
    reached = [row for row in truth["deliveries"] if row["stored"]]
    kept = [f"{row['destination']}: {row['stored']} of {row['instances']}" for row in reached]
    if not kept:
        return "It was cancelled. Nothing of it had reached a PACS."
    return f"It was cancelled. What a PACS had stored by then is still there: {'; '.join(kept)}."


_TOLD = {
    "receiving": _receiving,
    "delivering": _delivering,
    "delivered": _delivered,
    "verified": _verified,
    "failed": _failed,
    "rejected": _rejected,
    "cancelled": _cancelled,
}


# --- The journey -----------------------------------------------------------------------------------------------------

STEPS = (
    ("Received", "received", "all bytes are on the server"),
    ("Checked", "checking", "one patient, whole files"),
    ("Delivered", "delivered", "the PACS answered “stored”"),
    ("Verified", "verified", "the PACS showed that it has them"),
)
REACHED = {
    "receiving": 0,
    "assembling": 1,
    "validating": 1,
    "held": 1,
    "delivering": 2,
    "delivered": 3,
    "verified": 4,
}


@register.filter
def journey(truth: Truth) -> list[dict[str, str]]:
    """The four steps, each done, current, stopped or still to come."""
    reached = _reached(truth)
    stopped = truth["state"] in ("failed", "rejected", "cancelled", "expired")
    steps = []
    for index, (name, icon, meaning) in enumerate(STEPS):
        tone_of = {"Checked": "received"}.get(name, name.lower())
        if index < reached:
            steps.append({"name": name, "icon": icon, "tone": tone_of, "note": meaning, "word": "done"})
        elif index == reached:
            steps.append(_current(truth, name, icon, stopped=stopped))
        else:
            steps.append({"name": name, "icon": icon, "tone": "", "note": "", "word": "not yet"})
    return steps


def _reached(truth: Truth) -> int:
    """How many steps lie behind; for one that ended early, by the times written down."""
    if truth["state"] in REACHED:
        return REACHED[truth["state"]]
    if truth["delivered_at"]:
        return 3
    return 0 if truth["completed_at"] is None else 2 if truth["deliveries"] else 1


def _current(truth: Truth, name: str, icon: str, *, stopped: bool) -> dict[str, str]:
    if stopped:
        colour, sign_of = SIGNS[truth["state"]]
        return {"name": name, "icon": sign_of, "tone": colour, "note": truth["state"], "word": "stopped"}
    if truth["state"] == "held":
        return {"name": name, "icon": "held", "tone": "waiting", "note": "waits for a decision", "word": "held"}
    states = {row["state"] for row in truth["deliveries"]} if name == "Delivered" else set()
    note = "waiting to be tried again" if "waiting" in states else "paused" if "paused" in states else "under way"
    if name == "Verified" and any(_cannot_be_asked(row) for row in truth["deliveries"]):
        return {"name": name, "icon": "ended", "tone": "ended", "note": "cannot be asked", "word": "not possible"}
    return {"name": name, "icon": icon, "tone": "waiting", "note": note, "word": "now"}
