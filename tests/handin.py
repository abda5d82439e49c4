"""Hands a study in through the API, as a small careful client would, and runs the legs as workers would."""

import base64
import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from django.db.models import F
from django.test import Client
from django.utils import timezone

from accounts.models import User
from uploads.models import Delivery, Destination, Upload
from uploads.pipeline import legs, receipt

API = "/api/v1/uploads"
KIB256 = 256 * 1024


def content_digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


class HandIn:
    """One upload through the API, by one person."""

    def __init__(self, user: User, files: Mapping[str, bytes], *, chunk_size: int = KIB256) -> None:
        self.client = Client()
        self.client.force_login(user)
        self.files = dict(files)
        self.chunk_size = chunk_size
        self.pack = b"".join(self.files.values())
        self.id = ""

    @property
    def url(self) -> str:
        return f"{API}/{self.id}"

    @property
    def upload(self) -> Upload:
        return Upload.objects.get(pk=uuid.UUID(self.id))

    def manifest(self, **fields: Any) -> dict[str, Any]:
        files = [
            {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in self.files.items()
        ]
        return {"files": files, "chunk_size": self.chunk_size, **fields}

    def open(self, *, key: str = "", **fields: Any) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        response = self.client.post(API, self.manifest(**fields), content_type="application/json", headers=headers)
        if response.status_code in (200, 201):
            self.id = response.json()["id"]
        return response

    def chunk(self, index: int) -> bytes:
        return self.pack[index * self.chunk_size : (index + 1) * self.chunk_size]

    def put(self, index: int, data: bytes | None = None, *, digest: str | None = None) -> Any:
        data = self.chunk(index) if data is None else data
        digest = content_digest(data) if digest is None else digest
        return self.client.put(
            f"{self.url}/chunks/{index}",
            data,
            content_type="application/octet-stream",
            headers={"Content-Digest": digest} if digest else {},
        )

    def send_all(self) -> None:
        for index in range(-(-len(self.pack) // self.chunk_size)):
            response = self.put(index)
            if response.status_code != 204:
                raise AssertionError(f"chunk {index}: {response.status_code} {response.content!r}")

    def complete(self, **body: Any) -> Any:
        return self.client.post(f"{self.url}/complete", body, content_type="application/json")

    def truth(self) -> dict[str, Any]:
        body: dict[str, Any] = self.client.get(self.url).json()
        return body

    def everything(self, **fields: Any) -> "HandIn":
        """Opens, sends and seals it."""
        opened = self.open(**fields)
        if opened.status_code != 201:
            raise AssertionError(f"open: {opened.status_code} {opened.content!r}")
        self.send_all()
        sealed = self.complete()
        if sealed.status_code != 202:
            raise AssertionError(f"complete: {sealed.status_code} {sealed.content!r}")
        return self


def work(*, printing: bool = False) -> int:
    """What all workers together would do until nothing is due; how many legs that took.

    Args:
        printing: the printer works too, which takes it a second or two for each receipt.
    """
    done = 0
    while legs.advance() or legs.relay() or (printing and receipt.render_next()):
        done += 1
        if done > 200:
            raise AssertionError("the workers do not come to rest")
    return done


def make_due() -> None:
    """Lets the time pass that deliveries wait for."""
    now = timezone.now()
    Delivery.objects.filter(due_at__gt=now).update(due_at=now)
    Destination.objects.filter(probe_at__gt=now).update(probe_at=now)


def let_leases_lapse() -> None:
    """Lets the time pass after which a dead worker's rows are anybody's."""
    past = timezone.now()
    Upload.objects.filter(lease_until__isnull=False).update(lease_until=past, lease_epoch=F("lease_epoch"))
    Delivery.objects.filter(lease_until__isnull=False).update(lease_until=past)
