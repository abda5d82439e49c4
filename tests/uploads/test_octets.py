"""The octets of a body: in pieces to their place, at the client's pace, and within bounds."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from relaypacs.errors import RelayError
from uploads import octets, storage
from uploads.octets import ClientGone, TooLong, Wire, take

pytestmark = pytest.mark.unit

Receive = Callable[[], Awaitable[Any]]


def channel(bodies: Iterable[bytes], *, every: float = 0.0) -> Receive:
    """An ASGI channel on which these come, and then no more."""
    left = [*({"type": "http.request", "body": body, "more_body": True} for body in bodies), {"type": "http.request"}]

    async def receive() -> Any:
        await asyncio.sleep(every)
        return left.pop(0)

    return receive


def taken(receive: Receive, *, length: int, path: Path | None = None, offset: int = 0) -> tuple[int, str]:
    fd = None if path is None else os.open(path, os.O_RDWR | os.O_CREAT)

    async def run() -> tuple[int, str]:
        return await take(Wire(receive, length), offset, length, fd)

    try:
        return asyncio.run(run())
    finally:
        if fd is not None:
            os.close(fd)


@pytest.mark.parametrize("size", [1, 1000, 417_792, octets.PIECE, 3 * octets.PIECE + 1])
def test_octets_of_any_size_of_message_come_to_their_place_and_are_hashed(tmp_path: Path, size: int) -> None:
    body = os.urandom(4 * octets.PIECE + 123 if size > 1 else 5000)
    bodies = [body[at : at + size] for at in range(0, len(body), size)]
    found = taken(channel(bodies), length=len(body), path=tmp_path / "pack", offset=10)
    assert found == (len(body), hashlib.sha256(body).hexdigest())
    assert (tmp_path / "pack").read_bytes() == bytes(10) + body


def test_octets_without_a_place_are_hashed_alone() -> None:
    assert taken(channel([b"abc", b"", b"def"]), length=6) == (6, hashlib.sha256(b"abcdef").hexdigest())


def test_octets_beyond_the_length_are_refused_and_do_not_reach_the_pack(tmp_path: Path) -> None:
    with pytest.raises(TooLong):
        taken(channel([bytes(octets.PIECE), bytes(2)]), length=octets.PIECE + 1, path=tmp_path / "pack")
    assert (tmp_path / "pack").stat().st_size <= octets.PIECE


def test_a_client_that_is_gone_is_told_apart_from_one_that_has_ended() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        taken(receive, length=6)


def test_nothing_is_written_once_the_caller_has_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range lock goes with the descriptor: a write still under way would fall into another writer's chunk."""
    written: list[int] = []
    write_at = storage.write_at

    def write_slowly(fd: int, data: bytes, offset: int) -> None:
        asyncio.run(asyncio.sleep(0.2))
        write_at(fd, data, offset)
        written.append(offset)

    monkeypatch.setattr(octets, "write_at", write_slowly)
    left = [{"type": "http.request", "body": bytes(octets.PIECE), "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return left.pop(0)

    with pytest.raises(ClientGone):
        taken(receive, length=3 * octets.PIECE, path=tmp_path / "pack")
    assert written == [0]


def refused(receive: Receive, *, length: int) -> str:
    with pytest.raises(RelayError) as caught:
        taken(receive, length=length)
    assert (caught.value.status, caught.value.retry_after) == (408, 1)
    return caught.value.code


def test_silence_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octets, "SILENCE_SECONDS", 0.2)
    assert refused(channel([b"abc"], every=5.0), length=100) == "chunk_timeout"


def test_drips_that_never_fall_silent_end_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octets, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(octets, "SLOWEST", 1000)
    assert refused(channel([b"x"] * 1000, every=0.05), length=1000) == "chunk_timeout"


def test_a_slow_client_above_the_slowest_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octets, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(octets, "SLOWEST", 10)
    assert taken(channel([b"x" * 10] * 20, every=0.1), length=200)[0] == 200


def test_what_a_slow_client_sent_does_not_wait_for_a_whole_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octets, "HOLD_SECONDS", 0.05)

    async def first_piece() -> int:
        return sum(map(len, await Wire(channel([b"x" * 10] * 4, every=0.1), 40).piece()))

    assert asyncio.run(first_piece()) < 40
