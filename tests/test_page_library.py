"""plotly.js as it is kept: its version and checksum are those that its text states, and servers send it packed."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import re
from pathlib import Path

import pytest

from fastrcaps_dse.page import document
from fastrcaps_dse.page.server import accepts_gzip
from tests.browsing import Open, Serve, eventually
from tests.serving import Server, watched_of
from tests.synthetic import write_study

FOLDER = Path(document.__file__).parent / "assets" / "plotly"


def test_it_is_the_one_that_its_text_states() -> None:
    stated = (FOLDER / "README.md").read_text(encoding="utf-8")
    script = gzip.decompress(document.packed_library())
    version = re.search(rb"plotly\.js \(gl3d - minified\) v([\d.]+)", script[:200])
    assert version is not None
    assert f"| version | {version[1].decode()} |" in stated and f"gl3d-dist-min@{version[1].decode()}" in stated
    assert f"| SHA-256 of plotly-gl3d.min.js | {hashlib.sha256(script).hexdigest()} |" in stated
    assert "MIT License" in (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert len(document.packed_library()) < 600_000


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*", True),
        ("identity", False),
        ("*;q=0", False),
    ],
)
def test_who_accepts_gzip(accepted: str, expected: bool) -> None:
    assert accepts_gzip(accepted) is expected


def test_the_server_sends_it_packed_to_who_accepts_that(tmp_path: Path) -> None:
    with Server(watched_of(write_study(tmp_path / "s.db", 2))) as server:
        for path in ("/plotly.js", "/page.js", "/page.css"):
            bodies = []
            for accepted in ("gzip, deflate", "identity"):
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
                connection.request("GET", path, headers={"host": server.host, "accept-encoding": accepted})
                answer = connection.getresponse()
                body = answer.read()
                assert answer.getheader("vary") == "Accept-Encoding" and answer.getheader("x-content-type-options") == "nosniff"
                assert (answer.getheader("content-encoding") == "gzip") == ("gzip" in accepted)
                bodies.append(gzip.decompress(body) if "gzip" in accepted else body)
                connection.close()
            assert bodies[0] == bodies[1] and len(bodies[0]) > 1000


@pytest.mark.browser
@pytest.mark.slow
def test_a_live_page_loads_it_when_3d_is_asked_for(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    """Under the page's policy, which allows no script but the server's own, and with the token."""
    server = serve(watched_of(write_study(tmp_path / "s.db", 6)), token="abc")
    page = open_page(f"http://{server.host}/?token=abc", width=500, height=500)
    assert page.evaluate("window.Plotly === undefined")
    page.locator("#views button", has_text="3D").click()
    eventually(lambda: bool(page.evaluate("Boolean(document.querySelector('.scene').data)")))
    asked = page.evaluate("performance.getEntriesByName(`${location.origin}/plotly.js?token=abc`)[0].encodedBodySize")
    assert asked == len(document.packed_library())
