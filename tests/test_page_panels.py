"""What the panels of the page show, without a browser: importances, the timeline, notes, and the studies that are offered."""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse.analysis.uncertainty import standard_errors, standings
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.page.library import Library
from fastrcaps_dse.page.notes import HEADER, NoteBook
from fastrcaps_dse.page.panels import facts_of, importance_content
from fastrcaps_dse.page.serve import check_address
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.schedules import AdaBatch, FixedBatch, FixedRate, OneCycle
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.search.importance import LEAST_DESIGNS, importances
from fastrcaps_dse.store import Note, Store, notes_of, set_note, tables
from fastrcaps_dse.store.migration import STATEMENTS
from tests.conftest import Command
from tests.serving import Answer, Server, watched_of
from tests.synthetic import add_designs, make_spec, write_study
from tests.test_page import inside

OBJECTIVES = parse_objectives("acc,time")

# --- importance -------------------------------------------------------------------------------------------------------


def designs_at_random(count: int) -> list[DesignPoint]:
    generator = random.Random(1)
    return [
        DesignPoint(
            lr_policy=generator.choice([FixedRate, OneCycle])(),
            batch_schedule=FixedBatch(size=generator.choice([1, 8, 64])) if generator.random() < 0.5 else AdaBatch(),
            weight_sharing=generator.random() < 0.5,
            decoder=generator.choice(["full", "small"]),
        )
        for _ in range(count)
    ]


def test_what_decides_an_objective_is_important_for_it() -> None:
    """Accuracy follows weight sharing alone: it counts more than all else together. Time follows the batch size, where there is one."""
    designs = designs_at_random(300)
    generator = random.Random(2)
    size = [getattr(d.batch_schedule, "size", 8) for d in designs]
    values = [
        {"acc": 99 - d.weight_sharing + generator.gauss(0, 0.01), "time": 100 / s + generator.gauss(0, 0.01)}
        for d, s in zip(designs, size, strict=True)
    ]
    acc, seconds = importances(designs, values, OBJECTIVES)
    assert next(iter(acc.shares)) == "weight_sharing" and acc.shares["weight_sharing"] > 0.5 and acc.top == 30
    assert next(iter(seconds.shares)) == "batch_schedule.size"
    for found in (acc, seconds):
        assert sum(found.shares.values()) == pytest.approx(1) and "network" not in found.shares  # it never varies


def test_too_few_designs_have_no_importance(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", LEAST_DESIGNS - 1)
    few = importance_content(ours.trials(ours.study()), ours.study().objectives)
    assert few["objectives"] == [] and few["note"].endswith("there are 11.")
    add_designs(ours, ours.study(), make_spec("synthetic"), 1)
    enough = importance_content(ours.trials(ours.study()), ours.study().objectives)
    assert [o["name"] for o in enough["objectives"]] == ["acc", "time", "params"] and "PED-ANOVA" in enough["method"]


# --- studies ----------------------------------------------------------------------------------------------------------


def write_second(ours: Store, path: Path, designs: int) -> None:
    """Another study in the same database."""
    write_study(path, designs, name="second", epochs=3)
    assert {s.name for s in ours.studies()} == {"synthetic", "second"}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Server]:
    ours = write_study(tmp_path / "s.db", 8)
    first = watched_of(ours)
    write_second(ours, tmp_path / "s.db", 5)
    with Server(Library(first=first, offers_all=True)) as server:
        yield server


def test_all_studies_are_offered_and_each_is_served(two: Server) -> None:
    studies = two.ask("/studies").json()
    assert {s["name"]: s["designs"] for s in studies} == {"synthetic": 8, "second": 5}
    assert two.ask("/data?since=0").json()["study"]["name"] == "synthetic"
    second = two.ask("/data?since=0&study=second").json()
    assert second["study"]["name"] == "second" and len(second["designs"]) == 5
    assert two.ask("/curves?trials=7&study=second").json() == {} and two.ask("/curves?trials=7").json().keys() == {"7"}
    assert len(two.ask("/timeline?study=second").json()["runs"]) == 5
    assert "second" in two.ask("/?study=second").text and two.ask("/importance").json()["objectives"] == []
    missing = two.ask("/data?study=third")
    assert missing.status == 404 and "third" in missing.text


def test_a_study_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 3)
    first = watched_of(ours)
    write_second(ours, tmp_path / "s.db", 2)
    with Server(first) as server:
        assert server.ask("/studies").json() == [] and server.ask("/data?study=second").status == 404


def test_what_makes_two_studies_differ(tmp_path: Path) -> None:
    one, other = (write_study(tmp_path / f"{n}.db", 3, epochs=n) for n in (3, 4))
    facts = [facts_of(ours.study(), ours.trials(ours.study())) for ours in (one, other)]
    assert {key for key in facts[0] if facts[0][key] != facts[1][key]} == {"epochs"}
    assert facts[0]["device"] == "cpu" and facts[0]["protocol"] == "validation"


def test_a_report_holds_a_second_study_only_if_asked(tmp_path: Path, command: Command) -> None:
    ours = write_study(tmp_path / "s.db", 4)
    write_second(ours, tmp_path / "s.db", 3)
    arguments = ["report", "--storage", tmp_path / "s.db", "--study", "synthetic", "--out", tmp_path / "r.html"]
    assert command(*arguments).code == 0 and inside((tmp_path / "r.html").read_text())[0]["compared"] is None
    assert command(*arguments, "--compare", "second").code == 0
    content, _ = inside((tmp_path / "r.html").read_text())
    assert content["compared"]["study"]["name"] == "second" and len(content["compared"]["designs"]) == 3
    assert content["panels"].keys() == {"importance", "timeline"}
    assert command(*arguments, "--compare", "third").code == 2


# --- notes ------------------------------------------------------------------------------------------------------------


def test_notes_are_kept_by_design(tmp_path: Path, command: Command) -> None:
    ours = write_study(tmp_path / "s.db", 3)
    study, before = ours.study(), ours.pulse(1)
    set_note(ours, study.study_id, 1, Note(text="try a\nlonger run \x1b[31m", starred=True))
    assert ours.pulse(1) != before
    assert notes_of(ours, study.study_id) == {1: Note(text="try a\nlonger run \x1b[31m", starred=True)}
    shown = command("show", "1", "--storage", tmp_path / "s.db")
    assert "note:   ★ try a / longer run \\x1b[31m\n" in shown.out
    assert json.loads(command("show", "1", "--json", "--storage", tmp_path / "s.db").out)["starred"] is True
    set_note(ours, study.study_id, 1, Note())
    assert notes_of(ours, study.study_id) == {} and "note" not in command("show", "1", "--storage", tmp_path / "s.db").out
    with pytest.raises(InputError, match="no trial 9"):
        set_note(ours, study.study_id, 9, Note(text="x"))
    with pytest.raises(InputError, match="3,000 characters"):
        set_note(ours, study.study_id, 0, Note(text="x" * 3000))


@pytest.fixture
def noting(tmp_path: Path) -> Iterator[tuple[Server, Store]]:
    ours = write_study(tmp_path / "s.db", 3)
    with Server(watched_of(ours), notes=NoteBook(store=ours)) as server:
        yield server, ours


def post(server: Server, body: bytes, headers: dict[str, str], path: str = "/note") -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", path, body, {"host": server.host, **headers})
    answer = connection.getresponse()
    found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
    connection.close()
    return found


def test_only_the_page_itself_writes_a_note(noting: tuple[Server, Store]) -> None:
    server, ours = noting
    secret = server.ask("/notes").json()["secret"]
    good = {"origin": f"http://{server.host}", HEADER: secret, "content-type": "application/json"}
    body = json.dumps({"trial": 2, "text": "keep this", "starred": True}).encode()
    assert 'data-notes="true"' in server.ask("/").text
    refused: list[tuple[dict[str, str], bytes, str, int]] = [
        ({**good, "origin": "http://evil.example"}, body, "/note", 403),
        ({**good, "origin": "null"}, body, "/note", 403),
        ({k: v for k, v in good.items() if k != "origin"}, body, "/note", 403),
        ({**good, HEADER: "guess"}, body, "/note", 403),
        ({k: v for k, v in good.items() if k != HEADER}, body, "/note", 403),
        ({**good, "content-type": "text/plain"}, body, "/note", 415),
        ({**good, "host": "evil.example"}, body, "/note", 421),
        (good, b"x" * 20_000, "/note", 413),
        (good, b"{", "/note", 400),
        (good, b"[" * 5000, "/note", 400),
        (good, b"\xff\xfe", "/note", 400),
        (good, json.dumps({"trial": True, "text": "", "starred": True}).encode(), "/note", 400),
        (good, json.dumps({"trial": 2, "text": "", "starred": True, "state": "done"}).encode(), "/note", 400),
        (good, json.dumps({"trial": 2, "text": "\ud800", "starred": True}).encode(), "/note", 400),
        (good, json.dumps({"trial": 2, "text": "x" * 3000, "starred": True}).encode(), "/note", 404),
        (good, json.dumps({"trial": 77, "text": "x", "starred": True}).encode(), "/note", 404),
        (good, body, "/data", 405),
        (good, body, "/note/", 405),
    ]
    for headers, sent, path, expected in refused:
        assert post(server, sent, headers, path).status == expected, (headers, sent[:60], path)
    assert notes_of(ours, 1) == {}
    assert post(server, body, good).status == 200 and notes_of(ours, 1) == {2: Note(text="keep this", starred=True)}
    deadline = time.monotonic() + 20
    while not any(d.get("starred") for d in server.ask("/data?since=0").json()["designs"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_without_notes_nothing_can_be_written(tmp_path: Path) -> None:
    with Server(watched_of(write_study(tmp_path / "s.db", 3))) as server:
        assert server.ask("/notes").status == 404 and "data-notes" not in server.ask("/").text
        assert post(server, b"{}", {"origin": f"http://{server.host}", "content-type": "application/json"}).status == 405


def test_a_database_of_schema_6_takes_notes_after_it_is_opened(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 2)
    with ours.engine.begin() as connection:
        tables.note.drop(connection)
        connection.exec_driver_sql("DROP INDEX fastrcaps_run_revision")
        later = "\n".join([*STATEMENTS[8], *STATEMENTS[9], *STATEMENTS[10]])
        for table, column in re.findall(r"ALTER TABLE (\w+) ADD COLUMN (\w+)", later):
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute(tables.schema.update().values(version=6))
    again = Store(ours.url)
    assert notes_of(again, 1) == {}
    set_note(again, 1, 0, Note(text="x"))
    again.delete_study(1)
    with ours.engine.connect() as connection:
        assert connection.execute(tables.note.select()).all() == []


# --- errors -----------------------------------------------------------------------------------------------------------


def test_errors_of_all_values_are_those_of_the_standings() -> None:
    generator = random.Random(4)
    values = [[generator.gauss(98, 0.2) for _ in range(seeds)] for seeds in (3, 1, 2, 4)]
    found = standard_errors(values)
    expected = [s.error[0] for s in standings([[[-v] for v in runs] for runs in values]) if s.error]
    assert found == pytest.approx(expected) and len(expected) == 4
    assert standard_errors([[1.0], [2.0, 3.0]]) is None  # too few runs are repeated
    assert standard_errors([[5.0] * 4, [7.0] * 2]) == [0.0, 0.0]


# --- requests that are broken -----------------------------------------------------------------------------------------

BROKEN = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
    b"GET / HTTP/9.9\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"GET /data HTTP/1.1\r\nHost: HOST\r\nContent-Length: -5\r\n\r\n",
    b"GET /data HTTP/1.1\r\nHost: HOST\r\nbad header\r\n\r\n",
    b"GET /data?study=%ff%00 HTTP/1.1\r\nHost: HOST\r\n\r\n",
    b"GET /%ff%fe HTTP/1.1\r\nHost: HOST\r\n\r\n",
    b"GET /data HTTP/1.1\r\nHost: HOST\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"POST /note HTTP/1.1\r\nHost: HOST\r\nContent-Length: 50\r\n\r\n{",  # and then it breaks off
    b"GET /da",
    b"",
]


def test_broken_requests_end_quietly(noting: tuple[Server, Store], capfd: pytest.CaptureFixture[str]) -> None:
    server, _ = noting
    headers = f"Origin: http://{server.host}\r\n{HEADER}: {server.ask('/notes').json()['secret']}\r\nContent-Type: application/json\r\n"
    capfd.readouterr()
    sent = [*BROKEN, BROKEN[8].replace(b"Content-Length", headers.encode() + b"Content-Length")]
    for request in sent:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(request.replace(b"HOST", server.host.encode()))
            connection.settimeout(0.3)
            try:
                answer = connection.recv(65536)
            except (TimeoutError, ConnectionResetError):
                answer = b""
            assert b" 500 " not in answer.partition(b"\r\n")[0], request[:60]
    assert server.ask("/data?since=0").status == 200
    told: Any = capfd.readouterr()
    assert "Traceback" not in told.err + told.out


@pytest.mark.parametrize(
    ("text", "why"), [("*", "all addresses"), ("", "empty"), ("0.0.0.0", "all"), ("a b", "neither a name")]
)
def test_an_exposure_that_cannot_be_says_why(text: str, why: str, command: Command, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        check_address(text)
    write_study(tmp_path / "s.db", 1)
    told = command("view", "--storage", tmp_path / "s.db", "--no-open", "--port", "0", "--expose", text)
    assert told.code == 2 and why in told.err
