"""Compressed instances as Explicit VR Little Endian, decoded behind the fence (domain rule S6).

Nothing is ever compressed, no lossy image is coded anew, and the instance keeps its UID: the Standard asks for a new
one where pixels lose something, which decoding does not do (PS3.4, B.4; PS3.3, C.7.6.1.1.5).
"""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from uploads.dicom.confined import Confined, Lost
from uploads.dicom.uids import ROOT

EXPLICIT: Final = ROOT + "1.2.1"
_JPEG: Final = tuple(f"1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203))
DECODABLE: Final = frozenset(ROOT + tail for tail in ("1.2.1.99", "1.2.5", *_JPEG))
SENTENCES: Final[dict[str, str]] = {
    "syntax_undecodable": "Images in this compression cannot be decoded here; the PACS must take them as they are.",
    "image_undecodable": "The image could not be decoded, so it was not sent decoded; have it exported uncompressed.",
    "frames_missing": "The image holds fewer frames than it says, so it was not sent decoded.",
    "colour_unsupported": "The colours of the image cannot be told for sure once it is decoded, so it was not sent.",
    "signed": "The image carries a digital signature, which would not hold for its decoded form.",
    "no_compressed_pixels": "The image holds no compressed pixels that could be decoded.",
    "too_large": "The image is too large to be decoded here.",
    "decoder_lost": "Decoding the image took more than any real image needs and was stopped.",
}
_NO_SPACE: Final = "no_space"


class TranscodeFailed(Exception):
    """The instance cannot be sent decoded; `code` is one of SENTENCES, `detail` its sentence."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = SENTENCES[code]


class NoSpace(OSError):
    """The disk was full. Nothing is known of the instance; try again once there is room."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What the child may use: bytes of address space and of one file; seconds of processor and of clock per frame."""

    memory: int = 2 * 1024**3
    written: int = 4 * 1024**3 + 64 * 1024**2
    cpu_seconds: int = 60
    wall_seconds: float = 120.0
    start_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """One data set in a pack: its span in bytes, and its transfer syntax."""

    offset: int
    size: int
    transfer_syntax_uid: str


def _nothing() -> None:
    return None


class Transcoder:
    """Decodes data sets of one pack, one after the other; a context manager, because a child runs meanwhile."""

    def __init__(self, pack: Path, *, limits: DecodeLimits | None = None) -> None:
        self._limits = limits or DecodeLimits()
        self._pack = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)
        self._child: tuple[Confined, socket.socket] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end()
        os.close(self._pack)

    def write(self, encoded: Encoded, target: int, *, on_frame: Callable[[], None] = _nothing) -> None:
        """Append the decoded data set to the file open at `target`, as Explicit VR Little Endian.

        `on_frame` is called as frames come; what it raises ends the work. Raises TranscodeFailed; NoSpace; and
        FenceFailed where no child could be started. After any of them what stands in the file is of no use. A child
        that is lost gets one successor: it may have been killed from outside.
        """
        if encoded.transfer_syntax_uid not in DECODABLE:
            raise TranscodeFailed("syntax_undecodable")
        start = os.lseek(target, 0, os.SEEK_CUR)
        for last in (False, True):
            try:
                self._ask(encoded, target)
                self._hear(on_frame)
                return
            except Lost as lost:
                self._end()
                if last:
                    raise TranscodeFailed("decoder_lost") from lost
                os.ftruncate(target, start)
                os.lseek(target, start, os.SEEK_SET)
            except TranscodeFailed:
                raise
            except BaseException:
                self._end()
                raise

    def _ask(self, encoded: Encoded, target: int) -> None:
        _, channel = self._child = self._child or self._start()
        job = json.dumps((encoded.offset, encoded.size, encoded.transfer_syntax_uid)).encode("ascii")
        try:
            socket.send_fds(channel, [job], [target])
        except OSError as error:
            raise Lost from error

    def _start(self) -> tuple[Confined, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        limits = self._limits
        arguments = [str(number) for number in (self._pack, limits.memory, limits.written, limits.cpu_seconds)]
        try:
            with theirs:
                child = Confined(
                    "uploads.dicom.decoder",
                    arguments,
                    pass_fds=(self._pack,),
                    start_seconds=limits.start_seconds,
                    stdin=theirs.fileno(),
                )
        except BaseException:
            ours.close()
            raise
        return child, ours

    def _hear(self, on_frame: Callable[[], None]) -> None:
        if self._child is None:
            raise Lost
        child, _ = self._child
        while (line := child.line(self._limits.wall_seconds)) == b"frame":
            on_frame()
        if line == b"done":
            return
        code = line.removeprefix(b"failed ").decode("ascii", "replace")
        if code == _NO_SPACE:
            raise NoSpace("no room for a decoded image")
        if code not in SENTENCES:
            raise Lost
        raise TranscodeFailed(code)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child[0].end()
            child[1].close()
