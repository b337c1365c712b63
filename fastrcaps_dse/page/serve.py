"""The live page on a port of this machine, as the command `view` serves it."""

from __future__ import annotations

import errno
import ipaddress
import re
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence

import uvicorn
from starlette.types import ASGIApp

from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.page.library import Library
from fastrcaps_dse.page.notes import NoteBook
from fastrcaps_dse.page.server import News, make_app
from fastrcaps_dse.page.watch import Source, Watched
from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.store import Store, StudyRow

LOOPBACK = "127.0.0.1"


class PageServer(uvicorn.Server):
    """uvicorn, but it ends the streams of events before it waits for connections to close."""

    def __init__(self, app: ASGIApp, news: News) -> None:
        config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=3)
        super().__init__(config)
        self.news = news

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.news.end()
        await super().shutdown(sockets)


def serve(
    store: Store,
    study: StudyRow,
    objectives: Sequence[Objective],
    *,
    port: int,
    expose: str | None,
    storage: str | None,
    open_browser: bool,
    say: Callable[[str], None],
    offers_all: bool = False,
    notes: Store | None = None,
    anytime: bool | None = None,
) -> None:
    """Serve the page until interrupted.

    `port` 0 takes a free port. `expose` is the address of this machine by which other machines reach the page; without it, only this
    machine does. `storage` is the database as the user wrote it. `say` prints a line to the user. With `offers_all` the page
    offers all studies of the storage. `notes` is the storage to write notes into. `anytime` is the view that it opens with, by default
    the one that a study was started with. Raises InputError if `expose` names no
    single address of this machine, MachineError if the port cannot be opened.
    """
    bound = _bind(check_address(expose) if expose is not None else LOOPBACK, port)
    port = bound.getsockname()[1]
    token = secrets.token_urlsafe(24) if expose else None
    names = [expose] if expose else [LOOPBACK, "localhost"]
    hosts = [f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in names]
    address = f"http://{hosts[0]}/" + (f"?token={token}" if token else "")
    watched = Watched(source=Source(store=store, study=study, objectives=objectives, storage=storage, anytime=anytime))
    news = News()
    app = make_app(
        Library(first=watched, offers_all=offers_all),
        news,
        hosts=[*hosts, *(host.removesuffix(":80") for host in hosts if host.endswith(":80"))],
        token=token,
        notes=NoteBook(store=notes) if notes is not None else None,
    )
    say(f"{study.name}: {address}    (Ctrl-C ends it)")
    if open_browser:
        threading.Timer(0.3, webbrowser.open, [address]).start()
    PageServer(app, news).run(sockets=[bound])


def check_address(text: str) -> str:
    """The text, if it names one single address by which others reach this machine. Raises InputError otherwise."""
    example = "e.g. --expose 192.168.1.20 or --expose lab-pc"
    if not text.strip():
        raise InputError("--expose names no single address: it is empty", example)
    try:
        unspecified = ipaddress.ip_address(text).is_unspecified
    except ValueError:
        unspecified = text == "*"
        if not unspecified and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text):
            raise InputError(f"{text!r} names no single address: it is neither a name nor an IP address", example) from None
    if unspecified:
        reason = "it stands for all addresses, but the page answers only to the one that it is opened by"
        raise InputError(f"{text!r} names no single address of this machine: {reason}", example)
    return text


def _bind(host: str, port: int) -> socket.socket:
    """A socket that listens. It is opened here, not by uvicorn, so that a port that is taken is a message and not a traceback."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise InputError(f"{host!r} is not an address of this machine", "name one of its own addresses") from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise MachineError(f"port {port} is taken", "use another with --port, or --port 0 for a free one") from None
        raise MachineError(f"{host}:{port} cannot be opened: {error.strerror}", "use another --port or --expose") from None
    return bound
