"""A request and an answer, as they are read from a copy of their bytes."""

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import httptools
import httpx

LARGEST_BODY = 64 * 2**20  # bytes, unpacked; an exchange with a larger body is forwarded, and not recorded
SMALL = 16 * 1024  # bytes of a body that is redacted and checked in some milliseconds
USUAL_RATIO = 16  # of a packed body to itself
PACKED = 256  # bytes that are unpacked at once: they may become a million times as many
TOO_LARGE = f"a body has more than {LARGEST_BODY >> 20} MiB"


class Unrecorded(Exception):
    """An exchange cannot be recorded; the message says why."""


class Message:
    """A request or an answer, as the parser reads it."""

    def __init__(self, parser: Callable[["Message"], Any]) -> None:
        self.headers: dict[str, str] = {}
        self.target = b""
        self.pieces: list[tuple[float, bytes]] = []  # of the body, with the time of arrival
        self.size, self.now = 0, 0.0
        self.is_whole = self.is_broken = self.keeps_alive = False
        self.parser: Any = parser(self)

    @property
    def is_over(self) -> bool:
        """Whether no more of it is read: it is whole, or broken."""
        return self.parser is None

    @property
    def is_small(self) -> bool:
        """Whether its body is redacted and checked in some milliseconds."""
        return self.size * (USUAL_RATIO if "content-encoding" in self.headers else 1) <= SMALL

    def feed(self, data: bytes, now: float) -> None:
        """Read a piece that arrived at a time of the event loop."""
        if self.is_over:
            return
        self.now = now
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # a request is whole; an answer is followed by another protocol
            pass
        except httptools.HttpParserError:
            self.is_broken = not self.is_whole
        if self.is_whole or self.is_broken:
            self.parser = None  # it and this message refer to each other

    def body(self) -> tuple[bytes, str]:
        """Return the body, unpacked, and what is wrong with it; raise Unrecorded if it cannot be read here."""
        if self.size > LARGEST_BODY:
            raise Unrecorded(TOO_LARGE)
        content = b"".join(piece for _, piece in self.pieces)
        return unpack(content, self.headers.get("content-encoding", ""))

    # what the parser calls

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_whole or self.size:  # of a second answer, or behind a body
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_body(self, piece: bytes) -> None:
        if self.is_whole:
            return
        self.size += len(piece)
        if self.size <= LARGEST_BODY:
            self.pieces.append((self.now, piece))
        else:
            self.pieces.clear()

    def on_message_complete(self) -> None:
        self.keeps_alive = not self.is_whole and self.parser.should_keep_alive()
        self.is_whole = True


class Answer(Message):
    """The answer to a request; HEAD has one without a body."""

    def __init__(self, is_to_head: bool) -> None:
        super().__init__(httptools.HttpResponseParser)
        self.status: int | None = None
        self.head_at = 0.0
        self._is_to_head = is_to_head

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection ends the body."""
        has_length = self.headers.keys() & {"content-length", "transfer-encoding"}
        return self.status is not None and not has_length and not self.is_broken

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status == 101:  # another protocol would follow, which cannot be recorded
            self.is_broken = True
        if status < 200 or self.is_whole:
            return
        self.status, self.head_at = status, self.now
        if self._is_to_head:
            super().on_message_complete()

    def on_message_complete(self) -> None:
        if self.status is None:  # 100 Continue and the like precede the answer
            self.headers.clear()
        else:
            super().on_message_complete()


def _joined(pieces: Iterable[bytes]) -> bytes:
    """Join the pieces of a body; raise Unrecorded as soon as it is too large."""
    joined = bytearray()
    for piece in pieces:
        joined += piece
        if len(joined) > LARGEST_BODY:
            raise Unrecorded(TOO_LARGE)
    return bytes(joined)


def unpack(content: bytes, coding: str) -> tuple[bytes, str]:
    """Unpack a body; return it as it is, with the reason, if it is not packed so."""
    coding = coding.strip().lower()
    if coding in ("", "identity") or not content:
        return content, ""
    wrong = f"the body is not {coding:.20}, as its header says"
    try:
        if coding not in ("gzip", "x-gzip"):
            pieces = (content[at : at + PACKED] for at in range(0, len(content), PACKED))
            unpacked = _joined(httpx.Response(200, headers={"content-encoding": coding}, content=pieces).iter_bytes())
            if unpacked == content:  # httpx has no package for it
                raise Unrecorded(f"a body is packed as {coding:.20}: pip install 'httpx[brotli,zstd]' to read it")
            return unpacked, ""
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        unpacked = unpacker.decompress(content, LARGEST_BODY + 1)
    except (zlib.error, httpx.DecodingError):
        return content, wrong
    if len(unpacked) > LARGEST_BODY:
        raise Unrecorded(TOO_LARGE)
    return unpacked, "" if unpacker.eof else wrong
