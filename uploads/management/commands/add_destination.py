"""`manage.py add_destination`: a PACS that studies are relayed to; the same name again updates it."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from uploads.models import Destination
from uploads.pipeline import addressing


class Command(BaseCommand):
    help = "Creates a destination, or updates the one of this name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("url", help="dicom://CALLED_AE@host:port[?calling=AE]")
        parser.add_argument(
            "--optional", action="store_true", help="a study counts as delivered without this destination"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            destination, new = addressing.put(options["name"], options["url"], required=not options["optional"])
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self._tell(destination, new=new)

    def _tell(self, destination: Destination, *, new: bool) -> None:
        kind = "required" if destination.required else "optional"
        self.stdout.write(f"{'Created' if new else 'Updated'} {destination}: {destination.url}, {kind}.")
        if destination.paused:
            self.stdout.write("It is paused; nothing is sent until it is resumed in the administration pages.")
        if not destination.active:
            self.stdout.write("It is not active; no new study is relayed to it.")
