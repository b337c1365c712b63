"""The page as HTML: with addresses of a server, or with everything inside."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from fastrcaps_dse.page.constants import constants
from fastrcaps_dse.page.curves import shared_plans

SCRIPTS = (
    "quantities.js",
    "pick.js",
    "helpers.js",
    "theme.js",
    "points.js",
    "study.js",
    "address.js",
    "axis.js",
    "frame.js",
    "pointer.js",
    "labels.js",
    "marks.js",
    "pair.js",
    "pairs.js",
    "scene.js",
    "scatter.js",
    "keeping.js",
    "value_ticks.js",
    "ranges.js",
    "parallel.js",
    "chart.js",
    "lines.js",
    "charts.js",
    "importance.js",
    "slices.js",
    "timeline.js",
    "workers.js",
    "compare.js",
    "notes.js",
    "studies.js",
    "table.js",
    "pick_card.js",
    "controls.js",
    "pictures.js",
    "live.js",
    "source.js",
    "app.js",
)
"""The page's scripts, in the order in which they run. They share one scope: what one of them declares, the later ones use."""


@cache
def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (files("fastrcaps_dse.page") / "assets" / name).read_text(encoding="utf-8")


@cache
def packed_library() -> bytes:
    """The script plotly.js (its bundle for scenes in 3D), compressed with gzip. Its version is in `assets/plotly/README.md`."""
    return (files("fastrcaps_dse.page") / "assets" / "plotly" / "plotly-gl3d.min.js.gz").read_bytes()


def script() -> str:
    """The page's own script: the constants, then all scripts, in one function, so that they declare nothing outside it."""
    values = constants()
    head = f"const {{ {', '.join(values)} }} = {json.dumps(values)};\n".replace("<", "\\u003c")  # it may stand in HTML
    return "(() => {\n'use strict';\n" + head + "\n".join(map(asset, SCRIPTS)) + "\n})();\n"


def live_page(name: str) -> str:
    """The page that loads its scripts, style and data from its server. `name` is the study's."""
    head = '<link rel="stylesheet" href="page.css">'
    end = '<script src="page.js"></script>'
    return _page(name, head, end, policy=None)


def file_page(content: dict[str, Any], curves: dict[int, Any]) -> str:
    """The page with scripts, style and data inside: it opens offline and sends no request.

    `content` is what `study_content` gives; `curves` maps trials to what `curves_content` gives.
    """
    packed, plans = shared_plans(curves)
    data = gzip.compress(json.dumps([content, packed, plans], separators=(",", ":")).encode(), mtime=0)
    scripts = [gzip.decompress(packed_library()), script().encode()]
    hashes = " ".join(f"'sha256-{_base64(hashlib.sha256(text).digest())}'" for text in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    inside = {"data": data, "library": packed_library()}  # the page unpacks them, the library when it is first needed
    end = "".join(f'<script type="text/plain" id="{name}">{_base64(kept)}</script>' for name, kept in inside.items())
    end += f"<script>{script()}</script>"
    return _page(content["study"]["name"], f"<style>{asset('page.css')}</style>", end, policy)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _page(name: str, head: str, end: str, policy: str | None) -> str:
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    parts = {"title": html.escape(f"{name} - fastrcaps-dse"), "head": meta + head, "end": end}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], asset("page.html"))  # in one pass: a name may hold braces
