"""Figures as PDF: vectors with embedded fonts, on a page of exactly their size. The browser prints them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.figures.export import HINT, Layout, find_browser, run_browser


def render_pdfs(images: Mapping[str, bytes], layouts: Mapping[str, Layout]) -> dict[str, bytes]:
    """The PDF of each SVG image, on a page of the width and height of its layout.

    For the browser see `find_browser`; raises MachineError if it does not print an image.
    """
    browser = find_browser()
    made = {}
    for name, image in images.items():
        with tempfile.TemporaryDirectory(prefix="fastrcaps-", ignore_cleanup_errors=True) as folder:
            page, printed = Path(folder) / "figure.html", Path(folder) / "figure.pdf"
            page.write_text(pdf_page(image.decode("utf-8"), layouts[name]), encoding="utf-8")
            run_browser(browser, page, [f"--print-to-pdf={printed}", "--no-pdf-header-footer"])
            if not printed.is_file():
                raise MachineError(f"{browser} did not print {name}", HINT)
            made[name] = printed.read_bytes()
    return made


def pdf_page(image: str, layout: Layout) -> str:
    """The HTML page that is printed: the image alone, at its size."""
    svg = re.sub(r"<svg ", "<svg style='display:block' ", image, count=1)
    return (
        "<!doctype html><html><head><meta charset='utf-8'><style>"
        f"@page {{ size: {layout.width / 96:.5f}in {layout.height / 96:.5f}in; margin: 0 }}"
        "html, body { margin: 0; padding: 0; overflow: hidden }"
        f"</style></head><body>{svg}</body></html>"
    )


def in_inches(image: bytes, layout: Layout) -> bytes:
    """An SVG image whose size is in inches, so that a page shows it as large as it is printed."""
    return _sized(image, f"{layout.width / 96:.5g}in", f"{layout.height / 96:.5g}in")


def in_pixels(image: bytes, layout: Layout) -> bytes:
    """An SVG image whose size is in whole pixels."""
    return _sized(image, str(round(layout.width * layout.scale)), str(round(layout.height * layout.scale)))


def _sized(image: bytes, width: str, height: str) -> bytes:
    return re.sub(
        r'width="[^"]*" height="[^"]*"', f'width="{width}" height="{height}"', image.decode("utf-8"), count=1
    ).encode()
