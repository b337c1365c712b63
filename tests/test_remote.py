"""Files behind a URL: whole or not there, waited for, told without secrets."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.errors import InputError, MachineError, UserError
from fastrcaps_dse.store import named_place, remote
from fastrcaps_dse.store.remote import Remote, masked, parse_place

SECRET = "s3cr3t-text"


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place in the memory of this process, and one in a folder."""
    return f"memory://{uuid.uuid4().hex}/runs" if request.param == "memory" else f"file://{tmp_path / 'there' / 'my runs'}"


def test_files_come_back_as_they_were_written(url: str, tmp_path: Path) -> None:
    there, source = Remote(url), tmp_path / "source"
    assert there.files() == {} and there.files("run-1") == {} and not there.get("run-1/a", tmp_path / "none")
    for text in (b"the first", b"the second, which is longer", b""):
        source.write_bytes(text)
        there.put(source, "run-1/attempt-2/a")
        assert there.files() == {"run-1/attempt-2/a": len(text)} == there.files("run-1")
        assert there.get("run-1/attempt-2/a", tmp_path / "new" / "b") and (tmp_path / "new" / "b").read_bytes() == text
    there.put(source, "run-10/a")
    assert set(there.files("run-1")) == {"run-1/attempt-2/a"}  # and not what begins alike
    there.remove(["run-1/attempt-2/a", "run-1/none"])
    assert set(there.files()) == {"run-10/a"}
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        {"source", "b"} | ({"a"} if "file" in url else set())
    )


def test_a_check_leaves_nothing(url: str) -> None:
    Remote(url).check()
    assert Remote(url).files() == {}


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="cannot be written") as caught:
        Remote(f"file://{tmp_path / 'file' / 'runs'}").check()
    assert "\n" not in caught.value.message and "--runs" in caught.value.hint


# --- whole or not there ---------------------------------------------------------------------------------------------------


class Cut(LocalFileSystem):  # type: ignore[misc]
    """Breaks off after half of a file, as often as `times` says; where `silent`, without a word."""

    protocol = "cut"
    times, silent, killed = 0, False, False

    def _cut(self, source: str, target: str) -> bool:
        if not Cut.times:
            return False
        Cut.times -= 1
        text = Path(source).read_bytes()
        Path(target).write_bytes(text[: len(text) // 2])
        if Cut.killed:
            raise KeyboardInterrupt
        if not Cut.silent:
            raise ConnectionResetError("the line is dead")
        return True

    def put_file(self, lpath: str, rpath: str, **how: Any) -> None:
        if not self._cut(lpath, self._strip_protocol(rpath)):
            super().put_file(lpath, rpath, **how)

    def get_file(self, rpath: str, lpath: str, **how: Any) -> None:
        if not self._cut(self._strip_protocol(rpath), lpath):
            super().get_file(rpath, lpath, **how)


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a place whose line breaks off."""
    fsspec.register_implementation("cut", Cut, clobber=True)
    for name, value in (("times", 0), ("silent", False), ("killed", False)):
        monkeypatch.setattr(Cut, name, value)
    monkeypatch.setattr(Cut, "_strip_protocol", classmethod(lambda cls, path: str(path).removeprefix("cut://")))
    return f"cut://{tmp_path / 'there'}"


@pytest.mark.parametrize("silent", [True, False])
def test_what_breaks_off_is_tried_again(cut: str, tmp_path: Path, silent: bool) -> None:
    source, waits = tmp_path / "source", list[float]()
    source.write_bytes(b"0123456789")
    there = Remote(cut, patience=60.0, sleep=waits.append)
    Cut.times, Cut.silent = 3, silent
    there.put(source, "run-1/a")
    assert (
        Cut.times == 0
        and len(waits) == 3
        and waits == sorted(waits)
        and (tmp_path / "there/run-1/a").read_bytes() == b"0123456789"
    )
    Cut.times = 2
    assert there.get("run-1/a", tmp_path / "back") and (tmp_path / "back").read_bytes() == b"0123456789"
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"source", "a", "back"}  # nothing partial is left


def test_an_upload_that_is_killed_leaves_the_earlier_file(cut: str, tmp_path: Path) -> None:
    source, there = tmp_path / "source", Remote(cut)
    source.write_bytes(b"the first")
    there.put(source, "run-1/a")
    source.write_bytes(b"the second")
    Cut.times, Cut.killed = 1, True
    with pytest.raises(KeyboardInterrupt):
        there.put(source, "run-1/a")
    assert there.get("run-1/a", tmp_path / "back") and (tmp_path / "back").read_bytes() == b"the first"
    assert all(name.endswith(remote.PARTIAL) for name in there.files() if name != "run-1/a")


def test_without_patience_an_outage_is_an_error_at_once(cut: str, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"0123456789")
    Cut.times = 9
    with pytest.raises(MachineError, match="the line is dead"):
        Remote(cut, sleep=lambda _: pytest.fail("it waited")).put(tmp_path / "source", "a")
    assert Cut.times == 8


def test_patience_ends_and_is_told_once(
    cut: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("fastrcaps_dse.store.remote.time.monotonic", lambda: now[0])
    (tmp_path / "source").write_bytes(b"0123456789")
    Cut.times = 10**6

    def sleep(seconds: float) -> None:
        now[0] += max(seconds, 1e-6)

    with caplog.at_level(logging.WARNING), pytest.raises(MachineError):
        Remote(cut, patience=100.0, sleep=sleep).put(tmp_path / "source", "a")
    assert 100 <= now[0] < 101 and len(caplog.messages) == 1 and "100 s at most" in caplog.messages[0]


def test_an_end_of_an_outage_is_told(
    cut: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("fastrcaps_dse.store.remote.time.monotonic", lambda: now[0])
    (tmp_path / "source").write_bytes(b"0123456789")
    Cut.times = 8
    with caplog.at_level(logging.WARNING):
        Remote(cut, patience=100.0, sleep=lambda s: now.__setitem__(0, now[0] + s)).put(tmp_path / "source", "a")
    assert [text.partition("(")[0].partition("answer")[2][:6] for text in caplog.messages] == [" ", "s agai"]


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError(28, "No space left on device"), ImportError("x")])
def test_what_waiting_does_not_cure_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(MemoryFileSystem, "put_file", broken)
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(MachineError):
        Remote("memory://x/y", patience=60.0, sleep=lambda _: pytest.fail("it waited")).put(tmp_path / "source", "a")


def test_a_server_that_replaces_nothing(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is deleted first, then the new one gets its name."""
    kind: Any = MemoryFileSystem if url.startswith("memory") else LocalFileSystem
    move: Callable[..., None] = kind.mv

    def careful(self: Any, source: str, target: str) -> None:
        if self.exists(target):
            raise OSError("it is there already")
        move(self, source, target)

    monkeypatch.setattr(kind, "mv", careful)
    there, source = Remote(url), tmp_path / "source"
    for text in (b"a", b"bb"):
        source.write_bytes(text)
        there.put(source, "x/y")
    assert there.files() == {"x/y": 2}


# --- places as the user names them ----------------------------------------------------------------------------------------


def test_folders_are_stored_as_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert parse_place("shared/runs") == str(tmp_path / "shared/runs") and parse_place("~/r") == str(tmp_path / "home/r")
    assert parse_place("memory://a/b/") == "memory://a/b"
    monkeypatch.delenv("FASTRCAPS_RUNS", raising=False)
    assert named_place(None) is None
    monkeypatch.setenv("FASTRCAPS_RUNS", "other")
    assert named_place(None) == str(tmp_path / "other") and named_place("x") == str(tmp_path / "x")
    monkeypatch.setenv("FASTRCAPS_RUNS", "")
    assert named_place(None) is None


@pytest.mark.parametrize(
    "text",
    [
        f"sftp://ann:{SECRET}@host/x",
        f"sftp:/ann:{SECRET}@host/x",
        f"ann:{SECRET}@host/x",
        f"https://host/x?token={SECRET}",
        f"simplecache::s3://ann:{SECRET}@x/y",
        f"memory://x::s3://ann:{SECRET}@x/y",
        "s3:/bucket/x",
        "s3://",
        "://x",
        "nosuch://x/y",
        "",
        "  ",
        "a\x00b",
        "memory://a\x1b[31m",
    ],
)
def test_what_is_no_place_is_refused_without_its_secrets(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_place(text)
    said = caught.value.message + caught.value.hint
    assert SECRET not in said and "\n" not in said and said.isprintable() and caught.value.hint


@given(st.text(max_size=30))
def test_any_text_is_a_place_or_refused_in_one_line(text: str) -> None:
    for whole in (text, f"memory://{text}", f"file://{text}"):
        try:
            parse_place(whole)
        except UserError as error:
            assert error.message.isprintable() and error.hint


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    _registry.pop("s3", None)
    with pytest.raises(MachineError, match="not installed") as caught:
        parse_place("s3://bucket/x")
    assert caught.value.hint == "pip install s3fs"
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MachineError, match="fsspec") as caught:
        parse_place("s3://bucket/x")
    assert caught.value.hint == "pip install 'fastrcaps-dse[remote]'"


# --- secrets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"cannot reach sftp://ann:{SECRET}@host/x", "cannot reach sftp://ann:***@host/x"),
        ("sftp://ann@host/x", "sftp://ann@host/x"),
        (f"GET https://h/x?X-Amz-Signature={SECRET}&b=1", "GET https://h/x?X-Amz-Signature=***&b=1"),
        (f"denied for {SECRET} here", "denied for *** here"),
        ("a\x1b[31m", "a\\x1b[31m"),
    ],
)
def test_secrets_are_masked(text: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("PWD", os.getcwd())
    assert masked(text) == told and masked(os.getcwd()) == os.getcwd()


def test_secrets_of_fsspecs_settings_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "memory", {"password": SECRET})

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"login with {SECRET} failed\nand more")

    monkeypatch.setattr(remote, "_may_pass", lambda _: False)
    monkeypatch.setattr(Remote, "_open", broken)
    with pytest.raises(MachineError, match=r"cannot be read: login with \*\*\* failed$"):
        Remote("memory://x").files()
