"""Packs for the wire tests: many instances end to end in one file, and a ledger of what became of each."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.peers import data_set_of
from uploads.pacs.address import Peer
from uploads.pacs.dimse import Deadlines, Item, Kind, Outcome, PeerError, store

CT = "1.2.840.10008.5.1.4.1.1.2"
NOT_STORED = {"1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.39.1"}
"""DICOMDIRs and colour palettes are no composite instances of the Storage Service Class."""
HUNG_AFTER_SECONDS = 40.0
QUICK = Deadlines(connect=1, negotiate=1, instance=1, per_megabyte=0.0, stall=1, echo=1, answer=1, find=2, release=1)
"""For peers that are meant to run into a deadline; the others get the ordinary ones, however busy the machine is."""
DEFAULT = Deadlines()


@dataclass(frozen=True)
class Slice:
    """A data set inside an open file."""

    descriptor: int
    offset: int
    size: int
    plain: bool = True

    def fileno(self) -> int:
        return self.descriptor if self.plain else -1

    def pread(self, length: int, offset: int) -> bytes:
        return os.pread(self.descriptor, min(length, self.size - offset), self.offset + offset)


@dataclass(frozen=True)
class Sample:
    """One of pydicom's own test files that has all a C-STORE needs."""

    name: str
    file: bytes
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(data_set_of(self.file)).hexdigest()


def sendable_samples() -> list[Sample]:
    """Every Part 10 file of pydicom's tests whose meta group names a class of the Storage Service."""
    folder = Path(pydicom.data.__file__).parent
    samples = [_sample(path) for path in sorted(folder.rglob("*"))]
    return [sample for sample in samples if sample is not None]


def _sample(path: Path) -> Sample | None:
    if not path.is_file() or path.read_bytes()[128:132] != b"DICM":
        return None
    meta = pydicom.filereader.read_file_meta_info(str(path))
    keywords = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
    sop_class, instance, syntax = (str(meta.get(keyword) or "") for keyword in keywords)
    if not (sop_class and instance and syntax) or sop_class in NOT_STORED:
        return None
    file = path.read_bytes()
    return Sample(path.name, file, sop_class, instance, syntax) if data_set_of(file) else None


def pack_of(samples: Sequence[Sample], path: Path) -> list[Item]:
    """Write the files end to end into `path`; each item is a slice of it."""
    path.write_bytes(b"".join(sample.file for sample in samples))
    descriptor = os.open(path, os.O_RDONLY)
    items, position = [], 0
    for index, sample in enumerate(samples):
        size = len(data_set_of(sample.file))
        position += len(sample.file)
        source = Slice(descriptor, position - size, size)
        names = (sample.sop_class_uid, sample.sop_instance_uid, sample.transfer_syntax_uid)
        items.append(Item(index, *names, source))
    return items


def ct_series(count: int, *, octets: int = 32_768, series: str = "", study: str = "") -> list[Sample]:
    """CT slices of one series with pixels of that many octets."""
    template = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    template.SeriesInstanceUID = series or generate_uid()
    template.StudyInstanceUID = study or generate_uid()
    template.Columns = 128 if octets < 1_000_000 else 1024
    template.Rows = octets // 2 // template.Columns
    template.PixelData = b"\1\2" * (template.Rows * template.Columns)
    del template[0xFFFCFFFC]
    return [_ct(template, number) for number in range(count)]


def _ct(template: pydicom.FileDataset, number: int) -> Sample:
    uid = generate_uid()
    template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = uid
    template.InstanceNumber = number
    buffer = pydicom.filebase.DicomBytesIO()
    template.save_as(buffer)
    return Sample(f"{number}", buffer.getvalue(), CT, str(uid), str(ExplicitVRLittleEndian))


@dataclass
class Ledger:
    """What `store` told, in the order in which it told it."""

    events: list[tuple[Any, str]] = field(default_factory=list)
    outcomes: dict[Any, Outcome] = field(default_factory=dict)
    trouble: BaseException | None = None
    on_begin: Callable[[Item], None] = lambda _: None
    on_end: Callable[[Item], None] = lambda _: None

    def sending(self, item: Item) -> None:
        self.events.append((item.key, "sending"))
        self.on_begin(item)

    def outcome(self, item: Item, outcome: Outcome) -> None:
        self.events.append((item.key, outcome.kind.value))
        self.outcomes[item.key] = outcome
        self.on_end(item)

    def kinds(self) -> list[Kind]:
        return [self.outcomes[key].kind for key in sorted(self.outcomes)]


def send(
    peer: Peer,
    items: Sequence[Item],
    *,
    deadlines: Deadlines = DEFAULT,
    ledger: Ledger | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    lanes: int = 1,
) -> Ledger:
    """Run `store`, step by step, where a hang is seen as one: in a thread that must end by itself."""
    book = ledger or Ledger()

    def run() -> None:
        try:
            store(
                peer,
                items,
                on_sending=book.sending,
                on_outcome=book.outcome,
                should_stop=should_stop,
                deadlines=deadlines,
                lanes=lanes,
                ahead=lanes,
            )
        except (PeerError, OSError) as trouble:
            book.trouble = trouble

    unhung(run)
    return book


def unhung(run: Callable[[], None]) -> None:
    """Run it, and fail where it has not come back long after every deadline of QUICK."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(HUNG_AFTER_SECONDS)
    if thread.is_alive():
        raise AssertionError("it hangs")
