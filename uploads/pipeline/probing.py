"""A destination is tested: what is found is kept with it, for the administrator and for the choice of a proof."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from uploads.models import Destination, Instance, Upload
from uploads.pacs import probe as probes
from uploads.pacs.probed import Probe, Subject
from uploads.pacs.usual import PAIRS, Pair
from uploads.pipeline import addressing

LOOK_BACK = timedelta(days=90)
LATEST_UPLOADS = 500  # so many say enough about a site, however many it has handed in
MOST_PAIRS = 384  # three associations' worth
SECONDS = 55.0  # of which half is for another door, where it is asked at one


def probe(destination: Destination) -> Probe:
    """Tests it, in less than a minute, and keeps what was found. Raises AddressError for an unusable address.

    Its own columns alone are written: workers write the rest of the row at the same time.
    """
    target, elsewhere = addressing.target_of(destination), bool(destination.query_url)
    door = addressing.asked_at(destination)
    found = probes.probe(target, usual_pairs(), seconds=SECONDS / 2 if elsewhere else SECONDS)
    if elsewhere:
        found = found.asked_at(probes.probe_asking(door, seconds=SECONDS / 2))
    with transaction.atomic():
        row = Destination.objects.select_for_update().only("offers").get(pk=destination.pk)
        columns = _columns(found, row.offers, timezone.now())
        Destination.objects.filter(pk=destination.pk).update(**columns)
    for name, value in columns.items():
        setattr(destination, name, value)
    return found


def _columns(found: Probe, before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    offers = {
        "echo": found.ok,
        "query": found.query,
        "commitment_offered": found.commitment,
        "fetch": found.fetch,
        "refused": [[pair.sop_class_uid, pair.transfer_syntax_uid, pair.result] for pair in found.refused],
        "at": now.isoformat(),
    } | _seen_to_commit(found, before, now)
    columns: dict[str, Any] = {"offers": offers, "probed_at": now}
    if found.peer_certificate_ends_at is not None:
        columns["peer_certificate_ends_at"] = found.peer_certificate_ends_at
    return columns


def _seen_to_commit(found: Probe, before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Whether it does report is learned by asking (pipeline.commitments): an offer alone proves nothing of that.

    So an offer leaves alone what was learned; a refusal settles it, until a later test finds the offer.
    """
    untold = found.of(Subject.COMMITMENT)
    if not found.commitment and untold is not None and untold.ok is False:
        return {"commitment": False, "commitment_at": now.isoformat()}
    if found.commitment and before.get("commitment_offered") is False:
        return {}
    return {name: before[name] for name in ("commitment", "commitment_at") if name in before}


def usual_pairs() -> list[Pair]:
    """The kinds of image this site hands in, the commonest first, and then those that are common anywhere."""
    since = timezone.now() - LOOK_BACK
    latest = Upload.objects.filter(created_at__gte=since).order_by("-created_at").values("pk")[:LATEST_UPLOADS]
    rows = Instance.objects.filter(upload__in=latest).values_list("sop_class_uid", "transfer_syntax_uid")
    seen = [(row[0], row[1]) for row in rows.annotate(images=Count("pk")).order_by("-images")[:MOST_PAIRS]]
    return list(dict.fromkeys([*seen, *PAIRS]))[:MOST_PAIRS]
