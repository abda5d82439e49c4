"""The kinds of error RelayPACS knows, by who can put it right.

The data is wrong: `Rejected`. The world is wrong and may mend: `TryLater`. The caller came at the wrong moment:
`WrongState`. The caller may not: `NotAllowed`. Anything else is our own fault and is left to crash.
"""

from collections.abc import Mapping
from typing import Any


class RelayError(Exception):
    """Something a person or a program can act on.

    Args:
        code: stable word of the contract, e.g. ``chunk_conflict``.
        detail: one sentence for a person, without patient data.
        status: HTTP status both doors answer with.
        extra: further members of the problem document (RFC 9457, section 3.2).
        retry_after: seconds after which trying again makes sense.
    """

    status = 500

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int | None = None,
        extra: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = self.status if status is None else status
        self.extra = dict(extra or {})
        self.retry_after = retry_after


class Rejected(RelayError):
    """The data is wrong; sending the same again will not help."""

    status = 400


class TryLater(RelayError):
    """The world is wrong (a disk, a broker, a PACS); the same may work later."""

    status = 503


class WrongState(RelayError):
    """The thing asked for does not fit the state the upload is in."""

    status = 409


class NotAllowed(RelayError):
    """The caller is known and may not do this."""

    status = 403


class NotFound(RelayError):
    """There is no such thing, or it is not the caller's to see."""

    status = 404

    def __init__(self, detail: str = "There is nothing here that you can see.", *, code: str = "not_found") -> None:
        super().__init__(code, detail)
