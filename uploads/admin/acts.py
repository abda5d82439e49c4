"""What an administrator does with deliveries chosen from the queue: asked for, done, told and written down."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.models import User
from relaypacs.errors import RelayError
from uploads.admin.queue import administrator
from uploads.models import Delivery, Destination, LeaseLost
from uploads.pipeline import decisions, steering

if TYPE_CHECKING:
    DeliveryModelAdmin = admin.ModelAdmin[Delivery]
    DestinationChoice = forms.ModelChoiceField[Destination]
else:
    DeliveryModelAdmin, DestinationChoice = admin.ModelAdmin, forms.ModelChoiceField

MOST_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What the administrator has filled in: who asks, and where it is needed why and whereto."""

    actor: User
    reason: str = ""
    to: Destination | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that can be done. `confirm` is the sentence over the page that asks; "" asks nothing."""

    name: str
    done: str
    do: Callable[[Delivery, Asked], object]
    confirm: str = ""
    button: str = ""
    needs_reason: bool = False
    needs_destination: bool = False

    @property
    def asks(self) -> bool:
        return bool(self.confirm)


def _redirect(delivery: Delivery, asked: Asked) -> object:
    if asked.to is None:
        raise TypeError("a redirection goes somewhere")
    return steering.redirect(delivery, asked.to, actor=asked.actor, reason=asked.reason)


ACTS: Mapping[str, Act] = {
    "retry": Act("Retry now", "tried at once", lambda row, asked: steering.retry_now(row, asked.actor)),
    "retry_refused": Act(
        "Retry what was refused",
        "tried again with what was refused",
        lambda row, asked: steering.retry_refused(row, asked.actor),
    ),
    "ask_again": Act(
        "Ask the PACS again",
        "asked about again",
        lambda row, asked: steering.ask_again(row, asked.actor),
    ),
    "redirect": Act(
        "Redirect…",
        "redirected",
        _redirect,
        confirm="These studies are sent to another destination instead. What the first has stored stays there, and "
        "stays listed on the page and the receipt.",
        button="Redirect",
        needs_reason=True,
        needs_destination=True,
    ),
    "give_up": Act(
        "Give up…",
        "given up",
        lambda row, asked: steering.give_up(row, actor=asked.actor, reason=asked.reason),
        confirm="Nothing more of these studies is sent there. Where the destination is required the upload fails, and "
        "the clinic sees it; a retry takes it up again.",
        button="Give up",
        needs_reason=True,
    ),
    "cancel": Act(
        "Cancel the upload…",
        "cancelled with its upload",
        lambda row, asked: decisions.cancel(asked.actor, row.upload),
        confirm="The whole upload is cancelled, at every destination, for good. What a PACS has stored already stays "
        "there and is listed.",
        button="Cancel the uploads",
    ),
}


class AskForm(forms.Form):
    """Why, and whereto; as far as the act needs it."""

    to = DestinationChoice(label="To", queryset=Destination.objects.none(), empty_label="Choose a destination")
    reason = forms.CharField(
        label="Reason", widget=forms.Textarea(attrs={"rows": 3, "cols": 60}), max_length=steering.LONGEST_REASON
    )

    def __init__(self, act: Act, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if act.needs_destination:
            self.fields["to"].queryset = Destination.objects.filter(active=True)  # type: ignore[attr-defined]
        else:
            del self.fields["to"]
        if not act.needs_reason:
            del self.fields["reason"]


def page(desk: DeliveryModelAdmin, request: HttpRequest) -> HttpResponse:
    """POST does the act with the chosen deliveries, or asks first where the act needs to know more."""
    actor, back = administrator(request), _back(request)
    act, chosen = ACTS.get(request.POST.get("act", "")), _chosen(request)
    if request.method != "POST" or act is None:
        return redirect(back)
    if not chosen:
        desk.message_user(request, "Please tick at least one study first.", messages.WARNING)
        return redirect(back)
    form = AskForm(act, request.POST if "sure" in request.POST else None)
    if act.asks and not form.is_valid():
        return _ask(desk, request, act, chosen=chosen, form=form, back=back)
    sent = form.cleaned_data if act.asks else {}
    asked = Asked(actor, reason=sent.get("reason", ""), to=sent.get("to"))
    _do_all(desk, request, act, chosen=chosen, asked=asked)
    return redirect(back)


def _ask(
    desk: DeliveryModelAdmin, request: HttpRequest, act: Act, *, chosen: Sequence[Delivery], form: AskForm, back: str
) -> HttpResponse:
    context = {
        **desk.admin_site.each_context(request),
        "opts": desk.opts,
        "title": act.button,
        "act": act,
        "act_name": request.POST["act"],
        "chosen": chosen,
        "form": form,
        "back": back,
    }
    return render(request, "admin/uploads/delivery/act.html", context, status=400 if form.errors else 200)


def _do_all(
    desk: DeliveryModelAdmin, request: HttpRequest, act: Act, *, chosen: Iterable[Delivery], asked: Asked
) -> None:
    done = 0
    for delivery in chosen:
        try:
            act.do(delivery, asked)
        except RelayError as error:
            where = f"{delivery.destination_name}, upload {delivery.upload_id}"
            desk.message_user(request, f"{where}: {error.detail}", messages.ERROR)
        except LeaseLost:
            desk.message_user(request, "Somebody else was faster; please look again.", messages.ERROR)
        else:
            done += 1
            desk.log_change(request, delivery, _written_down(act, asked))
    if done:
        plural = "study was" if done == 1 else "studies were"
        desk.message_user(request, f"{done} {plural} {act.done}.", messages.SUCCESS)


def _written_down(act: Act, asked: Asked) -> str:
    whereto = f" to {asked.to}" if asked.to is not None else ""
    why = f": {asked.reason}" if asked.reason else ""
    return f"{act.done.capitalize()}{whereto}{why}"


def _chosen(request: HttpRequest) -> list[Delivery]:
    ids = []
    for text in request.POST.getlist("delivery")[:MOST_AT_ONCE]:
        try:
            ids.append(uuid.UUID(text))
        except ValueError:
            continue
    rows = Delivery.objects.filter(pk__in=ids).select_related("upload__clinic", "study", "destination")
    return list(rows.defer("upload__declared_instances").order_by("destination_name", "urgency", "created_at"))


def _back(request: HttpRequest) -> str:
    """Where the administrator came from, if that is the queue."""
    queue = reverse("admin:uploads_delivery_queue")
    query = request.POST.get("query", "")
    back = f"{queue}?{query}" if query else queue
    return back if url_has_allowed_host_and_scheme(back, allowed_hosts=None) else queue
