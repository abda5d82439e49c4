"""Asks the fenced child for a PDF."""

import functools
import os
import subprocess  # nosec B404  (our own module, no shell)
import sys
from pathlib import Path

from django.conf import settings
from reportlab.pdfbase.ttfonts import TTFontFace

from relaypacs.errors import TryLater

FONTS = Path(settings.BASE_DIR) / "static/vendor/dejavu-fonts-ttf-2.37.3"
SECONDS = 60


def to_pdf(html: str) -> bytes:
    """The PDF of a page of HTML.

    Raises:
        TryLater: render_failed, with the child's reason.
    """
    command = [sys.executable, "-m", "uploads.printing.child", str(FONTS)]
    environment = {key: os.environ[key] for key in ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV") if key in os.environ}
    try:
        done = subprocess.run(  # nosec B603
            command,
            check=False,
            input=html.encode(),
            capture_output=True,
            timeout=SECONDS,
            cwd=settings.BASE_DIR,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise TryLater("render_failed", "The document took too long to print.") from error
    if done.returncode != 0 or not done.stdout.startswith(b"%PDF"):
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise TryLater("render_failed", (reason[-1] if reason else "the printing process died")[:200])
    return done.stdout


@functools.cache
def _drawable() -> frozenset[int]:
    return frozenset(TTFontFace(str(FONTS / "DejaVuSans.ttf")).charToGlyph)


def printable(text: str) -> str:
    """The text with every character that the font cannot draw named by its code point: never a blank in a name."""
    known = _drawable()
    return "".join(c if ord(c) in known or c in "\n\t" else f"[U+{ord(c):04X}]" for c in text)
