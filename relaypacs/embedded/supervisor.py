"""Keeps a tree of processes: starts them in order, restarts the one that falls, ends them all in reverse order."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from relaypacs.embedded.children import TOKEN, CannotStart, Child, Process, Program, Running, make_room, stop_together
from relaypacs.embedded.leftovers import Record
from relaypacs.embedded.nursery import Fork, warm_up

START_SECONDS = 120.0  # a slow machine reading back a long write-ahead log is no failure
BACKOFF_FIRST = 0.5  # seconds before a fallen child is started again, doubled at each fall
BACKOFF_CAP = 30.0
STEADY_SECONDS = 60.0  # after this long on its feet a child's earlier falls are forgotten
TICK = 0.1

Say = Callable[[str], None]


class StopAsked(BaseException):
    """SIGTERM, SIGINT or SIGHUP came; not an Exception, so that nothing on the way swallows it."""


class Supervisor:
    """Children in stages. A stage starts side by side once the one before it is ready, and stops before it."""

    def __init__(self, data_dir: Path, *, say: Say, environment: Mapping[str, str], cwd: Path) -> None:
        self.logs = data_dir / "logs"
        self.say = say
        self.environment = dict(environment)
        self.cwd = cwd
        self.record = Record(data_dir)
        self.stages: list[list[Running]] = []
        self.falls: dict[str, int] = {}
        self.again_at: dict[str, float] = {}
        self.asked = False

    def heed_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # `nohup` means it
                signal.signal(number, self._heed)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:  # a second Ctrl-C does not hurry a stop that loses nothing and has its deadline
            self.asked = True
            raise StopAsked

    def warm_up(self, modules: Sequence[str]) -> None:
        """Have these modules imported, in the background, for all roles to come."""
        warm_up(modules, environment={**self.environment, TOKEN: self.record.token})

    def start(self, children: Sequence[Child]) -> None:
        """Begin the next stage, without waiting for it."""
        stage: list[Running] = []
        self.stages.append(stage)
        for child in children:
            stage += [self._launch(child)]  # one by one: a stop in the middle must find those that run

    def await_ready(self) -> None:
        """Until each child of the newest stage answers; CannotStart when one ends or stays silent."""
        deadline = time.monotonic() + START_SECONDS
        waiting = list(self.stages[-1])
        while waiting:
            for running in waiting:
                self._still_starting(running, deadline=deadline)
            waiting = [running for running in waiting if not running.child.ready()]
            if waiting:
                time.sleep(TICK)

    def watch(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Keep the children on their feet until somebody asks to stop, or `until` says so."""
        while not self.asked and not until():
            for stage in self.stages:
                for place, running in enumerate(stage):
                    if running.ended() is not None:
                        stage[place] = self._on_its_feet(running)
            time.sleep(TICK)

    def stop(self) -> None:
        """End every stage, the newest first; what does not end in its time is killed."""
        self.asked = True
        for stage in reversed(self.stages):
            stop_together(stage)
        self.stages.clear()
        self.record.forget()

    def pids(self) -> dict[str, int]:
        return {running.child.name: running.pid for stage in self.stages for running in stage}

    def _launch(self, child: Child) -> Running:
        child.prepare()
        environment = self.environment | ({} if child.heals_itself else {TOKEN: self.record.token})
        log = self.logs / f"{child.name}.log"
        log_start = make_room(log)
        process: Process
        if child.role is not None:
            process = Fork(child, child.role, log=log)
        else:
            process = Program(child, log=log, environment=environment, cwd=self.cwd)
        if not child.heals_itself:
            self.record.note(child.name, process.pid)
        return Running(child, process, log, log_start)

    def _still_starting(self, running: Running, *, deadline: float) -> None:
        status, silent = running.ended(), time.monotonic() > deadline
        if status is None and not silent:
            return
        what = f"did not answer within {START_SECONDS:.0f} s" if status is None else f"ended with status {status}"
        words = running.last_words()
        raise CannotStart(f"{running.child.name} {what} while starting; {running.log} ends with:\n{words}")

    def _on_its_feet(self, fallen: Running) -> Running:
        """A fallen child is started again after a pause that grows with every fall."""
        name, now = fallen.child.name, time.monotonic()
        if name not in self.again_at:
            self.again_at[name] = now + self._pause(fallen, now)
            self.say(f"{name} ended (status {fallen.ended()}); starting it again, see {fallen.log}")
        if now < self.again_at[name]:
            return fallen
        del self.again_at[name]
        try:
            return self._launch(fallen.child)
        except (CannotStart, OSError) as error:
            self.say(f"{name} could not be started again: {error}")
            return fallen

    def _pause(self, fallen: Running, now: float) -> float:
        steady = now - fallen.started > STEADY_SECONDS
        falls = self.falls[fallen.child.name] = 1 if steady else self.falls.get(fallen.child.name, 0) + 1
        return float(min(BACKOFF_CAP, BACKOFF_FIRST * 2 ** (falls - 1)))
