"""Keys and webhook secrets: as values that no repr shows, and kept out of what a provider echoes.

An echo is looked for in the text as it is and as what it decodes to, several times over, so it makes no difference in
which escaping it stands: JSON in JSON, percent-encoding, character references of HTML, base64, hexadecimal digits. What
stood for it, and only that, becomes `***`.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, lru_cache
from html import unescape

SHORTEST_SEARCHED = 16  # shorter words may stand in any text; a provider's key has 64 characters
SHORTEST_WORD = 8  # from here on a secret of letters and digits is hidden where it stands as a word of its own
DECODINGS = 4  # times that a text is decoded
REMEMBERED = 32  # webhook secrets
_Mark = tuple[int, int, int, int]  # start and end of an escape in the decoded text, then in the original
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class Secret(str):
    """A text that no repr shows: tracebacks and crash reports may show the variables of every frame."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Hider:
    """Takes secrets out of what comes from outside."""

    def __init__(self, secret: str) -> None:
        self._secrets: list[Secret] = []
        self._folded: tuple[bytes, ...] = ()  # looked for in lower case
        self._exact: tuple[bytes, ...] = ()
        self._words: tuple[bytes, ...] = ()
        self._escapes = _escapes(ascii_only=True, single=False)
        self.remember(secret)

    def remember(self, secret: str) -> None:
        """Hide this one too, from now on."""
        if secret in self._secrets or len(secret) < SHORTEST_WORD:
            return
        self._secrets = [*self._secrets[:1], *self._secrets[1:][1 - REMEMBERED :], Secret(secret)]
        ascii_only, single = all(map(str.isascii, self._secrets)), any("\\" in each for each in self._secrets)
        self._escapes = _escapes(ascii_only=ascii_only, single=single)
        searched = [each.encode("utf-8", "surrogatepass") for each in self._secrets if len(each) >= SHORTEST_SEARCHED]
        self._folded = tuple(form for each in searched for form in (each.lower(), each.hex().encode()))
        self._exact = tuple(form for each in searched for form in _in_base64(each))
        words = [each for each in self._secrets if len(each) < SHORTEST_SEARCHED and _is_no_word(each)]
        self._words = tuple(each.encode("utf-8", "surrogatepass") for each in words)

    def text(self, text: str) -> str:
        """The text without the secrets."""
        return self.content(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def content(self, content: bytes) -> bytes:
        """An encoded text without the secrets."""
        if not self._secrets:
            return content
        spans: list[tuple[int, int]] = []
        levels: list[list[_Mark]] = []
        text = content
        for _ in range(DECODINGS + 1):
            spans += (_original(span, levels) for span in self._found(text))
            text, marks = _decoded(text, self._escapes)
            if not marks:
                break
            levels.append(marks)
        return _without(content, spans) if spans else content

    def _found(self, text: bytes) -> Iterator[tuple[int, int]]:
        lowered = text.lower() if self._folded else b""
        yield from (span for form in self._folded for span in _places(form, lowered))
        yield from (span for form in self._exact for span in _places(form, text))
        for start, end in (span for form in self._words for span in _places(form, text)):
            if not (_WORD.intersection(text[max(0, start - 1) : start]) or _WORD.intersection(text[end : end + 1])):
                yield start, end


def _is_no_word(secret: str) -> bool:
    """Whether it has a digit beside other characters: a word could be a status, or a name."""
    return any(map(str.isdigit, secret)) and not secret.isdigit()


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """The characters of base64 that a secret decides, wherever it begins in what is encoded; in both alphabets."""
    for before, undecided in ((0, 0), (1, 2), (2, 3)):
        decided = base64.b64encode(bytes(before) + secret)[undecided : (before + len(secret)) * 8 // 6]
        yield decided
        if (other := decided.translate(bytes.maketrans(b"+/", b"-_"))) != decided:
            yield other


def _places(form: bytes, text: bytes) -> Iterator[tuple[int, int]]:
    place = text.find(form)
    while place >= 0:
        yield place, place + len(form)
        place = text.find(form, place + len(form))


@cache
def _escapes(*, ascii_only: bool, single: bool) -> re.Pattern[bytes]:
    """What is decoded.

    Args:
        ascii_only: Whether only characters of ASCII matter, which is quicker for texts of others.
        single: Whether each backslash counts, because a secret has one; else several before a character are one escape,
            as in JSON inside JSON.
    """
    backslashes, character = (rb"\\", rb"[!-~]") if single else (rb"\\\\*+", rb"[!-$'-/:-@\[\]-`{-~]")
    code = rb"u00[0-7][0-9a-fA-F]"
    if not ascii_only:  # two halves may be of one character
        halves = rb"u[dD][89abAB][0-9a-fA-F]{2}", rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
        code = backslashes.join(halves) + rb"|u[0-9a-fA-F]{4}"
    return re.compile(
        rb"|".join(
            (
                backslashes + rb"(?:" + code + rb"|x[0-9a-fA-F]{2}|[rn]|" + character + rb")",
                rb"%(?:u[0-9a-fA-F]{4}|[0-9a-fA-F]{2})",
                rb"&(?:#[0-9]{1,7}+|#[xX][0-9a-fA-F]{1,6}+|[A-Za-z]{2,24}+(?=;))(?:;|(?![\\%]))",
                rb"\r|\n",  # base64 is broken into lines
            )
        )
    )


def _decoded(text: bytes, escapes: re.Pattern[bytes]) -> tuple[bytes, list[_Mark]]:
    """The text with its escapes decoded, and where each of them was."""
    pieces: list[bytes] = []
    marks: list[_Mark] = []
    read = written = 0
    for escape in escapes.finditer(text):
        before, meant = text[read : escape.start()], _meant(escape.group())
        start = written + len(before)
        read, written = escape.end(), start + len(meant)
        pieces += (before, meant)
        marks.append((start, written, escape.start(), read))
    return b"".join([*pieces, text[read:]]), marks


@lru_cache(maxsize=1024)
def _meant(escape: bytes) -> bytes:
    kind = escape[:1]
    if kind == b"&":
        return unescape(escape.decode("ascii")).encode("utf-8", "surrogatepass")
    code = escape[1:] if kind == b"%" else escape.lstrip(b"\\") or kind
    if code[:1] == b"u" and len(code) > 1:
        halves = (int(half, 16).to_bytes(2, "big") for half in re.findall(rb"u(.{4})", code))
        return b"".join(halves).decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
    if kind == b"%" or (code[:1] == b"x" and len(code) > 1):
        return bytes([int(code.removeprefix(b"x"), 16)])
    return b"" if kind in b"\r\n" or code in (b"r", b"n") else code


def _original(span: tuple[int, int], levels: list[list[_Mark]]) -> tuple[int, int]:
    """Where something that was found after some decodings stands in the original."""
    first, last = span[0], span[1] - 1
    for marks in reversed(levels):
        first, last = _before(first, marks)[0], _before(last, marks)[1]
    return first, last + 1


def _before(place: int, marks: list[_Mark]) -> tuple[int, int]:
    """First and last place in the text before a decoding, for a place after it."""
    number = bisect_right(marks, place, key=lambda mark: mark[0]) - 1
    if number < 0:
        return place, place
    _, end, original_start, original_end = marks[number]
    if place < end:
        return original_start, original_end - 1
    return original_end + place - end, original_end + place - end


def _without(content: bytes, spans: list[tuple[int, int]]) -> bytes:
    pieces: list[bytes] = []
    read = 0
    for start, end in sorted(spans):
        if start >= read:
            pieces += (content[read:start], b"***")
        read = max(read, end)
    return b"".join([*pieces, content[read:]])


def fits_a_header(secret: str) -> bool:
    """Whether a webhook secret can be sent in a header, and arrives there as it is."""
    return secret == secret.strip() and secret.isprintable()
