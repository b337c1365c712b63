"""Figures for print: laid out to stand alone, and rendered as PNG or SVG.

An installed browser renders them from a local page, without any network.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import unquote_to_bytes

from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.figures.plots import COLORS, ParetoInfo, escape, pareto_figure, plotly_js, plotted_axes, shortened

if TYPE_CHECKING:
    import plotly.graph_objects as go

PRINT_FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"  # fonts that a machine without a desktop has, too
ImageFormat = Literal["svg", "png"]
BROWSER = "FASTRCAPS_BROWSER"
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
LAYOUT_WIDTH = 800  # pixels, whatever the width of the image, so that letters keep their size relative to it
LEAST, MOST = 100, 10_000  # pixels a side that the canvas of a browser can have
PATIENCE = 120.0  # s for all figures of a call, on a busy machine
HINT = "install chromium, name a browser with FASTRCAPS_BROWSER, or use --format html"

SCRIPT = """
(async () => {
  const {figures, images} = JSON.parse(document.getElementById('work').textContent);
  for (const [name, figure] of Object.entries(figures)) {
    const result = document.createElement('pre');
    result.dataset.figure = name;
    try { result.textContent = await Plotly.toImage(figure, images[name]); }
    catch (error) { result.textContent = 'failed: ' + (error && error.message || error); }
    document.body.append(result);
  }
})();
"""


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """The size of an image. Raises InputError for a size that a browser cannot render."""

    width: int = 1600  # pixels
    height: int = 1000  # pixels

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("height", self.height)):
            if not LEAST <= value <= MOST:
                raise InputError(f"{name} must be {LEAST} to {MOST:,} pixels, got {value:,}", "1600 by 1000 suits a column")

    @property
    def layout(self) -> Layout:
        """How a figure is laid out for this size."""
        return Layout(width=LAYOUT_WIDTH, height=self.height * LAYOUT_WIDTH / self.width, scale=self.width / LAYOUT_WIDTH)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a figure is laid out: its size in CSS pixels, and the pixels of the image for each of them."""

    width: float
    height: float
    scale: float


def for_print(figure: go.Figure) -> go.Figure:
    """The figure, changed to stand alone on paper: larger letters, axes on all sides, the legend below."""
    legend = {"y": 0, "yref": "container", "yanchor": "bottom", "x": 0.5, "xanchor": "center"}
    figure.update_layout(
        font={"size": 16, "family": PRINT_FONT, "color": "black"},
        margin={"l": 84, "r": 24, "t": 24, "b": 72},
        showlegend=True,
        legend=legend | {"font": {"size": 14}},
    )
    frame = {"showline": True, "mirror": True, "linecolor": "black", "ticks": "outside", "zeroline": False}
    figure.update_xaxes(title_standoff=8, automargin=True, **frame)
    figure.update_yaxes(title_standoff=8, automargin=True, **frame)
    if figure.layout.scene.xaxis.title.text:
        letters = {"tickfont": {"size": 11}, "title_font": {"size": 14}, "nticks": 6}
        camera = {"eye": {"x": 1.45, "y": 1.45, "z": 0.7}, "center": {"x": 0, "y": 0, "z": -0.08}}
        figure.update_scenes(xaxis=letters, yaxis=letters, zaxis=letters, camera=camera)
        figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 40}, legend={"itemsizing": "constant"})
    figure.update_traces(textfont={"size": 14}, opacity=0.9, selector={"mode": "markers+text"})
    figure.update_traces(opacity=0.8, selector={"mode": "markers"})
    return figure


def curves_for_print(
    figure: go.Figure, names: Sequence[str], colors: Sequence[int], y_range: tuple[float, float] | None = None
) -> go.Figure:
    """The figure of curves, changed to stand alone on paper.

    `names` and `colors` are those of the curves; a name is cut if the page has no room for it, and a color is an index of the
    palette. `y_range` is the range of the y axis, by default that of the values.
    """
    for_print(figure)
    for trace, name, color in zip(figure.data, names, colors, strict=True):
        trace.update(name=escape(shortened(name, 44)), line={"color": COLORS[color % len(COLORS)]})
    if max(map(len, names), default=0) > 20:  # two columns, which have room for the longest name
        figure.update_layout(legend={"entrywidth": 0.46, "entrywidthmode": "fraction", "font": {"size": 13}})
    last = max((trace.x[-1] for trace in figure.data), default=0)
    if figure.data and figure.data[0].x[0] == 0:  # steps within epochs: show the run from its start to its end
        figure.update_xaxes(range=[0, math.ceil(last)])
    if y_range:
        figure.update_yaxes(range=y_range)
    return figure


def flat_pareto(info: ParetoInfo) -> go.Figure:
    """The figure of the first two axes of the scatter, because a scatter in 3D cannot be turned on paper.

    The front that it shows is still that of all objectives.
    """
    figure = pareto_figure(info._replace(objectives=tuple(plotted_axes(info)[:2])))
    members = sum(point.on_front for point in info.points)
    figure.data[-1].name = f"Pareto front of {', '.join(o.name for o in info.objectives)} ({members})"
    return figure


# --- images -----------------------------------------------------------------------------------------------------------


def find_browser() -> str:
    """The program of the browser: the one that FASTRCAPS_BROWSER names, or the first of `BROWSERS` that is installed.

    Raises InputError for a name that is not a program, MachineError if no browser is installed.
    """
    named = os.environ.get(BROWSER)
    if named:
        found = shutil.which(named)
        if found is None:
            raise InputError(f"{BROWSER} names {named}, which is not a program", HINT)
        return found
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    raise MachineError("PNG and SVG are rendered by a browser, and none was found", HINT)


def render_images(
    figures: Mapping[str, go.Figure],
    kind: ImageFormat,
    size: ImageSize | Mapping[str, Layout],
    *,
    patience: float = PATIENCE,
) -> dict[str, bytes]:
    """The images of these figures, by their names, as the bytes of files.

    `kind` is the format, `size` that of all images or the layout of each by its name, and `patience` the most seconds that the browser
    may take.
    Raises ValueError for another format; for the browser see `find_browser`; MachineError if it does not render a figure.
    """
    if kind not in get_args(ImageFormat):
        raise ValueError(f"no image format {kind!r}")
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="fastrcaps-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "figures.html"
        path.write_text(image_page(figures, kind, size), encoding="utf-8")
        images = images_in(_dump(browser, path, patience))
    for name in figures:
        if name not in images:
            raise MachineError(f"{browser} did not render {name}", HINT)
    return {name: images[name] for name in figures}


def image_page(figures: Mapping[str, go.Figure], kind: ImageFormat, size: ImageSize | Mapping[str, Layout]) -> str:
    """The HTML page that renders the figures, and contains each as a data URL once its scripts have run."""
    layouts = dict.fromkeys(figures, size.layout) if isinstance(size, ImageSize) else size
    # a canvas has whole pixels, rounded down: a billionth more keeps the pixel that a product misses by its last digit
    more = 1 + 1e-9 if kind == "png" else 1
    images = {
        name: {"format": kind, "width": one.width * more, "height": one.height * more, "scale": one.scale}
        for name, one in layouts.items()
    }
    work = json.dumps({"figures": {name: json.loads(figure.to_json()) for name, figure in figures.items()}, "images": images})
    work = work.replace("<", "\\u003c")  # so that no text in it ends the script element
    return (
        "<!doctype html><html><head><meta charset='utf-8'>"
        f"<script>{plotly_js()}</script></head><body>"
        f"<script id='work' type='application/json'>{work}</script>"
        f"<script>{SCRIPT}</script></body></html>"
    )


def images_in(document: str) -> dict[str, bytes]:
    """The images in the document of an `image_page`, by name. Raises MachineError, with its reason, for one that failed."""
    images = {}
    for name, text in re.findall(r'<pre data-figure="([^"]*)">([^<]*)</pre>', document):
        head, comma, data = html.unescape(text).partition(",")
        if not comma or not head.startswith("data:image/"):
            raise MachineError(f"{html.unescape(name)} was not rendered: {html.unescape(text)[:200]}", HINT)
        images[html.unescape(name)] = base64.b64decode(data) if head.endswith(";base64") else unquote_to_bytes(data)
    return images


def _dump(browser: str, page: Path, patience: float) -> str:
    """The document of a page after its scripts have run. Raises MachineError."""
    return run_browser(browser, page, ["--dump-dom"], patience).decode("utf-8", errors="replace")


def run_browser(browser: str, page: Path, arguments: Sequence[str], patience: float = PATIENCE) -> bytes:
    """What a browser without a window prints for a local page, whose folder has its profile. Raises MachineError."""
    command = [
        browser,
        "--headless",
        "--no-sandbox",  # it does not work for root or in a container, and the page is our own
        "--disable-gpu",
        "--enable-unsafe-swiftshader",  # WebGL without a GPU, for the scatter in 3D
        f"--user-data-dir={page.parent / 'profile'}",
        "--virtual-time-budget=15000",
        *arguments,
        page.as_uri(),
    ]
    try:
        # in a session of its own, so that all its processes can be ended together
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        raise MachineError(f"{browser} cannot be started: {error.strerror}", HINT) from None
    try:
        out, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        raise MachineError(f"{browser} rendered nothing within {patience:.0f} s", HINT) from None
    finally:
        _end(process)
    if process.returncode != 0:
        raise MachineError(f"{browser} ended with code {process.returncode}", HINT)
    return out


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a browser with all its processes, if it has not ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
