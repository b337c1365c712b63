"""The live page: a small read-only server that notifies its pages whenever the study changes."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastrcaps_dse.errors import InputError, UserError
from fastrcaps_dse.page import document
from fastrcaps_dse.page.constants import BEAT_SECONDS
from fastrcaps_dse.page.library import Library
from fastrcaps_dse.page.notes import NOTE_PATH, NoteBook
from fastrcaps_dse.page.panels import PANELS
from fastrcaps_dse.page.watch import Watched

LOOK_SECONDS = 0.5  # between two looks at the database
REST = 4.0  # the least rest after a look, in times of what it took: the study may be trained beside it
MAX_CURVES = 50  # designs whose curves one request may ask for

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests with another host, another method than GET and HEAD, or without the token if there is one.

    Where notes may be written, it lets requests to /note through, which checks them itself. It also
    sets the security headers of every answer.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str | None, *, writes: bool = False) -> None:
        self.app, self.hosts, self.token, self.writes = app, hosts, token, writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message.get("headers", []) if k.lower() != b"server"]
                message["headers"] = [*kept, *((k.lower().encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await (refusal or self.app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["type"] != "http":
            return PlainTextResponse("this server speaks only HTTP", 400)
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return PlainTextResponse("unknown host", 421)
        is_note = self.writes and scope["path"] == NOTE_PATH and scope["method"] == "POST"
        if scope["method"] not in ("GET", "HEAD") and not is_note:
            return PlainTextResponse("only GET and HEAD", 405, {"Allow": "GET, HEAD"})
        if self.token is not None:
            given = QueryParams(scope["query_string"]).get("token", "")
            if not secrets.compare_digest(given.encode(), self.token.encode()):
                return PlainTextResponse(
                    "the token is missing or wrong: use the address that `fastrcaps-dse view` printed", 403
                )
        return None


def make_app(
    watched: Watched | Library, news: News, *, hosts: Sequence[str], token: str | None = None, notes: NoteBook | None = None
) -> ASGIApp:
    """The server's application.

    `watched` is the study, or all that are offered. `hosts` are the values of the Host header that it answers, compared exactly. `news`
    wakes its streams of events, and ends them. `token`, if given, is what each request must carry. `notes` writes notes; without it
    nothing can be written.
    """
    library = watched if isinstance(watched, Library) else Library(first=watched)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_watch(library, news))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    routes = [*_routes(library, news, token, writes=notes is not None), *(notes.routes(library) if notes else ())]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={UserError: _told, ClientDisconnect: _gone})
    return Guard(app, frozenset(host.lower() for host in hosts), token, writes=notes is not None)


async def _told(_: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    return PlainTextResponse(error.message, 404 if isinstance(error, InputError) else 503)


async def _gone(_: Request, __: Exception) -> Response:
    return PlainTextResponse("the request broke off", 400)


class News:
    """Wakes those who wait for the study to change, or for the server to end."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.ended = False

    def end(self) -> None:
        """End every stream of events."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        """Wake all who wait now; who waits from now on waits for the next change."""
        self.changed.set()
        self.changed = asyncio.Event()


async def _watch(library: Library, news: News) -> None:
    while True:
        begun = time.monotonic()
        for watched in library:
            if await run_in_threadpool(watched.look):
                news.wake()
        await asyncio.sleep(max(LOOK_SECONDS, REST * (time.monotonic() - begun)))


def _routes(library: Library, news: News, token: str | None, *, writes: bool) -> list[Route]:
    query = f"?token={token}" if token else ""

    def text(kind: str, make: Callable[[], str]) -> Callable[[Request], Response]:
        return lambda _: Response(make(), media_type=kind)

    async def of(request: Request) -> Watched:
        """The study that a request is about, read if it has not been yet."""
        watched = await run_in_threadpool(library.watched, request.query_params.get("study"))
        if not watched.revision and watched.error is None:
            await run_in_threadpool(watched.look)
        return watched

    def page(request: Request) -> Response:
        made = document.live_page(library.watched(request.query_params.get("study")).source.study.name)
        for name in ("page.css", "page.js"):
            made = made.replace(f'"{name}"', f'"{name}{query}"')
        if writes:
            made = made.replace("<body>", '<body data-notes="true">')
        return Response(made, media_type="text/html")

    async def data(request: Request) -> Response:
        watched = await of(request)
        if not watched.revision:
            return PlainTextResponse(watched.error or "not ready", 503)
        if request.query_params.get("epochs") == "1":
            await run_in_threadpool(watched.include_epochs)
        return _json(watched.since(_number(request.query_params.get("since", "0"))))

    async def curves(request: Request) -> Response:
        trials = [_number(part) for part in request.query_params.get("trials", "").split(",")][:MAX_CURVES]
        watched = await of(request)
        return _json(await run_in_threadpool(watched.source.curves, trials))

    async def panel(request: Request) -> Response:
        watched = await of(request)
        return _json(await run_in_threadpool(watched.source.panel, request.url.path.strip("/")))

    async def studies(_: Request) -> Response:
        return _json(await run_in_threadpool(library.studies))

    async def weights(request: Request) -> Response:
        trial, watched = _number(request.query_params.get("trial", "")), await of(request)
        path = await run_in_threadpool(watched.source.weights, trial)
        if path is None:
            return PlainTextResponse("the weights of this design are not kept", 404)
        return FileResponse(path, media_type="application/octet-stream", filename=f"trial-{trial}.safetensors")

    async def events(request: Request) -> Response:
        return StreamingResponse(_events(await of(request), news), media_type="text/event-stream")

    return [
        Route("/", page),
        Route("/page.css", packed("text/css", lambda: gzip.compress(document.asset("page.css").encode()))),
        Route("/page.js", packed("text/javascript", lambda: gzip.compress(document.script().encode()))),
        Route("/plotly.js", packed("text/javascript", document.packed_library)),
        Route("/data", data),
        Route("/curves", curves),
        Route("/studies", studies),
        *(Route(f"/{name}", panel) for name in PANELS),
        Route("/weights", weights),
        Route("/events", events),
    ]


async def _events(watched: Watched, news: News) -> AsyncIterator[str]:
    """The newest revision whenever it changes, and at least every few seconds as a sign of life."""
    while not news.ended:
        changed = news.changed  # taken before the state is sent, so that no change in between is missed
        message: Mapping[str, Any] = {"revision": watched.revision, "error": watched.error, "server": watched.server}
        yield f"data: {json.dumps(message)}\n\n"
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), BEAT_SECONDS)


def packed(kind: str, make: Callable[[], bytes]) -> Callable[[Request], Response]:
    """An endpoint that sends what `make` gives, which is compressed with gzip: as it is, or unpacked to who does not accept that."""

    def answer(request: Request) -> Response:
        body, headers = make(), {"Vary": "Accept-Encoding"}
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            return Response(body, media_type=kind, headers=headers | {"Content-Encoding": "gzip"})
        return Response(gzip.decompress(body), media_type=kind, headers=headers)

    return answer


def accepts_gzip(accepted: str) -> bool:
    """Whether the value of an Accept-Encoding header accepts gzip: it names it, or `*`, with a weight other than 0."""
    weights = {}
    for part in accepted.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        refused = any(parameter.startswith("q=") and not parameter[2:].strip("0.") for parameter in parameters)
        weights[name] = not refused
    return weights.get("gzip", weights.get("*", False))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _json(value: Any) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")
