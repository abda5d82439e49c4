"""How a helper process answers: one line of JSON for each job, timed by itself with its imports behind it."""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

Job = dict[str, Any]


def answer_jobs(work: Callable[[Job], Job]) -> None:
    """Answers `work(job)`; what it raises is told as trouble, since the other side decides what follows."""
    for line in sys.stdin:
        try:
            answer = work(json.loads(line))
        except Exception as error:  # noqa: BLE001
            answer = {"trouble": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def timed(work: Callable[[], object]) -> Job:
    """Seconds on the clock and of the processor, children included."""
    began, spent = time.monotonic(), _cpu()
    work()
    return {"seconds": time.monotonic() - began, "cpu": _cpu() - spent}


def _cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)
