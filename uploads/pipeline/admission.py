"""Which images must not go to a destination, told before anything is sent to it (domain rules S13 and S14)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from uploads.models import Destination, Instance

BURNED_IN = (
    "This destination takes images without names only, and this one may show a name in its pixels. "
    "Have staff look at it; only an image that says BurnedInAnnotation NO is sent there."
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one image is not sent to one destination, for its ledger entry; no patient data."""

    instance_pk: int
    code: str
    sentence: str


def refusals(destination: Destination, instances: Iterable[Instance]) -> list[Refusal]:
    """At most one per instance, in their order; where both rules forbid it, the pixels are named first.

    A tag counts as missing where it was when the study was checked: one that is required since holds from then on.
    """
    found = (_refusal(destination, instance) for instance in instances)
    return [refusal for refusal in found if refusal is not None]


def _refusal(destination: Destination, instance: Instance) -> Refusal | None:
    if destination.deidentified and instance.burned_in:
        return Refusal(instance.pk, "burned_in_candidate", BURNED_IN)
    lacking = [keyword for keyword in destination.required_tags if keyword in instance.missing_tags]
    return Refusal(instance.pk, "required_tag_missing", _lacks(lacking)) if lacking else None


def _lacks(keywords: Sequence[str]) -> str:
    names = keywords[0] if len(keywords) == 1 else f"{', '.join(keywords[:-1])} and {keywords[-1]}"
    return (
        f"This destination requires {names}, which the image has not filled. Ask the clinic that made the study to "
        "complete it at the modality or its PACS, and to upload it again."
    )
