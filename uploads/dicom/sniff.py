"""What a file without a DICOM prefix is, told by its first bytes and, failing that, its name (domain rule S11)."""

from pathlib import PurePosixPath
from typing import Final

# Content types of PKCS#7 (RFC 5652): enveloped data is how a secured DICOM file is written (PS3.15, annex D).
_ENVELOPED: Final = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
_ENCRYPTED: Final = (b"Salted__", b"-----BEGIN PGP MESSAGE")
_ARCHIVES: Final = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x07\x08",
    b"Rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
)
_PICTURES: Final = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"%PDF-",
    b"II*\x00",
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP  ",
)
_PROGRAMS: Final = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)
_VIEWER_PARTS: Final = (b"MSCF", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"ITSF", b"\x00\x00\x01\x00", b"GIF8", b"BM")
_VIEWER_SUFFIXES: Final = frozenset(
    (
        "bat",
        "bin",
        "cab",
        "chm",
        "class",
        "cmd",
        "com",
        "config",
        "css",
        "dll",
        "dylib",
        "exe",
        "gif",
        "hlp",
        "htm",
        "html",
        "icns",
        "ico",
        "inf",
        "ini",
        "jar",
        "js",
        "lnk",
        "manifest",
        "msi",
        "ocx",
        "plist",
        "so",
        "svg",
        "sys",
        "ttf",
        "xhtml",
        "xsl",
        "xslt",
    )
)
_HELP_STEMS: Final = ("autorun", "copying", "eula", "help", "install", "licence", "license", "manual", "readme")
_HELP_SUFFIXES: Final = frozenset(("", "md", "rtf", "txt", "xml"))


def is_program(head: bytes) -> bool:
    """Whether the file would also run as a program, whatever else it is (CVE-2019-11687)."""
    return not head.startswith(b"\0") and head.startswith(_PROGRAMS)


def is_tar(head: bytes) -> bool:
    return head.startswith(b"ustar", 257)


def sniff(head: bytes, *, name: str) -> str | None:
    """The code of a file that is plainly something else than DICOM; None where nothing tells.

    Args:
        head: first bytes of the file, 512 or more where it has them.
        name: as the clinic's disc has it; text to look at, never a place to open.
    """
    suffix, stem = _name_parts(name)
    if head.startswith(_ENCRYPTED) or (head.startswith(b"\x30") and _ENVELOPED in head[:32]):
        return "encrypted"
    if suffix in _VIEWER_SUFFIXES:
        return "viewer_file"
    if head.startswith(_ARCHIVES + _PICTURES) or is_tar(head):
        return "archive_unsupported"
    if is_program(head) or head.startswith(_VIEWER_PARTS):
        return "viewer_file"
    if suffix in _HELP_SUFFIXES and stem.startswith(_HELP_STEMS):
        return "viewer_file"
    return "dicomdir" if stem == "dicomdir" else None


def _name_parts(name: str) -> tuple[str, str]:
    path = PurePosixPath(name.replace("\\", "/").casefold())
    return path.suffix.removeprefix("."), path.stem
