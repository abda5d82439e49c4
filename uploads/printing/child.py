"""The fenced child that makes PDF of HTML: no network, no files but the fonts, bounded memory, time and output.

Reads the HTML on standard input, writes the PDF on standard output, and says on standard error why it could not.
"""

import io
import logging
import resource
import sys
from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from xhtml2pdf import pisa
from xhtml2pdf.default import DEFAULT_FONT

MEMORY = 1024 * 1024**2
CPU_SECONDS = 30
OUTPUT = 50 * 1024**2
FAMILY = "DejaVuSans"


class _MissingGlyphs(logging.Handler):
    """xhtml2pdf only logs that a character has no glyph, and prints nothing in its place; here it is an error."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen = False

    def emit(self, record: logging.LogRecord) -> None:
        self.seen |= "can draw" in record.getMessage()


def limit() -> None:
    """Bounds this process; called before anything foreign is read."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def register_fonts(folder: Path) -> None:
    for name, file in ((FAMILY, "DejaVuSans.ttf"), (f"{FAMILY}-Bold", "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))
    pdfmetrics.registerFontFamily(
        FAMILY, normal=FAMILY, bold=f"{FAMILY}-Bold", italic=FAMILY, boldItalic=f"{FAMILY}-Bold"
    )
    DEFAULT_FONT[FAMILY.lower()] = FAMILY
    DEFAULT_FONT["helvetica"] = FAMILY


def no_resource(uri: str, base: str) -> str:
    """Nothing is fetched, whatever the HTML names."""
    del uri, base
    return ""


def make_pdf(html: str) -> bytes:
    """The PDF, or ValueError in words."""
    glyphs = _MissingGlyphs()
    logging.getLogger().addHandler(glyphs)
    target = io.BytesIO()
    status = pisa.CreatePDF(html, dest=target, encoding="utf-8", link_callback=no_resource)
    if status.err:
        raise ValueError("xhtml2pdf could not lay out the document")
    if glyphs.seen:
        raise ValueError("a character has no glyph in the embedded font")
    if len(target.getvalue()) > OUTPUT:
        raise ValueError("the document is too large")
    return target.getvalue()


def main() -> int:
    limit()
    register_fonts(Path(sys.argv[1]))
    try:
        pdf = make_pdf(sys.stdin.buffer.read().decode())
    except ValueError as error:
        sys.stderr.write(str(error))
        return 3
    sys.stdout.buffer.write(pdf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
