"""The runs' files in an object store that speaks S3, on this machine; skipped where its packages are not installed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.runs.files import LAST, WEIGHTS
from fastrcaps_dse.store import RunsPlace, check_place, named_place
from fastrcaps_dse.store.remote import Remote

SECRET = "s3cr3t-text"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket."""
    pytest.importorskip("s3fs")
    server_of, boto3 = pytest.importorskip("moto.server"), pytest.importorskip("boto3")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    secrets = {"AWS_ACCESS_KEY_ID": "ann", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    from fsspec.config import conf

    monkeypatch.setitem(conf, "s3", {"endpoint_url": address})
    name = uuid.uuid4().hex
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket=name)
    yield f"s3://{name}"
    server.stop()


def test_files_go_and_come(bucket: str, tmp_path: Path) -> None:
    url = named_place(f"{bucket}/runs/")
    assert url == f"{bucket}/runs"
    check_place(url)
    a, b = (RunsPlace(tmp_path / name, Remote(url)) for name in "ab")
    folder = a.folder / "run-000001/attempt-1"
    folder.mkdir(parents=True)
    for name in (LAST, "epoch-0001.safetensors"):
        (folder / name).write_bytes(name.encode() * 10**6)  # in several parts
    a.push(folder)
    b.fetch(b.folder / "run-000001", LAST)
    for name in (LAST, "epoch-0001.safetensors"):
        assert (b.folder / "run-000001/attempt-1" / name).read_bytes() == name.encode() * 10**6
    (folder / WEIGHTS).write_bytes(b"w")
    (folder / LAST).write_bytes(b"new")
    a.push(folder)
    assert b.files()[f"run-000001/attempt-1/{LAST}"] == 3
    a.drop(a.folder / "run-000001", keep=[folder / WEIGHTS])
    assert b.files() == {f"run-000001/attempt-1/{WEIGHTS}": 1} and b.bring(b.folder / "run-000001/attempt-1" / WEIGHTS)
    assert not b.bring(b.folder / "run-000001/attempt-2" / WEIGHTS)


def test_a_bucket_that_is_not_there_is_not_made(bucket: str) -> None:
    with pytest.raises(MachineError, match="bucket does not exist") as caught:
        check_place(f"{bucket}-other/runs")
    assert SECRET not in caught.value.message and Remote(f"{bucket}-other").files() == {}
