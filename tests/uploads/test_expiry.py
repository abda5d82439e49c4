"""Certificates that end soon are told in time: a figure always, a line in the log from thirty days before."""

import logging
from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client import REGISTRY

from tests.factories import DestinationFactory
from uploads.pipeline import expiry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def figure(name: str) -> float | None:
    return REGISTRY.get_sample_value("destination_certificate_ends_timestamp", {"destination": name})


def test_each_has_its_figure_and_those_that_end_soon_a_line(caplog: pytest.LogCaptureFixture) -> None:
    now = timezone.now()
    soon, late = now + timedelta(days=12, hours=1), now + timedelta(days=90)
    DestinationFactory.create(name="soon", certificates_end_at=late, peer_certificate_ends_at=soon)
    DestinationFactory.create(name="late", certificates_end_at=late)
    DestinationFactory.create(name="over", certificates_end_at=now - timedelta(hours=1))
    DestinationFactory.create(name="none")
    DestinationFactory.create(name="switched off", certificates_end_at=soon, active=False)
    with caplog.at_level(logging.WARNING, "uploads.pipeline.expiry"):
        assert expiry.warn() == 2
    expiry.measure()
    assert sorted(record.getMessage() for record in caplog.records) == [
        "a certificate of destination over has ended",
        "a certificate of destination soon ends in 12 days",
    ]
    assert (figure("soon"), figure("late")) == (soon.timestamp(), late.timestamp())
    assert (figure("none"), figure("switched off")) == (None, None)
