"""A pynetdicom SCP in a thread that answers what the test tells it to and keeps what it gets."""

from __future__ import annotations

import hashlib
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from tests.loopback import LOOPBACK, data_set_of, free_port

Status = int | Dataset | str
"""What a scripted SCP does with an instance: answer a status, answer a data set with details, or "abort"."""


@dataclass(frozen=True)
class Received:
    """One C-STORE as it came over the wire."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    sha256: str
    size: int
    data_set: bytes
    status: int


@dataclass
class ScriptedSCP:
    """A pynetdicom SCP in a thread. `received` is what it was sent, in order, whatever it answered."""

    port: int
    ae: str
    received: list[Received] = field(default_factory=list)
    associations: int = 0
    finds: list[Dataset] = field(default_factory=list)

    @property
    def stored(self) -> dict[str, Received]:
        """What it would show as stored: answered with success or a warning."""
        return {one.sop_instance_uid: one for one in self.received if one.status in (0, 0xB000, 0xB006, 0xB007)}


@contextmanager
def scripted_scp(
    *,
    statuses: Sequence[Status] | Mapping[str, Status] = (),
    find: bool | Callable[[Dataset, ScriptedSCP], Iterable[tuple[int, Dataset | None]]] = True,
    contexts: Sequence[PresentationContext] | None = None,
    chunked: bool = False,
    keep_bytes: bool = True,
    port: int | None = None,
    ae_title: str = "SCRIPTED",
    maximum_pdu: int = 0,
    require_called: bool = False,
    most_associations: int = 10,
    tls: ssl.SSLContext | None = None,
) -> Iterator[ScriptedSCP]:
    """An SCP answering `statuses` (in order, or by SOP Instance UID; 0000 where they end) and C-ECHO, C-FIND.

    It takes any class and syntax unless `contexts` names some. `find` may be a function of the identifier and the
    SCP that yields (status, answer); as it is, it answers at image level from what it has stored.
    """
    scp = ScriptedSCP(port or free_port(), ae_title)
    script = _Script(scp, statuses, keep_bytes=keep_bytes)
    entity = AE(ae_title)
    entity.maximum_pdu_size = maximum_pdu
    entity.require_called_aet = require_called
    entity.maximum_associations = most_associations
    entity.supported_contexts = list(contexts or [build_context(Verification)])
    if find and contexts is None:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    handlers: list[Any] = [
        (evt.EVT_ACCEPTED, script.on_accepted),
        (evt.EVT_C_STORE, script.on_store),
        (evt.EVT_C_FIND, script.on_find, [find if callable(find) else stored_instances]),
    ]
    with _pynetdicom_configured(unrestricted=contexts is None, chunked=chunked):
        server: Any = entity.make_server(
            (LOOPBACK, scp.port), ssl_context=tls, evt_handlers=handlers, server_class=ThreadedAssociationServer
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        entity._servers.append(server)
        try:
            yield scp
        finally:
            entity.shutdown()
            thread.join(10)


@contextmanager
def _pynetdicom_configured(*, unrestricted: bool, chunked: bool) -> Iterator[None]:
    before = _config.UNRESTRICTED_STORAGE_SERVICE, _config.STORE_RECV_CHUNKED_DATASET
    _config.UNRESTRICTED_STORAGE_SERVICE, _config.STORE_RECV_CHUNKED_DATASET = unrestricted, chunked
    try:
        yield
    finally:
        _config.UNRESTRICTED_STORAGE_SERVICE, _config.STORE_RECV_CHUNKED_DATASET = before


@dataclass
class _Script:
    scp: ScriptedSCP
    statuses: Sequence[Status] | Mapping[str, Status]
    keep_bytes: bool

    def on_accepted(self, _: evt.Event) -> None:
        self.scp.associations += 1

    def on_store(self, event: evt.Event) -> int | Dataset:
        request: Any = event.request
        octets = self._octets(event)
        uid = str(request.AffectedSOPInstanceUID)
        answer = self._answer(uid)
        if isinstance(answer, str):
            event.assoc.abort()
        status = answer if isinstance(answer, int) else int(getattr(answer, "Status", 0xC000))
        self.scp.received.append(
            Received(
                sop_class_uid=str(request.AffectedSOPClassUID),
                sop_instance_uid=uid,
                transfer_syntax_uid=str(event.context.transfer_syntax),
                sha256=hashlib.sha256(octets).hexdigest(),
                size=len(octets),
                data_set=octets if self.keep_bytes else b"",
                status=status,
            )
        )
        return status if isinstance(answer, str) else answer

    def _octets(self, event: evt.Event) -> bytes:
        if _config.STORE_RECV_CHUNKED_DATASET:
            return data_set_of(event.dataset_path.read_bytes())
        octets: bytes = event.request.DataSet.getvalue()  # type: ignore[union-attr]
        return octets

    def _answer(self, uid: str) -> Status:
        if isinstance(self.statuses, Mapping):
            return self.statuses.get(uid, 0)
        return self.statuses[len(self.scp.received)] if len(self.scp.received) < len(self.statuses) else 0

    def on_find(
        self, event: evt.Event, answers: Callable[[Dataset, ScriptedSCP], Iterable[tuple[int, Dataset | None]]]
    ) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        self.scp.finds.append(identifier)
        yield from answers(identifier, self.scp)


def stored_instances(identifier: Dataset, scp: ScriptedSCP) -> Iterator[tuple[int, Dataset | None]]:
    """Answers at image level what the SCP has stored and the unique keys select."""
    wanted = identifier.get("SOPInstanceUID") or []
    listed = {wanted} if isinstance(wanted, str) else set(wanted)
    for one in scp.stored.values():
        header = _header(one)
        same_series = header.get("SeriesInstanceUID") == identifier.get("SeriesInstanceUID")
        if same_series and (not listed or one.sop_instance_uid in listed):
            yield 0xFF00, _image_answer(identifier, header, one)


def _header(one: Received) -> Dataset:
    syntax = UID(one.transfer_syntax_uid)
    octets = zlib.decompressobj(-zlib.MAX_WBITS).decompress(one.data_set) if syntax.is_deflated else one.data_set
    return pydicom.filereader.read_dataset(
        BytesIO(octets), syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_beyond_headers
    )


def _beyond_headers(tag: Any, _vr: str | None, _length: int) -> bool:
    return int(tag) >= 0x7FE00008


def _image_answer(identifier: Dataset, header: Dataset, one: Received) -> Dataset:
    answer = Dataset()
    answer.QueryRetrieveLevel = "IMAGE"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "NumberOfFrames", "Rows", "Columns"):
        if keyword in identifier and keyword in header:
            setattr(answer, keyword, header[keyword].value)
    answer.SOPInstanceUID = one.sop_instance_uid
    answer.SOPClassUID = one.sop_class_uid
    return answer
