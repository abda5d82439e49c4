"""Requests that get through: tokens renewed, bad lines waited out, the server's own waits kept."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from relaypacs.errors import RelayError

API = "/api/v1"
PATIENCE_SECONDS = 600.0  # how long one request is tried again before giving up
FIRST_CONTACT_SECONDS = 15.0  # the same while the gateway has never answered: rather a wrong address than a bad line
LONGEST_WAIT = 60.0
TIMEOUT = httpx.Timeout(60, connect=10)
SEALING = httpx.Timeout(300, connect=10)  # a gateway may assemble and validate before it answers
QUIET = httpx.Timeout(30, connect=10)  # a stream of events speaks at least every 20 s
PASSING = frozenset({408, 425, 429, 502, 503, 504})
PASSING_CODES = frozenset({"chunk_busy"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class ClientError(RelayError):
    """What the server refused, or what went wrong on this side; `code` is the contract's where the server said it."""


class Wire:
    """One person's connection to one gateway. Safe to use from several threads."""

    def __init__(
        self,
        base_url: str,
        *,
        username: str = "",
        password: str = "",
        token: str = "",
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ClientError("bad_address", "The gateway's address must begin with https:// or http://.")
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=16)
        # a proxy of the environment is no way to this machine itself
        trust_env = address.hostname not in LOOPBACK
        self._http = httpx.Client(base_url=base_url.rstrip("/"), timeout=TIMEOUT, limits=limits, trust_env=trust_env)
        self._username, self._password = username, password
        self._access, self._refresh = token, ""
        self._lock = threading.Lock()
        self._patience, self._reached = patience, False
        self._stopping = threading.Event()

    def close(self) -> None:
        self._http.close()

    def stop(self) -> None:
        """Every request under way, and every wait, ends with ClientError `stopped`."""
        self._stopping.set()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | bytearray | memoryview | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        ended: threading.Event | None = None,
    ) -> httpx.Response:
        """Sends until an answer counts: passing troubles are waited out, a stale token is renewed.

        Args:
            ended: set when the answer is of no use any more; nothing is waited for then.

        Raises:
            ClientError: with the server's code, or `unreachable`, `stopped`.
        """
        token = ""

        def attempt() -> httpx.Response:
            nonlocal token
            token = self._token()
            own = {"Authorization": f"Bearer {token}", **(headers or {})}
            body = None if content is None else self._pieces(memoryview(content))
            return self._http.request(method, API + path, json=json, content=body, headers=own, timeout=timeout)

        response = self._insist(attempt, ended)
        for _ in range(2):  # by the refresh token, and should the new one be stale as well, by logging in
            if response.status_code != 401 or not self._can_renew():
                break
            self._renew(token)
            response = self._insist(attempt, ended)
        return checked(response)

    def stream(self, path: str) -> Iterator[str]:
        """The lines of a long answer, as they come; ends when the server or the line does. Not tried again."""
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "text/event-stream"}
        with self._http.stream("GET", API + path, headers=headers, timeout=QUIET) as response:
            if response.status_code != 200:
                response.read()
                checked(response)
            for line in response.iter_lines():
                self._go_on()
                yield line

    def pause(self, seconds: float) -> None:
        """Waits; ClientError `stopped` when that is asked for meanwhile."""
        self._stopping.wait(seconds)
        self._go_on()

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise ClientError("stopped", "Sending was stopped; the same again goes on from here.")

    def _pieces(self, body: memoryview) -> Iterator[bytes]:
        """Small pieces, so that a stop need not wait for a long body on a slow line."""
        for start in range(0, len(body), 65536):
            self._go_on()
            yield bytes(body[start : start + 65536])

    def _insist(self, attempt: Callable[[], httpx.Response], ended: threading.Event | None = None) -> httpx.Response:
        """The first answer that trying again would not better; the last one when patience has run out."""
        began, failures = time.monotonic(), 0
        while True:
            self._go_on()
            response: httpx.Response | None = None
            trouble: httpx.TransportError | None = None
            try:
                response = attempt()
                self._reached = True
            except httpx.TransportError as error:
                trouble = error
            if response is not None and not passes(response):
                return response
            failures += 1
            wait = wait_before(failures, response)
            if time.monotonic() - began + wait > (self._patience if self._reached else FIRST_CONTACT_SECONDS):
                if response is not None:
                    return response
                raise ClientError(
                    "unreachable", f"The gateway cannot be reached: {type(trouble).__name__}."
                ) from trouble
            self._wait(wait, ended)

    def _wait(self, seconds: float, ended: threading.Event | None) -> None:
        """In short steps, so that neither a stop nor another line's final answer waits for a long Retry-After."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.pause(min(left, 0.5))
            if ended is not None and ended.is_set():
                raise ClientError("stopped", "Another part of the upload was refused.")

    def _can_renew(self) -> bool:
        return bool(self._refresh or (self._username and self._password))

    def _token(self) -> str:
        with self._lock:
            if not self._access:
                self._log_in()
            return self._access

    def _renew(self, stale: str) -> None:
        """Once for all threads that found the same token stale."""
        with self._lock:
            if self._access != stale:
                return
            refresh, self._refresh = self._refresh, ""
            if refresh and self._keep(self._post("/auth/refresh", {"refresh_token": refresh})):
                return
            self._log_in()

    def _log_in(self) -> None:
        if not (self._username and self._password):
            raise ClientError("token_invalid", "This token is not valid any more.", status=401)
        response = self._post("/auth/login", {"username": self._username, "password": self._password})
        if not self._keep(response):
            checked(response)

    def _post(self, path: str, body: Mapping[str, str]) -> httpx.Response:
        return self._insist(lambda: self._http.post(API + path, json=body))

    def _keep(self, response: httpx.Response) -> bool:
        if response.status_code == 200:
            body = response.json()
            self._access, self._refresh = body["access_token"], body["refresh_token"]
        return response.status_code == 200


def passes(response: httpx.Response) -> bool:
    """Will the same request do better soon? A full disk only where the server says when; a lock-out never."""
    if response.status_code == 507:
        return "Retry-After" in response.headers
    code = code_of(response)
    return code in PASSING_CODES or (response.status_code in PASSING and code != "locked_out")


def wait_before(attempt: int, response: httpx.Response | None = None) -> float:
    """Seconds: what the server asked for, else exponential with jitter."""
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    if asked.isdigit():
        return float(asked) + random.uniform(0, 0.5)  # nosec B311
    return float(min(LONGEST_WAIT, 0.5 * 2 ** min(attempt - 1, 10)) * random.uniform(0.5, 1.0))  # nosec B311


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """The problem document (RFC 9457) of an answer, if it has one."""
    if "json" not in response.headers.get("Content-Type", ""):
        return {}
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def code_of(response: httpx.Response) -> str:
    return "" if response.is_success else str(problem_of(response).get("code", ""))


def checked(response: httpx.Response) -> httpx.Response:
    """The answer, or what it refuses as a ClientError."""
    if response.is_success:
        return response
    problem = problem_of(response)
    raise ClientError(
        str(problem.get("code", "unexpected_answer")),
        str(problem.get("detail", f"The gateway answered {response.status_code}.")),
        status=response.status_code,
        extra=problem,
    )
