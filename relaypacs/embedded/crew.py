"""The processes that serve: web server, Celery workers by queue, beat, the DICOM listener, and the demo PACS."""

import http.client
import multiprocessing
import signal
import socket
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from granian import Granian
from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from kombu.exceptions import OperationalError

from relaypacs.celery import app
from relaypacs.embedded.children import Child
from relaypacs.embedded.machine import accepts

WARM = [  # what the roles need, imported once and in this order: the first sets Django up
    "relaypacs.asgi",
    "relaypacs.embedded.crew",
    "uploads.tasks",
    "celery.bin.celery",
    "celery.apps.worker",
    "celery.apps.beat",
    "kombu.transport.redis",
]
# Queue and processes. Work that clinics wait for has two, so that one long study does not hold up the next.
QUEUES = {"interactive": 2, "early": 1, "delivery": 2, "rendering": 1, "maintenance": 1}
WEB_WORKERS = 2
WEB_BUFFER = 1024**2  # bytes of one connection read at once, where they come so fast; a slow one's stays small
WEB_SECONDS = 5  # what open requests get at a stop before granian ends its workers
WEB_RESPAWN_SECONDS = 0.5  # pause before granian replaces a worker process that fell


def crew(*, demo_pacs: bool) -> list[Child]:
    """Everything that starts once the database is there."""
    serving = [web(), *(worker(queue, processes) for queue, processes in QUEUES.items()), beat(), dicom_listener()]
    return [pacs(), *serving] if demo_pacs else serving


def web() -> Child:
    return Child(name="web", role=serve, ready=healthy)


def serve() -> None:
    multiprocessing.set_start_method("fork", force=True)  # so that granian's own workers need not import again
    Granian(
        "relaypacs.asgi:application",
        address=settings.HOST,
        port=settings.PORT,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=WEB_WORKERS,
        http1_settings=HTTP1Settings(max_buffer_size=WEB_BUFFER),
        websockets=False,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        respawn_interval=WEB_RESPAWN_SECONDS,
        workers_kill_timeout=WEB_SECONDS,
    ).serve()


def worker(queue: str, processes: int) -> Child:
    node = f"{queue}@{socket.gethostname()}"
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", settings.LOG_LEVEL]
    options = ["-Q", queue, "-c", str(processes), "-n", node, "--pool", "prefork", *quiet]
    # QUIT lets Celery finish what it can within its soft time and then end; after TERM it would wait without end.
    stop = ((signal.SIGQUIT, settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT + 1.0), (signal.SIGKILL, 1.0))
    role = partial(celery, "worker", *options)
    return Child(name=f"worker-{queue}", role=role, ready=partial(worker_answers, node), stop=stop)


def beat() -> Child:
    options = ["--schedule", settings.CELERY_BEAT_SCHEDULE_FILENAME, "--loglevel", settings.LOG_LEVEL]
    return Child(name="beat", role=partial(celery, "beat", *options), prepare=_forget_schedule)


def celery(*words: str) -> None:
    """As `celery -A relaypacs WORDS` does."""
    app.start(argv=list(words))


def _forget_schedule() -> None:
    """Entries are intervals or times of day: the file holds nothing worth keeping; half written it is in the way."""
    schedule = Path(settings.CELERY_BEAT_SCHEDULE_FILENAME)
    for file in schedule.parent.glob(f"{schedule.name}*"):
        file.unlink(missing_ok=True)


def pacs() -> Child:
    listening = partial(accepts, "127.0.0.1", settings.DEMO_PACS_PORT)
    return Child(name="demo-pacs", role=partial(call_command, "demo_pacs"), ready=listening)


def dicom_listener() -> Child:
    listening = partial(accepts, _from_here(settings.DICOM_HOST), settings.DICOM_PORT)
    return Child(name="dicom-listener", role=partial(call_command, "dicom_listener"), ready=listening)


def local_host() -> str:
    """Where this machine reaches its own web server."""
    return _from_here(settings.HOST)


def _from_here(host: str) -> str:
    """Where this machine reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # nosec B104


def healthy() -> bool:
    connection = http.client.HTTPConnection(local_host(), settings.PORT, timeout=2)
    try:
        connection.request("GET", "/health", headers={"Host": _allowed_name()})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _allowed_name() -> str:
    """A Host the site answers to: it may be told to serve its public name alone."""
    names = [name for name in settings.ALLOWED_HOSTS if not name.startswith((".", "*"))]
    return names[0] if names else local_host()


def worker_answers(node: str) -> bool:
    try:
        return bool(app.control.broadcast("ping", reply=True, destination=[node], timeout=0.5, limit=1))
    except OperationalError:
        return False
