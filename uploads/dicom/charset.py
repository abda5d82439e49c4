"""Values as text: decoded with SpecificCharacterSet, and never guessed silently (domain rule S14)."""

import importlib
from collections.abc import Sequence
from typing import Final, Protocol, cast

# Defined terms without code extensions (PS3.3, C.12.1.1.2) and Python's name for them. The default repertoire is
# ASCII; bytes above it are shown as Latin-1, which is what they most often are, and flagged.
_CODECS: Final[dict[bytes, str]] = {
    b"ISO_IR 13": "shift_jis",
    b"ISO_IR 100": "latin_1",
    b"ISO_IR 101": "iso8859_2",
    b"ISO_IR 109": "iso8859_3",
    b"ISO_IR 110": "iso8859_4",
    b"ISO_IR 126": "iso8859_7",
    b"ISO_IR 127": "iso8859_6",
    b"ISO_IR 138": "iso8859_8",
    b"ISO_IR 144": "iso8859_5",
    b"ISO_IR 148": "iso8859_9",
    b"ISO_IR 192": "utf_8",
    b"GB18030": "gb18030",
    b"GBK": "gbk",
}
_DEFAULT: Final = (b"", b"ISO_IR 6", b"ISO 2022 IR 6")
_ESCAPE: Final = b"\x1b"
_SEPARATOR: Final = b"\x1f"


class CharsetReader(Protocol):
    """The second reader, `uploads.dicom.fallback`, as far as text goes."""

    def decode(self, raw: bytes, charset: bytes) -> tuple[str, bool]: ...


class Decoder:
    """Turns the values of one data set into text, and remembers whether that went wrong anywhere.

    Args:
        charset: value of SpecificCharacterSet (0008,0005) as it stands in the file.
    """

    __slots__ = ("_charset", "_codec", "problem")

    def __init__(self, charset: bytes) -> None:
        self._charset = charset.strip(b" \0")
        self._codec = "ascii" if self._charset in _DEFAULT else _CODECS.get(self._charset)
        self.problem = False

    def texts(self, raws: Sequence[bytes]) -> list[str]:
        """The values without their padding; in one go where all are plain ASCII, as most headers are."""
        joined = _SEPARATOR.join(raws)
        if joined.isascii() and _ESCAPE not in joined and joined.count(_SEPARATOR) == len(raws) - 1:
            texts = [text.rstrip(" \0") for text in joined.decode("ascii").split(_SEPARATOR.decode("ascii"))]
            if "\0" not in "".join(texts):
                return texts
        return [self.text(raw) for raw in raws]

    def text(self, raw: bytes) -> str:
        """The value without its padding. Characters no database column can hold are shown as U+FFFD."""
        if raw.isascii() and _ESCAPE not in raw:
            text = raw.decode("ascii")
        else:
            text = self._foreign(raw)
        text = text.rstrip(" \0")
        if "\0" in text:
            self.problem = True
            text = text.replace("\0", "\ufffd")
        return text

    def _foreign(self, raw: bytes) -> str:
        if self._codec == "ascii" and _ESCAPE not in raw:
            self.problem = True
            return raw.decode("latin_1")
        if self._codec is None or _ESCAPE in raw:
            return self._extended(raw)
        try:
            return raw.decode(self._codec)
        except UnicodeDecodeError:
            self.problem = True
            return raw.decode(self._codec, errors="replace")

    def _extended(self, raw: bytes) -> str:
        """Code extensions (PS3.5, 6.1.2.5) are pydicom's to read: loaded only when a file uses them, as it is slow."""
        reader = cast(CharsetReader, importlib.import_module("uploads.dicom.fallback"))
        text, problem = reader.decode(raw, self._charset)
        self.problem = self.problem or problem
        return text
