"""The tree of processes: starts, falls, ends, and what a killed keeper leaves."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from relaypacs.embedded.children import TOKEN, CannotStart, Child
from relaypacs.embedded.leftovers import RECORD, end_leftovers, only_one, wait_gone
from relaypacs.embedded.supervisor import Supervisor
from tests.stack import ROOT

pytestmark = pytest.mark.integration

SLEEPS = "import time; time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('deaf', 'w').close(); {SLEEPS}"
SPAWNS = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', '{SLEEPS}']); "


class Said(list[str]):
    def __contains__(self, part: object) -> bool:
        return any(str(part) in line for line in self)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def supervisor(tmp_path: Path, said: Said) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, say=said.append, environment=os.environ, cwd=tmp_path)
    yield supervisor
    supervisor.stop()


def script(name: str, code: str, **more: object) -> Child:
    return Child(name=name, command=[sys.executable, "-S", "-c", code], **more)  # type: ignore[arg-type]


def within(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_a_fallen_child_is_started_again_and_it_is_said(supervisor: Supervisor, said: Said) -> None:
    supervisor.start([script("web", SLEEPS)])
    fallen = supervisor.pids()["web"]
    os.kill(fallen, signal.SIGKILL)
    supervisor.watch(until=lambda: supervisor.pids()["web"] != fallen)
    assert "web ended (status -9); starting it again" in said
    assert psutil.pid_exists(supervisor.pids()["web"])


def test_each_fall_lengthens_the_pause(supervisor: Supervisor, said: Said) -> None:
    supervisor.start([script("web", "raise SystemExit(3)")])
    supervisor.watch(until=lambda: len(said) == 3)
    fallen = supervisor.stages[0][0]
    assert [supervisor._pause(fallen, fallen.started) for _ in range(8)] == [
        4.0,
        8.0,
        16.0,
        30.0,
        30.0,
        30.0,
        30.0,
        30.0,
    ]
    assert supervisor._pause(fallen, fallen.started + 61) == 0.5


def test_a_child_that_ends_while_starting_is_named_with_its_last_words(supervisor: Supervisor) -> None:
    supervisor.start([script("web", "print('no such module'); raise SystemExit(3)", ready=lambda: False)])
    with pytest.raises(CannotStart, match=r"web ended with status 3 while starting[\s\S]*no such module"):
        supervisor.await_ready()


def test_a_child_that_will_not_listen_is_killed_after_its_time(supervisor: Supervisor, tmp_path: Path) -> None:
    plan = ((signal.SIGTERM, 0.3), (signal.SIGKILL, 1.0))
    supervisor.start([script("deaf", DEAF, stop=plan, ready=(tmp_path / "deaf").exists)])
    supervisor.await_ready()
    pid = supervisor.pids()["deaf"]
    supervisor.stop()
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("then", ["p.wait()", "raise SystemExit(0)"])
def test_grandchildren_never_outlive_their_group(supervisor: Supervisor, tmp_path: Path, then: str) -> None:
    code = SPAWNS + f"f = open('new', 'w'); f.write(str(p.pid)); f.close(); import os; os.rename('new', 'pid'); {then}"
    supervisor.start([script("web", code)])
    assert within((tmp_path / "pid").exists)
    grandchild = psutil.Process(int((tmp_path / "pid").read_text()))
    if then != "p.wait()":
        assert within(lambda: supervisor.stages[0][0].ended() == 0)
    supervisor.stop()
    assert wait_gone([grandchild], seconds=5.0) == []


def test_what_started_last_stops_first(supervisor: Supervisor, tmp_path: Path) -> None:
    tells = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (open('order','a').write('{0} '), exit(0)));"
    for name in ("database", "web"):
        code = f"{tells.format(name)} open('{name}', 'w').close(); time.sleep(60)"
        supervisor.start([script(name, code, ready=(tmp_path / name).exists)])
        supervisor.await_ready()
    supervisor.stop()
    assert (tmp_path / "order").read_text().split() == ["web", "database"]


def test_a_large_log_is_put_aside_at_the_start(supervisor: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "web.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate(11 * 1024**2)
    supervisor.start([script("web", "print('fresh')")])
    assert within(lambda: log.read_text() == "fresh\n")
    assert (tmp_path / "logs" / "web.log.1").stat().st_size == 11 * 1024**2


def test_children_go_down_with_a_killed_keeper(tmp_path: Path) -> None:
    keeper = subprocess.Popen([sys.executable, "-c", _keeper(tmp_path)], cwd=ROOT)
    assert within((tmp_path / RECORD).exists)
    child = psutil.Process(int(json.loads((tmp_path / RECORD).read_text())["children"]["web"]["pid"]))
    keeper.kill()
    keeper.wait()
    assert wait_gone([child], seconds=10.0) == []


def _keeper(data_dir: Path) -> str:
    return textwrap.dedent(f"""
        import os, sys
        from pathlib import Path
        from relaypacs.embedded.children import Child
        from relaypacs.embedded.supervisor import Supervisor
        supervisor = Supervisor(Path({str(data_dir)!r}), say=print, environment=os.environ, cwd=Path("/"))
        supervisor.start([Child(name="web", command=[sys.executable, "-S", "-c", {SLEEPS!r}])])
        supervisor.watch()
        """)


def test_leftovers_are_known_by_their_token_wherever_they_are(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-S", "-c", SLEEPS], env={**os.environ, TOKEN: "of-the-killed-run"})
    assert within(lambda: psutil.Process(left.pid).environ().get(TOKEN) == "of-the-killed-run")
    (tmp_path / RECORD).write_text(json.dumps({"token": "of-the-killed-run", "children": {}}))
    assert end_leftovers(tmp_path) == 1
    assert left.wait() == -signal.SIGTERM
    assert end_leftovers(tmp_path) == 0


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-S", "-c", SLEEPS])
    started = psutil.Process(stranger.pid).create_time() - 3600
    children = {"web": {"pid": stranger.pid, "started": started}}
    (tmp_path / RECORD).write_text(json.dumps({"token": "of-the-killed-run", "children": children}))
    try:
        assert end_leftovers(tmp_path) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"token": "x", "children": 5}'])
def test_a_torn_record_is_no_obstacle(tmp_path: Path, torn: str) -> None:
    (tmp_path / RECORD).write_text(torn)
    assert end_leftovers(tmp_path) == 0


def test_a_second_run_on_one_folder_is_told_who_has_it(tmp_path: Path) -> None:
    told = pytest.raises(CannotStart, match=rf"process {os.getpid()}.*RELAYPACS_DATA_DIR")
    with only_one(tmp_path), told, only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass
