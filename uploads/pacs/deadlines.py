"""How long each step on the wire may take before the peer counts as stuck."""

from __future__ import annotations

import time
from dataclasses import dataclass

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock, so that neither a drip of bytes nor a clock change can postpone it."""

    moment: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def later(self, seconds: float) -> Deadline:
        return Deadline(self.moment + seconds)

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.moment - time.monotonic())

    def passed(self) -> bool:
        return time.monotonic() >= self.moment


@dataclass(frozen=True, slots=True)
class Deadlines:
    """All times are seconds. A stopped peer holds a worker for at most `instance` on a small instance."""

    connect: float = 10.0
    negotiate: float = 15.0
    instance: float = 30.0
    per_megabyte: float = 1.0
    stall: float = 30.0
    """No byte at all accepted for so long: the peer has stopped reading, however large the instance."""
    echo: float = 10.0
    answer: float = 30.0
    """The longest pause between two C-FIND answers."""
    find: float = 300.0
    """All the queries about one study."""
    release: float = 3.0
    idle: float = 60.0
    """What whoever called us may be silent between two requests."""

    def for_instance(self, size: int) -> float:
        """Seconds for one instance of `size` bytes, from the first octet of the request to its answer."""
        return self.instance + self.seconds_for(size)

    def seconds_for(self, octets: int) -> float:
        """Seconds that so many octets may take; what comes in earns them as it comes, so that a drip earns nothing."""
        return self.per_megabyte * octets / MEGABYTE
