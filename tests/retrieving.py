"""Peers that give back what they have, by C-GET and C-MOVE: a pynetdicom SCP with octets of the test, and dcmqrscp."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from tests.loopback import LOOPBACK, free_port, require
from tests.peers import Program
from tests.uploads.pacs.packs import Sample
from uploads.pacs.address import Peer


@dataclass
class Retrieving:
    """`change`: one octet is not what it was. `everything`: it sends all that it has, asked or not."""

    port: int
    samples: Sequence[Sample]
    status: int | None
    change: bool
    everything: bool
    move_to: int | None
    directory: Path
    ae: str = "PACS"

    @property
    def peer(self) -> Peer:
        return Peer(self.ae, LOOPBACK, self.port)

    def asked(self, identifier: Dataset) -> list[Sample]:
        named = identifier.SOPInstanceUID
        uids = {named} if isinstance(named, str) else set(named)
        return [sample for sample in self.samples if self.everything or sample.sop_instance_uid in uids]

    def on_get(self, event: evt.Event) -> Iterator[Any]:
        if self.status is not None:
            yield 1
            yield self.status, None
            return
        asked = self.asked(event.identifier)
        association: Any = event.assoc
        send = association.send_c_store
        association.send_c_store = lambda ticket, **rest: send(ticket.file, **rest)
        yield len(asked)
        for number, sample in enumerate(asked):
            yield 0xFF00, self._ticket(number, sample)
        del association.send_c_store

    def _ticket(self, number: int, sample: Sample) -> Dataset:
        """Stands for a file, which is sent as the octets that it is; a data set pynetdicom would encode anew."""
        ticket = Dataset()
        ticket.SOPInstanceUID = sample.sop_instance_uid
        octets = sample.file[:-1] + bytes([sample.file[-1] ^ 1]) if self.change else sample.file
        ticket.__dict__["file"] = self.directory / str(number)
        ticket.__dict__["file"].write_bytes(octets)
        return ticket

    def on_move(self, event: evt.Event) -> Iterator[Any]:
        if str(event.move_destination).strip() != "RELAYPACS" or self.move_to is None:
            yield None, None
            return
        asked = self.asked(event.identifier)
        entity = AE(self.ae)
        for sop_class, syntax in {(sample.sop_class_uid, sample.transfer_syntax_uid) for sample in asked}:
            entity.add_requested_context(sop_class, syntax)
        yield LOOPBACK, self.move_to, {"contexts": entity.requested_contexts, "ae_title": "RELAYPACS"}
        yield len(asked)
        for sample in asked:
            yield 0xFF00, pydicom.dcmread(BytesIO(sample.file))


@contextmanager
def retrieving_scp(
    samples: Sequence[Sample],
    *,
    status: int | None = None,
    roles: bool = True,
    change: bool = False,
    everything: bool = False,
    move_to: int | None = None,
) -> Iterator[Retrieving]:
    entity = AE("PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
    role = True if roles else None
    for sample in samples:
        entity.add_supported_context(sample.sop_class_uid, sample.transfer_syntax_uid, scu_role=role, scp_role=role)
    with tempfile.TemporaryDirectory(prefix="relaypacs-retrieving-") as directory:
        scp = Retrieving(free_port(), samples, status, change, everything, move_to, Path(directory))
        handlers: list[Any] = [(evt.EVT_C_GET, scp.on_get), (evt.EVT_C_MOVE, scp.on_move)]
        before, _config.STORE_SEND_CHUNKED_DATASET = _config.STORE_SEND_CHUNKED_DATASET, True
        server = entity.start_server((LOOPBACK, scp.port), block=False, evt_handlers=handlers)
        try:
            yield scp
        finally:
            _config.STORE_SEND_CHUNKED_DATASET = before
            if server is not None:
                server.shutdown()


@contextmanager
def dcmqrscp(directory: Path, *, relay_port: int) -> Iterator[Program]:
    """dcmtk's archive: it stores, and sends to RELAYPACS at `relay_port` of this machine."""
    require("dcmqrscp")
    (directory / "archive").mkdir(parents=True)
    port = free_port()
    (directory / "dcmqrscp.cfg").write_text(f"""NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 16
HostTable BEGIN
us = (RELAYPACS, {LOOPBACK}, {relay_port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
DCMQRSCP {directory / "archive"} RW (200, 1024mb) ANY
AETable END
""")
    program = Program(["dcmqrscp", "-c", str(directory / "dcmqrscp.cfg")], port, "DCMQRSCP", directory)
    try:
        program.start()
        yield program
    finally:
        program.kill()
