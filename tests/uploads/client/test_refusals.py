"""A final answer to one part ends the sending at once, however long the others were told to wait."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from uploads.client import ClientError
from uploads.client.chunks import ChunkSender
from uploads.client.local import LocalFile, Pack
from uploads.client.wire import Wire

pytestmark = pytest.mark.unit

CHUNK = 1000


class Gateway(http.server.BaseHTTPRequestHandler):
    """Refuses chunk 0 for good, and has no time for any other."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        first = self.path.endswith("/0")
        if first:
            time.sleep(0.3)  # when the others have been told to wait
        body = json.dumps({"code": "chunk_conflict" if first else "busy", "detail": "words"}).encode()
        self.send_response(409 if first else 503)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        if not first:
            self.send_header("Retry-After", "3600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_final_refusal_is_told_while_others_wait(address: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(4 * CHUNK))
    pack = Pack([LocalFile.of(tmp_path / "a", "a")])
    wire = Wire(address, token="any", patience=7200)
    truth = {
        "id": "x",
        "chunk_size": CHUNK,
        "total_size": 4 * CHUNK,
        "progress": {"received_bytes": 0, "missing": [[0, 3]]},
    }
    with pytest.raises(ClientError) as caught:
        ChunkSender(wire, pack, lambda done, total: None).run(truth)
    wire.close()
    assert caught.value.code == "chunk_conflict"
