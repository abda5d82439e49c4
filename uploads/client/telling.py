"""What the person who sends reads: a bar on a terminal, plain lines elsewhere, and how each study ended."""

import threading
from collections.abc import Iterable
from typing import Any, Protocol

from uploads.client.client import Truth, unprovable
from uploads.client.grouping import StudyFiles

WIDTH = 30

# Received is not delivered, and delivered is not verified.
ENDS = {
    "receiving": "receiving: the gateway does not have all of it yet",
    "assembling": "received: the gateway has all of it; nothing was delivered yet",
    "validating": "received: the gateway has all of it; nothing was delivered yet",
    "delivering": "received: the gateway has all of it; not yet delivered everywhere",
    "delivered": "delivered: the PACS answered that it stored every image; not verified",
    "verified": "verified: asked again, the PACS has every image",
    "held": "held: received, and a person must decide before it is delivered",
    "failed": "failed: received, and a destination did not take every image; the gateway keeps the study",
    "rejected": "rejected: nothing was delivered",
    "cancelled": "cancelled: it was given up",
    "expired": "expired: it was not complete in time",
}
NO_WAY_TO_ASK = (
    "delivered: the PACS answered that it stored every image, and offers no way to ask, so there is no proof"
)


class Out(Protocol):
    """A stream of text, as Django's commands wrap it."""

    def write(self, msg: str, style_func: Any = None, ending: str | None = None) -> Any: ...
    def flush(self) -> Any: ...
    def isatty(self) -> bool: ...


class Teller:
    """Lines of several studies, from several threads."""

    def __init__(self, out: Out, *, total: int) -> None:
        self._out, self._total = out, total
        self._bar = out.isatty()
        self._lock = threading.Lock()
        self._drawn = False
        self._bytes: dict[int, tuple[int, int]] = {}
        self._tenths: dict[int, int] = {}
        self._told: dict[int, str] = {}

    def say(self, line: str) -> None:
        with self._lock:
            self._say(line)

    def begins(self, number: int, study: StudyFiles) -> None:
        kinds = ", ".join(sorted(filter(None, study.modalities))) or "no image that can be read"
        self.say(f"{self._study(number)}: {kinds}; {len(study.files)} files")

    def progress(self, number: int, done: int, *, total: int) -> None:
        with self._lock:
            self._bytes[number] = (done, total)
            tenth = done * 10 // max(total, 1)
            if self._bar:
                self._draw()
            elif self._tenths.get(number) != tenth:
                self._tenths[number] = tenth
                self._say(f"{self._study(number)}: {megabytes(done)} of {megabytes(total)} MB received")

    def truth(self, number: int, truth: Truth) -> None:
        """A line when the state is new, or the trouble of a destination is."""
        troubles = [f" ({one['destination']}: {one['last_error']['detail']})" for one in _troubled(truth)]
        line = truth["state"] + "".join(troubles)
        with self._lock:
            if self._told.get(number) == line:
                return
            first = number not in self._told
            self._told[number] = line
            self._say(f"{self._study(number)}: {line}" + (f", upload {truth['id']}" if first else ""))

    def summary(self, lines: Iterable[str]) -> None:
        with self._lock:
            for number, line in enumerate(lines, 1):
                self._say(f"{self._study(number)}: {line}")

    def _study(self, number: int) -> str:
        return f"study {number} of {self._total}"

    def _say(self, line: str) -> None:
        if self._drawn:
            self._out.write("\r\033[K", ending="")
            self._drawn = False
        self._out.write(line)
        self._out.flush()

    def _draw(self) -> None:
        done, total = (sum(column) for column in zip(*self._bytes.values(), strict=True))
        filled = done * WIDTH // max(total, 1)
        bar = "#" * filled + "." * (WIDTH - filled)
        self._out.write(f"\r\033[K[{bar}] {megabytes(done)} of {megabytes(total)} MB received", ending="")
        self._out.flush()
        self._drawn = True


def ending(truth: Truth) -> str:
    """How it ended, in words that keep received, delivered and verified apart, and what was wrong with which file."""
    state = truth["state"]
    line = NO_WAY_TO_ASK if state == "delivered" and unprovable(truth) else ENDS.get(state, state)
    lines = [f"{line} (upload {truth['id']})"]
    lines += [f"    {hold['code']}: {hold['detail']}" for hold in truth["holds"]]
    lines += [f"    {one['file'] or 'the upload'}: {one['code']}, {one['effect']}" for one in truth["problems"]]
    return "\n".join(lines)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _troubled(truth: Truth) -> list[dict[str, Any]]:
    return [one for one in truth["deliveries"] if one["last_error"] and one["state"] != "verified"]
