"""The embedded PostgreSQL: who may do what, and what a kill leaves."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from relaypacs.embedded import paths
from relaypacs.embedded.children import CannotStart
from relaypacs.embedded.leftovers import wait_gone
from relaypacs.embedded.postgres import Postgres, _servers_in, make_socket_dir
from relaypacs.embedded.supervisor import Supervisor

pytestmark = pytest.mark.integration


@contextmanager
def running(data_dir: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(data_dir, say=print, environment=os.environ, cwd=Path("/"))
    postgres = Postgres(data_dir)
    try:
        supervisor.start([postgres.child()])
        supervisor.await_ready()
        postgres.settle()
        yield supervisor
    finally:
        supervisor.stop()
        shutil.rmtree(paths.socket_dir(data_dir), ignore_errors=True)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Below a folder that nobody but its owner may enter, as a checkout under /root is."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o700)
    folder = closed / "data"
    folder.mkdir(mode=0o700)
    with running(folder):
        yield folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


def ask(data_dir: Path, role: str, *statements: str, database: str = paths.DATABASE) -> list[tuple[Any, ...]]:
    """Run the statements as this role, in one connection; answer what the last one gave."""
    url = make_conninfo(paths.database_url(data_dir, role), dbname=database)
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("server_encoding", "UTF8"),
        ("max_connections", "200"),
        ("listen_addresses", ""),
    ],
)
def test_it_runs_with_what_the_truth_needs(data_dir: Path, setting: str, value: str) -> None:
    assert ask(data_dir, paths.APP_ROLE, f"SHOW {setting}") == [(value,)]


def test_it_is_a_postgresql_18(data_dir: Path) -> None:
    assert int(ask(data_dir, paths.APP_ROLE, "SHOW server_version_num")[0][0]) // 10000 == 18


def test_the_application_makes_no_tables(data_dir: Path) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(data_dir, paths.APP_ROLE, "CREATE TABLE mine (id int)")


def test_the_application_uses_and_cannot_drop_what_the_owner_makes(data_dir: Path) -> None:
    ask(data_dir, paths.OWNER_ROLE, "CREATE TABLE study (id bigserial PRIMARY KEY, note text)")
    assert ask(data_dir, paths.APP_ROLE, "INSERT INTO study (note) VALUES ('a') RETURNING id") == [(1,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(data_dir, paths.APP_ROLE, "DROP TABLE study")


def test_the_application_also_uses_a_test_database_of_the_owner(data_dir: Path) -> None:
    ask(data_dir, paths.OWNER_ROLE, "CREATE DATABASE test_relaypacs")
    ask(data_dir, paths.OWNER_ROLE, "CREATE TABLE study (id int)", database="test_relaypacs")
    ask(data_dir, paths.APP_ROLE, "INSERT INTO study VALUES (1)", database="test_relaypacs")
    assert ask(data_dir, paths.APP_ROLE, "SELECT count(*) FROM study", database="test_relaypacs") == [(1,)]


def test_its_log_holds_nothing_of_a_failed_statement(data_dir: Path) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        ask(data_dir, paths.APP_ROLE, "INSERT INTO nowhere VALUES ('DOE^JANE')")
    assert "DOE^JANE" not in (data_dir / "logs" / "postgres.log").read_text()


def test_a_killed_server_keeps_what_it_acknowledged(scratch: Path) -> None:
    with running(scratch) as supervisor:
        ask(scratch, paths.OWNER_ROLE, "CREATE TABLE kept AS SELECT 1 AS one")
        os.kill(supervisor.pids()["postgres"], signal.SIGKILL)
    with running(scratch):
        assert ask(scratch, paths.APP_ROLE, "SELECT one FROM kept") == [(1,)]


def test_the_server_of_a_killed_run_is_ended_before_the_next_starts(scratch: Path) -> None:
    with running(scratch) as killed:
        ask(scratch, paths.OWNER_ROLE, "CREATE TABLE kept AS SELECT 1 AS one")
        left = _servers_in(scratch / "postgres")
        with running(scratch) as fresh:
            assert wait_gone(left, seconds=5.0) == []
            assert fresh.pids() != killed.pids()
            assert ask(scratch, paths.APP_ROLE, "SELECT one FROM kept") == [(1,)]


def test_locks_that_name_a_living_stranger_are_no_obstacle(scratch: Path) -> None:
    with running(scratch):
        pass
    stranger = f"{os.getpid()}\n{scratch / 'postgres'}\n1\n5432\n"
    (scratch / "postgres" / "postmaster.pid").write_text(stranger)
    make_socket_dir(scratch)
    (paths.socket_dir(scratch) / f"{paths.POSTGRES_SOCKET}.lock").write_text(stranger)
    with running(scratch):
        assert ask(scratch, paths.APP_ROLE, "SELECT 1") == [(1,)]


def test_a_run_killed_while_making_the_cluster_leaves_no_half_one(scratch: Path) -> None:
    half = scratch / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with running(scratch):
        assert ask(scratch, paths.APP_ROLE, "SELECT 1") == [(1,)]


def test_a_socket_folder_of_somebody_else_is_refused(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    paths.socket_dir(scratch).symlink_to(tmp_path / "elsewhere")
    try:
        with pytest.raises(CannotStart, match="belongs to somebody else"):
            Postgres(scratch).prepare()
    finally:
        paths.socket_dir(scratch).unlink()
