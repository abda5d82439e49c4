"""What every row is measured with: the corpora, scratch room on one disk, and rounds in which the sides take turns."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar

from relaypacs.errors import RelayError
from tests.figures.corpora import Corpus, corpus
from tests.figures.figure import OURS, Figure, figure
from tests.figures.processes import RunFailed

Sample = TypeVar("Sample")
TROUBLES = (RunFailed, OSError, HTTPException, RelayError, AssertionError)
TRIES = 2  # pynetdicom loses an answer now and then, and who uses it tries again


class OursFailed(Exception):
    """RelayPACS did not get through, which is no missing measurement."""


@dataclass
class Bench:
    """One run of the table."""

    root: Path
    rounds: int
    corpora: dict[str, Corpus] = field(default_factory=dict)

    def say(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def corpus(self, name: str) -> Corpus:
        if name not in self.corpora:
            self.say(f"corpus {name}")
            self.corpora[name] = corpus(name, self.root)
        return self.corpora[name]

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Room on the disk that the corpora and every side share; gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.root, ignore_cleanup_errors=True) as name:
            yield Path(name)

    def take_turns(
        self, sides: Mapping[str, Callable[[], Sample]], *, rounds: int | None = None, about: str = ""
    ) -> dict[str, list[Sample]]:
        """What each side measured in each round: A B C, A B C, ...

        Raises:
            RunFailed: a peer failed twice in a round. OursFailed: RelayPACS did.
        """
        runs: dict[str, list[Sample]] = {name: [] for name in sides}
        for number in range(rounds or self.rounds):
            for name, side in sides.items():
                os.sync()  # what the run before has left to write is not this one's burden
                runs[name].append(_tried(name, side))
                self.say(f"  {about} round {number + 1}: {name}: {runs[name][-1]}")
        return runs


def guarded(keys: Iterable[tuple[str, str]], work: Callable[[], list[Figure]]) -> list[Figure]:
    """What `work` measures; where a side did not get through, lines that say so in the place of these."""
    try:
        return work()
    except RunFailed as error:
        return [figure(*key, missing=str(error)) for key in keys]
    except OursFailed as error:
        return [figure(*key, failed=str(error)) for key in keys]


def _tried(name: str, side: Callable[[], Sample]) -> Sample:
    for attempt in range(1, TRIES + 1):
        try:
            return side()
        except TROUBLES as error:
            if name.startswith(OURS):
                raise OursFailed(f"{type(error).__name__}: {error}") from error
            if attempt == TRIES:
                raise RunFailed(f"{name} failed: {error}") from error
    raise AssertionError
