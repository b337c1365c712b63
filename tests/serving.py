"""The live page on a free port, for tests that ask it, or open it in a browser."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastrcaps_dse.page.library import Library
from fastrcaps_dse.page.notes import NoteBook
from fastrcaps_dse.page.serve import PageServer, _bind
from fastrcaps_dse.page.server import News, make_app
from fastrcaps_dse.page.watch import Source, Watched
from fastrcaps_dse.store import Store


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Server:
    """The application on a free port, in a thread."""

    def __init__(
        self,
        watched: Watched | Library,
        *,
        name: str = "127.0.0.1",
        token: str | None = None,
        notes: NoteBook | None = None,
        port: int = 0,
    ) -> None:
        self.socket = _bind("127.0.0.1", port)
        self.port = self.socket.getsockname()[1]
        self.host = f"{name}:{self.port}"
        news = News()
        self.server = PageServer(make_app(watched, news, hosts=[self.host], token=token, notes=notes), news)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)

    def __enter__(self) -> Server:
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"host": self.host, **(headers or {})}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for key, value in sent.items():
            connection.putheader(key, value.replace("HOST", self.host).replace("PORT", str(self.port)))
        connection.endheaders()
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
        connection.close()
        return found


def watched_of(ours: Store) -> Watched:
    reading = Store(ours.url, read_only=True)
    study = reading.study()
    return Watched(source=Source(store=reading, study=study, objectives=study.objectives))
