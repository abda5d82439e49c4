"""Two roles: the owner migrates; the application does its work and cannot rewrite what happened."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.conf import settings
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from relaypacs.embedded import paths
from relaypacs.grants import append_only_tables

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Scratch:
    """A database of its own on the embedded server, and the two ways into it."""

    name: str

    def url(self, role: str) -> str:
        return paths.database_url(settings.DATA_DIR, role).rsplit("/", 1)[0] + f"/{self.name}"

    @property
    def how(self) -> dict[str, Any]:
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "relaypacs.settings",
            "DATABASE_URL": self.url(paths.APP_ROLE),
            "MIGRATION_DATABASE_URL": self.url(paths.OWNER_ROLE),
        }
        return {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(settings.BASE_DIR / "manage.py"), *words]

    def manage(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.command(*words), check=False, timeout=120, **self.how)

    def ask(self, statement: str, *, role: str = paths.APP_ROLE, **values: Any) -> list[Any]:
        with psycopg.connect(self.url(role), autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def scratch(servers: None) -> Iterator[Scratch]:
    """Migrated as an operator does it, once for the module."""
    if not settings.EMBEDDED_DATABASE:
        pytest.skip("DATABASE_URL names a server of its own; its roles are not ours to try")
    database = Scratch(f"relaypacs_grants_{uuid.uuid4().hex[:8]}")
    maintenance = paths.database_url(settings.DATA_DIR, paths.OWNER_ROLE).rsplit("/", 1)[0] + "/postgres"
    name = sql.Identifier(database.name)
    with psycopg.connect(maintenance, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            migrated = database.manage("migrate", "--verbosity", "0")
            assert migrated.returncode == 0, migrated.stderr
            yield database
        finally:
            owner.execute(sql.SQL("DROP DATABASE {}").format(name))


@pytest.fixture(scope="module")
def transition(scratch: Scratch) -> int:
    """A row of an append-only table, written by the application itself."""
    ids: dict[str, Any] = {"person": uuid.uuid4(), "clinic": uuid.uuid4(), "upload": uuid.uuid4()}
    scratch.ask(
        "INSERT INTO accounts_user (id, username, password, first_name, last_name, email, is_superuser, is_staff,"
        " is_active, date_joined) VALUES (%(person)s, 'ada', '!', '', '', '', false, false, true, now())",
        **ids,
    )
    scratch.ask("INSERT INTO accounts_clinic (id, name, created_at) VALUES (%(clinic)s, 'Harbour', now())", **ids)
    scratch.ask(
        "INSERT INTO uploads_upload (id, clinic_id, created_by_id, state, service_level, total_size, chunk_size,"
        " chunk_count, file_count, manifest_sha256, created_at, expires_at) VALUES"
        " (%(upload)s, %(clinic)s, %(person)s, 'receiving', 'routine', 1, 1, 1, 1, '', now(), now())",
        **ids,
    )
    [(row,)] = scratch.ask(
        "INSERT INTO uploads_transition (upload_id, from_state, to_state, because, at)"
        " VALUES (%(upload)s, '', 'receiving', '', now()) RETURNING id",
        **ids,
    )
    return int(row)


def test_the_owner_owns_every_table(scratch: Scratch) -> None:
    owners = scratch.ask("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [(paths.OWNER_ROLE,)]


def test_the_application_does_its_everyday_work(scratch: Scratch, transition: int) -> None:
    assert scratch.ask("SELECT to_state FROM uploads_transition WHERE id = %(id)s", id=transition) == [("receiving",)]
    scratch.ask("UPDATE uploads_upload SET state = 'cancelled'")
    scratch.ask("INSERT INTO django_session VALUES ('k', 'd', now())")
    scratch.ask("DELETE FROM django_session")
    tables = scratch.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for (table,) in tables:
        rights = "SELECT, INSERT" if table in append_only_tables() else "SELECT, INSERT, UPDATE, DELETE"
        for right in rights.split(", "):
            asked = "SELECT has_table_privilege(%(table)s, %(right)s)"
            assert scratch.ask(asked, table=f"public.{table}", right=right) == [(True,)], (table, right)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE uploads_transition SET because = 'it was never so'",
        "DELETE FROM uploads_transition",
        "TRUNCATE uploads_transition",
        "SELECT * FROM uploads_transition FOR UPDATE",
        "ALTER TABLE uploads_transition DISABLE TRIGGER ALL",
        "CREATE TABLE mine (id int)",
        "DROP TABLE uploads_chunk",
        "ALTER TABLE uploads_chunk ADD COLUMN mine int",
        "GRANT ALL ON uploads_transition TO relaypacs_app",
        "SET ROLE relaypacs_owner",
    ],
)
def test_the_application_rewrites_nothing_and_makes_nothing(scratch: Scratch, transition: int, statement: str) -> None:
    before = scratch.ask("SELECT count(*) FROM uploads_transition")
    if statement.startswith("GRANT"):  # PostgreSQL answers a grant of what one may not grant with a warning
        scratch.ask(statement)
        assert scratch.ask("SELECT has_table_privilege('uploads_transition', 'UPDATE')") == [(False,)]
    else:
        with pytest.raises(InsufficientPrivilege):
            scratch.ask(statement)
    assert scratch.ask("SELECT count(*) FROM uploads_transition") == before


def test_what_the_owner_makes_later_is_the_applications_to_use(scratch: Scratch) -> None:
    scratch.ask("CREATE TABLE later (id bigserial, what text)", role=paths.OWNER_ROLE)
    scratch.ask("INSERT INTO later (what) VALUES ('x')")
    assert scratch.ask("UPDATE later SET what = 'y' RETURNING id") == [(1,)]
    scratch.ask("DROP TABLE later", role=paths.OWNER_ROLE)


def test_a_second_run_leaves_the_rights_as_the_first_did_and_takes_back_what_was_added(scratch: Scratch) -> None:
    rights = "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    before = scratch.ask(rights)
    scratch.ask("GRANT ALL ON uploads_transition TO relaypacs_app", role=paths.OWNER_ROLE)
    assert scratch.ask(rights) != before
    again = scratch.manage("migrate")
    assert again.returncode == 0, again.stderr
    assert "No migrations to apply" in again.stdout
    assert scratch.ask(rights) == before


def test_check_and_plan_still_answer_and_do_nothing(scratch: Scratch, reports_not_migrated: None) -> None:
    rows = scratch.ask("SELECT count(*) FROM django_migrations")
    assert scratch.manage("migrate", "--check").returncode == 1
    planned = scratch.manage("migrate", "--plan")
    assert planned.returncode == 0
    assert "reports.0001_initial" in planned.stdout
    assert scratch.ask("SELECT count(*) FROM django_migrations") == rows


def test_of_two_migrations_at_once_one_waits_for_the_other(scratch: Scratch, reports_not_migrated: None) -> None:
    both = [subprocess.Popen(scratch.command("migrate"), **scratch.how) for _ in range(2)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in both]
    assert [status for _, status in ended] == [0, 0], ended
    assert scratch.ask("SELECT count(*) > 0 FROM django_migrations WHERE app = 'reports'") == [(True,)]
    assert scratch.ask("SELECT count(*) FROM reports_report") == [(0,)]


@pytest.fixture
def reports_not_migrated(scratch: Scratch) -> None:
    scratch.ask("DROP TABLE IF EXISTS reports_report CASCADE", role=paths.OWNER_ROLE)
    scratch.ask("DELETE FROM django_migrations WHERE app = 'reports'", role=paths.OWNER_ROLE)
