"""Which destination gets which study, and which of its images; nothing goes nowhere."""

from typing import Any

import pytest

from accounts.models import Role, User
from tests import factories
from tests.handin import HandIn, work
from tests.scripted import scripted_scp
from tests.uploads.test_delivery import study, to
from uploads.models import Route, Study
from uploads.pipeline import routing

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SR = "1.2.840.10008.5.1.4.1.1.88.22"


@pytest.fixture
def user() -> User:
    return factories.person(Role.RADIOGRAPHER)


@pytest.fixture
def ct() -> Study:
    """A CT of two slices and a report."""
    made = factories.StudyFactory.create(modalities=["CT", "SR"])
    for number, sop_class in enumerate(("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2", SR)):
        factories.InstanceFactory.create(study=made, sop_class_uid=sop_class, file__index=number)
    return made


def plan(study: Study) -> tuple[dict[str, tuple[bool, int]], int]:
    """Destination to (required, how many images), and how many go nowhere."""
    instances = list(study.instances.order_by("file_index"))
    ways, nowhere = routing.plan(study.upload, study, instances, routing.destinations())
    return {way.destination.name: (way.required, len(way.instances)) for way in ways}, len(nowhere)


def routed(name: str, *routes: dict[str, Any], **fields: Any) -> None:
    destination = factories.DestinationFactory.create(name=name, **fields)
    for route in routes:
        Route.objects.create(destination=destination, **route)


def test_a_destination_without_routes_gets_everything(ct: Study) -> None:
    routed("all")
    routed("off", active=False)
    assert plan(ct) == ({"all": (True, 3)}, 0)


def test_every_condition_of_a_route_must_hold(ct: Study) -> None:
    routed("all")
    routed("this clinic", {"clinic": ct.upload.clinic, "modality": "CT", "service_level": "routine"})
    routed("another clinic", {"clinic": factories.ClinicFactory.create()})
    routed("mr", {"modality": "MR"})
    routed("stat", {"service_level": "stat"})
    assert plan(ct) == ({"all": (True, 3), "this clinic": (True, 3)}, 0)


def test_a_route_by_class_takes_its_images_alone(ct: Study) -> None:
    routed("images", {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"})
    routed("reports", {"sop_class_uid": SR, "required": False})
    assert plan(ct) == ({"images": (True, 2), "reports": (False, 1)}, 0)


def test_one_route_that_requires_is_enough(ct: Study) -> None:
    routed("archive", {"modality": "CT", "required": False}, {"modality": "SR", "required": True}, required=False)
    assert plan(ct) == ({"archive": (True, 3)}, 0)


def test_an_image_that_would_go_nowhere_is_told(ct: Study) -> None:
    routed("reports", {"sop_class_uid": SR})
    assert plan(ct) == ({"reports": (True, 1)}, 2)


@pytest.mark.clinical
def test_a_study_without_a_route_is_kept_and_goes_once_there_is_one(user: User) -> None:
    with scripted_scp() as pacs:
        destination = to(pacs)
        route = Route.objects.create(destination=destination, modality="MR")
        hand_in = HandIn(user, study()).everything()
        work()
        truth = hand_in.truth()
        assert (truth["state"], truth["deliveries"]) == ("failed", [])
        assert [problem["code"] for problem in truth["problems"]] == ["no_route"]
        assert pacs.received == []
        route.modality = "CT"
        route.save()
        assert hand_in.client.post(f"{hand_in.url}/retry").status_code == 202
        work()
    assert hand_in.truth()["state"] == "verified"
