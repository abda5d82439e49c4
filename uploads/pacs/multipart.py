"""multipart/related of DICOM files (RFC 2387, PS3.18 8.6.1): the octets around each part, and reading them back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from email.message import Message

DICOM = "application/dicom"
LONGEST_HEADER = 16_384
PART_HEADER = f"Content-Type: {DICOM}\r\n\r\n".encode("ascii")


class NotMultipart(ValueError):
    """The octets are not the multipart body that the answer's headers promise."""


class Frame:
    """The octets before, between and after the parts of one body."""

    def __init__(self) -> None:
        self.boundary = f"relaypacs{secrets.token_hex(16)}"
        self.content_type = f'multipart/related; type="{DICOM}"; boundary={self.boundary}'
        self.first = f"--{self.boundary}\r\n".encode("ascii") + PART_HEADER
        self.between = b"\r\n" + self.first
        self.end = f"\r\n--{self.boundary}--\r\n".encode("ascii")

    def before(self, index: int) -> bytes:
        """What stands before part `index`, counted from 0."""
        return self.between if index else self.first


def boundary_of(content_type: str) -> str | None:
    """The boundary of a multipart Content-Type; None where it is another type."""
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_maintype() != "multipart":
        return None
    return header.get_boundary("") or None


class Parts:
    """Reads a multipart body piece by piece; holds back no more than a header or a delimiter."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        self._waiting = bytearray(b"\r\n")  # so that the first delimiter looks like the others
        self._within = False
        self.count = 0
        """Parts begun so far."""
        self.ended = False

    def feed(self, octets: bytes) -> Iterator[bytes]:
        """The octets of parts that these complete; `count` says whose they are."""
        self._waiting += octets
        while not self.ended:
            if self._within:
                at = self._waiting.find(self._delimiter)
                length = at if at >= 0 else max(len(self._waiting) - len(self._delimiter) + 1, 0)
                if length:
                    yield bytes(self._waiting[:length])
                    del self._waiting[:length]
                if at < 0:
                    return
                self._within = False
            elif not self._begin_part():
                return

    def _begin_part(self) -> bool:
        """Past a delimiter and the headers behind it; false where they are not all there yet."""
        at = self._waiting.find(self._delimiter)
        after = at + len(self._delimiter)
        if at >= 0 and self._waiting[after : after + 2] == b"--":
            self.ended = True
            return True
        begin = self._waiting.find(b"\r\n\r\n", after) if at >= 0 else -1
        if begin < 0:
            if len(self._waiting) > LONGEST_HEADER:
                raise NotMultipart("a header does not end")
            return False
        del self._waiting[: begin + 4]
        self._within = True
        self.count += 1
        return True
