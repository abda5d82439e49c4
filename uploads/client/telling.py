"""What the person who sends reads: a bar on a terminal, plain lines elsewhere, and how each study ended."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from uploads.client.bar import Bar, megabytes
from uploads.client.client import Truth, unprovable
from uploads.client.grouping import StudyFiles

MOST_NAMED = 20  # of the files that are left out; of a disc full of a viewer's files the rest are counted
REDRAW_SECONDS = 0.1

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

    def __init__(self, out: Out, *, total: int, bar: Bar | None = None) -> None:
        self._out, self._total = out, total
        self._bar = (bar or Bar()) if out.isatty() else None
        self._lock = threading.Lock()
        self._drawn_at: float | None = None
        self._tenths: dict[int, int] = {}
        self._told: dict[int, str] = {}

    def say(self, line: str) -> None:
        with self._lock:
            self._say(line)

    def expects(self, studies: Sequence[StudyFiles]) -> None:
        """All that will be sent, so that the bar is one of everything."""
        if self._bar is not None:
            for number, study in enumerate(studies, 1):
                self._bar.expect(number, study.size)

    def left_out(self, files: Sequence[tuple[str, str, str]]) -> None:
        """Files that are no part of any study, by name, code and sentence."""
        for name, code, sentence in files[:MOST_NAMED]:
            self.say(f"left out: {name}: {code}. {sentence}")
        if rest := Counter(code for _, code, _ in files[MOST_NAMED:]):
            counted = ", ".join(f"{code}: {count}" for code, count in rest.most_common())
            self.say(f"left out: {rest.total()} more files ({counted})")

    def begins(self, number: int, study: StudyFiles) -> None:
        kinds = ", ".join(sorted(filter(None, study.modalities))) or "no image that can be read"
        self.say(f"{self._study(number)}: {kinds}; {len(study.files)} files")

    def reading(self, number: int, done: int) -> None:
        """Its files are read for their digests; from a slow disc that takes a while."""
        with self._lock:
            if self._bar:
                self._bar.looked(number, done)
                self._draw()

    def progress(self, number: int, done: int, *, total: int) -> None:
        with self._lock:
            tenth = done * 10 // max(total, 1)
            if self._bar:
                self._bar.received(number, done, total)
                self._draw(now=done >= total)
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
        if self._drawn_at is not None:
            self._out.write("\r\033[K", ending="")
            self._drawn_at = None
        self._out.write(line)
        self._out.flush()

    def _draw(self, *, now: bool = False) -> None:
        """A few times a second at most: a terminal at the end of a slow line has better things to show."""
        moment = time.monotonic()
        if self._bar is None or (not now and self._drawn_at and moment - self._drawn_at < REDRAW_SECONDS):
            return
        self._out.write(f"\r\033[K{self._bar.line()}", ending="")
        self._out.flush()
        self._drawn_at = moment


def ending(truth: Truth) -> str:
    """How it ended, in words that keep received, delivered and verified apart, and what was wrong with which file."""
    state = truth["state"]
    line = NO_WAY_TO_ASK if state == "delivered" and unprovable(truth) else ENDS.get(state, state)
    lines = [f"{line} (upload {truth['id']})"]
    lines += [f"    {hold['code']}: {hold['detail']}" for hold in truth["holds"]]
    lines += [f"    {one['file'] or 'the upload'}: {one['code']}, {one['effect']}" for one in truth["problems"]]
    return "\n".join(lines)


def _troubled(truth: Truth) -> list[dict[str, Any]]:
    return [one for one in truth["deliveries"] if one["last_error"] and one["state"] != "verified"]
