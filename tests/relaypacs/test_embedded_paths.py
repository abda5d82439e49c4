"""Where the embedded servers listen."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from relaypacs.embedded import paths

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("socket", [paths.POSTGRES_SOCKET, paths.REDIS_SOCKET])
def test_a_socket_path_fits_however_long_the_data_folder_is(tmp_path: Path, socket: str) -> None:
    deep = tmp_path.joinpath(*["a folder of some length"] * 8)
    assert len(str(paths.socket_dir(deep) / socket).encode()) <= 107


def test_two_data_folders_never_share_a_socket(tmp_path: Path) -> None:
    assert paths.socket_dir(tmp_path / "one") != paths.socket_dir(tmp_path / "two")


def test_one_data_folder_has_one_socket_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert paths.socket_dir(tmp_path / "link" / "data") == paths.socket_dir(tmp_path / "." / "data")


def test_the_database_url_names_role_folder_and_database(tmp_path: Path) -> None:
    parts = conninfo_to_dict(paths.database_url(tmp_path, paths.APP_ROLE))
    assert parts == {"user": "relaypacs_app", "host": str(paths.socket_dir(tmp_path)), "dbname": "relaypacs"}


def test_the_redis_url_names_socket_and_number(tmp_path: Path) -> None:
    assert paths.redis_url(tmp_path, 3) == f"unix://{paths.redis_socket(tmp_path)}?db=3"
