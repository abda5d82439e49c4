"""Inspection of foreign bytes in a child process that may fail, hang or be taken over without harm to us."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from uploads.dicom.codes import SENTENCES
from uploads.dicom.confined import Confined, FenceFailed, Lost
from uploads.dicom.filled import Asked, to_argument
from uploads.dicom.inspect import Inspection
from uploads.dicom.wire import Garbled, Slice, result_from_line, slices_to_line

__all__ = ["FenceFailed", "Inspector", "Limits", "Slice", "inspect_fenced"]

_BATCH: Final = 64
_BATCH_BYTES: Final = 32 * 1024
"""Less than a pipe holds, so that writing to a child that does not read never blocks."""
_PATIENT_ENOUGH: Final = 3
"""So many files may be given a second chance in one pass: an innocent child can be killed from outside, and a disk
can stall, but a hand-in of bombs must not take twice its time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the child may use.

    Args:
        memory: bytes of address space.
        cpu_seconds: processor time per file.
        wall_seconds: time per file until its result is there.
        start_seconds: time for the interpreter to start.
    """

    memory: int = 512 * 1024 * 1024
    cpu_seconds: int = 5
    wall_seconds: float = 5.0
    start_seconds: float = 60.0


class _Child:
    """One running child over one open pack."""

    def __init__(self, pack: int, limits: Limits, asked: Sequence[Asked]) -> None:
        self._limits = limits
        self._asked = asked
        arguments = (str(pack), str(limits.memory), str(limits.cpu_seconds), to_argument(asked))
        self._process = Confined("uploads.dicom.child", arguments, pass_fds=(pack,), start_seconds=limits.start_seconds)

    def ask(self, slices: Sequence[Slice]) -> None:
        self._process.tell(slices_to_line(slices))

    def answer(self, expected: Slice) -> Inspection:
        try:
            return result_from_line(self._process.line(self._limits.wall_seconds), expected=expected, asked=self._asked)
        except Garbled as error:
            raise Lost from error

    def end(self) -> None:
        self._process.end()


def inspect_fenced(
    path: Path, slices: Sequence[Slice], *, limits: Limits | None = None, asked: Sequence[Asked] = ()
) -> Iterator[tuple[int, Inspection]]:
    """Inspect files inside a pack, one result after the other, in order, as they are made.

    A file that kills the child, or keeps it longer than the limits allow, is `rejected` as `bomb`, and a new child goes
    on behind it. Closing the iterator ends the child. The time between two results is bounded by the limits.

    Args:
        path: the pack.
        slices: the files in it; their names are looked at, never opened.
        limits: of the child; the defaults are for the product.
        asked: elements of which it is to be told whether they are filled.

    Raises:
        OSError: the pack cannot be opened, or (FenceFailed) no child could be started.
    """
    with Inspector(path, limits, asked) as inspector:
        yield from inspector.inspect(slices)


class Inspector:
    """The fence around one pack, for several passes: a child that has behaved is kept for the next one."""

    def __init__(self, path: Path, limits: Limits | None = None, asked: Sequence[Asked] = ()) -> None:
        self._path = path
        self._limits = limits or Limits()
        self._asked = asked
        self._second_chances = _PATIENT_ENOUGH
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        self._pack = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        self._end_child()
        os.close(self._pack)

    def inspect(self, slices: Sequence[Slice]) -> Iterator[tuple[int, Inspection]]:
        """As `inspect_fenced`; a pass that is not run to its end costs the child."""
        done = 0
        suspect = -1
        try:
            while done < len(slices):
                try:
                    for part, found in _converse(self._ready(), slices, done):
                        yield part.index, found
                        done += 1
                except Lost:
                    self._end_child()
                    if suspect == done or not self._spare():
                        yield slices[done].index, _harmful()
                        done += 1
                    else:
                        suspect = done
        finally:
            if done < len(slices):
                self._end_child()

    def _ready(self) -> _Child:
        self._child = self._child or _Child(self._pack, self._limits, self._asked)
        return self._child

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _spare(self) -> bool:
        self._second_chances -= 1
        return self._second_chances >= 0


def _converse(child: _Child, slices: Sequence[Slice], start: int) -> Iterator[tuple[Slice, Inspection]]:
    while start < len(slices):
        batch = _batch(slices, start)
        child.ask(batch)
        for part in batch:
            yield part, child.answer(part)
        start += len(batch)


def _batch(slices: Sequence[Slice], start: int) -> list[Slice]:
    """As many of the next files as are surely asked for without waiting."""
    batch = list(slices[start : start + _BATCH])
    while len(batch) > 1 and len(slices_to_line(batch)) > _BATCH_BYTES:
        batch = batch[: len(batch) // 2]
    return batch


def _harmful() -> Inspection:
    return Inspection("rejected", "bomb", SENTENCES["bomb"], None, 0, 0)
