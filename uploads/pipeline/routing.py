"""Which destinations a study goes to, and which of its images each of them gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from uploads.models import Destination, Instance, Route, Study, Upload


@dataclass(frozen=True)
class Planned:
    """One study's way to one destination: the primary keys of the instances that go, in the order of the pack."""

    destination: Destination
    required: bool
    instances: list[int]


def destinations() -> list[Destination]:
    """Those that new studies may go to, with their routes."""
    return list(Destination.objects.filter(active=True).prefetch_related("routes"))


def plan(
    upload: Upload, study: Study, instances: Sequence[Instance], among: Sequence[Destination]
) -> tuple[list[Planned], list[Instance]]:
    """The ways of a study, and the instances that would go nowhere."""
    ways = [way for destination in among if (way := _way(upload, study, instances, destination)) is not None]
    reached = {pk for way in ways for pk in way.instances}
    return ways, [instance for instance in instances if instance.pk not in reached]


def _way(upload: Upload, study: Study, instances: Sequence[Instance], destination: Destination) -> Planned | None:
    routes = list(destination.routes.all())
    if not routes:
        return Planned(destination, destination.required, [instance.pk for instance in instances])
    matching = [route for route in routes if _is_for(route, upload, study)]
    classes = {route.sop_class_uid for route in matching}
    chosen = [instance for instance in instances if "" in classes or instance.sop_class_uid in classes]
    if not chosen:
        return None
    here = {"", *(instance.sop_class_uid for instance in chosen)}
    required = [
        destination.required if route.required is None else route.required
        for route in matching
        if route.sop_class_uid in here
    ]
    return Planned(destination, any(required), [instance.pk for instance in chosen])


def _is_for(route: Route, upload: Upload, study: Study) -> bool:
    """Every condition that the route names; a modality is the study's, so that its reports and notes go with it."""
    return (
        route.clinic_id in (None, upload.clinic_id)
        and route.service_level in ("", upload.service_level)
        and (not route.modality or route.modality in study.modalities)
    )
