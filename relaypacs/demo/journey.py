"""One study on its journey, told leg by leg; then the PACS is asked for every instance, past the gateway."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from relaypacs.demo import phantom
from relaypacs.demo.accounts import AE_TITLE
from relaypacs.errors import RelayError
from uploads.client import Client, Sent
from uploads.dicom.inspect import inspect
from uploads.dicom.source import FileSlice
from uploads.pacs.address import Peer
from uploads.pacs.find import find_instances

LEGS = {
    "receiving": "receiving: the gateway takes the study, part by part",
    "assembling": "assembling: every octet is there; every digest is checked again",
    "validating": "validating: is it whole, and of one patient?",
    "delivering": "delivering: on its way to the PACS",
    "delivered": "delivered: the PACS answered that it stored every image",
    "verified": "verified: asked again, the PACS has every image",
}


class Told:
    """Prints each leg once, with the seconds since the start."""

    def __init__(self, out: Callable[[str], None]) -> None:
        self._out = out
        self._began = time.monotonic()
        self._last: object = None

    def __call__(self, truth: dict[str, Any]) -> None:
        state = truth["state"]
        trouble = [d["last_error"]["detail"] for d in truth["deliveries"] if d["last_error"]]
        seen = (state, tuple(trouble))
        if seen != self._last:
            self._last = seen
            self.say(LEGS.get(state, state) + "".join(f" [{one}]" for one in trouble))

    def say(self, line: str) -> None:
        self._out(f"  {time.monotonic() - self._began:6.2f} s  {line}")


def relay_sample(
    base_url: str,
    username: str,
    password: str,
    *,
    study: Path | None = None,
    out: Callable[[str], None] = lambda line: None,
    receipt: Path | None = None,
) -> bool:
    """Relays the bundled study, or that of a folder, through the API; true if it is verified and the PACS has it all.

    Args:
        receipt: where to leave the receipt, if it is wanted.

    Raises:
        RelayError: the gateway refused it, or could not be reached.
    """
    with tempfile.TemporaryDirectory(prefix="relaypacs-sample-") as scratch:
        folder = study or Path(scratch)
        if study is None:
            phantom.write_sample(folder)
        told = Told(out)
        with Client(base_url, username=username, password=password) as client:
            sent = client.send([folder], on_truth=told, allow_duplicate=True)
            told(sent.truth)
            complete = ask_the_pacs(folder, told)
            if receipt is not None and sent.truth["state"] in ("verified", "delivered", "failed"):
                receipt.write_bytes(_receipt(client, sent))
    _print_facts(sent.truth, out)
    return complete and sent.truth["state"] == "verified"


def _receipt(client: Client, sent: Sent) -> bytes:
    """The receipt is printed by a worker a moment after the state is reached."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return client.receipt(sent.truth["id"])
        except RelayError as error:
            if error.code != "not_ready" or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def ask_the_pacs(folder: Path, told: Told) -> bool:
    """Asks the demo PACS for each instance of the folder: does it have them, whatever the gateway says?"""
    wanted = instances_in(folder)
    peer = Peer(AE_TITLE, "127.0.0.1", settings.DEMO_PACS_PORT, calling_ae="DEMO")
    total, missing = 0, []
    for study, series in wanted.items():
        found = find_instances(peer, study, series, expected=series)
        for instances in series.values():
            total += len(instances)
            missing += [uid for uid in instances if uid not in found]
    told.say(f"the PACS was asked by C-FIND for {total} images and has {total - len(missing)}")
    for uid in missing[:10]:
        told.say(f"the PACS does not have {uid}")
    return total > 0 and not missing


def instances_in(folder: Path) -> dict[str, dict[str, list[str]]]:
    """StudyInstanceUID to SeriesInstanceUID to SOPInstanceUIDs of the DICOM files of a folder."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            seen = inspect(FileSlice(file.fileno(), 0, path.stat().st_size), name=path.name)
        if seen.verdict == "dicom" and seen.header is not None:
            series = found.setdefault(seen.header.study_instance_uid, {})
            series.setdefault(seen.header.series_instance_uid, []).append(seen.header.sop_instance_uid)
    return found


def _print_facts(truth: dict[str, Any], out: Callable[[str], None]) -> None:
    out("")
    out(f"  Receipt of upload {truth['id']}: {truth['state']}")
    files = truth["files"]
    out(
        f"    {files['total']} files: {files['dicom']} DICOM, {files['ignored']} left out, {files['rejected']} rejected"
    )
    out(f"    {truth['progress']['received_bytes']} of {truth['total_size']} bytes received")
    for one in truth["deliveries"]:
        out(
            f"    {one['destination']}: {one['state']}, {one['stored']} of {one['instances']} stored,"
            f" {one['verified']} verified, {one['refused']} refused, proof: {one['proof']}"
        )
        if one["last_error"]:
            out(f"      {one['last_error']['code']}: {one['last_error']['detail']}")
    for problem in truth["problems"]:
        out(f"    {problem['file'] or 'the upload'}: {problem['code']}, {problem['effect']}")
