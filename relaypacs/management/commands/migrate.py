"""Django's `migrate`, run as the database's owner; afterwards the application's role gets its rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.commands.migrate import Command as Migrate
from django.db import DEFAULT_DB_ALIAS, connections

from relaypacs.grants import grant_application_role

ONE_AT_A_TIME = 7_203_114_961  # names our advisory lock: several machines may start at once


class Command(Migrate):
    def handle(self, *args: Any, **options: Any) -> None:
        if options["database"] != DEFAULT_DB_ALIAS or not settings.OWNER_DATABASE:
            super().handle(*args, **options)
            return
        with _as_owner(settings.OWNER_DATABASE) as application:
            if options["plan"] or options["check_unapplied"]:
                super().handle(*args, **options)
                return
            with _alone():
                super().handle(*args, **options)
                grant_application_role(connections[DEFAULT_DB_ALIAS], application)


@contextmanager
def _as_owner(owner: dict[str, Any]) -> Iterator[str]:
    """The default connection under the owner's name, without the pool; yields the application's role.

    The name of the database stays: a test run has put its own in both places.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    before = connection.settings_dict
    connection.close()
    who = {key: owner[key] for key in ("USER", "PASSWORD", "HOST", "PORT") if key in owner}
    options = {key: value for key, value in before["OPTIONS"].items() if key != "pool"}
    connection.settings_dict = {**before, **who, "OPTIONS": options | owner.get("OPTIONS", {})}
    try:
        yield before["USER"]
    finally:
        connection.close()
        connection.settings_dict = before


@contextmanager
def _alone() -> Iterator[None]:
    """Waits for a migration that another machine runs, and lets others wait for this one."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [ONE_AT_A_TIME])
    try:
        yield
    finally:
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ONE_AT_A_TIME])
