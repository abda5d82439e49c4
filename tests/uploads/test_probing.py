"""What a test of a destination finds is kept with it, and nothing else of its row is touched."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from pydicom.uid import HTJ2KLossless

from tests.factories import DestinationFactory, InstanceFactory
from tests.peers import free_port, orthanc, scripted_scp, storescp
from uploads.models import Destination, Upload
from uploads.pacs import usual
from uploads.pacs.address import AddressError
from uploads.pipeline import probing

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def test_what_was_found_is_kept() -> None:
    with orthanc() as server:
        destination = DestinationFactory.create(url=f"dicom://{server.ae}@127.0.0.1:{server.port}")
        Destination.objects.update(name="Renamed meanwhile", down_since=timezone.now())
        found = probing.probe(destination)
    kept = Destination.objects.get()
    assert found.ok
    assert kept.probed_at is not None
    assert kept.offers == {
        "echo": True,
        "query": "find",
        "commitment_offered": True,
        "fetch": ["get", "move"],
        "refused": kept.offers["refused"],
        "at": kept.probed_at.isoformat(),
    }
    assert {syntax for _, syntax, _ in kept.offers["refused"]} <= {HTJ2KLossless}  # Orthanc 1.10 knows it not
    assert destination.offers == kept.offers
    assert kept.name == "Renamed meanwhile"
    assert kept.down_since is not None


def test_what_it_refuses_is_kept_with_the_reason() -> None:
    with storescp() as scp:
        destination = DestinationFactory.create(url=f"dicom://{scp.ae}@127.0.0.1:{scp.port}")
        probing.probe(destination)
    refused = Destination.objects.get().offers["refused"]
    assert ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.201", 4] in refused
    offers = destination.offers
    assert (offers["query"], offers["commitment_offered"], offers["commitment"]) == (None, False, False)
    assert (offers["fetch"], offers["commitment_at"]) == ([], offers["at"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"commitment": False, "commitment_at": "2026-01-01T00:00:00+00:00"}, "kept"),
        ({"commitment": True, "commitment_at": "2026-01-01T00:00:00+00:00"}, "kept"),
        ({"commitment": False, "commitment_at": "2026-01-01T00:00:00+00:00", "commitment_offered": False}, {}),
    ],
)
def test_an_offer_to_commit_does_not_undo_what_was_learned(before: dict[str, object], after: object) -> None:
    """A PACS that takes the context and never reports would be waited for again and again."""
    with orthanc() as server:
        destination = DestinationFactory.create(url=f"dicom://{server.ae}@127.0.0.1:{server.port}", offers=before)
        probing.probe(destination)
    learned = {name: value for name, value in destination.offers.items() if name in ("commitment", "commitment_at")}
    assert learned == (before if after == "kept" else after)
    assert destination.offers["commitment_offered"] is True


def test_where_nobody_answered_what_was_learned_stays() -> None:
    before = {"commitment": True, "commitment_at": "2026-01-01T00:00:00+00:00"}
    destination = DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{free_port()}", offers=before)
    probing.probe(destination)
    assert destination.offers["commitment"] is True


def test_one_that_is_away_offers_nothing() -> None:
    destination = DestinationFactory.create(url=f"dicom://PACS@127.0.0.1:{free_port()}", offers={"query": "find"})
    probing.probe(destination)
    assert (destination.offers["echo"], destination.offers["query"]) == (False, None)
    assert datetime.fromisoformat(destination.offers["at"]) == destination.probed_at


def test_where_it_is_asked_elsewhere_that_door_is_tested_for_asking() -> None:
    with storescp() as storing, scripted_scp() as asked:
        destination = DestinationFactory.create(
            url=f"dicom://{storing.ae}@127.0.0.1:{storing.port}",
            query_url=f"dicom://{asked.ae}@127.0.0.1:{asked.port}",
        )
        found = probing.probe(destination)
        assert asked.received == []
    assert destination.offers["query"] == "find"
    assert found.pairs
    away = DestinationFactory.create(url=destination.url, query_url=f"dicom://PACS@127.0.0.1:{free_port()}")
    with storescp(port=storing.port):
        probing.probe(away)
    assert (away.offers["echo"], away.offers["query"]) == (True, None)


def test_a_secret_that_cannot_be_read_is_no_finding() -> None:
    broken = DestinationFactory.create(url="dicoms://PACS@127.0.0.1:9", tls_key="gAAAA-not-ours")
    with pytest.raises(AddressError):
        probing.probe(broken)


def test_it_asks_about_what_the_site_hands_in_the_commonest_first() -> None:
    rare, common, old = "1.2.3.1", "1.2.3.2", "1.2.3.3"
    for sop_class, count in ((rare, 1), (common, 3), (old, 1)):
        for _ in range(count):
            InstanceFactory.create(sop_class_uid=sop_class)
    Upload.objects.filter(instances__sop_class_uid=old).update(created_at=timezone.now() - timedelta(days=91))
    pairs = probing.usual_pairs()
    assert [sop_class for sop_class, _ in pairs[:2]] == [common, rare]
    assert old not in {sop_class for sop_class, _ in pairs}
    assert set(usual.PAIRS) <= set(pairs)
