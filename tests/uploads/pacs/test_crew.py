"""Several lanes send what one thread announces and hears."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from uploads.pacs import crew
from uploads.pacs.crew import Crew, Lane, LaneStuck
from uploads.pacs.deadlines import Deadline
from uploads.pacs.errors import AssociationAborted

pytestmark = pytest.mark.unit

Work = Callable[[Lane[int, str]], None]


class Book:
    """What the crew's caller sees; its methods must run in the thread that made it."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.announced: list[int] = []
        self.heard: dict[int, str] = {}

    def sending(self, item: int) -> None:
        assert threading.get_ident() == self.thread
        self.announced.append(item)

    def outcome(self, item: int, outcome: str) -> None:
        assert threading.get_ident() == self.thread
        assert item in self.announced
        assert item not in self.heard
        self.heard[item] = outcome


def run(book: Book, work: Work, count: int, **options: Any) -> None:
    options = {"wanted": lambda: 4, "should_stop": lambda: False} | options
    Crew(range(count), work, on_sending=book.sending, on_outcome=book.outcome, **options).run()


def faithful(lane: Lane[int, str]) -> None:
    while (item := lane.take()) is not None:
        lane.tell(item, "stored")


def lost() -> AssociationAborted:
    return AssociationAborted("connection_lost", "The connection to the PACS was lost.")


@pytest.mark.parametrize("ahead", [1, 4, 64])
def test_every_item_gets_one_outcome(ahead: int) -> None:
    book = Book()
    run(book, faithful, 500, ahead=ahead)
    assert sorted(book.heard) == list(range(500))


def test_lanes_work_side_by_side() -> None:
    together = threading.Barrier(4, timeout=20)

    def work(lane: Lane[int, str]) -> None:
        while (item := lane.take()) is not None:
            together.wait()  # breaks, and fails the lane, unless four take an item each
            lane.tell(item, "stored")

    book = Book()
    run(book, work, 8)
    assert len(book.heard) == 8


def test_what_one_lane_loses_the_others_do() -> None:
    turn = threading.Lock()

    def work(lane: Lane[int, str]) -> None:
        first = turn.acquire(blocking=False)
        while (item := lane.take()) is not None:
            if first:
                lane.tell_last(item, "unknown")
                raise lost()
            lane.tell(item, "stored")

    book = Book()
    run(book, work, 200)
    assert len(book.heard) == 200
    assert list(book.heard.values()).count("unknown") <= 1


def test_a_peer_that_takes_one_association_alone_gets_all_over_it() -> None:
    turn = threading.Lock()

    def work(lane: Lane[int, str]) -> None:
        if not turn.acquire(blocking=False):
            raise lost()
        faithful(lane)

    book = Book()
    run(book, work, 100)
    assert len(book.heard) == 100


def test_it_raises_where_all_lanes_are_lost_and_leaves_the_rest_untold() -> None:
    def work(lane: Lane[int, str]) -> None:
        item = lane.take()
        assert item is not None
        lane.tell_last(item, "unknown")
        raise lost()

    book = Book()
    with pytest.raises(AssociationAborted):
        run(book, work, 100)
    assert 1 <= len(book.heard) <= 4
    assert set(book.heard.values()) == {"unknown"}


def test_nothing_is_announced_before_a_lane_has_its_connection() -> None:
    def work(lane: Lane[int, str]) -> None:
        raise lost()

    book = Book()
    with pytest.raises(AssociationAborted):
        run(book, work, 10)
    assert book.announced == []


def test_an_item_given_back_is_taken_by_another_lane() -> None:
    turn = threading.Lock()

    def work(lane: Lane[int, str]) -> None:
        if turn.acquire(blocking=False):
            item = lane.take()
            if item is not None:
                lane.give_back(item)
            raise lost()
        faithful(lane)

    book = Book()
    run(book, work, 50)
    assert len(book.heard) == 50


def test_it_grows_and_shrinks_while_it_works() -> None:
    wanted, most, here = [1], [0], [0]
    lock = threading.Lock()

    def work(lane: Lane[int, str]) -> None:
        with lock:
            here[0] += 1
            most[0] = max(most[0], here[0])
        faithful(lane)
        with lock:
            here[0] -= 1

    class Growing(Book):
        def outcome(self, item: int, outcome: str) -> None:
            super().outcome(item, outcome)
            wanted[0] = 1 if len(self.heard) < 200 else 3 if len(self.heard) < 4000 else 1

    book = Growing()
    run(book, work, 6000, wanted=lambda: wanted[0])
    assert len(book.heard) == 6000
    assert most[0] > 1


def test_what_a_callback_raises_ends_it_after_what_is_under_way_was_heard() -> None:
    class Failing(Book):
        def outcome(self, item: int, outcome: str) -> None:
            super().outcome(item, outcome)
            if len(self.heard) == 3:
                raise LookupError

    book = Failing()
    with pytest.raises(LookupError):
        run(book, faithful, 100, ahead=4)
    assert 3 <= len(book.heard) < 100


def test_it_stops_between_items_when_asked() -> None:
    book = Book()
    run(book, faithful, 1000, ahead=8, should_stop=lambda: len(book.heard) >= 20)
    assert 20 <= len(book.heard) < 1000


class Hanging:
    """A connection whose lane waits until it is cut, or for ever."""

    def __init__(self, *, heeds: bool) -> None:
        self.heeds = heeds
        self.free = threading.Event()

    def cut(self) -> None:
        if self.heeds:
            self.free.set()

    def work(self, lane: Lane[int, str]) -> None:
        lane.connection = self
        item = lane.take()
        assert item is not None
        lane.deadline = Deadline.after(0.01)
        self.free.wait(60)
        lane.tell_last(item, "unknown")
        raise lost()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(crew, "STUCK_SECONDS", 0.3)


def test_a_lane_that_overruns_its_deadline_is_cut() -> None:
    book = Book()
    with pytest.raises(AssociationAborted):
        run(book, Hanging(heeds=True).work, 5, wanted=lambda: 1)
    assert book.heard == {0: "unknown"}


def test_a_lane_that_cannot_be_cut_ends_the_process_of_its_caller() -> None:
    hanging = Hanging(heeds=False)
    with pytest.raises(LaneStuck):
        run(Book(), hanging.work, 5, wanted=lambda: 1)
    hanging.free.set()


@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("asked", ["wanted", "should_stop"])
def test_nothing_is_sent_any_more_once_it_has_ended(asked: str, trouble: type[BaseException]) -> None:
    """Whoever called closes the file that the lanes read from, and takes back what was not begun."""
    under_way, go = threading.Event(), threading.Event()
    taken: list[int] = []

    def work(lane: Lane[int, str]) -> None:
        while (item := lane.take()) is not None:
            taken.append(item)
            under_way.set()
            go.wait(20)
            lane.tell(item, "stored")

    def answer() -> int:
        if under_way.is_set():
            threading.Timer(0.2, go.set).start()
            raise trouble("the database is away")
        return int(asked == "wanted")

    book = Book()
    with pytest.raises(trouble):
        run(book, work, 50, **({"wanted": lambda: 1} | {asked: answer}))
    assert taken == [0]
    assert book.heard == {0: "stored"}
