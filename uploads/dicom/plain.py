"""A compressed data set as Explicit VR Little Endian: only what tells of the pixels changes, all else stays as it is.

Loaded inside the fence alone: the decoders read foreign bytes.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final

import numpy
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from uploads.dicom.elements import Image, Piece, Untranscodable, end_of_fragments, pieces_of, short, trailing
from uploads.dicom.source import Source, SourceFile

_ROOT: Final = "1.2.840.10008.1.2."
# One decoder for each syntax, so that an image decodes the same wherever and whenever it is done.
DECODERS: Final[dict[str, str]] = {
    **dict.fromkeys((f"{_ROOT}4.50", f"{_ROOT}4.51"), "pillow"),
    **dict.fromkeys((f"{_ROOT}4.57", f"{_ROOT}4.70", f"{_ROOT}4.80", f"{_ROOT}4.81"), "gdcm"),
    **dict.fromkeys((f"{_ROOT}4.90", f"{_ROOT}4.91", f"{_ROOT}4.201", f"{_ROOT}4.202", f"{_ROOT}4.203"), "pylibjpeg"),
    f"{_ROOT}5": "pydicom",
}
# What a lossy syntax is called in (0028,2114), and whether every image in it has lost something (PS3.3 C.7.6.1.1.5).
_METHODS: Final = {
    f"{_ROOT}4.50": ("ISO_10918_1", True),
    f"{_ROOT}4.51": ("ISO_10918_1", True),
    f"{_ROOT}4.81": ("ISO_14495_1", True),
    f"{_ROOT}4.91": ("ISO_15444_1", False),
    f"{_ROOT}4.203": ("ISO_15444_15", False),
}
_PLAIN_COLOURS: Final = frozenset(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL"))
_LONGEST: Final = 2**32 - 2
"""Bytes of a value with a length (PS3.5, 7.1.1); FFFFFFFF means that there is none."""
_STEP: Final = 1024 * 1024

PHOTOMETRIC, PLANAR, BITS, PIXELS = 0x00280004, 0x00280006, 0x00280100, 0x7FE00010
LOSSY, RATIO, METHOD = 0x00282110, 0x00282112, 0x00282114


def write_plain(source: Source, target: BinaryIO, *, syntax: str, on_frame: Callable[[], None]) -> None:
    """Write the data set in `source`, of transfer syntax `syntax`, to `target` as Explicit VR Little Endian.

    One frame is held decoded at a time; `on_frame` is called after each. SOPInstanceUID and every element that does
    not describe the pixels are copied octet by octet. Raises Untranscodable, OSError, and what decoders raise.
    """
    plugin = DECODERS.get(syntax)
    if plugin is None:
        raise Untranscodable("syntax_undecodable")
    with io.BufferedReader(SourceFile(source)) as file:
        pieces, image = pieces_of(file)
        end = end_of_fragments(source, image.position)
        rest = trailing(source, end)
        frames = _Frames(file, image, syntax=syntax, plugin=plugin)
        pieces |= _described(image, frames, syntax=syntax, encoded=end - image.position)
        for tag in sorted(pieces):
            _write_piece(target, source, pieces[tag])
        for frame in frames:
            target.write(frame)
            on_frame()
        target.write(b"\0" * (image.length % 2))
        _write_piece(target, source, rest)


def _write_piece(target: BinaryIO, source: Source, piece: Piece) -> None:
    if isinstance(piece, bytes):
        target.write(piece)
        return
    start, end = piece
    while start < end:
        octets = source.pread(min(_STEP, end - start), start)
        if not octets:
            raise Untranscodable("image_undecodable")
        target.write(octets)
        start += len(octets)


def _described(image: Image, frames: "_Frames", *, syntax: str, encoded: int) -> Mapping[int, bytes]:
    """The elements that say something else once the pixels are decoded."""
    told = {PHOTOMETRIC: short(PHOTOMETRIC, b"CS", frames.colour.encode("ascii"))}
    if image.samples > 1:
        told[PLANAR] = short(PLANAR, b"US", b"\0\0")
    told[PIXELS] = image.pixel_header()
    method, always = _METHODS.get(syntax, ("", False))
    if method and (image.lossy != "01" if always else image.lossy not in ("00", "01")):
        # It has been lossy once and must say so for ever; what the maker did not note is noted now.
        told[LOSSY] = short(LOSSY, b"CS", b"01")
        told[RATIO] = short(RATIO, b"DS", f"{max(image.length / max(encoded, 1), 1):.2f}".encode("ascii"))
        told[METHOD] = short(METHOD, b"CS", method.encode("ascii"))
    return told


class _Frames:
    """The decoded frames as octets. The first is decoded at once: it tells what the colours have become."""

    def __init__(self, file: io.BufferedReader, image: Image, *, syntax: str, plugin: str) -> None:
        if image.length > _LONGEST:
            raise Untranscodable("too_large")
        self._image = image
        self._type = numpy.dtype(f"<{'i' if image.signed else 'u'}{image.bits // 8}")
        self._lossless = syntax not in _METHODS
        file.seek(image.position)
        # Lossless pixels stay in the colours they were stored in; lossy YBR, subsampled mostly, becomes RGB.
        decoder = get_decoder(UID(syntax))
        options = image.options() | {"decoding_plugin": plugin, "as_rgb": not self._lossless}
        self._decoded: Iterator[tuple[Any, Mapping[str, Any]]] = iter(decoder.iter_array(file, **options))
        self._first = self._next()
        if self._first is None:
            raise Untranscodable("frames_missing")
        self.colour = self._first[1]

    def __iter__(self) -> Iterator[bytes]:
        frame = self._first
        for _ in range(self._image.frames):
            if frame is None:
                raise Untranscodable("frames_missing")
            if frame[1] != self.colour:
                raise Untranscodable("image_undecodable")
            yield frame[0]
            frame = self._next()
        if frame is not None:
            raise Untranscodable("image_undecodable")

    def _next(self) -> tuple[bytes, str] | None:
        found = next(self._decoded, None)
        if found is None:
            return None
        pixels, properties = found
        image = self._image
        if pixels.shape != image.shape or pixels.dtype.itemsize > self._type.itemsize:
            raise Untranscodable("image_undecodable")
        colour = str.__str__(properties["photometric_interpretation"])
        if colour == "YBR_FULL_422":
            colour = "YBR_FULL"  # every pixel has its own colour once decoded
        if colour not in _PLAIN_COLOURS or (image.samples > 1) != (colour in ("RGB", "YBR_FULL")):
            raise Untranscodable("colour_unsupported")
        return pixels.astype(self._type, copy=False).tobytes(), colour


def copy_inflated(source: Source, target: BinaryIO) -> None:
    """A deflated data set is an Explicit VR Little Endian one once inflated (PS3.5, A.5)."""
    _write_piece(target, source, (0, source.size))
