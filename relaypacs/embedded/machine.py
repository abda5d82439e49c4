"""What a start needs of this machine: a folder to write to and ports nobody else holds."""

import contextlib
import errno
import os
import secrets
import socket
import tempfile
from pathlib import Path

from relaypacs.embedded.children import CannotStart


def claim_data_dir(data_dir: Path) -> None:
    """The folder exists, can be written, and is nobody else's to read: studies of patients lie in it."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise CannotStart(
            f"The data folder {data_dir} cannot be written ({error.strerror}); "
            "name a folder that can with RELAYPACS_DATA_DIR."
        ) from error
    with contextlib.suppress(PermissionError):
        data_dir.chmod(data_dir.stat().st_mode & 0o700)


def kept_password(data_dir: Path) -> str:
    """One password for the demo accounts, made at the first start and readable by this user alone."""
    kept = data_dir / "demo-password"
    if not kept.exists():
        fresh = kept.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(12))
        fresh.replace(kept)
    return kept.read_text().strip()


def need_port(host: str, port: int, *, variable: str, purpose: str, host_variable: str = "HOST") -> None:
    """Raises CannotStart, naming the environment variable to change, when `port` cannot be opened on `host`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError as error:
            raise CannotStart(f"{variable}={port} is no port; the {purpose} needs one from 1 to 65535.") from error
        except OSError as error:
            why = _why_not(error, host, port, variable=variable, purpose=purpose, host_variable=host_variable)
            raise CannotStart(why) from error


def _why_not(error: OSError, host: str, port: int, *, variable: str, purpose: str, host_variable: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port}, which the {purpose} needs, is in use; choose a free one with {variable}."
    if error.errno == errno.EACCES:
        return (
            f"Port {port}, which the {purpose} needs, is not open to this user; choose one above 1023 with {variable}."
        )
    why = os.strerror(error.errno or 0)
    return f"The {purpose} cannot listen on {host} port {port} ({why}); check {host_variable} and {variable}."


def accepts(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
