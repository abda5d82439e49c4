"""The octets of a body: from the wire to their place in the pack in pieces, each hashed and written in one go."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from relaypacs.errors import RelayError
from uploads.storage import write_at

SILENCE_SECONDS = 30  # no octet for so long frees the chunk
SLOWEST = 4000  # bytes per second; who sends slower, if only in drips, does not keep a chunk for ever
PIECE = 512 * 1024
HOLD_SECONDS = 1.0  # what a slow client has sent for so long goes to the pack: 200 of them must not fill the memory
Octets = Sequence[bytes]


class ClientGone(Exception):
    """The client closed the connection before the last octet."""


class TooLong(Exception):
    """More octets came than there is room for."""


class Wire:
    """The body of one request, at the client's pace and within bounds.

    Args:
        receive: the ASGI channel it comes on.
        length: how many bytes were announced; with SLOWEST it says when patience ends.
    """

    def __init__(self, receive: Callable[[], Awaitable[Any]], length: int) -> None:
        self._receive = receive
        self._more = True
        self._ends_at = asyncio.get_running_loop().time() + SILENCE_SECONDS + length / SLOWEST

    async def piece(self) -> Octets:
        """The next octets, about PIECE bytes as they came; nothing at the end.

        Raises:
            RelayError: chunk_timeout. ClientGone.
        """
        try:
            async with asyncio.timeout(None) as patience:
                return await self._gather(patience)
        except TimeoutError:
            raise RelayError(
                "chunk_timeout", "The data comes too slowly; please send this part again.", status=408, retry_after=1
            ) from None

    async def _gather(self, patience: asyncio.Timeout) -> Octets:
        now = asyncio.get_running_loop().time
        held: list[bytes] = []
        size, enough_at = 0, now() + HOLD_SECONDS
        while self._more and size < PIECE and not (size and now() > enough_at):
            patience.reschedule(min(now() + SILENCE_SECONDS, self._ends_at))
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            self._more = message.get("more_body", False)
            if octets := message.get("body"):
                held.append(octets)
                size += len(octets)
        return held


async def take(wire: Wire, offset: int, length: int, fd: int | None) -> tuple[int, str]:
    """Writes the octets from `offset` on, unless `fd` is None; how many there were, and their SHA-256.

    One piece is hashed and written while the next comes in.

    Raises:
        TooLong, and what Wire.piece and write_at raise.
    """
    sha256 = hashlib.sha256()
    taken = 0
    under_way: asyncio.Future[None] | None = None
    try:
        while octets := await wire.piece():
            size = sum(map(len, octets))
            if taken + size > length:
                raise TooLong
            if under_way is not None:
                await under_way
            under_way = asyncio.get_running_loop().run_in_executor(_threads(), _put, sha256, octets, fd, offset + taken)
            taken += size
        if under_way is not None:
            await under_way
    finally:
        if under_way is not None and not under_way.done():
            await asyncio.wait([under_way])  # nothing may write once the caller has let go of the bytes
    return taken, sha256.hexdigest()


def _put(sha256: Any, octets: Octets, fd: int | None, offset: int) -> None:
    data = octets[0] if len(octets) == 1 else b"".join(octets)
    if fd is not None:
        write_at(fd, data, offset)
    sha256.update(data)


@cache
def _threads() -> ThreadPoolExecutor:
    """As many as there is work for: hashing keeps a core busy, and some wait for the disk."""
    return ThreadPoolExecutor((os.cpu_count() or 1) + 2, thread_name_prefix="octets")
