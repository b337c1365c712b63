"""What leaves the program: stdout and stderr in any encoding, and nothing on stderr that a quiet command does not say."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

HANDLER = "fastrcaps-readable"
_PAIRS = "\N{MIDDLE DOT}- \N{BULLET}* \N{EN DASH}- \N{EM DASH}- \N{MINUS SIGN}- \N{RIGHTWARDS ARROW}-> \N{LEFTWARDS ARROW}<-"
_PAIRS += " \N{HORIZONTAL ELLIPSIS}... \N{MULTIPLICATION SIGN}x \N{PLUS-MINUS SIGN}+- \N{LESS-THAN OR EQUAL TO}<="
_PAIRS += (
    ' \N{GREATER-THAN OR EQUAL TO}>= \N{ALMOST EQUAL TO}~ \N{MICRO SIGN}u \N{DEGREE SIGN}deg \N{LEFT DOUBLE QUOTATION MARK}"'
)
_PAIRS += " \N{RIGHT DOUBLE QUOTATION MARK}\" \N{LEFT SINGLE QUOTATION MARK}' \N{RIGHT SINGLE QUOTATION MARK}'"
REPLACEMENTS = {
    **{pair[0]: pair[1:] for pair in _PAIRS.split(" ")},
    "\N{NO-BREAK SPACE}": " ",
    **dict.fromkeys("━█", "#"),
    **dict.fromkeys("─╌╸╺", "-"),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"),
}
"""What stands for a character that the terminal's encoding lacks."""


def _readable(error: UnicodeError) -> tuple[str, int]:
    """The error handler: replaced readably, else without its accents, else as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain_character, error.object[error.start : error.end])), error.end


def plain_character(character: str) -> str:
    """A character in ASCII."""
    if character in REPLACEMENTS:
        return REPLACEMENTS[character]
    base = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return base or character.encode("unicode_escape").decode("ascii")


def prepare_streams() -> None:
    """Let stdout and stderr write every character, in a terminal of any encoding."""
    codecs.register_error(HANDLER, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def is_unicode() -> bool:
    """Whether stdout has all characters."""
    return "utf" in (getattr(sys.stdout, "encoding", None) or "").lower()
