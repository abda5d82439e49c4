"""The verdict on one file: an instance fit to relay, something to leave out, or something to refuse."""

import importlib
from collections.abc import Collection
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Literal, Protocol, cast

from uploads.dicom import header as headers
from uploads.dicom import sniff
from uploads.dicom.codes import EFFECTS, SENTENCES, Unfit
from uploads.dicom.deflate import Inflated
from uploads.dicom.filled import Asked, missing
from uploads.dicom.header import Header
from uploads.dicom.meta import Meta, is_part10, read_meta
from uploads.dicom.pixels import check_pixels
from uploads.dicom.source import Source
from uploads.dicom.uids import MEDIA_STORAGE_DIRECTORY, SYNTAXES, Syntax, is_uid
from uploads.dicom.walk import Layout, Unfamiliar, Walk
from uploads.dicom.window import Window

Outcome = Literal["dicom", "ignored", "rejected"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of one file.

    `code` is None for an instance fit to relay; `detail` says what was found, without patient data. `header` is there
    wherever one could be read, also for a refused file. The data set, as it goes over the wire, is `dataset_size`
    bytes from `dataset_offset`, counted from the start of the file; both are 0 where there is none. `missing` are
    tags of those asked for that it has not filled, in ascending order.
    """

    verdict: Outcome
    code: str | None
    detail: str
    header: Header | None
    dataset_offset: int
    dataset_size: int
    missing: tuple[int, ...] = ()


class SecondReader(Protocol):
    """`uploads.dicom.fallback`, as far as data sets go."""

    def read(self, source: Source, *, besides: Collection[int]) -> Layout: ...


@dataclass(slots=True)
class _Reading:
    """How far one reading came, so that a refusal can still show whose file it was; `asked`, what to look for."""

    asked: tuple[Asked, ...] = ()
    meta: Meta | None = None
    header: Header | None = None


_UID_KEYWORDS: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_uids_of: Final = attrgetter("sop_class_uid", "sop_instance_uid", "study_instance_uid", "series_instance_uid")


def inspect(source: Source, *, name: str, asked: tuple[Asked, ...] = ()) -> Inspection:
    """Judge one file by its structure, without reading a pixel.

    Args:
        source: the file's bytes, wherever they lie.
        name: the file's name at the clinic, for what only a name can tell.
        asked: elements of which it is to be told whether they are filled.

    Raises:
        OSError: the bytes could not be read.
    """
    if source.size == 0:
        return _left_out("empty_file")
    window = Window(source)
    if not is_part10(window):
        return _judge_unmarked(window, name=name)
    reading = _Reading(asked)
    try:
        return _judge(window, reading)
    except Unfit as unfit:
        return _refusal(unfit, reading, source.size)


def _judge(window: Window, reading: _Reading) -> Inspection:
    reading.meta = meta = read_meta(window)
    if meta.sop_class_uid == MEDIA_STORAGE_DIRECTORY:
        return _left_out("dicomdir")
    if sniff.is_program(window.buffer):
        raise Unfit("bomb", "The file is an image and a program at once.")
    syntax = SYNTAXES.get(meta.transfer_syntax_uid)
    if syntax is None:
        raise Unfit("meta_mismatch", "The transfer syntax is missing or not one of the Standard.")
    layout = _walk(window, meta, reading=reading, syntax=syntax)
    header = reading.header
    if header is None:
        header = reading.header = _header(layout, meta.transfer_syntax_uid, syntax)
    _check_identifiers(header, meta)
    check_pixels(header, layout, syntax=syntax)
    lacks = missing(layout.values, reading.asked)
    return Inspection("dicom", None, "", header, meta.dataset_offset, window.size - meta.dataset_offset, lacks)


def _walk(window: Window, meta: Meta, *, reading: _Reading, syntax: Syntax) -> Layout:
    """The layout of the data set; on damage, what was read before it still becomes a header."""
    source, start = window.source, meta.dataset_offset
    if syntax.deflated:
        window, start = Window(Inflated(source, start)), 0
    _check_encoding(window, start, syntax=syntax)
    besides = [one.tag for one in reading.asked]
    walk = Walk(window, implicit=syntax.implicit, big_endian=syntax.big_endian, besides=besides)
    try:
        return walk.run(start, window.size)
    except Unfit:
        reading.header = _header(walk.layout, meta.transfer_syntax_uid, syntax)
        raise
    except Unfamiliar:
        reading.header = _header(walk.layout, meta.transfer_syntax_uid, syntax)
        if syntax.deflated:
            raise Unfit("meta_mismatch", "The compressed data set holds elements of an unknown kind.") from None
        layout = cast(SecondReader, importlib.import_module("uploads.dicom.fallback")).read(source, besides=besides)
        reading.header = _header(layout, meta.transfer_syntax_uid, syntax)
        return layout


def _check_encoding(window: Window, start: int, *, syntax: Syntax) -> None:
    """The first element tells explicit from implicit VR; a peer trusts the transfer syntax and would misread it."""
    if start + 8 > window.size:
        raise Unfit("truncated", "The file ends before its data set begins.")
    head = window.read(start, 8)
    vr = head[4:6]
    if (vr.isalpha() and vr.isupper()) == syntax.implicit:
        raise Unfit("meta_mismatch", "The data set is not encoded as its transfer syntax says.")
    if head.startswith(b"\x02\x00"):
        raise Unfit("meta_mismatch", "The length of the file meta information does not fit its elements.")


def _header(layout: Layout, transfer_syntax_uid: str, syntax: Syntax) -> Header:
    return headers.build(layout.values, transfer_syntax_uid=transfer_syntax_uid, big_endian=syntax.big_endian)


def _check_identifiers(header: Header, meta: Meta) -> None:
    """Domain rule S10: what a sender takes from the meta header and what a PACS reads from the data set are one."""
    for keyword, uid in zip(_UID_KEYWORDS, _uids_of(header), strict=True):
        if not uid:
            raise Unfit("meta_mismatch", f"The file has no {keyword}.")
        if not is_uid(uid):
            raise Unfit("meta_mismatch", f"The {keyword} is not a valid identifier.")
    if meta.sop_class_uid != header.sop_class_uid:
        raise Unfit("meta_mismatch", "File meta information and data set name different SOP classes.")
    if meta.sop_instance_uid != header.sop_instance_uid:
        raise Unfit("meta_mismatch", "File meta information and data set name different SOP instances.")


def _judge_unmarked(window: Window, *, name: str) -> Inspection:
    """A file without the DICM prefix: something else, a copy that failed, or a data set without its meta header."""
    code = sniff.sniff(window.buffer, name=name)
    if code is not None:
        return _left_out(code) if EFFECTS[code] == "ignored" else _refusal(Unfit(code, ""), _Reading(), 0)
    if not window.buffer.strip(b"\0"):
        return _refusal(Unfit("truncated", "The file begins with nothing but zeros."), _Reading(), 0)
    header = _bare_header(window)
    if header is None:
        return _left_out("not_dicom")
    return _refusal(Unfit("meta_mismatch", "The file has no DICOM file header."), _Reading(header=header), 0)


def _bare_header(window: Window) -> Header | None:
    """The header of a data set that stands alone, if it begins as one must and names its SOP class."""
    head = window.buffer[:8]
    syntax = Syntax(implicit=not (head[4:6].isalpha() and head[4:6].isupper()), big_endian=head[:2] == b"\x00\x08")
    if head[:2] not in (b"\x08\x00", b"\x00\x08", b"\x02\x00") or len(head) < 8:
        return None
    walk = Walk(window, implicit=syntax.implicit, big_endian=syntax.big_endian)
    try:
        start = read_meta(window, start=0).dataset_offset if head[:2] == b"\x02\x00" else 0
        walk.run(start, window.size)
        header = _header(walk.layout, "", syntax)
    except (Unfit, Unfamiliar):
        if headers.SOP_CLASS not in walk.layout.values:
            return None
        header = _header(walk.layout, "", syntax)
    return header if is_uid(header.sop_class_uid) else None


def _left_out(code: str) -> Inspection:
    return Inspection("ignored", code, SENTENCES[code], None, 0, 0)


def _refusal(unfit: Unfit, reading: _Reading, size: int) -> Inspection:
    offset = reading.meta.dataset_offset if reading.meta else 0
    left = size - offset if reading.meta else 0
    return Inspection("rejected", unfit.code, unfit.detail or SENTENCES[unfit.code], reading.header, offset, left)
