"""The chunk door over real sockets: clients that are silent, slow, gone, wrong about their length, or two at once."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.journeys.gateway import API, PATIENCE, Gateway, content_digest, open_upload, put, small_study

pytestmark = pytest.mark.integration

SIZE = 256 * 1024
HALF = SIZE // 2


class Line:
    """One connection that says what the test wants, when it wants."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        address = urlsplit(gateway.stack.base_url)
        self.host, self.token = f"{address.hostname}:{address.port}", token
        self.socket = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=PATIENCE)

    def close(self) -> None:
        self.socket.close()

    def head(self, upload: str, index: int, octets: bytes, *headers: str) -> None:
        """The head of a PUT with the digest of these octets; their number unless `headers` say something else."""
        told = headers or (f"Content-Length: {len(octets)}",)
        lines = [
            f"PUT {API}/uploads/{upload}/chunks/{index} HTTP/1.1",
            f"Host: {self.host}",
            f"Authorization: Bearer {self.token}",
            f"Content-Digest: {content_digest(octets)}",
            *told,
        ]
        self.say("\r\n".join([*lines, "", ""]).encode())

    def say(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def answer(self) -> tuple[int, str]:
        """Status and body of the next answer."""
        with self.socket.makefile("rb") as file:
            status = int(file.readline().split()[1])
            length = 0
            while (line := file.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            return status, file.read(length).decode()

    def is_waiting(self) -> bool:
        """The server has neither answered nor hung up."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False


@contextmanager
def line(gateway: Gateway) -> Iterator[Line]:
    one = Line(gateway, gateway.token())
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.http() as plain:
        yield plain


def octets_of(seed: int, size: int = SIZE) -> bytes:
    return random.Random(seed).randbytes(size)


def insist(http: httpx.Client, upload: str, index: int, octets: bytes) -> int:
    """Puts the chunk as a client does: where it is busy, again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = put(http, upload, index, octets)
        if answer.status_code != 409 or answer.json()["code"] != "chunk_busy" or time.monotonic() > deadline:
            return answer.status_code
        time.sleep(0.1)


def missing(http: httpx.Client, upload: str) -> list[list[int]]:
    found: list[list[int]] = http.get(f"/uploads/{upload}").json()["progress"]["missing"]
    return found


def test_two_hundred_slow_clients_do_not_keep_a_fast_one_from_finishing(
    gateway: Gateway, http: httpx.Client, tmp_path: Path
) -> None:
    small_study(tmp_path / "study", seed=600, slices=16, rows=512)
    upload = open_upload(http, {"slow": bytes(200 * SIZE)})["id"]
    token = gateway.token()
    with ExitStack() as open_lines:
        lines = [Line(gateway, token) for _ in range(200)]
        for index, slow in enumerate(lines):
            open_lines.callback(slow.close)
            slow.head(upload, index, bytes(SIZE))
            slow.say(bytes(1000))
        with dripping(lines[:100]), gateway.client(chunk_size=SIZE) as client:
            sent = client.send([tmp_path / "study"])
            assert sent.truth["state"] == "verified"
            assert [index for index, slow in enumerate(lines[:100]) if not slow.is_waiting()] == []


@contextmanager
def dripping(lines: list[Line]) -> Iterator[None]:
    """These say a little every second."""
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(1.0):
            for one in lines:
                one.say(bytes(100))

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_client_that_goes_in_mid_chunk_leaves_the_chunk_free(gateway: Gateway, http: httpx.Client) -> None:
    octets = octets_of(1)
    upload = open_upload(http, {"IM1": octets})["id"]
    with line(gateway) as gone:
        gone.head(upload, 0, octets)
        gone.say(octets[:HALF])
    assert missing(http, upload) == [[0, 0]]
    assert insist(http, upload, 0, octets) == 204
    assert missing(http, upload) == []
    assert gateway.pack(upload).read_bytes() == octets


def test_a_client_that_stops_in_mid_chunk_and_says_other_bytes_later_spoils_nothing(
    gateway: Gateway, http: httpx.Client
) -> None:
    octets = octets_of(2)
    upload = open_upload(http, {"IM1": octets})["id"]
    with line(gateway) as wrong:
        wrong.head(upload, 0, octets)
        wrong.say(octets[:HALF] + octets_of(3, HALF))
        status, body = wrong.answer()
    assert (status, "digest_mismatch" in body) == (400, True)
    assert missing(http, upload) == [[0, 0]]
    assert put(http, upload, 0, octets).status_code == 204
    assert gateway.pack(upload).read_bytes() == octets


@pytest.mark.parametrize("seed", range(6))
def test_of_two_writers_of_different_bytes_one_is_acknowledged_and_the_pack_is_his(
    gateway: Gateway, http: httpx.Client, seed: int
) -> None:
    chance = random.Random(seed)
    octets = {"first": octets_of(10 + seed), "second": octets_of(20 + seed)}
    upload = open_upload(http, {"IM1": octets["first"]})["id"]
    with line(gateway) as first, line(gateway) as second:
        lines = {"first": first, "second": second}
        for name in chance.sample(list(lines), 2):
            lines[name].head(upload, 0, octets[name])
        say_interleaved(lines, octets, chance)
        answers = {name: one.answer() for name, one in lines.items()}
    assert sorted(status for status, _ in answers.values()) == [204, 409], answers
    winner = next(name for name, (status, _) in answers.items() if status == 204)
    loser = next(name for name in answers if name != winner)
    assert '"chunk_busy"' in answers[loser][1] or '"chunk_conflict"' in answers[loser][1]
    assert gateway.pack(upload).read_bytes() == octets[winner]
    again = put(http, upload, 0, octets[loser])
    assert (again.status_code, again.json()["code"]) == (409, "chunk_conflict")
    assert put(http, upload, 0, octets[winner]).status_code == 204
    assert gateway.pack(upload).read_bytes() == octets[winner]


def say_interleaved(lines: dict[str, Line], octets: dict[str, bytes], chance: random.Random) -> None:
    """Both bodies, in pieces of random length in random order."""
    at = dict.fromkeys(lines, 0)
    while unfinished := [name for name in lines if at[name] < SIZE]:
        name = chance.choice(unfinished)
        end = at[name] + chance.randrange(1, SIZE // 4)
        lines[name].say(octets[name][at[name] : end])
        at[name] = min(end, SIZE)


def test_a_body_that_ends_early_is_not_acknowledged(gateway: Gateway, http: httpx.Client) -> None:
    octets = octets_of(30)
    upload = open_upload(http, {"IM1": octets})["id"]
    with line(gateway) as short:
        short.head(upload, 0, octets)
        short.say(octets[:-1])
        short.socket.shutdown(socket.SHUT_WR)
        short.socket.recv(1)
    assert missing(http, upload) == [[0, 0]]
    assert insist(http, upload, 0, octets) == 204


@pytest.mark.parametrize("declared", [SIZE - 1, SIZE + 1, 0])
def test_a_length_that_is_not_the_chunks_is_refused(gateway: Gateway, http: httpx.Client, declared: int) -> None:
    octets = octets_of(31, declared)
    upload = open_upload(http, {"IM1": octets_of(31)})["id"]
    with line(gateway) as wrong:
        wrong.head(upload, 0, octets)
        wrong.say(octets)
        status, body = wrong.answer()
    assert (status, '"chunk_length"' in body) == (400, True)
    assert missing(http, upload) == [[0, 0]]


def test_a_body_of_unknown_length_is_refused(gateway: Gateway, http: httpx.Client) -> None:
    octets = octets_of(32)
    upload = open_upload(http, {"IM1": octets})["id"]
    with line(gateway) as unsure:
        unsure.head(upload, 0, octets, "Transfer-Encoding: chunked")
        unsure.say(b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, octets))
        status, body = unsure.answer()
    assert (status, '"length_required"' in body) == (411, True)
    assert missing(http, upload) == [[0, 0]]


def test_what_comes_after_the_declared_length_reaches_no_pack(gateway: Gateway, http: httpx.Client) -> None:
    octets = octets_of(33, 2 * SIZE)
    upload = open_upload(http, {"IM1": octets})["id"]
    with line(gateway) as long:
        long.head(upload, 0, octets[:SIZE])
        long.say(octets[:SIZE] + b"\0" * 1000)
        assert long.answer()[0] == 204
    assert missing(http, upload) == [[1, 1]]
    assert gateway.pack(upload).read_bytes() == octets[:SIZE] + bytes(SIZE)
