"""Command sets go over the wire as pynetdicom and the Standard write them."""

import struct

import pytest
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from uploads.pacs import command

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("uid", ["1.2.3.4", "1.2.3.45"])
def test_it_writes_a_c_store_request_as_pynetdicom_does(uid: str) -> None:
    primitive = C_STORE()
    primitive.MessageID = 7
    primitive.AffectedSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    primitive.AffectedSOPInstanceUID = UID(uid)
    primitive.Priority = 0
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    message.command_set.CommandDataSetType = command.WITH_DATA_SET
    theirs = b"".join(value[1:] for data in message.encode_msg(1, 0) for _, value in data.presentation_data_value_list)
    ours = command.encode(
        {
            command.AFFECTED_SOP_CLASS: "1.2.840.10008.5.1.4.1.1.2",
            command.COMMAND_FIELD: command.C_STORE_RQ,
            command.MESSAGE_ID: 7,
            command.PRIORITY: 0,
            command.DATA_SET_TYPE: command.WITH_DATA_SET,
            command.AFFECTED_SOP_INSTANCE: uid,
        }
    )
    assert ours == theirs


def test_it_reads_what_it_wrote() -> None:
    elements = command.decode(command.encode({command.STATUS: 0xA700, command.AFFECTED_SOP_INSTANCE: "1.2.3"}))
    assert command.number(elements, command.STATUS) == 0xA700
    assert command.text(elements, command.AFFECTED_SOP_INSTANCE) == "1.2.3"
    assert command.number(elements, command.ERROR_ID) is None


def test_it_reads_the_offending_elements() -> None:
    elements = {command.OFFENDING_ELEMENT: struct.pack("<HHHH", 0x10, 0x20, 0x7FE0, 0x10)}
    assert command.tags(elements, command.OFFENDING_ELEMENT) == ("(0010,0020)", "(7fe0,0010)")


@pytest.mark.parametrize(
    "octets",
    [
        b"\0\0\0",
        struct.pack("<HHI", 0, 0x900, 4) + b"\0\0",
        struct.pack("<HHI", 0, 0x900, 0xFFFFFFFF),
        struct.pack("<HHI", 8, 0x18, 2) + b"1\0",
    ],
)
def test_it_refuses_what_is_no_command_set(octets: bytes) -> None:
    with pytest.raises(command.CommandError):
        command.decode(octets)


def test_it_refuses_a_number_of_the_wrong_length() -> None:
    with pytest.raises(command.CommandError):
        command.number({command.STATUS: b"\0\0\0\0"}, command.STATUS)
