"""The live page: a small read-only server, and a watcher that tells its pages what changed in a study."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastrcaps_dse.errors import UserError
from fastrcaps_dse.figures.plots import plotly_js
from fastrcaps_dse.page import document
from fastrcaps_dse.page.content import curves_content, study_content
from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.store import Store, StudyRow

LOOK_SECONDS = 0.5  # between two looks at the database
BEAT_SECONDS = 5.0  # between two signs of life to a page
MOST_CURVES = 50  # designs whose curves one request may ask for

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


@dataclass(kw_only=True)
class Watched:
    """A study as it was seen last, and when each part of it changed."""

    store: Store
    study: StudyRow
    objectives: Sequence[Objective]
    storage: str | None = None  # as a person names it
    revision: int = 0
    pulse: tuple[Any, ...] = ()
    rest: dict[str, Any] = field(default_factory=dict)  # all but the designs
    designs: dict[int, tuple[int, dict[str, Any]]] = field(
        default_factory=dict
    )  # (revision of its last change, design) by trial
    error: str | None = None
    server: str = field(default_factory=lambda: secrets.token_hex(4))  # revisions of another server mean nothing here

    def look(self) -> bool:
        """Read what changed; whether anything did."""
        try:
            pulse = self.store.pulse(self.study.study_id)
            if pulse == self.pulse and self.error is None:
                return False
            seconds = self.store.train_seconds(self.study.study_id)
            content = study_content(self.study, self.store.trials(self.study), self.objectives, seconds, storage=self.storage)
        except UserError as error:
            changed, self.error = self.error != error.message, error.message
            return changed
        self.revision, self.pulse, self.error = self.revision + 1, pulse, None
        for design in content.pop("designs"):
            known = self.designs.get(design["t"])
            if known is None or known[1] != design:
                self.designs[design["t"]] = self.revision, design
        self.rest = content
        return True

    def since(self, revision: int) -> dict[str, Any]:
        """The study, with the designs that changed after a revision."""
        designs = [design for changed, design in self.designs.values() if changed > revision]
        return {**self.rest, "designs": designs, "revision": self.revision, "server": self.server}

    def curves(self, trials: Sequence[int]) -> dict[int, Any]:
        """The curves of some designs, by trial."""
        wanted = set(trials)
        found = {}
        for trial in self.store.trials(self.study):
            if trial.trial in wanted:
                found[trial.trial] = curves_content(trial, {run.run_id: self.store.epochs(run.run_id) for run in trial.runs})
        return found


class Guard:
    """Lets only known hosts, GET and HEAD, and where there is a token its owners, through; sets the headers of every answer."""

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
            return PlainTextResponse("only HTTP is spoken here", 400)
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
    """The server's application: every route checks the Host header against `hosts` exactly. `news` ends its streams."""

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_watch(watched, news))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = Starlette(routes=_routes(watched, news, token), lifespan=living)
    return Guard(app, frozenset(host.lower() for host in hosts), token)


class News:
    """Wakes those who wait for a change, or for the end."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.ended = False

    def end(self) -> None:
        """Let every stream of events come to its end."""
        self.ended = True
        self.tell()

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


async def _watch(watched: Watched, news: News) -> None:
    while True:
        if await run_in_threadpool(watched.look):
            news.tell()
        await asyncio.sleep(LOOK_SECONDS)


def _routes(watched: Watched, news: News, token: str | None) -> list[Route]:
    query = f"?token={token}" if token else ""

    def text(kind: str, make: Callable[[], str]) -> Callable[[Request], Response]:
        return lambda _: Response(make(), media_type=kind)

    def page() -> str:
        made = document.live_page(watched.study.name)
        for name in ("page.css", "page.js", "plotly.js"):
            made = made.replace(f'"{name}"', f'"{name}{query}"')
        return made

    async def data(request: Request) -> Response:
        if not watched.revision and watched.error is None:
            await run_in_threadpool(watched.look)
        if not watched.revision:
            return PlainTextResponse(watched.error or "not ready", 503)
        return _json(watched.since(_number(request.query_params.get("since", "0"))))

    async def curves(request: Request) -> Response:
        trials = [_number(part) for part in request.query_params.get("trials", "").split(",")][:MOST_CURVES]
        try:
            return _json(await run_in_threadpool(watched.curves, trials))
        except UserError as error:
            return PlainTextResponse(error.message, 503)

    async def events(_: Request) -> Response:
        return StreamingResponse(_events(watched, news), media_type="text/event-stream")

    return [
        Route("/", text("text/html", page)),
        Route("/page.css", text("text/css", lambda: document.asset("page.css"))),
        Route("/page.js", text("text/javascript", document.script)),
        Route("/plotly.js", text("text/javascript", plotly_js)),
        Route("/data", data),
        Route("/curves", curves),
        Route("/events", events),
    ]


async def _events(watched: Watched, news: News) -> AsyncIterator[str]:
    """The number of the newest revision whenever it changes, and a sign of life between."""
    while not news.ended:
        changed = news.changed  # before the state is told, so that no change between is missed
        message: Mapping[str, Any] = {"revision": watched.revision, "error": watched.error, "server": watched.server}
        yield f"data: {json.dumps(message)}\n\n"
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), BEAT_SECONDS)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _json(value: Any) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")
