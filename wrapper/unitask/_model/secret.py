"""Keys and webhook secrets: as values that no repr shows, and removed from what a provider echoes.

An echo is searched in the text as it is and as what it decodes to, several times over, so it can stand in any escaping:
JSON in JSON, percent-encoding, character references of HTML, base64, hexadecimal digits. What stood for the secret, and
only that, becomes `***`.
"""

import base64
import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from operator import itemgetter

SHORTEST_SEARCHED = 16  # shorter words may stand in any text; a provider's key has 64 characters
SHORTEST_WORD = 8  # from here on a secret of letters and digits is hidden where it stands as a word of its own
DECODINGS = 4  # times that a text is decoded
REMEMBERED = 32  # webhook secrets
_FOLDED = bytes.maketrans(bytes(range(65, 91)) + b"+/", bytes(range(97, 123)) + b"-_")  # and both forms of base64
_Mark = tuple[int, int, int, int]  # start and end of an escape in the decoded text, then in the original
_ESCAPE = re.compile(
    # Several backslashes before a character are one escape, as in JSON inside JSON.
    rb"\\\\*+(?:u[dD][89abAB][0-9a-fA-F]{2}\\+u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[rn]|[!-~])"
    rb"|%(?:u[0-9a-fA-F]{4}|[0-9a-fA-F]{2})"
    rb"|&(?:#[0-9]{1,7}+|#[xX][0-9a-fA-F]{1,6}+|[A-Za-z]{2,24}+(?=;))(?:;|(?![\\%]))"
    rb"|\r|\n"  # base64 is broken into lines
)


class Secret(str):
    """A text that no repr shows: tracebacks and crash reports may show the variables of every frame."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Hider:
    """Removes secrets from what others send."""

    def __init__(self, secret: str) -> None:
        self._secrets: list[Secret] = []
        self._folded: tuple[bytes, ...] = ()  # searched in a text without capitals; see `_FOLDED`
        self._patterns: tuple[re.Pattern[bytes], ...] = ()
        self.remember(secret)

    def remember(self, secret: str) -> None:
        if secret in self._secrets or len(secret) < SHORTEST_WORD:
            return
        self._secrets = [*self._secrets[:1], *self._secrets[1:][1 - REMEMBERED :], Secret(secret)]
        folded: list[bytes] = []
        patterns: list[bytes] = []
        for each in self._secrets:
            content = each.encode("utf-8", "surrogatepass")
            decoded, _ = _decoded(content)  # a backslash of its own is lost when the text around it is decoded
            if len(each) >= SHORTEST_SEARCHED:
                forms = {content, decoded, content.hex().encode(), *_in_base64(content)}
                folded += {form.translate(_FOLDED) for form in forms}
            elif any(map(str.isdigit, each)) and not each.isdigit():  # a word could be a status, or a name
                word = rb"(?<![A-Za-z0-9])%b(?![A-Za-z0-9])"
                patterns += {word % re.escape(form) for form in (content, decoded)}
        self._folded, self._patterns = tuple(folded), tuple(map(re.compile, patterns))

    def text(self, text: str) -> str:
        return self.content(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def content(self, content: bytes) -> bytes:
        """Return an encoded text without the secrets."""
        if not self._secrets:
            return content
        spans: list[tuple[int, int]] = []
        levels: list[list[_Mark]] = []
        text = content
        for _ in range(DECODINGS + 1):
            for first, last in self._found(text):
                for marks in reversed(levels):
                    first, last = _before(first, marks)[0], _before(last, marks)[1]
                spans.append((first, last + 1))
            text, marks = _decoded(text)
            if not marks:
                break
            levels.append(marks)
        return _without(content, spans) if spans else content

    def _found(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield the places of the first and the last byte of each secret in a text."""
        folded = text.translate(_FOLDED) if self._folded else b""
        for form in self._folded:
            place = folded.find(form)
            while place >= 0:
                yield place, place + len(form) - 1
                place = folded.find(form, place + len(form))
        for pattern in self._patterns:
            for found in pattern.finditer(text):
                yield found.start(), found.end() - 1


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """Yield the characters of base64 that a secret decides, wherever it begins in what is encoded."""
    for before, undecided in ((0, 0), (1, 2), (2, 3)):
        decided = base64.b64encode(bytes(before) + secret)[undecided : (before + len(secret)) * 8 // 6]
        yield decided


def _decoded(text: bytes) -> tuple[bytes, list[_Mark]]:
    """Decode the escapes of a text; return where each of them was, too."""
    if not (92 in text or 37 in text or 38 in text or 10 in text or 13 in text):  # \ % & and line ends
        return text, []  # in a tenth of the time
    pieces: list[bytes] = []
    marks: list[_Mark] = []
    read = written = 0
    for escape in _ESCAPE.finditer(text):
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


def _before(place: int, marks: list[_Mark]) -> tuple[int, int]:
    """Return the first and the last place in the text before a decoding, for a place after it."""
    number = bisect_right(marks, place, key=itemgetter(0)) - 1
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


def secret_problem(secret: str) -> str | None:
    """Return why a webhook secret cannot be sent in a header, or would not arrive as it is; None when it can."""
    if not secret:
        return "the webhook secret is empty: give None for no secret"
    if secret != secret.strip() or not secret.isprintable():
        return "the webhook secret has a space at an end or a line break, which no header can carry"
    return None
