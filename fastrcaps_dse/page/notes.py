"""Notes and stars written from the live page: the only route that writes, and only there if `view --notes` asks for it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fastrcaps_dse.page.watch import Watched
from fastrcaps_dse.store import Note, Store, set_note

NOTE_PATH = "/note"
HEADER = "x-fastrcaps-note"  # a page of another origin cannot send it, nor read its value
MOST_BYTES = 16_384  # of a request


class Studies(Protocol):
    """The studies that a server offers."""

    def watched(self, name: str | None) -> Watched: ...


@dataclass(frozen=True, kw_only=True)
class NoteBook:
    """Writes notes into the storage, for requests that come from the page itself."""

    store: Store  # that may be written to
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    def routes(self, studies: Studies) -> Sequence[Route]:
        """The route that gives the secret to the page, and the one that takes a note."""

        async def permission(_: Request) -> Response:
            return JSONResponse({"secret": self.secret})

        async def note(request: Request) -> Response:
            refusal = self.refusal(request)
            if refusal is not None:
                return refusal
            body = await _body(request)
            parsed = _parsed(body) if body is not None else None
            if parsed is None:
                return PlainTextResponse("not a note", 413 if body is None else 400)
            watched = await run_in_threadpool(studies.watched, request.query_params.get("study"))
            trial, written = parsed
            await run_in_threadpool(set_note, self.store, watched.source.study.study_id, trial, written)
            return PlainTextResponse("")

        return [Route("/notes", permission), Route(NOTE_PATH, note, methods=["POST"])]

    def refusal(self, request: Request) -> Response | None:
        """Why a request may not write; None if it may. The host has been checked already."""
        headers = request.headers
        if headers.getlist("origin") != [f"http://{headers['host']}"]:
            return PlainTextResponse("notes are taken from this page alone", 403)
        if not secrets.compare_digest(headers.get(HEADER, "").encode(), self.secret.encode()):
            return PlainTextResponse("reload the page: the server has been started again", 403)
        if headers.get("content-type") != "application/json":
            return PlainTextResponse("a note is JSON", 415)
        return None


async def _body(request: Request) -> bytes | None:
    """The body of a request; None if it is too long. No more than the limit is read."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return body


def _parsed(body: bytes) -> tuple[int, Note] | None:
    """(trial, note) of a body; None if it is no note."""
    try:
        record: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.keys() != {"trial", "text", "starred"}:
        return None
    trial, text, starred = record["trial"], record["text"], record["starred"]
    if type(trial) is not int or type(text) is not str or type(starred) is not bool or not 0 <= trial < 2**31:
        return None
    if any(0xD800 <= ord(letter) < 0xE000 for letter in text):  # half of a pair, which no database takes
        return None
    return trial, Note(text=text.strip(), starred=starred)
