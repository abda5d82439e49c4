"""Several associations at once: lanes take items from one queue; the caller's thread announces, hears and watches.

Callbacks run in the thread that called, so that one database connection and one transaction serve them; a lane
speaks with the peer and with nobody else.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from uploads.pacs.deadlines import Deadline
from uploads.pacs.errors import PeerError

AHEAD = 64
"""Items announced without an outcome yet: so many that a lane never waits for the caller's thread."""
TICK_SECONDS = 0.05
GRACE_SECONDS = 5.0
"""What a lane may overrun its own deadline before its connection is cut from outside."""
STUCK_SECONDS = 15.0
"""And what it may take to notice that; a thread that does not is beyond help, and so is its process."""

Thing = TypeVar("Thing")
End = TypeVar("End")


def never() -> bool:
    """Nobody asks to stop."""
    return False


class LaneStuck(BaseException):
    """A lane neither ended nor noticed that its connection was cut: the process must end, the lease will lapse."""


class Connection(Protocol):
    def cut(self) -> None:
        """End it from another thread: whatever the lane waits for fails."""


class Lane(Generic[Thing, End]):
    """One lane's side of the crew."""

    def __init__(self, crew: Crew[Thing, End]) -> None:
        self._crew = crew
        self.connection: Connection | None = None
        self.deadline: Deadline | None = None
        self.cut_at: float | None = None
        self.left = False

    def take(self) -> Thing | None:
        """The next item to send, or None where this lane shall end."""
        self.deadline = None
        return self._crew.next_for(self)

    def give_back(self, item: Thing) -> None:
        """Not one octet of it was sent: another lane may have it. This one ends."""
        self._crew.leave(self, lost=True)
        self._crew.give_back(item)

    def tell_last(self, item: Thing, outcome: End) -> None:
        """The item with which the connection was lost. This lane ends."""
        self._crew.leave(self, lost=True)
        self._crew.hear(item, outcome)

    def tell(self, item: Thing, outcome: End) -> None:
        self._crew.hear(item, outcome)


class Crew(Generic[Thing, End]):
    """Sends items over as many lanes as `wanted` says, which is asked again and again: it may grow and shrink."""

    def __init__(
        self,
        items: Iterable[Thing],
        work: Callable[[Lane[Thing, End]], None],
        *,
        wanted: Callable[[], int],
        on_sending: Callable[[Thing], None],
        on_outcome: Callable[[Thing, End], None],
        should_stop: Callable[[], bool],
        ahead: int = AHEAD,
    ) -> None:
        self._items = deque(items)
        self._work = work
        self._wanted = wanted
        self._on_sending, self._on_outcome, self._should_stop = on_sending, on_outcome, should_stop
        self._announced: deque[Thing] = deque()
        self._told: deque[tuple[Thing, End]] = deque()
        self._lanes: dict[Lane[Thing, End], threading.Thread] = {}
        self._more = threading.Condition()  # for lanes: something was announced, or there is nothing to come
        self._wake = threading.Event()  # for the caller's thread: a lane needs items, or has ended
        self._ahead = ahead
        self._open = 0  # items announced whose outcome was not heard
        self._asked = False  # a lane has its connection
        self._places = 0  # lanes there may be
        self._manned = 0  # lanes there are
        self._lost = 0  # lanes that had trouble
        self._finished = 0
        self._closing = False
        self._troubles: list[BaseException] = []
        self._fault: BaseException | None = None

    def run(self) -> None:
        """Return when all items have their outcome or `should_stop` said so.

        Raises the trouble of a lane where items are left because of it, what a callback raised, or LaneStuck.
        """
        while self._went_on():
            pass
        self._listen()
        if self._fault is not None:
            raise self._fault
        ours = [trouble for trouble in self._troubles if not isinstance(trouble, PeerError)]
        if ours or (self._troubles and (self._left() or not self._finished)):
            raise (ours or self._troubles)[0]

    def _went_on(self) -> bool:
        """One turn; whatever it meets, lanes are heard to their end: the caller closes what they read from."""
        try:
            if not self._go_on():
                return False
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            self._watch()
        except LaneStuck:
            raise
        except BaseException as fault:  # noqa: BLE001  # `run` raises it
            self._fault = self._fault or fault
            self._closing = True
        return True

    def _go_on(self) -> bool:
        self._listen()
        self._closing = self._closing or self._should_stop()
        if not self._closing:
            self._announce()
            self._man()
        with self._more:
            self._more.notify_all()
        return any(thread.is_alive() for thread in self._lanes.values())

    def _left(self) -> int:
        return len(self._items) + len(self._announced)

    def _announce(self) -> None:
        while self._asked and self._manned and self._items and self._open < self._ahead and not self._closing:
            item = self._items[0]
            self._guarded(functools.partial(self._on_sending, item))
            if not self._closing:
                self._open += 1
                self._announced.append(item)
                self._items.popleft()

    def _man(self) -> None:
        """Starts lanes up to the number wanted; one that had trouble is not replaced in this run.

        The first goes alone until it has its connection: a peer that takes fewer refuses the ones beyond, not all.
        """
        with self._more:
            self._places = max(1, self._wanted() - self._lost)
            most = min(self._places, self._left()) if self._asked else 1
            new = 0 if self._lost else most - self._manned
            self._manned += max(0, new)
        for _ in range(new):
            lane = Lane(self)
            self._lanes[lane] = threading.Thread(target=self._run, args=(lane,), name="lane", daemon=True)
            self._lanes[lane].start()

    def _run(self, lane: Lane[Thing, End]) -> None:
        try:
            self._work(lane)
            self._finished += 1
        except BaseException as trouble:  # noqa: BLE001  # whatever it is, the caller's thread raises it
            self._troubles.append(trouble)
            self.leave(lane, lost=True)
        finally:
            lane.deadline = lane.connection = None
            self.leave(lane)
            self._wake.set()

    def leave(self, lane: Lane[Thing, End], *, lost: bool = False) -> None:
        with self._more:
            if not lane.left:
                self._manned -= 1
                self._lost += lost
            lane.left = True

    def next_for(self, lane: Lane[Thing, End]) -> Thing | None:
        if not self._asked:
            self._asked = True
            self._wake.set()
        while not self._closing:
            with self._more:
                if self._manned > self._places:
                    self.leave(lane)
                    return None
                if self._announced:
                    item = self._announced.popleft()
                    break
                if not self._items:
                    return None
                self._wake.set()
                self._more.wait(TICK_SECONDS)
        else:
            return None
        self._call_where_few()
        return item

    def _call_where_few(self) -> None:
        if self._items and len(self._announced) <= self._ahead // 2:
            self._wake.set()

    def give_back(self, item: Thing) -> None:
        self._announced.appendleft(item)

    def hear(self, item: Thing, outcome: End) -> None:
        self._told.append((item, outcome))
        self._call_where_few()

    def _listen(self) -> None:
        """Outcomes are heard to the end, also when a callback has failed: what was stored must be written down."""
        while self._told:
            self._open -= 1
            self._guarded(functools.partial(self._on_outcome, *self._told.popleft()))

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as fault:  # noqa: BLE001  # `run` raises it
            self._fault = self._fault or fault
            self._closing = True

    def _watch(self) -> None:
        """The deadlines of the wire hold by themselves; this stands behind them."""
        now = time.monotonic()
        for lane, thread in self._lanes.items():
            deadline, connection = lane.deadline, lane.connection
            if not thread.is_alive() or deadline is None or now < deadline.moment + GRACE_SECONDS:
                continue
            if lane.cut_at is None:
                lane.cut_at = now
                if connection is not None:
                    connection.cut()
            elif now > lane.cut_at + STUCK_SECONDS:
                raise LaneStuck("a connection to the PACS hangs beyond every deadline")
