"""The whole tree is killed, or its workers one by one: nothing is lost, nothing is stored twice by the ledger."""

import contextlib
import os
import random
import signal
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from relaypacs.embedded.paths import database_url
from tests.journeys.gateway import (
    SOON,
    Gateway,
    Truth,
    assert_whole,
    data_sets,
    kill_now,
    send_disturbed,
    side_by_side,
    small_study,
)
from tests.stack import stack

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long]

UPLOADS = 20
SLICES = 12
SHOOT_SECONDS = 20.0
MASTERS = ("worker-interactive", "worker-delivery")
MASTER_KILLS = 3  # of each: `up` waits twice as long before it starts one again that falls again


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with stack(tmp_path_factory.mktemp("chaos") / "data", **SOON) as running:
        yield Gateway(running)


AT_WORK = """SELECT id, lease_owner FROM uploads_upload WHERE lease_until > now()
             UNION ALL SELECT id, lease_owner FROM uploads_delivery WHERE lease_until > now()"""


class Shooter:
    """Every second or so kills a worker that holds a row just now, or the master of one with all its processes.

    It aims at each row once: three workers that die on one row are taken for the row's fault, and a person is told.
    """

    def __init__(self, gateway: Gateway, seed: int) -> None:
        self._gateway, self._chance = gateway, random.Random(seed)
        self._left = dict.fromkeys(MASTERS, MASTER_KILLS)
        self._hit: set[uuid.UUID] = set()
        self.over, self.masters = threading.Event(), 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Shooter":
        self._thread.start()
        threading.Timer(SHOOT_SECONDS, self.over.set).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()

    @property
    def hits(self) -> int:
        return len(self._hit)

    def _run(self) -> None:
        with psycopg.connect(database_url(self._gateway.stack.data_dir, "relaypacs_app"), autocommit=True) as rows:
            while not self.over.wait(self._chance.uniform(0.2, 1.0)):
                if self._chance.random() < 0.2:
                    self._kill_master(self._chance.choice(MASTERS))
                else:
                    self._kill_at_work(rows)

    def _kill_master(self, name: str) -> None:
        if self._left[name]:
            self._left[name] -= 1
            with contextlib.suppress(ProcessLookupError):  # it is being started again
                self._gateway.stack.kill(name)
                self.masters += 1

    def _kill_at_work(self, rows: "psycopg.Connection[tuple[uuid.UUID, str]]") -> None:
        """Waits until somebody holds a row that was not hit before."""
        while not self.over.wait(0.01):
            for row, owner in rows.execute(AT_WORK).fetchall():
                if row not in self._hit:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(owner.split(":")[1]), signal.SIGKILL)
                        self._hit.add(row)
                        return


def hand_in_while_shot_at(gateway: Gateway, folders: list[Path], shooter: Shooter) -> list[Truth]:
    """Spread over the time of the shooting, and a little beyond."""

    def hand_in(number: int) -> Truth:
        shooter.over.wait(number * SHOOT_SECONDS / UPLOADS)
        with gateway.client(chunk_size=256 * 1024) as client:
            return client.send([folders[number]], wait="received").truth

    return side_by_side([partial(hand_in, number) for number in range(UPLOADS)], threads=UPLOADS)


def test_a_killed_tree_started_again_loses_nothing(gateway: Gateway, tmp_path: Path) -> None:
    paths = small_study(tmp_path / "study", seed=900, slices=12, rows=512)

    def restart() -> None:
        kill_now(gateway.stack.process.pid)
        gateway.stack.process.wait()
        gateway.stack.start()

    assert_whole(gateway, send_disturbed(gateway, tmp_path / "study", restart), paths)


def test_nothing_is_lost_and_nothing_is_stored_twice(gateway: Gateway, tmp_path: Path) -> None:
    folders = [tmp_path / f"study{number:02}" for number in range(UPLOADS)]
    expected: dict[str, str] = {}
    for number, folder in enumerate(folders):
        expected |= data_sets(small_study(folder, seed=1000 + number, slices=SLICES, rows=128))
    with Shooter(gateway, seed=2) as shooter:
        truths = hand_in_while_shot_at(gateway, folders, shooter)
        shooter.over.wait()
    assert shooter.hits >= 5, "the shots hit nobody at work"
    assert shooter.masters >= 1
    uploads = [truth["id"] for truth in truths]
    for upload in uploads:
        delivery = gateway.wait_verified(upload)["deliveries"][0]
        assert (delivery["stored"], delivery["verified"], delivery["refused"]) == (SLICES, SLICES, 0)
    kept = gateway.at_demo_pacs()
    assert {uid: kept.get(uid) for uid in expected} == expected
    assert gateway.stored_counts(*uploads) == {1}
    assert len(set(uploads)) == UPLOADS
