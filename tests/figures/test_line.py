"""The lean client of the measurements: whole bodies, in the right order, at the pace of the line."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.figures.line import Line, Pace, over_lines
from tests.figures.processes import RunFailed

pytestmark = pytest.mark.unit


class Echo(BaseHTTPRequestHandler):
    """Answers with the length and the last octet of what came; 404 for /nothing."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = f"[{len(body)}, {body[-1] if body else -1}]".encode()
        self.send_response(404 if self.path == "/nothing" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_span_of_the_file_arrives_whole(port: int, tmp_path: Path) -> None:
    path = tmp_path / "pack"
    path.write_bytes(bytes(range(200)) * 1000)
    with path.open("rb") as file:
        spans = [(file.fileno(), start, 1001) for start in range(0, 20_000, 1000)]
        jobs = [lambda line, span=span: line.send("PUT", "/", span) for span in spans]
        answers = over_lines(port, jobs, connections=4)
    assert sorted(answers) == sorted([1001, (start + 1000) % 200] for start in range(0, 20_000, 1000))


def test_a_refusal_ends_it(port: int) -> None:
    with Line(port) as line, pytest.raises(RunFailed, match="404"):
        line.ask("PUT", "/nothing")


def test_a_pace_is_kept_by_all_who_share_it() -> None:
    pace = Pace(1_000_000)
    began = time.monotonic()
    for _ in range(4):
        pace.take(25_000)
    assert time.monotonic() - began >= 0.09
