"""The second reader: pydicom, for what is legal but beyond our own walk. Loaded on demand, and only inside the fence.

It is asked in two cases: text with code extensions or an unusual character set (PS3.5, 6.1.2.5), and elements of a
value representation our walk does not know, which a later edition of the Standard may bring.
"""

import io
import warnings
from collections.abc import Collection

from pydicom import dcmread
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from uploads.dicom.codes import Unfit
from uploads.dicom.header import PIXEL_TAGS, WANTED
from uploads.dicom.source import Source, SourceFile
from uploads.dicom.walk import Layout

_DEFER_FROM = 64 * 1024
_LONG = b"..."
"""Stands for a value too long to be read."""
_DELIMITERS = TEXT_VR_DELIMS | PN_DELIMS


def decode(raw: bytes, charset: bytes) -> tuple[str, bool]:
    """Text of a value, and whether any of it had to be guessed."""
    terms = [term.strip() for term in charset.decode("latin_1").split("\\")]
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        try:
            text = decode_bytes(raw.rstrip(b" \0"), convert_encodings(terms), _DELIMITERS)
        except (LookupError, ValueError):
            return raw.decode("latin_1"), True
    return text, bool(doubts) or "\ufffd" in text


def read(source: Source, *, besides: Collection[int] = ()) -> Layout:
    """What pydicom finds in a file, in the terms of our walk; `besides` are further tags to keep.

    Raises:
        Unfit: `truncated`, pydicom does not reach the end either; `bomb`, it ran out of memory or stack.
    """
    try:
        return _read(source, WANTED.union(besides))
    except (MemoryError, RecursionError) as error:
        raise Unfit("bomb", "Reading the file takes more memory than any real file needs.") from error
    except (Unfit, OSError):
        raise
    except Exception as error:  # pydicom raises whatever its helpers raise on damaged bytes; each means unreadable
        raise Unfit("truncated", "The data set cannot be read to its end.") from error


def _read(source: Source, wanted: frozenset[int]) -> Layout:
    layout = Layout()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = dcmread(io.BufferedReader(SourceFile(source)), defer_size=_DEFER_FROM)
    for tag, element in dataset.items():
        _note(layout, tag, element, wanted=wanted)
    if layout.end != source.size:
        raise Unfit("truncated", "The last element does not end where the file ends.")
    return layout


def _note(layout: Layout, tag: BaseTag, element: object, *, wanted: frozenset[int]) -> None:
    """Only raw elements tell where they stood; sequences of undefined length are converted on reading."""
    if not isinstance(element, RawDataElement):
        return
    if element.length == 0xFFFFFFFF:
        raise Unfit("truncated", "Compressed pixel data stands among elements that cannot be checked.")
    layout.end = max(layout.end, element.value_tell + element.length)
    if tag in PIXEL_TAGS:
        layout.pixels[int(tag)] = element.length
    elif tag in wanted:
        layout.values[int(tag)] = element.value or (_LONG if element.length else b"")
