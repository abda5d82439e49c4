"""Whether the picture is all there, told from lengths alone (domain rule S9; PS3.5, sections 8.1 and A.4)."""

from typing import Final

from uploads.dicom.codes import Unfit
from uploads.dicom.header import DOUBLE_PIXELS, FLOAT_PIXELS, PIXELS, Header
from uploads.dicom.uids import IMAGE_CLASSES, Syntax
from uploads.dicom.walk import Layout

_SAMPLES_PER_TWO_PIXELS: Final = {"YBR_FULL_422": 4, "YBR_PARTIAL_422": 4, "YBR_PARTIAL_420": 3}


def check_pixels(header: Header, layout: Layout, *, syntax: Syntax) -> None:
    """Compare the pixel data found with what the header promises.

    Raises:
        Unfit: `no_pixels`, `truncated`, or `meta_mismatch` where header and pixels cannot belong together.
    """
    if layout.fragments is not None:
        _check_fragments(header, layout.fragments, syntax=syntax)
    if syntax.encapsulated and PIXELS in layout.pixels:
        raise Unfit("meta_mismatch", "The transfer syntax is a compressed one, the pixel data is not compressed.")
    for tag, length in layout.pixels.items():
        _check_native(header, tag, length)
    if layout.fragments is None and not layout.pixels and _is_image(header):
        raise Unfit("no_pixels", "The image holds no pixel data.")


def _is_image(header: Header) -> bool:
    """By its class, or because it describes a picture all the same: a dose grid does, a dose histogram does not."""
    described = bool(header.rows and header.columns and header.bits_allocated)
    return described or header.sop_class_uid in IMAGE_CLASSES


def _check_fragments(header: Header, fragments: int, *, syntax: Syntax) -> None:
    if not syntax.encapsulated:
        raise Unfit("meta_mismatch", "The transfer syntax is not a compressed one, the pixel data is compressed.")
    needed = 1 if syntax.one_stream else max(header.frames, 1)
    if fragments < needed:
        raise Unfit("truncated", f"The image has {needed} frames, of which at most {fragments} are in the file.")


def _check_native(header: Header, tag: int, length: int) -> None:
    """Shorter is truncated. Longer by less than a frame is padding, which loses nothing; by more, a contradiction."""
    frames = max(header.frames, 1)
    bits = _bits_per_frame(header, tag)
    if not bits:
        raise Unfit("meta_mismatch", "The image does not say how many rows, columns and bits it has.")
    expected = (bits * frames + 7) // 8
    if length < expected:
        raise Unfit("truncated", f"The image needs {expected} bytes of pixel data, of which {length} are in the file.")
    if length * 8 >= bits * (frames + 1) and length > expected + expected % 2:
        raise Unfit("meta_mismatch", "The file holds more frames than it says.")


def _bits_per_frame(header: Header, tag: int) -> int:
    pixels = header.rows * header.columns
    if tag in (FLOAT_PIXELS, DOUBLE_PIXELS):
        return pixels * (32 if tag == FLOAT_PIXELS else 64)
    in_two = _SAMPLES_PER_TWO_PIXELS.get(header.photometric)
    if in_two is not None and header.samples == 3:
        return pixels * in_two * header.bits_allocated // 2
    return pixels * max(header.samples, 1) * header.bits_allocated
