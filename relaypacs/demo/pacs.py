"""A small PACS for the demo: takes every object, keeps it durably, commits to it, and answers C-ECHO and C-FIND."""

import errno
import hashlib
import logging
import os
import socket
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import AllStoragePresentationContexts, build_context
from pynetdicom.transport import ThreadedAssociationServer

from relaypacs.demo.commitment import COMMITMENT, Committer
from uploads.dicom.uids import SYNTAXES

logger = logging.getLogger(__name__)

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
VERIFICATION = "1.2.840.10008.1.1"
SUCCESS, PENDING, OUT_OF_RESOURCES, DUPLICATE, CANNOT_UNDERSTAND = 0x0000, 0xFF00, 0xA700, 0x0111, 0xC000

# The attributes kept for queries, by level (PS3.4 C.6.2.1), and the columns of the index that hold them.
KEPT = {
    "StudyInstanceUID": "study",
    "SeriesInstanceUID": "series",
    "SOPInstanceUID": "instance",
    "SOPClassUID": "class",
    "PatientID": "patient_id",
    "PatientName": "patient_name",
    "StudyDate": "study_date",
    "AccessionNumber": "accession",
    "StudyDescription": "description",
    "Modality": "modality",
    "InstanceNumber": "number",
}
UNIQUE_AT = {"STUDY": "study", "SERIES": "series", "IMAGE": "instance"}


class Archive:
    """What the PACS has: files named by ourselves, and an index that survives a restart.

    Of two objects with one SOPInstanceUID the first is kept (rule S3): the same octets again are welcome, others are
    told to be a duplicate.
    """

    def __init__(self, directory: Path, *, lose: int = 0) -> None:
        self._directory = directory
        self._lose = lose
        self._lost: str | None = None
        self._seen = 0
        self._lock = threading.Lock()
        (directory / "objects").mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as database, database:
            database.execute("PRAGMA journal_mode = WAL")
            columns = ", ".join(f'"{column}" TEXT' for column in KEPT.values())
            database.execute(
                f"CREATE TABLE IF NOT EXISTS object (file TEXT, sha256 TEXT, {columns}, UNIQUE (instance))"
            )
            database.execute("CREATE INDEX IF NOT EXISTS by_series ON object (study, series)")

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._directory / "index.sqlite3", timeout=30)

    def store(self, path: Path, header: Dataset) -> int:
        """Keeps the received file durably; the status to answer."""
        instance = str(header.SOPInstanceUID)
        if self._loses(instance):
            return SUCCESS
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with self._lock, closing(self._open()) as database:
            known = database.execute("SELECT sha256 FROM object WHERE instance = ?", (instance,)).fetchone()
            if known is not None:
                return SUCCESS if known[0] == digest else DUPLICATE
            name = str(uuid.uuid4())
            self._keep(path, self._directory / "objects" / name)
            values = [str(header.get(keyword, "") or "") for keyword in KEPT]
            marks = ", ".join("?" * (len(values) + 2))
            with database:
                database.execute(f"INSERT INTO object VALUES ({marks})", [name, digest, *values])  # nosec B608
        return SUCCESS

    def _loses(self, instance: str) -> bool:
        """The one instance that this PACS says it stored and has not kept; asked for by whoever runs the demo."""
        with self._lock:
            self._seen += 1
            if self._lose and self._seen == self._lose:
                self._lost = instance
            return instance == self._lost

    @staticmethod
    def _keep(received: Path, path: Path) -> None:
        fd = os.open(received, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.link(received, path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def class_of(self, instance: str) -> str | None:
        """The SOP class of an object that is there, its file looked for as well."""
        with closing(self._open()) as database:
            row = database.execute('SELECT file, "class" FROM object WHERE instance = ?', (instance,)).fetchone()
        return str(row[1]) if row is not None and (self._directory / "objects" / row[0]).exists() else None

    def find(self, query: Dataset) -> Iterator[Dataset]:
        """What matches, one answer for each study, series or image: by value, list of UIDs, or wildcards."""
        level = str(query.get("QueryRetrieveLevel", "STUDY"))
        unique = UNIQUE_AT[level]
        where, values = _conditions(query)
        columns = ", ".join(f'"{column}"' for column in KEPT.values())
        sql = f'SELECT {columns} FROM object {where} GROUP BY "{unique}" ORDER BY rowid'  # nosec B608
        with closing(self._open()) as database:
            rows = database.execute(sql, values).fetchall()
        for row in rows:
            yield _answer(query, dict(zip(KEPT, row, strict=True)), level)


def _conditions(query: Dataset) -> tuple[str, list[str]]:
    """Our own column names; everything from the query is a bound value."""
    clauses, values = [], []
    for keyword, column in KEPT.items():
        wanted = query.get(keyword)
        if not wanted:
            continue
        texts = [str(one) for one in wanted] if isinstance(wanted, list) else str(wanted).split("\\")
        clauses.append("(" + " OR ".join([f'"{column}" GLOB ?'] * len(texts)) + ")")
        values += [text.replace("[", "[[]") for text in texts]
    return ("WHERE " + " AND ".join(clauses) if clauses else ""), values


def _answer(query: Dataset, row: dict[str, str], level: str) -> Dataset:
    """What was asked for, filled in as far as it is known."""
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    found.QueryRetrieveLevel = level
    for element in query:
        if element.keyword in row:
            setattr(found, element.keyword, row[element.keyword])
    found.StudyInstanceUID = row["StudyInstanceUID"]
    if level in ("SERIES", "IMAGE"):
        found.SeriesInstanceUID = row["SeriesInstanceUID"]
    if level == "IMAGE":
        found.SOPInstanceUID = row["SOPInstanceUID"]
    return found


def serve(
    directory: Path, *, port: int, ae_title: str, report_to: int = 0, lose: int = 0, block: bool = True
) -> ThreadedAssociationServer:
    """Listens on the loopback address; with `block`, until the process is ended.

    `report_to`: the port of this machine at which whoever asks for a commitment gets its report; 0: none is offered.
    """
    archive = Archive(directory, lose=lose)
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    handlers: list[Any] = [
        (evt.EVT_CONN_OPEN, _answer_at_once),
        (evt.EVT_C_STORE, _on_store, [archive]),
        (evt.EVT_C_FIND, _on_find, [archive]),
        (evt.EVT_C_ECHO, lambda event: SUCCESS),
        (evt.EVT_N_ACTION, Committer(ae_title, report_to, archive.class_of).on_action),
    ]
    services = [STUDY_ROOT_FIND, VERIFICATION, *([COMMITMENT] if report_to else [])]
    server = _entity(ae_title, services).start_server(("127.0.0.1", port), block=block, evt_handlers=handlers)
    if server is None:
        raise SystemExit(0)
    return server


def _entity(ae_title: str, services: Sequence[str]) -> ApplicationEntity:
    entity = AE(ae_title=ae_title)
    entity.maximum_pdu_size = 128 * 1024
    entity.maximum_associations = 32
    entity.network_timeout, entity.dimse_timeout = 120, 60
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(UID(str(context.abstract_syntax)), list(SYNTAXES))
    for uid in services:
        entity.add_supported_context(str(build_context(uid).abstract_syntax))
    return entity


def _answer_at_once(event: evt.Event) -> None:
    """An answer is small and must not wait for the sender's acknowledgement of the last segment."""
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _on_store(event: evt.Event, archive: Archive) -> int:
    try:
        header = dcmread(event.dataset_path, stop_before_pixels=True)
        return archive.store(Path(event.dataset_path), header)
    except OSError as error:
        logger.warning("object not kept: %s", errno.errorcode.get(error.errno or 0, "OSError"))
        return OUT_OF_RESOURCES
    except (AttributeError, ValueError):
        return CANNOT_UNDERSTAND


def _on_find(event: evt.Event, archive: Archive) -> Iterator[tuple[int, Dataset | None]]:
    query = event.identifier
    if str(query.get("QueryRetrieveLevel", "")) not in UNIQUE_AT:
        yield 0xA900, None
        return
    for found in archive.find(query):
        if event.is_cancelled:
            yield 0xFE00, None
            return
        yield PENDING, found
