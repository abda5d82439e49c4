"""The embedded Redis: what a kill leaves of its messages."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relaypacs.embedded import paths
from relaypacs.embedded.redis import EmbeddedRedis
from relaypacs.embedded.supervisor import Supervisor

pytestmark = pytest.mark.integration


@contextmanager
def running(data_dir: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(data_dir, say=print, environment=os.environ, cwd=Path("/"))
    try:
        supervisor.start([EmbeddedRedis(data_dir).child()])
        supervisor.await_ready()
        yield supervisor
    finally:
        supervisor.stop()
        shutil.rmtree(paths.socket_dir(data_dir), ignore_errors=True)


def test_messages_outlive_a_killed_server(tmp_path: Path) -> None:
    with running(tmp_path) as supervisor, EmbeddedRedis(tmp_path).connect() as client:
        client.rpush("delivery", "hint")
        os.kill(supervisor.pids()["redis"], signal.SIGKILL)
    with running(tmp_path), EmbeddedRedis(tmp_path).connect() as client:
        assert client.lrange("delivery", 0, -1) == [b"hint"]


def test_a_message_torn_by_a_power_cut_costs_only_itself(tmp_path: Path) -> None:
    with running(tmp_path), EmbeddedRedis(tmp_path).connect() as client:
        client.rpush("delivery", "whole")
    with (tmp_path / "redis" / "appendonly.aof").open("ab") as log:
        log.write(b"*3\r\n$5\r\nRPUSH\r\n$8\r\ndeliv")
    with running(tmp_path), EmbeddedRedis(tmp_path).connect() as client:
        assert client.lrange("delivery", 0, -1) == [b"whole"]


def test_it_opens_no_port(tmp_path: Path) -> None:
    with running(tmp_path), EmbeddedRedis(tmp_path).connect() as client:
        assert client.config_get("port") == {"port": "0"}


def test_the_server_of_a_killed_run_is_ended_before_the_next_starts(tmp_path: Path) -> None:
    with running(tmp_path) as killed, running(tmp_path) as fresh, EmbeddedRedis(tmp_path).connect() as client:
        assert client.info("server")["process_id"] == fresh.pids()["redis"]
        assert killed.stages[0][0].ended() is not None
