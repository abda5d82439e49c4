"""The bar on a terminal: how much of everything is received, how fast it goes, and how long it will take."""

import shutil
import time
from collections import deque
from collections.abc import Callable

WIDEST = 30
NARROWEST = 8
WINDOW_SECONDS = 15.0
SOONEST_SECONDS = 1.0  # before that a rate says nothing


class Bar:
    """Bytes of several studies, added up. What an earlier run had sent counts as received, and not for the rate."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sizes: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._looked: dict[int, int] = {}
        self._sent = 0
        self._marks: deque[tuple[float, int]] = deque()

    def expect(self, number: int, size: int) -> None:
        """A study of so many bytes is to be sent."""
        self._sizes[number] = size

    def looked(self, number: int, done: int) -> None:
        """So much of it was read for its digests; nothing is sent before."""
        self._looked[number] = done

    def received(self, number: int, done: int, total: int) -> None:
        """So much of it has the gateway acknowledged."""
        now = self._clock()
        if not self._marks:
            self._marks.append((now, 0))
        if number in self._done:
            self._sent += max(0, done - self._done[number])
        self._sizes[number], self._done[number], self._looked[number] = total, done, total
        self._marks.append((now, self._sent))
        while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW_SECONDS:
            self._marks.popleft()

    @property
    def rate(self) -> float:
        """Bytes in a second, over the last while; 0 where it is too early to tell."""
        if len(self._marks) < 2:
            return 0.0
        (began, before), (ended, after) = self._marks[0], self._marks[-1]
        return (after - before) / (ended - began) if ended - began >= SOONEST_SECONDS else 0.0

    def line(self, *, columns: int | None = None) -> str:
        """It all on one line, no longer than the terminal is wide."""
        words = self._words()
        room = (columns or shutil.get_terminal_size().columns) - len(words) - 4
        if room < NARROWEST:
            return words[: (columns or 80) - 1]
        width = min(WIDEST, room)
        filled = sum(self._done.values()) * width // max(sum(self._sizes.values()), 1)
        return f"[{'#' * filled}{'.' * (width - filled)}] {words}"

    def _words(self) -> str:
        done, total = sum(self._done.values()), sum(self._sizes.values())
        looking = sum(self._looked.values()) < total and not done
        if looking:
            return f"{megabytes(sum(self._looked.values()))} of {megabytes(total)} MB read"
        words = f"{megabytes(done)} of {megabytes(total)} MB received"
        rate = self.rate
        if not rate or done >= total:
            return words
        return f"{words}, {megabytes(rate)} MB/s, {_time((total - done) / rate)} left"


def _time(seconds: float) -> str:
    """0:07, 12:30, 2:03:00."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def megabytes(size: float) -> str:
    return f"{size / 1e6:.1f}"
