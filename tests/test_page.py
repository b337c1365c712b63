"""The page without a browser: what it holds, its server with its guard, and its file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse import store
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.figures import plots
from fastrcaps_dse.page import content, curves, document
from fastrcaps_dse.page.report import render
from fastrcaps_dse.page.serve import _bind, check_address
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.quantities import parse_quantity
from fastrcaps_dse.store import Store
from tests.conftest import Command
from tests.serving import Server, watched_of
from tests.synthetic import add_designs, make_spec, write_study
from tests.test_figures import EPOCHS, OBJECTIVES, TRIALS, study_row


def content_of(path: Path) -> dict[str, Any]:
    ours = Store(store.parse_url(str(path)), read_only=True)
    study = ours.study()
    return content.study_content(study, ours.trials(study), study.objectives, ours.train_seconds(study.study_id))


def inside(page: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file carries: the study, and its curves."""
    packed = re.search(r'<script type="text/plain" id="data">(.*?)</script>', page)
    assert packed is not None
    study, curves, _ = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return study, curves


# --- the content ----------------------------------------------------------------------------------------------------


def test_a_design_on_the_page(tmp_path: Path) -> None:
    write_study(tmp_path / "s.db", 12, seeds=2, failed=1, running=1)
    shown = content_of(tmp_path / "s.db")
    assert [d["trial"] for d in shown["designs"]] == [*range(14)]
    assert [d["state"] for d in shown["designs"]] == ["done"] * 12 + ["failed", "running"]
    first = shown["designs"][0]
    assert first["seeds"] == 2 and first["design"].keys() >= {"lr_policy", "batch_schedule", "decoder"}
    assert 0 <= first["probability"] <= 1 and first["tied"] == (0.05 < first["probability"] < 0.95)
    assert first["values"].keys() == {"acc", "time", "params", "epochs", "macs", "memory"} and first["errors"]["params"] == 0
    failed = shown["designs"][12]
    assert failed.keys().isdisjoint({"values", "test_acc", "pruned_after", "probability", "errors", "weights"})
    assert failed["reason"] == "the loss is not finite after epoch 2" and failed["on_front"] is False
    best = max((d for d in shown["designs"] if "values" in d), key=lambda d: d["values"]["acc"])
    assert best["on_front"] is True
    assert shown["study"]["summary"].endswith(
        "12 of 14 designs measured, 1 running, 1 failed, " + shown["study"]["summary"][-14:]
    )
    assert [c["name"] for c in shown["columns"]] == ["acc", "time", "params", "epochs", "macs", "memory"]
    assert [c["direction"] for c in shown["columns"]][:2] == ["maximize", "minimize"] and shown["columns"][1]["log"]


def test_the_summary_says_what_another_hour_is_expected_to_give(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 5, failed=1, running=1)
    for trials, said in ((6, True), (5, False)):  # of now, and of before the latest trial
        ours.set_study(ours.study().study_id, {"outlook": {"text": "another hour gives", "gain": 0.1, "trials": trials}})
        assert content_of(tmp_path / "s.db")["study"]["summary"].endswith("; another hour gives") == said


def test_the_command_names_what_is_not_the_default(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 3, name="it's; rm")
    study = ours.study()
    text = content._command(study, parse_objectives("acc,macs"), "a b.db")
    assert text == "fastrcaps-dse pick --study 'it'\"'\"'s; rm' --objectives acc,macs --storage 'a b.db'"
    assert content._command(study, study.objectives, None).endswith("rm'")
    secret = content._command(study, study.objectives, "postgresql://me:secret@lab/studies")
    assert secret.endswith("--storage 'postgresql://me:***@lab/studies'")


def test_the_hypervolume_grows_with_each_design() -> None:
    info = content.hypervolume_info(TRIALS, OBJECTIVES, {0: 5.0, 1: 7.0, 2: 1.0})
    assert info.trials == (0, 1, 2) and info.seconds == (5.0, 12.0, 13.0)
    assert list(info.shares) == sorted(info.shares) and info.shares[-1] == 1.0
    assert content.hypervolume_info([], OBJECTIVES, {}).shares == ()
    # two designs, each best in one of two objectives: the first covers 1.1 x 0.1, both 2 x 1.1 x 0.1 - 0.1 x 0.1
    two = [t for t in TRIALS if t.trial < 2]
    low, high = sorted(two, key=lambda t: t.measurement["params"] if t.measurement else 0)
    objectives = parse_objectives("acc,params")
    if low.measurement and high.measurement and high.measurement["acc"] > low.measurement["acc"]:
        shares = content.hypervolume_info(two, objectives, {}).shares
        assert shares[0] == pytest.approx(0.11 / 0.21, abs=1e-4)


def test_curves_of_a_design(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 1, seeds=2, epochs=3)
    (trial,) = ours.trials(ours.study())
    found = curves.curves_content(ours.study(), trial, ours.epochs_of(ours.study().study_id))
    assert [run["seed"] for run in found["runs"]] == [0, 1] and all(len(run["acc"]) == 3 for run in found["runs"])
    rate = plots.rate_curve(trial.design, name="", epochs=3, images=1667)
    assert found["rate"][0] == pytest.approx(rate.x, abs=1e-4) and found["rate"][1] == pytest.approx(rate.y, rel=1e-4)
    assert found["batch"][0][-1] == 3 and ours.train_seconds(1)[0] == pytest.approx(
        sum(e.counted_seconds for run in trial.runs for e in ours.epochs(run.run_id))
    )


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_asks_nobody_for_anything() -> None:
    page = render(study_row(), TRIALS, EPOCHS, OBJECTIVES)
    study, found = inside(page)
    assert [d["label"] for d in study["designs"]][1] == "wab · b1->16 · ws+small" and found["1"]["runs"][0]["acc"] == [
        95.0,
        99.2,
    ]
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    assert len(scripts) == 1
    packed = re.search(r'<script type="text/plain" id="library">(.*?)</script>', page)
    assert packed is not None
    scripts.append(gzip.decompress(base64.b64decode(packed[1])).decode())  # the page adds it when it first needs it
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert (
        policy is not None and "unsafe-eval" not in policy[1] and "default-src 'none'" in policy[1] and "http" not in policy[1]
    )
    for script in scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy[1]
    outside = re.sub(r"<script[^>]*>.*?</script>|<style>.*?</style>", "", page, flags=re.S)
    assert set(re.findall(r"(?:src|href)=['\"]?([^'\"> ]+)", outside)) == {"data:,", "#designs"}


def test_a_hostile_name_is_text() -> None:
    page = render(study_row("<script>alert(1)</script>"), TRIALS, EPOCHS, OBJECTIVES)
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert inside(page)[0]["study"]["name"] == "<script>alert(1)</script>"


def test_a_thousand_designs_stay_under_one_megabyte_and_a_half(tmp_path: Path, command: Command) -> None:
    write_study(tmp_path / "s.db", 1000)
    assert command("report", "--storage", tmp_path / "s.db", "--out", "s.html").code == 0
    assert Path("s.html").stat().st_size < 1.5e6


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Server, Store]]:
    ours = write_study(tmp_path / "s.db", 20)
    with Server(watched_of(ours)) as server:
        yield server, ours


def test_what_is_served(served: tuple[Server, Store]) -> None:
    server, _ = served
    page = server.ask("/")
    assert page.status == 200 and "unsafe-eval" not in page.headers["content-security-policy"]
    assert "access-control-allow-origin" not in page.headers and "server" not in page.headers
    for path in ("/page.js", "/page.css", "/plotly.js"):
        assert server.ask(path).status == 200
        head = server.ask(path, "HEAD")
        assert head.status == 200 and head.text == ""
    data = server.ask("/data?since=0").json()
    assert len(data["designs"]) == 20 and data["revision"] == 1
    assert server.ask("/data?since=1").json()["designs"] == []
    assert server.ask("/curves?trials=3,4,999,x").json().keys() == {"3", "4"}


def test_only_what_changed_is_sent_again(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 5, running=1)
    watched = watched_of(ours)
    assert watched.look() and not watched.look()
    assert len(watched.since(0)["designs"]) == 6 and watched.since(1)["designs"] == []
    add_designs(ours, ours.study(), make_spec("synthetic"), 1)
    assert watched.look()
    changed = {d["trial"] for d in watched.since(1)["designs"]}
    assert 6 in changed and 5 not in changed and watched.since(1)["revision"] == 2


HOSTILE = [
    ("GET", "/", {"host": "evil.example"}, 421),
    ("GET", "/", {"host": "127.0.0.1"}, 421),
    ("GET", "/", {"host": "127.0.0.1:1"}, 421),
    ("GET", "/", {"host": "HOST.evil.example"}, 421),
    ("GET", "/", {"host": "evil.example@HOST"}, 421),
    ("GET", "/", {"host": "HOST, evil.example"}, 421),
    ("GET", "/", {"host": "HOST/"}, 421),
    ("GET", "/", {"host": "localhost:PORT"}, 421),
    ("GET", "/", {"host": "[::1]:PORT"}, 421),
    ("GET", "/", {"host": "0.0.0.0:PORT"}, 421),
    ("GET", "/data", {"host": "evil.example"}, 421),
    ("GET", "/curves?trials=1", {"host": "evil.example"}, 421),
    ("GET", "/events", {"host": "evil.example"}, 421),
    ("GET", "/page.js", {"host": "evil.example"}, 421),
    ("GET", "/plotly.js", {"host": "evil.example"}, 421),
    ("GET", "/nothing", {"host": "evil.example"}, 421),
    *[(method, "/data", {}, 405) for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")],
    ("POST", "/", {"host": "evil.example"}, 421),
    ("OPTIONS", "/data", {"origin": "http://evil.example", "access-control-request-method": "GET"}, 405),
    ("GET", "/..%2f..%2fetc/passwd", {}, 404),
    ("GET", "/page.css/../../server.py", {}, 404),
    ("GET", "/%2e%2e/%2e%2e/etc/passwd", {}, 404),
    ("GET", "/assets/page.css", {}, 404),
    ("GET", "//evil.example/", {}, 404),
    ("GET", "/data?since=-1", {}, 200),
    ("GET", "/data?since=%00", {}, 200),
    ("GET", "/data?since=99999999999999999999", {}, 200),
    ("GET", "/data?since=1%3BDROP%20TABLE%20studies", {}, 200),
    ("GET", "/curves?trials=%27%20OR%201%3D1", {}, 200),
    ("GET", "/curves?trials=" + ",".join("1" * 5 for _ in range(2000)), {}, 200),
    ("GET", "/curves", {}, 200),
    ("GET", "/data?" + "a=1&" * 5000, {}, 200),
    ("GET", "/page.js?x=<script>alert(1)</script>", {}, 200),
    ("GET", "/", {"x-forwarded-host": "evil.example"}, 200),
]


def test_forty_hostile_requests(served: tuple[Server, Store]) -> None:
    server, ours = served
    before = ours.trials(ours.study())
    assert len(HOSTILE) >= 40
    for method, path, headers, expected in HOSTILE:
        answer = server.ask(path, method, headers)
        assert answer.status == expected, (method, path, headers)
        assert "access-control-allow-origin" not in answer.headers and "evil" not in answer.text.lower()
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "designs" not in answer.text or expected == 200
    assert ours.trials(ours.study()) == before


def test_an_exposed_page_wants_its_token(tmp_path: Path) -> None:
    with Server(watched_of(write_study(tmp_path / "s.db", 3)), name="lab-pc", token="secret") as server:
        for query in ("", "?token=", "?token=Secret", "?token=secret2", "?token=secre", "?TOKEN=secret"):
            assert server.ask(f"/data{query}").status == 403
        page = server.ask("/?token=secret")
        assert page.status == 200 and 'src="page.js?token=secret"' in page.text
        assert server.ask("/data?since=0&token=secret").json()["revision"] == 1
        assert server.ask("/?token=secret", headers={"host": "127.0.0.1:PORT"}).status == 421


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "", "a/b", "a:80"])
def test_exposure_names_one_address(text: str) -> None:
    with pytest.raises(InputError, match="no single address"):
        check_address(text)
    assert check_address("192.168.1.20") == "192.168.1.20" and check_address("lab-pc") == "lab-pc"


def test_a_port_that_is_taken() -> None:
    taken = _bind("127.0.0.1", 0)
    try:
        with pytest.raises(MachineError, match="is taken"):
            _bind("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(InputError, match="is not an address of this machine"):
            _bind("no-such-host.invalid", 0)
    finally:
        taken.close()


def test_the_database_is_opened_read_only(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "a b%20c.db", 2)
    reading = Store(ours.url, read_only=True)
    assert len(reading.trials(reading.study())) == 2
    with pytest.raises(MachineError, match="readonly|read-only"):
        reading.set_target(1, 5)


def test_the_page_says_when_its_database_goes_away(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 2)
    watched = watched_of(ours)
    assert watched.look()
    watched.source.store.engine.dispose()
    (tmp_path / "s.db").rename(tmp_path / "gone.db")
    assert watched.look() and watched.error and not watched.look()
    (tmp_path / "gone.db").rename(tmp_path / "s.db")
    assert watched.look() and watched.error is None


def test_changes_are_sent_as_they_come(served: tuple[Server, Store]) -> None:
    server, ours = served
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("GET", "/events", headers={"host": server.host})
        events = connection.getresponse()
        assert events.getheader("content-type", "").startswith("text/event-stream")

        def after(revision: int) -> dict[str, Any]:
            """The next event of another revision: those of the same one are signs of life."""
            while True:
                while not (line := events.readline()).startswith(b"data: "):
                    assert line, "the stream has ended"
                event = dict(json.loads(line[6:]))
                if event["revision"] != revision:
                    return event

        first = after(0)
        add_designs(ours, ours.study(), make_spec("synthetic"), 1)
        second = after(first["revision"])
        assert (first["revision"], second["revision"]) == (1, 2)
        assert second["error"] is None and second["server"] == first["server"]


def test_view_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    write_study(tmp_path / "s.db", 4)
    arguments = ["view", "--storage", str(tmp_path / "s.db"), "--port", "0", "--no-open"]
    with subprocess.Popen([sys.executable, "-m", "fastrcaps_dse", *arguments], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        line = child.stderr.readline()
        address = re.search(r"synthetic: http://(127\.0\.0\.1:\d+)/ ", line)
        assert address is not None, line
        connection = http.client.HTTPConnection(address[1], timeout=20)
        while True:
            try:
                connection.request("GET", "/data?since=0")
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        assert len(json.loads(connection.getresponse().read())["designs"]) == 4
        connection.close()
        child.send_signal(signal.SIGINT)
        assert child.wait(20) in (0, 130, -signal.SIGINT) and "Traceback" not in child.stderr.read()


def test_assets_are_all_there() -> None:
    for name in ("page.html", "page.css", *document.SCRIPTS):
        assert document.asset(name)
    folder = Path(document.__file__).parent / "assets"
    assert {path.name for path in folder.glob("*.js")} == set(document.SCRIPTS)


def test_the_script_has_the_constants_of_python_and_no_others() -> None:
    head = re.search(r"const \{ ([\w, ]+) \} = (\{.*\});\n", document.script())
    assert head is not None
    sent = json.loads(head[2])
    assert list(sent) == head[1].split(", ")
    assert sent["SURE"] == 0.95 and sent["NEVER"] == 1e9 and sent["FACTORS"]["time"]["h"] == 3600
    assert parse_quantity("time", sent["EXAMPLES"]["time"][1]) == 10 * sent["FACTORS"]["time"]["m"]
    written = "".join(map(document.asset, document.SCRIPTS))
    for text in (*sent["SUPERLATIVES"].values(), *(example for some in sent["EXAMPLES"].values() for example in some)):
        assert f"'{text}'" not in written and f'"{text}"' not in written
    assert all(re.search(rf"\b{name}\b", written) for name in sent)
