"""The door for octets: one chunk streams from the wire to its place in the pack, in constant memory.

Django and the database are asked before the first octet and after the last; in between no thread, no connection and no
more than a buffer is held, so a clinic at 20 KB/s costs next to nothing while it sends.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.settings import api_settings

from accounts.models import User
from relaypacs import metrics
from relaypacs.errors import Rejected, RelayError, WrongState
from relaypacs.problems import answer, not_allowed
from uploads.pipeline import intake
from uploads.storage import RangeBusy, lock_range, pack_of, write_at

SILENCE_SECONDS = 30  # no octet for so long frees the chunk
BUFFER = 512 * 1024
DRAIN_AT_MOST = 64 * 1024**2  # so that a client that is still sending reads our refusal


class ClientGone(Exception):
    """The client closed the connection before the last octet."""


@csrf_exempt  # the session door checks the token itself, as every API route does
@login_not_required  # answers 401, not a redirect to a page
async def chunk(request: HttpRequest, upload_id: uuid.UUID, index: int) -> HttpResponse:
    """`PUT /api/v1/uploads/{id}/chunks/{n}`: 204 when the octets are in the pack and their row is committed."""
    if request.method != "PUT":
        return not_allowed(request, "PUT")
    octets = _octets(request)
    try:
        await _take(request, upload_id, index, octets)
    except ClientGone:
        return HttpResponse(status=499)
    except Exception as error:
        refusal = answer(request, error)
        if refusal is None:
            raise
        await _drain(request, octets)
        return refusal
    return HttpResponse(status=204)


async def _take(request: HttpRequest, upload_id: uuid.UUID, index: int, octets: AsyncIterator[bytes]) -> None:
    ticket = await _with_database(_admit, request, upload_id, index)
    try:
        with pack_of(upload_id).open(write=True) as fd:
            lock_range(fd, ticket.offset, ticket.length)
            known = await _with_database(intake.known_digest, ticket)
            found = await _receive(octets, ticket, None if known else fd)
            if found != ticket.sha256:
                raise Rejected("digest_mismatch", f"Chunk {index} arrived damaged; please send it again.")
            if known:
                intake.refuse_other_bytes(ticket, known)
            else:
                await _with_database(intake.acknowledge, ticket)
                metrics.chunk_bytes_total.inc(ticket.length)
    except RangeBusy:
        raise intake.busy() from None
    except FileNotFoundError:
        raise WrongState("wrong_state", "This upload takes no more data.") from None


def _admit(request: HttpRequest, upload_id: uuid.UUID, index: int) -> intake.Ticket:
    length = request.headers.get("Content-Length", "")
    return intake.admit(
        caller(request),
        upload_id,
        index,
        length=int(length) if length.isdecimal() else None,
        digest=request.headers.get("Content-Digest", ""),
    )


def caller(request: HttpRequest) -> User:
    """Who is asking, by the same authenticators as every other API route."""
    kinds: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    wrapped = Request(request, authenticators=[kind() for kind in kinds])
    if not isinstance(wrapped.user, User):
        raise NotAuthenticated
    return wrapped.user


async def _with_database(work: Any, *args: Any) -> Any:
    """Runs blocking work on this request's thread, and gives its connection back to the pool at once."""

    def run() -> Any:
        try:
            return work(*args)
        finally:
            if not connection.in_atomic_block:
                connection.close()

    return await sync_to_async(run)()


async def _receive(octets: AsyncIterator[bytes], ticket: intake.Ticket, fd: int | None) -> str:
    """Hashes the octets, and writes them at their place unless `fd` is None; their SHA-256."""
    sha256 = hashlib.sha256()
    offset = ticket.offset
    async for data in octets:
        if offset + len(data) > ticket.offset + ticket.length:
            raise Rejected("chunk_length", f"Chunk {ticket.index} is longer than its Content-Length.")
        await asyncio.to_thread(_put, sha256, data, fd, offset)
        offset += len(data)
    if offset != ticket.offset + ticket.length:
        raise Rejected("chunk_length", f"Chunk {ticket.index} ended early; please send it again.")
    return sha256.hexdigest()


def _put(sha256: Any, data: bytes, fd: int | None, offset: int) -> None:
    if fd is not None:
        write_at(fd, data, offset)
    sha256.update(data)


async def _octets(request: HttpRequest) -> AsyncIterator[bytes]:
    """The body in pieces of about BUFFER bytes, from the wire where the server left it there (relaypacs.asgi)."""
    receive = getattr(request, "scope", {}).get("relaypacs.receive")
    if receive is None:
        while data := await asyncio.to_thread(request.read, BUFFER):
            yield data
        return
    held: list[bytes] = []
    size, more = 0, True
    while more:
        message = await _next_message(receive)
        piece, more = message.get("body", b""), message.get("more_body", False)
        if piece:
            held.append(piece)
            size += len(piece)
        if size >= BUFFER or (size and not more):
            yield b"".join(held)
            held, size = [], 0


async def _next_message(receive: Any) -> Any:
    try:
        message = await asyncio.wait_for(receive(), SILENCE_SECONDS)
    except TimeoutError:
        raise RelayError(
            "chunk_timeout", "No data came for 30 seconds; please send this part again.", status=408, retry_after=1
        ) from None
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


async def _drain(request: HttpRequest, octets: AsyncIterator[bytes]) -> None:
    """Reads what the client still sends, within bounds: else it would see a reset instead of our answer."""
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal() or int(length) > DRAIN_AT_MOST or request.headers.get("Expect"):
        return
    until = time.monotonic() + SILENCE_SECONDS
    try:
        async for _ in octets:
            if time.monotonic() > until:
                return
    except (ClientGone, RelayError):
        return
