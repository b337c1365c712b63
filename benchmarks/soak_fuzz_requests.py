"""Seeded requests that no browser sends, for `benchmarks.soak_fuzz`."""

from __future__ import annotations

import random

from benchmarks.soak_fuzz_inputs import words
from fastrcaps_dse.page.notes import HEADER
from fastrcaps_dse.page.panels import PANELS

METHODS = (b"HEAD", b"POST", b"PUT", b"OPTIONS", b"TRACE", b"CONNECT", b"get", b"", b"G\x00T", b"M" * 9000, b"PRI")
ADDRESSES = words("/ /data /curves /studies /weights /events /note /notes /page.js /page.css /plotly.js") + [
    f"/{name}" for name in PANELS
]
ODD_ADDRESSES = ("", *words("// /../../etc/passwd /%00 /%ff /é * http://x/ /data/ /page.js%0d%0aX:y"), "/" + "a" * 70_000)
QUERIES = (
    "since=0 since=-1 trials=0,1,x, trial=0 trial=1 trial=1e9 trial=%00 study=synthetic study=%1b%ff study=none&study= &&==&%"
)
LONG_QUERIES = (
    "since=" + "9" * 400,
    "trials=" + "0," * 3000,
    "study=" + "x" * 9000,
    "\x00",
    "q=\x7f",
    "trials=" + "9" * 30,
    "study=%ED%A0%80",
)
VERSIONS = (b" HTTP/1.0", b" HTTP/2.0", b" HTTP/9.9", b" HTP/1.1", b"", b" HTTP/1.1 x", b"\tHTTP/1.1")
SOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA=="
FIELDS = (
    *(b"Content-Length: " + text for text in (b"5", b"3", b"-1", b"x", b"9" * 20, b"5, 5", b"+5")),
    *(b"Transfer-Encoding: " + text for text in (b"chunked", b"chunked, chunked", b"gzip", b"\x0bchunked")),
    *(b"Accept-Encoding: " + text for text in (b"gzip;q=x,;;q=0,*", b"\xff", b"gzip;q=", b",,,", b"*;q=0.000")),
    *(SOCKET, b"Expect: 100-continue", b"Range: bytes=0-5,9-", b"Range: bytes=-", b"If-Range: x", b"If-None-Match: *"),
    *(b"X: " + b"y" * 70_000, b"".join(b"X-%d: y\r\n" % k for k in range(2000)) + b"Z: z"),
    *(b"no colon", b" folded", b": x", b"\x00: y", b"Cookie: \xff\x00", b"Connection: close", b"X-Forwarded-For: x,,\xff"),
)
BODIES = (
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\nhello\r\n",
    b"-1\r\n",
    b"f" * 18 + b"\r\n",
    b"5\r\nhel",
    b"0\r\nX: y\r\n\r\n",
)
NOTE = b'{"trial": %s, "text": %s, "starred": %s}'
NOTES = (
    *(NOTE % (trial, b'"x"', b"true") for trial in (b"0", b"-1", b"1e9", b"2147483647", b"true", b"9" * 30, b"NaN")),
    *(NOTE % (b"0", text, b"false") for text in (b'"\\ud800"', b'"\\u0000"', b"1", b'"\xff"', b'"\\u202e\\u001b[31m"')),
    *(b"[" * 9000, b"{}", b"\xff", b"nan", b"x" * 20_000, b"9" * 5000),
)
GARBAGE = (b"\x16\x03\x01\x02\x00\x01", b"\r\n" * 50, b"\x00", b"A" * 100_000)


def _note(seeded: random.Random, host: bytes, key: bytes) -> bytes:
    body = seeded.choice(NOTES)
    head = b"Host: %s\r\nOrigin: http://%s\r\n%s: %s\r\nContent-Type: application/json" % (host, host, HEADER.encode(), key)
    return b"POST /note HTTP/1.1\r\n%s\r\nContent-Length: %d\r\n\r\n%s" % (head, len(body), body)


def _with_oddities(seeded: random.Random, host: bytes) -> bytes:
    """A request of a browser with up to three oddities."""
    odd = seeded.sample(("method", "address", "version", "host", "fields", "body", "end"), seeded.choice((0, 1, 1, 2, 3)))
    target = seeded.choice(ODD_ADDRESSES if "address" in odd else ADDRESSES)
    if seeded.random() < 0.6:
        target += "?" + seeded.choice((*words(QUERIES), *LONG_QUERIES))
    first = (seeded.choice(METHODS) if "method" in odd else b"GET") + b" " + target.encode()
    first += seeded.choice(VERSIONS) if "version" in odd else b" HTTP/1.1"
    right = b"Host: " + host
    fields = [*seeded.choice(([], [b"Host: x"], [right] * 2, [b"Host: \xff"], [b"Host:"]))] if "host" in odd else [right]
    if "fields" in odd:
        fields += seeded.sample(FIELDS, seeded.randint(1, 3))
    end = seeded.choice((b"\n", b"\r", b"\r\n ")) if "end" in odd else b"\r\n"
    return end.join([first, *fields, b"", b""]) + (seeded.choice(BODIES) if "body" in odd else b"")


def request(seeded: random.Random, host: str, key: str) -> bytes:
    """The bytes that a client sends to the server of the page, whose `key` lets notes through."""
    kind = seeded.random()
    if kind < 0.05:
        return seeded.choice((seeded.randbytes(seeded.randint(1, 3000)), *GARBAGE))
    whole = _note(seeded, host.encode(), key.encode()) if kind < 0.2 else _with_oddities(seeded, host.encode())
    if kind > 0.88:
        return whole[: seeded.randint(1, len(whole))]
    return whole * seeded.choice((*(1,) * 20, 2, 40))
