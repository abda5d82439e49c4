"""What every test may rest on: real PostgreSQL and Redis, a scratch place for packs, people and destinations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from pynetdicom import _config

from relaypacs.embedded.servers import shared

TOGETHER = {"browser", "journeys"}  # packages whose tests share one running RelayPACS


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread over processes, a file's tests stay together, and so do those that share something costly."""
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(folder if folder in TOGETHER else str(item.path)))


@pytest.fixture(scope="session")
def servers() -> Iterator[None]:
    """The embedded servers, shared with other test runs of this machine; or those the environment names."""
    if not (django_settings.EMBEDDED_DATABASE or django_settings.EMBEDDED_REDIS):
        yield
        return
    with shared(django_settings.DATA_DIR):
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None, servers: None) -> None:
    """The servers answer before the test database is made."""


@pytest.fixture(autouse=True)
def pynetdicom_as_it_was() -> Iterator[None]:
    """Its settings are global to the process, and the peers of the tests set them."""
    before = {name: getattr(_config, name) for name in ("UNRESTRICTED_STORAGE_SERVICE", "STORE_RECV_CHUNKED_DATASET")}
    yield
    for name, value in before.items():
        setattr(_config, name, value)


@pytest.fixture(autouse=True)
def scratch_storage(tmp_path: Path, settings: Any) -> Path:
    """Packs and documents of a test lie in its own folder."""
    root = tmp_path / "packs"
    settings.STORAGE_ROOT = root
    return root
