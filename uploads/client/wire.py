"""Requests that get through: tokens renewed, bad lines waited out, the server's own waits kept."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from relaypacs.errors import RelayError

API = "/api/v1"
TRIES = 12  # with the waits below, about five minutes of a line or a server that is away
LONGEST_WAIT = 60.0
PASSING = frozenset({408, 425, 429, 499, 502, 503, 504, 507})
PASSING_CODES = frozenset({"chunk_busy"})


class ClientError(RelayError):
    """What the server refused, or what went wrong on this side; `code` is the contract's where the server said it."""


class Wire:
    """One person's connection to one gateway. Safe to use from several threads."""

    def __init__(self, base_url: str, *, username: str = "", password: str = "", token: str = "") -> None:
        limits = httpx.Limits(max_connections=16, max_keepalive_connections=8)
        self._http = httpx.Client(base_url=base_url, timeout=httpx.Timeout(60, connect=10), limits=limits)
        self._username, self._password = username, password
        self._access, self._refresh = token, ""
        self._lock = threading.Lock()

    def close(self) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: Callable[[], Iterator[bytes]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Sends until an answer counts: passing troubles are waited out, a stale token is renewed.

        Args:
            content: makes the body anew for every try.

        Raises:
            ClientError: with the server's code, or `unreachable`.
        """
        renewed = 0
        for attempt in range(1, TRIES + 1):
            token = self._token()
            try:
                response = self._send(method, path, token, json, content, headers)
            except httpx.TransportError as error:
                if attempt == TRIES:
                    raise ClientError(
                        "unreachable", f"The gateway cannot be reached: {type(error).__name__}."
                    ) from error
                time.sleep(wait_before(attempt))
                continue
            if response.status_code == 401 and renewed < 2 and self._can_log_in():
                renewed += 1
                self._renew(token)
            elif attempt < TRIES and passes(response):
                time.sleep(wait_before(attempt, response))
            else:
                return checked(response)
        raise ClientError("unreachable", "The gateway did not answer for long enough to give up.")

    def _send(
        self,
        method: str,
        path: str,
        token: str,
        json: Any,
        content: Callable[[], Iterator[bytes]] | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        own = {"Authorization": f"Bearer {token}", **(headers or {})}
        body = content() if content is not None else None
        return self._http.request(method, API + path, json=json, content=body, headers=own)

    def stream(self, path: str) -> Iterator[str]:
        """The lines of a long answer, as they come; ends when the server or the line does."""
        headers = {"Authorization": f"Bearer {self._token()}"}
        with self._http.stream("GET", API + path, headers=headers, timeout=httpx.Timeout(30, connect=10)) as response:
            if response.status_code != 200:
                response.read()
                checked(response)
            yield from response.iter_lines()

    def _can_log_in(self) -> bool:
        return bool(self._refresh or self._username)

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
            if self._refresh:
                response = self._post("/auth/refresh", {"refresh_token": self._refresh})
                self._refresh = ""
                if response.status_code == 200:
                    self._keep(response)
                    return
            self._log_in()

    def _log_in(self) -> None:
        if not self._username:
            raise ClientError("token_invalid", "This token is not valid any more.", status=401)
        for attempt in range(1, TRIES + 1):
            response = self._post("/auth/login", {"username": self._username, "password": self._password})
            if attempt < TRIES and passes(response):
                time.sleep(wait_before(attempt, response))
                continue
            self._keep(checked(response))
            return

    def _post(self, path: str, body: Mapping[str, str]) -> httpx.Response:
        for attempt in range(1, TRIES + 1):
            try:
                return self._http.post(API + path, json=body)
            except httpx.TransportError as error:
                if attempt == TRIES:
                    raise ClientError(
                        "unreachable", f"The gateway cannot be reached: {type(error).__name__}."
                    ) from error
                time.sleep(wait_before(attempt))
        raise ClientError("unreachable", "The gateway cannot be reached.")

    def _keep(self, response: httpx.Response) -> None:
        body = response.json()
        self._access, self._refresh = body["access_token"], body["refresh_token"]


def passes(response: httpx.Response) -> bool:
    """Will the same request do better later?"""
    return response.status_code in PASSING or code_of(response) in PASSING_CODES


def wait_before(attempt: int, response: httpx.Response | None = None) -> float:
    """Seconds: what the server asked for, else exponential with jitter."""
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    if asked.isdigit():
        return min(LONGEST_WAIT, float(asked)) + random.uniform(0, 0.5)  # nosec B311
    return float(min(LONGEST_WAIT, 0.5 * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))  # nosec B311


def code_of(response: httpx.Response) -> str:
    if "problem+json" not in response.headers.get("Content-Type", ""):
        return ""
    return str(response.json().get("code", ""))


def checked(response: httpx.Response) -> httpx.Response:
    """The answer, or what it refuses as a ClientError."""
    if response.is_success:
        return response
    problem: dict[str, Any] = {}
    if "json" in response.headers.get("Content-Type", ""):
        problem = response.json()
    raise ClientError(
        str(problem.get("code", "unexpected_answer")),
        str(problem.get("detail", f"The gateway answered {response.status_code}.")),
        status=response.status_code,
        extra=problem,
    )
