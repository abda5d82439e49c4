"""The head of a DICOM file, PS3.10 7.1: preamble, prefix and the file meta group that stands before a data set."""

from __future__ import annotations

import struct

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

PREAMBLE = bytes(128) + b"DICM"
SHORT, LONG = struct.Struct("<HH2sH"), struct.Struct("<HH2sxxI")
META = 0x0002
GROUP_LENGTH, SOP_CLASS, SOP_INSTANCE, TRANSFER_SYNTAX = 0x0000, 0x0002, 0x0003, 0x0010


def head(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Everything of a file up to its data set."""
    group = b"".join(
        (
            LONG.pack(META, 0x0001, b"OB", 2) + b"\0\1",
            _element(SOP_CLASS, b"UI", sop_class_uid),
            _element(SOP_INSTANCE, b"UI", sop_instance_uid),
            _element(TRANSFER_SYNTAX, b"UI", transfer_syntax_uid),
            _element(0x0012, b"UI", str(PYNETDICOM_IMPLEMENTATION_UID)),
            _element(0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION),
        )
    )
    return PREAMBLE + SHORT.pack(META, GROUP_LENGTH, b"UL", 4) + struct.pack("<I", len(group)) + group


def _element(number: int, form: bytes, value: str) -> bytes:
    octets = value.encode("ascii")
    octets += (b"\0" if form == b"UI" else b" ") * (len(octets) % 2)
    return SHORT.pack(META, number, form, len(octets)) + octets
