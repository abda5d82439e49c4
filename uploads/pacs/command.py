"""DIMSE command sets: the little Implicit VR headers that go before a data set and come back as its answer."""

from __future__ import annotations

import struct
from collections.abc import Mapping

# Written by hand rather than through pydicom: 3,000 small slices would spend more on their command sets than on
# their pixels. PS3.7 6.3.1: a command set is always Implicit VR Little Endian; PS3.7 E.1 lists the elements.
GROUP_LENGTH = 0x0000
AFFECTED_SOP_CLASS = 0x0002
REQUESTED_SOP_CLASS = 0x0003
COMMAND_FIELD = 0x0100
MESSAGE_ID = 0x0110
MESSAGE_ID_ANSWERED = 0x0120
MOVE_DESTINATION = 0x0600
PRIORITY = 0x0700
DATA_SET_TYPE = 0x0800
STATUS = 0x0900
OFFENDING_ELEMENT = 0x0901
ERROR_COMMENT = 0x0902
ERROR_ID = 0x0903
AFFECTED_SOP_INSTANCE = 0x1000
REQUESTED_SOP_INSTANCE = 0x1001
EVENT_TYPE = 0x1002
ACTION_TYPE = 0x1008
COMPLETED, FAILED, WARNING = 0x1021, 0x1022, 0x1023

C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
C_GET_RQ, C_GET_RSP = 0x0010, 0x8010
C_FIND_RQ, C_FIND_RSP = 0x0020, 0x8020
C_MOVE_RQ, C_MOVE_RSP = 0x0021, 0x8021
C_ECHO_RQ, C_ECHO_RSP = 0x0030, 0x8030
N_EVENT_REPORT_RQ, N_EVENT_REPORT_RSP = 0x0100, 0x8100
N_ACTION_RQ, N_ACTION_RSP = 0x0130, 0x8130
ANSWER = 0x8000
"""Set in the command field of every answer, and of nothing else."""
NO_DATA_SET = 0x0101
WITH_DATA_SET = 0x0001
MEDIUM = 0x0000

ELEMENT = struct.Struct("<HHI")
US = struct.Struct("<H")

Value = int | str | bytes


class CommandError(ValueError):
    """The octets are not a command set."""


def encode(elements: Mapping[int, Value]) -> bytes:
    """Element numbers of group 0000 to values, in octets with the group length before.

    US for int, UI for str; octets go as they are (an AE title padded by whoever pads it, what a peer is to get back).
    """
    body = b"".join(_element(number, elements[number]) for number in sorted(elements))
    return ELEMENT.pack(0, GROUP_LENGTH, 4) + struct.pack("<I", len(body)) + body


def _element(number: int, value: Value) -> bytes:
    if isinstance(value, int):
        octets = US.pack(value)
    else:
        octets = _even(value if isinstance(value, bytes) else value.encode("ascii"))
    return ELEMENT.pack(0, number, len(octets)) + octets


def _even(uid: bytes) -> bytes:
    return uid if len(uid) % 2 == 0 else uid + b"\0"


def decode(octets: bytes) -> dict[int, bytes]:
    """Element numbers of group 0000 to raw values; raise CommandError where lengths do not add up."""
    elements: dict[int, bytes] = {}
    position = 0
    while position < len(octets):
        if position + ELEMENT.size > len(octets):
            raise CommandError("an element header is cut")
        group, number, length = ELEMENT.unpack_from(octets, position)
        position += ELEMENT.size
        if group != 0 or position + length > len(octets):
            raise CommandError("an element is outside group 0000 or longer than the command set")
        elements[number] = octets[position : position + length]
        position += length
    return elements


def number(elements: Mapping[int, bytes], element: int) -> int | None:
    """A US value, or None where the element is absent; raise CommandError where it is no US."""
    if element not in elements or not elements[element]:
        return None
    if len(elements[element]) != US.size:
        raise CommandError("a number has the wrong length")
    value: int = US.unpack(elements[element])[0]
    return value


def text(elements: Mapping[int, bytes], element: int) -> str:
    """A UI or LO value without its padding; foreign characters are shown as they can be."""
    return elements.get(element, b"").decode("latin-1").strip("\0 ")


def tags(elements: Mapping[int, bytes], element: int) -> tuple[str, ...]:
    """An AT value as ("(gggg,eeee)", ...)."""
    octets = elements.get(element, b"")
    pairs = [struct.unpack_from("<HH", octets, at) for at in range(0, len(octets) - 3, 4)]
    return tuple(f"({group:04x},{number:04x})" for group, number in pairs)
