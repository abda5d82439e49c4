"""Lines that break, servers and brokers that die: what was acknowledged stays, and the upload ends verified."""

import signal
import threading
from pathlib import Path

import pytest

from tests.journeys.gateway import KIB256, Gateway, assert_whole, send_disturbed, small_study

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long]


class Interrupted(Exception):
    """The clinic's machine goes off."""


@pytest.fixture
def study(tmp_path: Path, request: pytest.FixtureRequest) -> list[Path]:
    """Twelve slices of half a megabyte, of a seed of the test's own."""
    return small_study(tmp_path / "study", seed=sum(request.node.name.encode()), slices=12, rows=512)


def test_a_killed_web_server_is_waited_for(gateway: Gateway, tmp_path: Path, study: list[Path]) -> None:
    fallen: list[int] = []
    sent = send_disturbed(gateway, tmp_path / "study", lambda: fallen.append(gateway.stack.kill("web")))
    assert gateway.stack.wait_back("web", old=fallen[0]) != fallen[0]
    assert_whole(gateway, sent, study)


def test_a_killed_web_worker_is_replaced(gateway: Gateway, tmp_path: Path, study: list[Path]) -> None:
    def kill_the_serving() -> None:
        for process in gateway.process("web").children():
            process.kill()

    assert_whole(gateway, send_disturbed(gateway, tmp_path / "study", kill_the_serving), study)


def test_another_program_goes_on_where_the_first_was_cut_off(
    gateway: Gateway, tmp_path: Path, study: list[Path]
) -> None:
    def cut() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        send_disturbed(gateway, tmp_path / "study", cut)
    acknowledged: list[int] = []
    with gateway.client(chunk_size=KIB256) as client:
        sent = client.send([tmp_path / "study"], on_progress=lambda done, total: acknowledged.append(done))
    assert sent.resumed
    assert acknowledged[0] * 2 >= sent.truth["total_size"]
    assert_whole(gateway, sent, study)


def test_a_killed_redis_loses_nothing(gateway: Gateway, tmp_path: Path, study: list[Path]) -> None:
    assert_whole(gateway, send_disturbed(gateway, tmp_path / "study", gateway.process("redis-server").kill), study)


def test_a_frozen_redis_loses_nothing(gateway: Gateway, tmp_path: Path, study: list[Path]) -> None:
    redis = gateway.process("redis-server")

    def freeze() -> None:
        redis.send_signal(signal.SIGSTOP)
        threading.Timer(5, redis.send_signal, [signal.SIGCONT]).start()

    assert_whole(gateway, send_disturbed(gateway, tmp_path / "study", freeze), study)
