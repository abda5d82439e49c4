"""A real web server on the test database, workers, and a study to hand in."""

import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection

from accounts.models import Role, User
from relaypacs.demo import phantom
from tests import factories
from tests.handin import make_due, work
from tests.loopback import LOOPBACK, free_port, wait_until
from tests.scripted import ScriptedSCP, scripted_scp

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Gateway:
    port: int
    process: subprocess.Popen[bytes]
    packs: Path

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("the web server ended")
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/auth/me", timeout=5) as answer:
                return bool(answer.status)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def test_database_url() -> str:
    one = connection.settings_dict
    login = quote(one["USER"]) + (f":{quote(one['PASSWORD'])}" if one["PASSWORD"] else "")
    port = f":{one['PORT']}" if one["PORT"] else ""
    return f"postgresql://{login}@{quote(one['HOST'], safe='')}{port}/{quote(one['NAME'])}"


test_database_url.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    packs, port = tmp_path_factory.mktemp("packs"), free_port()
    own = {
        "DATABASE_URL": test_database_url(),
        "STORAGE_URL": packs.as_uri(),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "LOG_LEVEL": "ERROR",
    }
    environment = {k: v for k, v in os.environ.items() if k != "MIGRATION_DATABASE_URL"} | own
    options = ["--interface", "asgi", "--host", LOOPBACK, "--port", str(port), "--log-level", "error"]
    command = [sys.executable, "-m", "granian", *options, "relaypacs.asgi:application"]
    gateway = Gateway(port, subprocess.Popen(command, cwd=ROOT, env=environment), packs)
    try:
        wait_until(gateway.answers, "the start of the web server", seconds=60)
        yield gateway
    finally:
        gateway.process.terminate()
        gateway.process.wait(20)


@pytest.fixture
def gateway(web: Gateway, transactional_db: None, settings: Any) -> Gateway:
    """The web server, with the packs where the workers of this process look for them."""
    settings.STORAGE_ROOT = web.packs
    return web


@pytest.fixture
def sender(gateway: Gateway) -> User:
    return factories.person(Role.RADIOGRAPHER)


@pytest.fixture
def pacs(gateway: Gateway) -> Iterator[ScriptedSCP]:
    with scripted_scp() as scp:
        factories.DestinationFactory.create(name="PACS", url=f"dicom://{scp.ae}@{LOOPBACK}:{scp.port}")
        yield scp


@pytest.fixture
def workers(gateway: Gateway) -> Iterator[None]:
    """The legs, in a thread, for as long as the test lasts."""
    stop = threading.Event()

    def run() -> None:
        try:
            while not stop.wait(0.1):
                make_due()
                work(printing=True)
        finally:
            connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join(30)


@pytest.fixture(scope="session")
def phantom_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "study"
    phantom.write_sample(folder)
    return folder


@pytest.fixture
def study(phantom_study: Path, tmp_path: Path) -> Path:
    """24 slices, 3.2 MB, that a test may spoil."""
    return Path(shutil.copytree(phantom_study, tmp_path / "study"))
