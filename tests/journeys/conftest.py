"""The stack that journeys share: as it comes, with short waits."""

from collections.abc import Iterator

import pytest

from tests.journeys.gateway import SOON, Gateway
from tests.stack import stack


@pytest.fixture(scope="package")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One stack for all journeys that do not start or end it."""
    with stack(tmp_path_factory.mktemp("journeys") / "data", **SOON) as running:
        yield Gateway(running)
