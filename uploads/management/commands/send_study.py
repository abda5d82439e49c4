"""`manage.py send_study`: hands studies in over the network, one upload each, going on where an earlier run stopped."""

import getpass
import os
import sys
import threading
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from uploads.client import Client, ClientError, LocalFile, Sent, StudyFiles, group

ENDS = {
    "verified": "verified: asked again, the PACS has every image",
    "delivered": "delivered: the PACS answered that it stored every image; it offers no way to ask again",
    "held": "held: a person must decide, on the page of this upload",
    "failed": "failed: a destination did not take every image; the gateway keeps the study",
    "rejected": "rejected: nothing was sent",
}


class Command(BaseCommand):
    help = "Hands in files, folders or ZIP archives. The environment has RELAYPACS_PASSWORD or RELAYPACS_TOKEN."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--url", required=True, help="Of the gateway, such as https://relaypacs.example.org")
        parser.add_argument("--user", required=True)
        parser.add_argument("--clinic", help="Id or name, where you work for several.")
        parser.add_argument("--service-level", choices=["routine", "emergency", "stat"], default="routine")
        parser.add_argument("--history", default="", help="Clinical history, for the radiologist.")
        parser.add_argument("--allow-duplicate", action="store_true", help="Send again what was sent before.")
        parser.add_argument("--jobs", type=int, default=2, help="Studies at a time.")
        parser.add_argument("--no-wait", action="store_true", help="End when the gateway has received them.")

    def handle(self, *args: Any, **options: Any) -> None:
        self._lock = threading.Lock()
        token = os.environ.get("RELAYPACS_TOKEN", "")
        password = "" if token else _password()
        try:
            with (
                group(options["paths"]) as found,
                Client(options["url"], username=options["user"], password=password, token=token) as client,
                ThreadPoolExecutor(max(1, options["jobs"])) as pool,
            ):
                for name, code, sentence in found.left_out:
                    self._say(f"left out: {name}: {code}. {sentence}")
                if not found.studies:
                    raise CommandError("There is no DICOM study in these files.")
                self._say(f"{len(found.studies)} studies to hand in")
                numbered = enumerate(found.studies, 1)
                ended = list(pool.map(lambda one: self._send(client, one[0], one[1], options), numbered))
        except ClientError as error:
            raise CommandError(f"{error.code}: {error.detail}") from error
        if not all(ended):
            raise CommandError(f"{ended.count(False)} of {len(ended)} studies did not arrive; see above.")

    def _send(self, client: Client, number: int, study: StudyFiles, options: dict[str, Any]) -> bool:
        fields = {
            "clinic": options["clinic"],
            "service_level": options["service_level"],
            "clinical_history": options["history"],
            "allow_duplicate": options["allow_duplicate"],
            "studies": [
                {
                    "study_instance_uid": study.study_instance_uid,
                    "instances": [{"sop_instance_uid": uid} for uid in study.instances],
                }
            ],
        }
        progress = _Progress(number, self._say)
        try:
            files = [LocalFile.of(path, name) for path, name in study.files]
            sent = client.send_files(
                files, fields, on_progress=progress.bytes, on_truth=progress.truth, follow=not options["no_wait"]
            )
        except ClientError as error:
            self._say(f"study {number}: {error.code}: {error.detail}")
            return False
        return self._summary(number, sent, waited=not options["no_wait"])

    def _summary(self, number: int, sent: Sent, *, waited: bool) -> bool:
        state = sent.truth["state"]
        if not waited:
            self._say(f"study {number}: received by the gateway as upload {sent.id}; not delivered yet")
            return True
        self._say(f"study {number}: {ENDS.get(state, state)} (upload {sent.id})")
        for problem in sent.truth["problems"]:
            self._say(f"study {number}:   {problem['file'] or 'the upload'}: {problem['code']}, {problem['effect']}")
        return sent.arrived

    def _say(self, line: str) -> None:
        with self._lock:
            self.stdout.write(line)
            self.stdout.flush()


class _Progress:
    """A line for every tenth of the bytes, and for every state."""

    def __init__(self, number: int, say: Any) -> None:
        self._number, self._say = number, say
        self._tenth, self._state = -1, ""

    def bytes(self, done: int, total: int) -> None:
        tenth = done * 10 // max(total, 1)
        if tenth > self._tenth:
            self._tenth = tenth
            bar = "#" * tenth + "." * (10 - tenth)
            self._say(f"study {self._number}: [{bar}] {done / 1e6:.1f} of {total / 1e6:.1f} MB received")

    def truth(self, truth: dict[str, Any]) -> None:
        if truth["state"] != self._state:
            self._state = truth["state"]
            self._say(f"study {self._number}: {self._state}")


def _password() -> str:
    password = os.environ.get("RELAYPACS_PASSWORD", "")
    if password or not sys.stdin.isatty():
        return password
    return getpass.getpass()
