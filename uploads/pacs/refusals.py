"""What an HTTP status other than success says about the service: who can mend it, and when to come again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from uploads.pacs.errors import PeerError
from uploads.pacs.outcomes import Kind

LONGEST_WAIT = 3600.0
BUSY = (429, 503)

# RFC 9110 15.4 to 15.6. Only a person can mend what these name: an address, an account, a proxy.
BY_CONFIGURATION = {
    401: ("not_authorised", "The PACS does not let us in: name, password or token are missing or wrong."),
    403: ("not_authorised", "The PACS does not allow us to do this. Its administrator must."),
    404: ("no_such_service", "There is no such DICOMweb service at this address."),
    405: ("no_such_service", "The DICOMweb service at this address does not offer this."),
    407: ("proxy_not_authorised", "A proxy before the PACS does not let us through."),
    501: ("no_such_service", "The DICOMweb service at this address does not offer this."),
}
OF_THE_WORLD = {
    408: ("peer_busy", "The PACS was done waiting for the request."),
    502: ("peer_fault", "The gateway before the PACS does not reach it."),
    504: ("peer_fault", "The gateway before the PACS does not reach it in time."),
    507: ("out_of_resources", "The PACS is out of space."),
}


def refusal(status: int, headers: Mapping[str, str]) -> PeerError:
    """The error for an answer with this status; `headers` have names in lower case."""
    if status in BUSY:
        wait = retry_after(headers.get("retry-after", ""))
        return PeerError("peer_busy", f"The PACS is too busy just now ({status}).", retry_after=wait)
    if status in BY_CONFIGURATION:
        code, detail = BY_CONFIGURATION[status]
        return PeerError(code, f"{detail} ({status})", Kind.PAUSE)
    if status in OF_THE_WORLD:
        code, detail = OF_THE_WORLD[status]
        return PeerError(code, f"{detail} ({status})")
    if 300 <= status < 400:
        detail = f"The address leads on to another one ({status}). Enter the address of the service itself."
        return PeerError("redirected", detail, Kind.PAUSE)
    if status >= 500:
        return PeerError("peer_fault", f"The PACS failed inside ({status}).", bounded=True)
    return PeerError("request_refused", f"The PACS refuses the request ({status}).", bounded=True)


def retry_after(value: str) -> float | None:
    """Seconds to wait, at most an hour, from a Retry-After of seconds or of an HTTP date (RFC 9110 10.2.3)."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_WAIT)
