"""The live page: a small read-only server that notifies its pages whenever the study changes."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastrcaps_dse.errors import UserError
from fastrcaps_dse.page import document
from fastrcaps_dse.page.constants import BEAT_SECONDS
from fastrcaps_dse.page.watch import Watched

LOOK_SECONDS = 0.5  # between two looks at the database
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

    It also sets the security headers of every answer.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str | None) -> None:
        self.app, self.hosts, self.token = app, hosts, token

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
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("only GET and HEAD", 405, {"Allow": "GET, HEAD"})
        if self.token is not None:
            given = QueryParams(scope["query_string"]).get("token", "")
            if not secrets.compare_digest(given.encode(), self.token.encode()):
                return PlainTextResponse(
                    "the token is missing or wrong: use the address that `fastrcaps-dse view` printed", 403
                )
        return None


def make_app(watched: Watched, news: News, *, hosts: Sequence[str], token: str | None = None) -> ASGIApp:
    """The server's application.

    `hosts` are the values of the Host header that it answers, compared exactly. `news` wakes its streams of events, and ends them.
    `token`, if given, is what each request must carry.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_watch(watched, news))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = Starlette(routes=_routes(watched, news, token), lifespan=lifespan)
    return Guard(app, frozenset(host.lower() for host in hosts), token)


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


async def _watch(watched: Watched, news: News) -> None:
    while True:
        if await run_in_threadpool(watched.look):
            news.wake()
        await asyncio.sleep(LOOK_SECONDS)


def _routes(watched: Watched, news: News, token: str | None) -> list[Route]:
    query = f"?token={token}" if token else ""

    def text(kind: str, make: Callable[[], str]) -> Callable[[Request], Response]:
        return lambda _: Response(make(), media_type=kind)

    def page() -> str:
        made = document.live_page(watched.source.study.name)
        for name in ("page.css", "page.js"):
            made = made.replace(f'"{name}"', f'"{name}{query}"')
        return made

    async def data(request: Request) -> Response:
        if not watched.revision and watched.error is None:
            await run_in_threadpool(watched.look)
        if not watched.revision:
            return PlainTextResponse(watched.error or "not ready", 503)
        return _json(watched.since(_number(request.query_params.get("since", "0"))))

    async def curves(request: Request) -> Response:
        trials = [_number(part) for part in request.query_params.get("trials", "").split(",")][:MAX_CURVES]
        try:
            return _json(await run_in_threadpool(watched.source.curves, trials))
        except UserError as error:
            return PlainTextResponse(error.message, 503)

    async def weights(request: Request) -> Response:
        trial = _number(request.query_params.get("trial", ""))
        try:
            path = await run_in_threadpool(watched.source.weights, trial)
        except UserError as error:
            return PlainTextResponse(error.message, 503)
        if path is None:
            return PlainTextResponse("the weights of this design are not kept", 404)
        return FileResponse(path, media_type="application/octet-stream", filename=f"trial-{trial}.safetensors")

    async def events(_: Request) -> Response:
        return StreamingResponse(_events(watched, news), media_type="text/event-stream")

    return [
        Route("/", text("text/html", page)),
        Route("/page.css", packed("text/css", lambda: gzip.compress(document.asset("page.css").encode()))),
        Route("/page.js", packed("text/javascript", lambda: gzip.compress(document.script().encode()))),
        Route("/plotly.js", packed("text/javascript", document.packed_library)),
        Route("/data", data),
        Route("/curves", curves),
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
