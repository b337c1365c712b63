"""URLs of storages: near misses are refused before anything is made, and no password is told."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse import store
from fastrcaps_dse.errors import InputError, UserError
from fastrcaps_dse.store.url import translate, without_password
from tests.conftest import Command

SECRET = "s3cr3t"
WRONG = [
    f"postgresql:/ann:{SECRET}@host/name",
    f"postgresql:ann:{SECRET}@host/name",
    f"postgresql//ann:{SECRET}@host/name",
    f"postgres://ann:{SECRET}@host/name",
    f"postgresql+nosuch://ann:{SECRET}@host/name",
    f"postgresql://ann:{SECRET}@host:port/name",
    f"nosuch://host/name?password={SECRET}",
    f"{SECRET} word://host/name",
    f"ann:{SECRET}@host/name",
    f"sqlite:/x.db?password={SECRET}",
    f"sqlite://ann:{SECRET}@/x.db",
    f"sqlite://ann:{SECRET}@",
    f"sqlite:///:{SECRET}?@127.0.0.1:1/x.db",
    f"sqlite:///ann:{SECRET}@host/x.db",
    f"postgresql:///ann:{SECRET}@host/n",
    f"postgresql://a/b:{SECRET}@host",
    f"s3/ann:{SECRET}/x@host",
    "sqlite:x.db",
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite:///file:x.db?uri=true",
    "sqlite:///x.db?timeout=abc",
    "sqlite:///x.db?check_same_thread=x",
    "sqlite:///x%00.db",
    "x\x00.db",
    "x\x1b[31m.db",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_storage_makes_nothing_and_tells_no_password(
    command: Command, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(tmp_path.rglob("*"))
    for arguments in (["front"], ["explore"], ["explore", "--dry-run"], ["studies"]):
        said = command(*arguments, "--storage", text)
        assert said.code == 2 and "Traceback" not in said.err and SECRET not in said.err + said.out and "\x1b" not in said.err
        assert len(said.err.strip().splitlines()) == 2, said.err  # what is wrong, and how to fix it
    if "\x00" not in text:
        monkeypatch.setenv("FASTRCAPS_STORAGE", text)
        assert command("front").code == 2
    assert set(tmp_path.rglob("*")) == before


@given(st.text(max_size=30))
def test_any_text_is_a_storage_or_refused_in_one_line(text: str) -> None:
    for whole in (text, f"sqlite:///{text}", f"postgresql://{text}", f"postgresql:{text}"):
        try:
            url = store.parse_url(whole)
        except InputError as error:
            assert error.message and "\n" not in error.message
        else:
            assert url.database is None or url.get_backend_name() != "sqlite" or url.database.isprintable()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"postgresql://ann:{SECRET}@h/n", "postgresql://ann:***@h/n"),
        (f"postgresql://ann@h/n?password={SECRET}", "postgresql://ann@h/n?password=***"),
        (f"postgresql://h/n?sslmode=require&sslpassword={SECRET}", "postgresql://h/n?sslmode=require&sslpassword=***"),
        (f"postgresql://h/n?options=x&auth_token={SECRET}", "postgresql://h/n?auth_token=***&options=x"),
        ("postgresql://ann@h/n?sslmode=require", "postgresql://ann@h/n?sslmode=require"),
        ("studies/x.db", "studies/x.db"),
    ],
)
def test_no_secret_is_told(text: str, told: str) -> None:
    assert without_password(text) == told
    url = store.parse_url(text)
    said = translate(sa.exc.OperationalError("SELECT 1", {}, psycopg.OperationalError(f"no entry for {SECRET} here")), url)
    assert isinstance(said, UserError) and (SECRET in text) == ("***" in said.message) and SECRET not in store.url_text(url)


def test_passwords_of_the_environment_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PGPASSFILE and PGPASSWORD are read by the driver itself: the URL has none, and nothing is told of them."""
    monkeypatch.setenv("PGPASSWORD", SECRET)
    url = store.parse_url("postgresql://ann@127.0.0.1:1/none")
    with pytest.raises(UserError) as error:
        store.Store(url)
    assert SECRET not in error.value.message and url.password is None and os.environ["PGPASSWORD"] == SECRET
