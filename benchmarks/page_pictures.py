"""Pictures of the page's plots: 4 to 10,000 designs with 2 to 5 objectives, light and dark, wide and narrow.

Each is looked over for texts, marks and panels that overlap or leave their panel; a fault ends the program. `--all DIR` writes every
combination, for a look; without it, the selection in reports/pictures/ is made again.
"""

from __future__ import annotations

import argparse
import io
import itertools
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from fastrcaps_dse.figures.export import find_browser
from tests.browsing import file_of
from tests.plot_faults import plot_faults
from tests.synthetic import write_study

PLACE = Path(__file__).parent.parent / "reports" / "pictures"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
OBJECTIVES = ("acc", "time", "params", "macs", "epochs")
DESIGNS = (4, 48, 1000, 10_000)
LOOKS = tuple(itertools.product((1400, 400), ("light", "dark")))  # px, theme
SEEDS = {48: 3}  # of a design; else 1
COLORS = 64  # of a picture of marks, which has few, so that the file is small
CURVE_COLORS = 200


def write_picture(page: Any, selector: str, path: Path, colors: int = COLORS) -> None:
    """A part of the page as a PNG with few colors."""
    shot = Image.open(io.BytesIO(page.locator(selector).screenshot()))
    shot.convert("RGB").quantize(colors, dither=Image.Dither.NONE).save(path, optimize=True)


def opened(browser: Any, address: str, width: int, theme: str) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=theme)
    page.goto(address)
    while not page.evaluate("window.complete"):
        page.wait_for_timeout(50)
    page.wait_for_timeout(300)
    return page


def pictures_of(browser: Any, address: str, name: str, looks: list[tuple[int, str]], place: Path) -> None:
    """The front's pairs of one study in some looks, and its curves in the first of them."""
    for width, theme in looks:
        page = opened(browser, address, width, theme)
        faults = plot_faults(page)
        if faults:
            raise SystemExit(f"{name}, {width} px, {theme}: {faults}")
        write_picture(page, "#front-panel", place / f"{name}-{width}-{theme}.png")
        page.close()


def curves_of(browser: Any, address: str, place: Path) -> None:
    """Accuracy with its seeds, learning rate and batch size, 3D, and one pair, of one study."""
    for selector, view, name in (
        ("section:has(> #accuracy)", "", "accuracy-and-seeds"),
        ("section:has(> #rate)", "", "rate-and-batch-size"),
        ("#front-panel", "#view=one", "one-pair"),
        ("#front-panel", "#view=3d", "three-dimensions"),
    ):
        page = opened(browser, address + view, 1400, "light")
        write_picture(page, selector, place / f"{name}.png", CURVE_COLORS)
        page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", metavar="DIR", type=Path)
    parser.add_argument("--designs", default=",".join(map(str, DESIGNS)))
    asked = parser.parse_args()
    place = asked.all or PLACE
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=OPTIONS)
        cases = itertools.product(map(int, asked.designs.split(",")), range(2, len(OBJECTIVES) + 1))
        for designs, count in cases:
            path = Path(folder) / f"{designs}-{count}.db"
            ours = write_study(path, designs, seeds=SEEDS.get(designs, 1), objectives=",".join(OBJECTIVES[:count]))
            path.with_suffix(".html").write_text(file_of(ours), encoding="utf-8")
            address, name = f"file://{path.with_suffix('.html')}", f"front-{designs}-designs-{count}-objectives"
            pictures_of(
                browser, address, name, list(LOOKS) if asked.all else [LOOKS[(count + len(str(designs))) % len(LOOKS)]], place
            )
            if (designs, count) == (48, 3):
                curves_of(browser, address, place)
            print(name, flush=True)
        browser.close()


if __name__ == "__main__":
    main()
