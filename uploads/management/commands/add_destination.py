"""`manage.py add_destination`: a PACS that studies are relayed to; the same name again updates it."""

import os
from argparse import ArgumentParser, BooleanOptionalAction
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from uploads.models import Auth, Destination, ProofWanted
from uploads.pipeline import vetting

SECRET = "RELAYPACS_DESTINATION_SECRET"
# option → column; what is not given is not touched
COLUMNS = (
    "required",
    "max_associations",
    "relay_early",
    "proof_wanted",
    "query_url",
    "auth_user",
    "tls_server_name",
    "transcode",
    "deidentified",
)
PEM = (("ca", "tls_ca"), ("certificate", "tls_certificate"))


class Command(BaseCommand):
    help = (
        "Creates a destination, or updates the one of this name: what is not given stays as it was. A password or "
        f"token is read from the environment ({SECRET}): a password with --auth-user, else a bearer token."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "url", help="dicom://CALLED_AE@host:port[?calling=AE], dicoms://… for TLS, or http(s)://host/dicom-web"
        )
        kind = parser.add_mutually_exclusive_group()
        kind.add_argument(
            "--optional",
            dest="required",
            action="store_false",
            default=None,
            help="a study counts as delivered without this destination",
        )
        kind.add_argument("--required", dest="required", action="store_true", default=None, help="it does not (usual)")
        parser.add_argument("--max-associations", type=int, metavar="N", help="at the same time")
        self._add_switches(parser)
        proofs = ProofWanted.values
        parser.add_argument("--proof", dest="proof_wanted", choices=proofs, help="that it has a study")
        parser.add_argument("--query-url", metavar="URL", help="where it is asked what it has, if elsewhere")
        parser.add_argument("--auth-user", metavar="NAME", help="of a DICOMweb service")
        parser.add_argument("--ca", type=Path, metavar="FILE", help="PEM: trusted instead of the machine's own")
        parser.add_argument("--certificate", type=Path, metavar="FILE", help="PEM: ours, with its chain")
        parser.add_argument("--key", type=Path, metavar="FILE", help="PEM: the private key of our certificate")
        parser.add_argument("--server-name", dest="tls_server_name", metavar="NAME", help="in its certificate")

    def _add_switches(self, parser: ArgumentParser) -> None:
        for option, words in (
            ("--relay-early", "send images as they come in, before the whole study is checked"),
            ("--transcode", "send decoded what it does not take compressed"),
            ("--deidentified", "it must not get images that may show a name in their pixels"),
        ):
            parser.add_argument(option, action=BooleanOptionalAction, default=None, help=words)

    def handle(self, *args: Any, **options: Any) -> None:
        changes = {name: options[name] for name in COLUMNS if options[name] is not None}
        changes |= {column: _read(options[name]) for name, column in PEM if options[name] is not None}
        secrets = {"tls_key": _read(options["key"])} if options["key"] is not None else {}
        if secret := os.environ.get(SECRET, ""):
            secrets["auth_secret"] = secret
            changes["auth"] = Auth.BASIC if options["auth_user"] else self._kind(options["name"])
        try:
            destination, new = vetting.put(options["name"], options["url"], changes, secrets=secrets)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self._tell(destination, new=new)

    def _kind(self, name: str) -> Auth:
        """A password without its user name is the new password of the known user."""
        known = Destination.objects.filter(name=name, auth=Auth.BASIC).exclude(auth_user="")
        return Auth.BASIC if known.exists() else Auth.BEARER

    def _tell(self, destination: Destination, *, new: bool) -> None:
        kind = "required" if destination.required else "optional"
        self.stdout.write(f"{'Created' if new else 'Updated'} {destination}: {destination.url}, {kind}.")
        if destination.paused:
            self.stdout.write("It is paused; nothing is sent until it is resumed in the administration pages.")
        if not destination.active:
            self.stdout.write("It is not active; no new study is relayed to it.")


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read as PEM.") from error
