"""How a destination stands, in words and with a colour: up, down, paused or quiet; its certificates; its proof."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from uploads.models import Destination, ProofWanted
from uploads.pipeline.expiry import WARN_AHEAD, ends_first

PROOFS = {"find": "C-FIND", "qido": "QIDO-RS"}
COMMITMENT = "Storage commitment"


@dataclass(frozen=True, slots=True)
class Standing:
    """`tone` is one of good, idle, warn, bad: a colour, never the only sign."""

    tone: str
    words: str
    more: str = ""

    def badge(self) -> SafeString:
        mark = format_html('<span class="standing standing-{}">{}</span>', self.tone, self.words)
        return format_html("{} <span>{}</span>", mark, self.more) if self.more else mark


def of(destination: Destination) -> Standing:
    """Where it stands now: a person's pause first, then what the last attempt found, then its own quiet hours."""
    if destination.paused:
        return Standing("warn", "Paused", destination.paused_because)
    if destination.down_since is not None:
        since = f"since {date_format(destination.down_since, 'j M, H:i')} UTC"
        return Standing("bad", "Down", f"{since}. {destination.last_error}" if destination.last_error else since)
    if destination.is_quiet(timezone.now()):
        return Standing("idle", "Quiet", f"until {destination.quiet_until:%H:%M} {destination.quiet_zone}")
    if destination.last_success_at is None:
        return Standing("idle", "Not tried yet")
    return Standing("good", "Up")


def certificates(destination: Destination) -> Standing | None:
    """Which certificate ends first, with a warning ahead of time; None where none is known."""
    ending = ends_first(destination)
    if ending is None:
        return None
    whose = "its own" if ending == destination.peer_certificate_ends_at else "ours"
    left, day = ending - timezone.now(), date_format(ending, "j M Y")
    if left <= timedelta(0):
        return Standing("bad", "Expired", f"{whose}, on {day}")
    if left <= WARN_AHEAD:
        return Standing("warn", f"Ends in {_days(left)}", f"{whose}, on {day}")
    return Standing("good", f"Until {day}")


def _days(left: timedelta) -> str:
    days = left.days
    return "less than a day" if days < 1 else "1 day" if days == 1 else f"{days} days"


def proof(destination: Destination) -> str:
    """What it was last found to offer as proof, as far as the administrator wants one."""
    if destination.proof_wanted == ProofWanted.NONE:
        return "None is asked for"
    if destination.probed_at is None:
        return "Not tested yet"
    query = PROOFS.get(str(destination.offers.get("query")), "")
    offers = destination.offers
    committing = offers.get("commitment", offers.get("commitment_offered"))  # seen to commit, else said to
    if committing and destination.proof_wanted != ProofWanted.QUERY:
        return COMMITMENT
    return query or "It offers none"
