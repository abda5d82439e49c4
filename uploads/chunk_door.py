"""The door for octets: one chunk streams from the wire to its place in the pack, in constant memory.

Django and the database are asked before the first octet and after the last; in between no thread, no connection and no
more than a buffer is held, so a clinic at 20 KB/s costs next to nothing while it sends.
"""

import asyncio
import contextvars
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

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
from relaypacs.short_way import WIRE
from uploads.octets import PIECE, SILENCE_SECONDS, ClientGone, TooLong, Wire, take
from uploads.pipeline import intake
from uploads.storage import RangeBusy, lock_range, pack_of

DRAIN_AT_MOST = 64 * 1024**2  # so that a client that is still sending reads our refusal
DATABASE_THREADS = 4  # a chunk asks for milliseconds; more would only wait for each other
Result = TypeVar("Result")


@csrf_exempt  # the session door checks the token itself, as every API route does
@login_not_required  # answers 401, not a redirect to a page
async def chunk(request: HttpRequest, upload_id: uuid.UUID, index: int) -> HttpResponse:
    """`PUT /api/v1/uploads/{id}/chunks/{n}`: 204 when the octets are in the pack and their row is committed."""
    if request.method != "PUT":
        return not_allowed(request, "PUT")
    wire = Wire(_receive_of(request), length_of(request) or 0)
    try:
        await _take(request, upload_id, index, wire)
    except ClientGone:
        return HttpResponse(status=499)
    except Exception as error:
        refusal = answer(request, error)
        if refusal is None:
            raise
        await _drain(request, wire)
        return refusal
    return HttpResponse(status=204)


@dataclass(frozen=True)
class Place:
    """Where one chunk goes; its bytes are ours alone while the descriptor is open."""

    ticket: intake.Ticket
    fd: int
    known: str | None  # the digest it was acknowledged with before


async def _take(request: HttpRequest, upload_id: uuid.UUID, index: int, wire: Wire) -> None:
    with ExitStack() as held:
        place = await _with_database(request, partial(_begin, request, upload_id, index, held))
        ticket = place.ticket
        found = await _receive(wire, ticket, None if place.known else place.fd)
        if found != ticket.sha256:
            raise Rejected("digest_mismatch", f"Chunk {index} arrived damaged; please send it again.")
        if place.known:
            intake.refuse_other_bytes(ticket, place.known)
        else:
            await _with_database(request, partial(intake.acknowledge, ticket))
            metrics.chunk_bytes_total.inc(ticket.length)


def _begin(request: HttpRequest, upload_id: uuid.UUID, index: int, held: ExitStack) -> Place:
    """All that is asked before the first octet; the pack stays open, and the bytes locked, as long as `held` does."""
    ticket = intake.admit(
        caller(request), upload_id, index, length=length_of(request), digest=request.headers.get("Content-Digest", "")
    )
    try:
        fd = held.enter_context(pack_of(upload_id).open(write=True))
        lock_range(fd, ticket.offset, ticket.length)
    except RangeBusy:
        raise intake.busy() from None
    except FileNotFoundError:
        raise WrongState("wrong_state", "This upload takes no more data.") from None
    return Place(ticket, fd, intake.known_digest(ticket))


def length_of(request: HttpRequest) -> int | None:
    length = request.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and length.isascii() and len(length) < 19 else None


def caller(request: HttpRequest) -> User:
    """Who is asking, by the same authenticators as every other API route."""
    kinds: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    wrapped = Request(request, authenticators=[kind() for kind in kinds])
    if not isinstance(wrapped.user, User):
        raise NotAuthenticated
    return wrapped.user


async def _with_database(request: HttpRequest, work: Callable[[], Result]) -> Result:
    """Runs blocking work on a thread, and gives its connection back to the pool at once."""

    def run() -> Result:
        try:
            return work()
        finally:
            if not connection.in_atomic_block:
                connection.close()

    if _on_the_wire(request) is None:  # Django's own handler, which says on which thread
        return await sync_to_async(run)()
    context = contextvars.copy_context()  # so that log lines name the request
    return await asyncio.get_running_loop().run_in_executor(_database_threads(), context.run, run)


@cache
def _database_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="chunk-rows")


async def _receive(wire: Wire, ticket: intake.Ticket, fd: int | None) -> str:
    """Hashes the octets, and writes them at their place unless `fd` is None; their SHA-256."""
    try:
        taken, sha256 = await take(wire, ticket.offset, ticket.length, fd)
    except TooLong:
        raise Rejected("chunk_length", f"Chunk {ticket.index} is longer than its Content-Length.") from None
    if taken != ticket.length:
        raise Rejected("chunk_length", f"Chunk {ticket.index} ended early; please send it again.")
    return sha256


def _on_the_wire(request: HttpRequest) -> Any:
    """The channel on which the server left the body; None where Django has read it."""
    return getattr(request, "scope", {}).get(WIRE)


def _receive_of(request: HttpRequest) -> Callable[[], Awaitable[Any]]:
    async def read() -> Any:
        octets = await asyncio.to_thread(request.read, PIECE)
        return {"type": "http.request", "body": octets, "more_body": bool(octets)}

    return _on_the_wire(request) or read


async def _drain(request: HttpRequest, wire: Wire) -> None:
    """Reads what the client still sends, within bounds: else it would see a reset instead of our answer."""
    length = length_of(request)
    if length is None or length > DRAIN_AT_MOST or request.headers.get("Expect"):
        return
    until = time.monotonic() + SILENCE_SECONDS
    try:
        while await wire.piece():
            if time.monotonic() > until:
                return
    except (ClientGone, RelayError):
        return
