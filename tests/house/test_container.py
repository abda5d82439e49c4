"""What a container becomes, and how it says that it is well."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.house.conftest import Run, StandIn

pytestmark = pytest.mark.unit

PARTS = [
    ([], "-m granian --interface asgi", "relaypacs.asgi:application"),
    (["web"], "--host 0.0.0.0 --port 8000 --workers 2", "relaypacs.asgi:application"),
    (["worker"], "-m celery -A relaypacs worker", "-Q interactive,early,delivery,rendering,maintenance"),
    (["worker", "delivery"], "-m celery -A relaypacs worker", "-Q delivery "),
    (["beat"], "-m celery -A relaypacs beat", "--schedule /tmp/beat-schedule"),
    (["migrate"], "manage.py migrate", "--noinput"),
    (["add_destination", "archive", "dicom://A@b:104"], "manage.py", "add_destination archive dicom://A@b:104"),
]


@pytest.mark.parametrize(("words", "first", "second"), PARTS)
def test_it_becomes_the_part_it_was_asked_to_be(
    run: Run, stand_in: StandIn, tmp_path: object, words: list[str], first: str, second: str
) -> None:
    environment = stand_in("python", 'echo "$* "') | {"HOST": "0.0.0.0", "PORT": "8000"}
    environment["PROMETHEUS_MULTIPROC_DIR"] = f"{tmp_path}/metrics"
    done = run("deploy/entrypoint.sh", *words, env=environment)
    assert done.returncode == 0
    assert first in done.stdout
    assert second in done.stdout


def test_a_worker_asked_to_stop_finishes_what_it_can(run: Run, stand_in: StandIn) -> None:
    done = run("deploy/entrypoint.sh", "worker", env=stand_in("python", 'echo "TERM means $REMAP_SIGTERM"'))
    assert done.stdout == "TERM means SIGQUIT\n"


class Health(BaseHTTPRequestHandler):
    """A web server that is well, for those who call it by a name it allows."""

    status = 200

    def do_GET(self) -> None:
        allowed = self.headers["Host"] == "relay.example.org" and self.path == "/health"
        self.send_response(self.status if allowed else 400)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing: the test is told by the exit code."""


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def check(run: Run, python: str, port: int) -> int:
    names = {"ALLOWED_HOSTS": "relay.example.org,localhost", "PORT": str(port)}
    code = "import runpy, sys; from pathlib import Path; Path.read_bytes = lambda self: b'python -m granian'; "
    return run(
        python, "-c", code + "runpy.run_path('deploy/healthcheck.py', run_name='__main__')", env=names
    ).returncode


def test_it_is_well_when_the_site_says_so(run: Run, port: int) -> None:
    assert check(run, "python3", port) == 0


def test_it_is_not_well_when_the_site_cannot_serve(run: Run, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Health, "status", 503)
    assert check(run, "python3", port) == 1


def test_it_is_not_well_when_nobody_answers(run: Run) -> None:
    server = HTTPServer(("127.0.0.1", 0), Health)
    free = server.server_port
    server.server_close()
    assert check(run, "python3", free) == 1
