"""The live page gives the weights of a design, from the storage's own folder alone; a file shows the command that exports them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse import store
from fastrcaps_dse.store import Store, tables
from tests.browsing import FLAT, Open, Serve, eventually, file_of
from tests.serving import Server, watched_of
from tests.synthetic import write_study


def with_weights(path: Path, stored: str | None = None) -> tuple[Store, int]:
    """A study whose first design on disk has weights, stored under their path or under another; the trial."""
    ours = write_study(path, 6)
    run = ours.runs(ours.study().study_id)[2]
    file = store.run_folder(store.runs_folder(ours.url), run.run_id) / "weights.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"the weights")
    with ours.engine.begin() as connection:
        mine = tables.run.c.run_id == run.run_id
        connection.execute(tables.run.update().where(mine).values(weights=stored or str(file)))
    return ours, run.trial


def test_the_weights_of_a_design(tmp_path: Path) -> None:
    ours, trial = with_weights(tmp_path / "s.db")
    with Server(watched_of(ours)) as server:
        answer = server.ask(f"/weights?trial={trial}")
        assert (answer.status, answer.text) == (200, "the weights")
        assert answer.headers["content-disposition"] == f'attachment; filename="trial-{trial}.safetensors"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert server.ask(f"/weights?trial={trial}", "HEAD").text == ""
        for other in ("", "x", "-1", "0", "999", "2%00", "../2", "99999999999999999999"):
            assert server.ask(f"/weights?trial={other}").status == 404, other
        assert server.ask("/weights").status == 404 and server.ask("/weights/2").status == 404
        assert server.ask(f"/weights?trial={trial}", headers={"host": "evil.example"}).status == 421
        assert server.ask(f"/weights?trial={trial}", "POST").status == 405


def test_a_database_cannot_make_it_give_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    ours, trial = with_weights(tmp_path / "s.db", stored=str(secret))
    with Server(watched_of(ours)) as server:
        assert server.ask(f"/weights?trial={trial}").text == "the weights"
        folder = store.runs_folder(ours.url)
        for file in folder.rglob("weights.safetensors"):
            file.unlink()
        assert server.ask(f"/weights?trial={trial}").status == 404


def test_weights_need_the_token(tmp_path: Path) -> None:
    ours, trial = with_weights(tmp_path / "s.db")
    with Server(watched_of(ours), token="abc") as server:
        assert server.ask(f"/weights?trial={trial}").status == 403
        assert server.ask(f"/weights?trial={trial}&token=abd").status == 403
        assert server.ask(f"/weights?trial={trial}&token=abc").text == "the weights"


@pytest.mark.browser
@pytest.mark.parametrize("live", [True, False])
def test_the_card_of_the_pick(open_page: Open, serve: Serve, tmp_path: Path, live: bool) -> None:
    ours, trial = with_weights(tmp_path / "s.db")
    values = ours.trials(ours.study())[trial].measurement
    assert values is not None
    only = f"{FLAT}&limit.acc={values['acc']:.3f}&limit.params={values['params']:.0f}&limit.time={values['time'] + 0.001:.4f}s"

    def checked(page: Any) -> None:
        eventually(lambda: page.locator("#picked h3").inner_text().endswith(f"(trial {trial})"))
        command = page.locator("#export").inner_text()
        assert command == f"fastrcaps-dse export --study synthetic --out capsnet-{trial} {trial}"
        assert page.locator("#download").count() == live

    if not live:
        (tmp_path / "s.html").write_text(file_of(ours), encoding="utf-8")
        checked(open_page(f"file://{tmp_path / 's.html'}{only}"))
        return
    server = serve(watched_of(ours))
    page = open_page(f"http://{server.host}/{only}")
    checked(page)
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == f"trial-{trial}.safetensors"
    assert Path(download.value.path()).read_bytes() == b"the weights"
