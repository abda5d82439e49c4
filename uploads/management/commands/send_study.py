"""`manage.py send_study`: hands studies in over the network, one upload each, going on where an earlier run stopped."""

import getpass
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from uploads.client import Client, ClientError, Sent, StudyFiles, group
from uploads.client.telling import Teller, ending

INTERRUPTED = 130


class Command(BaseCommand):
    help = (
        "Hands in files, folders or ZIP archives through the API. The environment has RELAYPACS_PASSWORD or "
        "RELAYPACS_TOKEN. The exit status is 0 only if every study is verified, or delivered where the PACS offers no "
        "way to ask (with --no-wait: received)."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--url", required=True, help="of the gateway, such as https://relaypacs.example.org")
        parser.add_argument("--user", required=True, metavar="NAME")
        parser.add_argument("--clinic", metavar="NAME", help="or its id, where you work for several")
        parser.add_argument("--service-level", choices=["routine", "emergency", "stat"], default="routine")
        parser.add_argument("--history", default="", metavar="TEXT", help="clinical history, for the radiologist")
        parser.add_argument("--allow-duplicate", action="store_true", help="send again what was sent before")
        parser.add_argument("--jobs", type=int, default=2, metavar="N", help="studies at a time")
        parser.add_argument("--no-wait", action="store_true", help="end when the gateway has received them")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with group(options["paths"]) as found, _client(options) as client:
                teller = Teller(self.stdout, total=len(found.studies))
                teller.left_out(found.left_out)
                teller.expects(found.studies)
                if not found.studies:
                    raise CommandError("There is no DICOM study in these files.")
                arrived = _send_all(client, found.studies, teller, options)
        except ClientError as error:
            raise CommandError(f"{error.code}: {error.detail}") from error
        except KeyboardInterrupt:
            self.stderr.write("Stopped. What was received stays received: the same command again goes on from here.")
            sys.exit(INTERRUPTED)
        if arrived < len(found.studies):
            raise CommandError(
                f"{len(found.studies) - arrived} of {len(found.studies)} studies did not arrive; see above."
            )


def _client(options: dict[str, Any]) -> Client:
    token = os.environ.get("RELAYPACS_TOKEN", "")
    password = os.environ.get("RELAYPACS_PASSWORD", "")
    if not (token or password) and sys.stdin.isatty():
        password = getpass.getpass()
    if not (token or password):
        raise CommandError("Set RELAYPACS_PASSWORD or RELAYPACS_TOKEN.")
    # a token cannot be renewed by a name alone
    return Client(options["url"], username=options["user"] if password else "", password=password, token=token)


def _send_all(client: Client, studies: Sequence[StudyFiles], teller: Teller, options: dict[str, Any]) -> int:
    """Sends them side by side and prints the summary; how many arrived."""
    with ThreadPoolExecutor(max(1, options["jobs"])) as pool:
        under_way: list[Future[tuple[str, bool]]] = []
        try:
            for number, study in enumerate(studies, 1):
                under_way.append(pool.submit(_send, client, number, study, teller=teller, options=options))
            ended = [one.result() for one in under_way]
        except BaseException:
            client.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    teller.summary([line for line, _ in ended])
    return sum(arrived for _, arrived in ended)


def _send(
    client: Client, number: int, study: StudyFiles, *, teller: Teller, options: dict[str, Any]
) -> tuple[str, bool]:
    """The last line about a study, and whether it arrived as far as was asked for."""
    teller.begins(number, study)
    try:
        sent = client.send(
            study,
            clinic=options["clinic"],
            service_level=options["service_level"],
            clinical_history=options["history"],
            allow_duplicate=options["allow_duplicate"],
            on_read=lambda done: teller.reading(number, done),
            on_progress=lambda done, total: teller.progress(number, done, total=total),
            on_truth=lambda truth: teller.truth(number, truth),
            wait="received" if options["no_wait"] else "verified",
        )
    except ClientError as error:
        return _refusal(error), False
    return ending(sent.truth), _as_far_as_asked(sent, waited=not options["no_wait"])


def _refusal(error: ClientError) -> str:
    line = f"not sent: {error.code}: {error.detail}"
    if error.code == "duplicate_study":
        line += f" Upload {error.extra.get('upload_id')}; --allow-duplicate sends it all the same."
    return line


def _as_far_as_asked(sent: Sent, *, waited: bool) -> bool:
    lost = sent.truth["state"] in ("rejected", "failed", "held", "cancelled", "expired")
    return sent.arrived if waited else not lost
