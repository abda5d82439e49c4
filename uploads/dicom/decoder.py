"""The process inside the fence that decodes pixels: told of one data set of the pack at a time, writes it decoded.

Started as `python -m uploads.dicom.decoder PACK MEMORY WRITTEN CPU_SECONDS` by `uploads.dicom.transcode`, never by
hand. Its standard input is a socket: each job comes with the descriptor of the file to write to.
"""

import errno
import json
import logging
import os
import socket
import sys
import warnings
from typing import BinaryIO, Final

from uploads.dicom.child import READY, allow_cpu, confine
from uploads.dicom.codes import Unfit
from uploads.dicom.deflate import Inflated
from uploads.dicom.elements import Untranscodable
from uploads.dicom.plain import copy_inflated, write_plain
from uploads.dicom.source import FileSlice

DEFLATED: Final = "1.2.840.10008.1.2.1.99"
MAX_JOB: Final = 1024
FRAME: Final = b"frame"
DONE: Final = b"done"
FAILED: Final = b"failed "
_FULL: Final = {errno.ENOSPC: "no_space", errno.EDQUOT: "no_space", errno.EFBIG: "too_large"}


def say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def main(arguments: list[str]) -> None:
    pack, memory, written, cpu_seconds = (int(argument) for argument in arguments)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    confine(memory=memory, written=written)
    say(READY.strip())
    with socket.socket(fileno=sys.stdin.fileno()) as channel:
        while True:
            message, descriptors, _, _ = socket.recv_fds(channel, MAX_JOB, 1)
            if not message or not descriptors:
                return
            offset, size, syntax = json.loads(message)
            with os.fdopen(descriptors[0], "wb") as target:
                say(_outcome(FileSlice(pack, offset, size), target, syntax=syntax, cpu_seconds=cpu_seconds))


def _outcome(source: FileSlice, target: BinaryIO, *, syntax: str, cpu_seconds: int) -> bytes:
    """The last line on one job. Whatever a decoder raises on foreign bytes, the image is not to be had from it."""
    try:
        _write(source, target, syntax=syntax, cpu_seconds=cpu_seconds)
    except Untranscodable as error:
        return FAILED + error.code.encode("ascii")
    except OSError as error:
        return FAILED + _FULL.get(error.errno or 0, "image_undecodable").encode("ascii")
    except MemoryError:
        return FAILED + b"too_large"
    except Exception:  # noqa: BLE001
        return FAILED + b"image_undecodable"
    return DONE


def _write(source: FileSlice, target: BinaryIO, *, syntax: str, cpu_seconds: int) -> None:
    def on_frame() -> None:
        allow_cpu(cpu_seconds)
        say(FRAME)

    allow_cpu(cpu_seconds)
    if syntax == DEFLATED:
        try:
            copy_inflated(Inflated(source, 0), target)
        except Unfit as unfit:
            raise Untranscodable("image_undecodable") from unfit
    else:
        write_plain(source, target, syntax=syntax, on_frame=on_frame)
    target.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
