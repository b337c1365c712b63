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

from fastrcaps_dse.figures.plots import plotly_js
from fastrcaps_dse.page.constants import constants

SCRIPTS = (
    "quantities.js",
    "pick.js",
    "helpers.js",
    "study.js",
    "address.js",
    "scatter.js",
    "keeping.js",
    "ticks.js",
    "ranges.js",
    "parallel.js",
    "lines.js",
    "charts.js",
    "importance.js",
    "slices.js",
    "timeline.js",
    "compare.js",
    "notes.js",
    "studies.js",
    "table.js",
    "pick_card.js",
    "controls.js",
    "live.js",
    "source.js",
    "app.js",
)
"""The page's scripts, in the order in which they run. They share one scope: what one of them declares, the later ones use."""


@cache
def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (files("fastrcaps_dse.page") / "assets" / name).read_text(encoding="utf-8")


def script() -> str:
    """The page's own script: the constants, then all scripts, in one function, so that they declare nothing outside it."""
    values = constants()
    head = f"const {{ {', '.join(values)} }} = {json.dumps(values)};\n".replace("<", "\\u003c")  # it may stand in HTML
    return "(() => {\n'use strict';\n" + head + "\n".join(map(asset, SCRIPTS)) + "\n})();\n"


def live_page(name: str) -> str:
    """The page that loads its scripts, style and data from its server. `name` is the study's."""
    head = '<link rel="stylesheet" href="page.css">'
    end = '<script src="plotly.js"></script><script src="page.js"></script>'
    return _page(name, head, end, policy=None)


def file_page(content: dict[str, Any], curves: dict[int, Any]) -> str:
    """The page with scripts, style and data inside: it opens offline and sends no request.

    `content` is what `study_content` gives; `curves` maps trials to what `curves_content` gives.
    """
    data = base64.b64encode(gzip.compress(json.dumps([content, curves], separators=(",", ":")).encode(), mtime=0)).decode()
    scripts = [plotly_js().replace("</script", "<\\/script"), script()]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    end = f'<script type="text/plain" id="data">{data}</script>' + "".join(f"<script>{s}</script>" for s in scripts)
    return _page(content["study"]["name"], f"<style>{asset('page.css')}</style>", end, policy)


def _page(name: str, head: str, end: str, policy: str | None) -> str:
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    parts = {"title": html.escape(f"{name} - fastrcaps-dse"), "head": meta + head, "end": end}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], asset("page.html"))  # in one pass: a name may hold braces
