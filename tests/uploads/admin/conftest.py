"""An administrator at the desk, and what the pages say."""

import pytest
from django.test import Client

from accounts.models import Role, User
from tests.factories import person


@pytest.fixture
def administrator() -> User:
    return person(Role.ADMIN)


@pytest.fixture
def desk(client: Client, administrator: User) -> Client:
    client.force_login(administrator)
    return client
