"""`manage.py up`: RelayPACS on one machine, as one tree of processes that starts, heals and ends as one."""

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from relaypacs.demo import accounts, journey
from relaypacs.embedded.children import CannotStart, Child
from relaypacs.embedded.crew import WARM, crew, local_host
from relaypacs.embedded.leftovers import end_leftovers, only_one
from relaypacs.embedded.machine import claim_data_dir, kept_password, need_port
from relaypacs.embedded.postgres import Postgres, remove_socket_dir
from relaypacs.embedded.redis import EmbeddedRedis
from relaypacs.embedded.supervisor import StopAsked, Supervisor
from relaypacs.errors import RelayError
from uploads.models import Destination

SAMPLE_RELAYED = "sample-relayed"  # stands in the data folder once the bundled study has made its journey


class Command(BaseCommand):
    help = "Runs everything on this machine: database, broker, web server, workers, and a demo PACS."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.began = time.monotonic()
        try:
            claim_data_dir(settings.DATA_DIR)
            with only_one(settings.DATA_DIR):
                self._run()
        except CannotStart as error:
            raise CommandError(error.detail) from error

    def _run(self) -> None:
        supervisor = Supervisor(settings.DATA_DIR, say=self._say, environment=_environment(), cwd=settings.BASE_DIR)
        supervisor.heed_signals()
        try:
            self._bring_up(supervisor)
            supervisor.watch()
        except StopAsked:
            self._say("stopping")
        finally:
            supervisor.stop()
            remove_socket_dir(settings.DATA_DIR)
            self._say("everything is stopped")

    def _bring_up(self, supervisor: Supervisor) -> None:
        self._clear_the_way()
        supervisor.warm_up(WARM)
        self._start_servers(supervisor)
        self._say("bringing the database up to date")
        call_command("migrate", verbosity=0, interactive=False)
        password = _demo_password()
        if password:
            need_port("127.0.0.1", settings.DEMO_PACS_PORT, variable="DEMO_PACS_PORT", purpose="demo PACS")
        children = crew(demo_pacs=bool(password))
        self._say("starting " + ", ".join(child.name for child in children))
        supervisor.start(children)
        people = accounts.ensure(password) if password else []
        _leave_the_database()
        supervisor.await_ready()
        self._announce(people, password)

    def _clear_the_way(self) -> None:
        self._say(f"RelayPACS {settings.VERSION}, data in {settings.DATA_DIR}")
        if ended := end_leftovers(settings.DATA_DIR):
            self._say(f"ended {ended} processes that a killed run had left")
        need_port(settings.HOST, settings.PORT, variable="PORT", purpose="web server")
        need_port(
            settings.DICOM_HOST,
            settings.DICOM_PORT,
            variable="DICOM_PORT",
            purpose="DICOM listener",
            host_variable="DICOM_HOST",
        )
        shutil.rmtree(_metrics_dir(), ignore_errors=True)
        _metrics_dir().mkdir(parents=True, exist_ok=True)

    def _start_servers(self, supervisor: Supervisor) -> None:
        """The embedded ones, where no URL names others."""
        postgres, redis = Postgres(settings.DATA_DIR), EmbeddedRedis(settings.DATA_DIR)
        children: list[Child] = []
        if settings.EMBEDDED_DATABASE:
            children.append(postgres.child())
        if settings.EMBEDDED_REDIS:
            children.append(redis.child())
        if children:
            self._say("starting " + ", ".join(child.name for child in children))
            supervisor.start(children)
            supervisor.await_ready()
        if settings.EMBEDDED_DATABASE:
            postgres.settle()

    def _announce(self, people: list[accounts.Account], password: str) -> None:
        self._say("ready")
        _print(f"RelayPACS is ready: http://{settings.HOST}:{settings.PORT}")
        for person in people:
            _print(f"  {person.role:<13} {person.username:<16} {password}")
        _print("Stop it with Ctrl-C.")
        if people and settings.RELAY_SAMPLE and not (settings.DATA_DIR / SAMPLE_RELAYED).exists():
            journey_of = (f"http://{local_host()}:{settings.PORT}", people[0].username, password)
            threading.Thread(target=self._relay_sample, args=journey_of, daemon=True).start()

    def _relay_sample(self, base_url: str, username: str, password: str) -> None:
        """The first start shows a whole journey. It goes through the same door as every clinic's studies."""
        try:
            journey.relay_sample(base_url, username, password)
        except (RelayError, OSError, httpx.HTTPError) as error:
            self._say(f"the sample study did not get through: {error}")
        else:
            (settings.DATA_DIR / SAMPLE_RELAYED).touch()
            self._say(f"a sample study has been relayed: {base_url}")

    def _say(self, line: str) -> None:
        _print(f"{time.monotonic() - self.began:6.1f} s  {line}")


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # whoever watched may have gone; that is no reason to stop
        print(line, flush=True)


def _metrics_dir() -> Path:
    return Path(settings.DATA_DIR) / "metrics"


def _environment() -> dict[str, str]:
    """What every child is given: the same folder, whatever its working directory, and one place for all its figures."""
    own = {
        "RELAYPACS_DATA_DIR": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "relaypacs.settings"),
        "PROMETHEUS_MULTIPROC_DIR": str(_metrics_dir()),
        "PYTHONPATH": os.pathsep.join([str(settings.BASE_DIR), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **own}


def _demo_password() -> str:
    """The demo accounts' password; empty where destinations of the operator's own have taken the demo's place."""
    demo = Destination.objects.filter(name=accounts.DESTINATION, active=True)
    if Destination.objects.exists() and not demo.exists():
        return ""
    return settings.DEMO_PASSWORD or kept_password(settings.DATA_DIR)


def _leave_the_database() -> None:
    """This process only watches from here on; it must not hold a connection that a stopping server would wait for."""
    for connection in connections.all():
        connection.close()
        if isinstance(connection, DatabaseWrapper):
            connection.close_pool()  # type: ignore[attr-defined]  # the stubs lag behind Django 5.1
