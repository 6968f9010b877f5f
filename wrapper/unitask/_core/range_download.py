"""Decide how one file is downloaded: what to request, what an answer brings, and what is worth another attempt.

Rules of this file: a file is continued only with a validator (RFC 9110, 13.1.5), so that two versions of it are never
joined; without one, it is begun again. What may succeed at the next attempt is decided here, in contents.py and in
`BROKEN` of _base_client.py. Time, size and unpacking are limited.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from urllib.parse import quote

from .effects import Response
from .envelope import retry_after
from .retry import RetryPolicy

PROGRESS = 1 << 20  # bytes that an attempt must bring for earlier failures to be forgiven
SLOWEST = 4096  # bytes a second that must come, or the attempt is given up
LONGEST_WINDOW = 30.0  # seconds over which that is measured; less where the client's http_timeout is less
LARGEST = 16 << 30  # bytes of one file
MOST_UNPACKED = 100  # bytes that a byte of a compressed answer may become
UNPACKED_FREELY = 32 << 20  # bytes that a compressed answer may become in any case
LATE = 2  # additional failures in the length of a pause, where the file may not exist yet
_PIECE = 1 << 18  # bytes that are unpacked at once
_EITHER = zlib.MAX_WBITS | 32  # with the header of gzip, or of deflate
_PACKED = ("gzip", "x-gzip", "deflate")
# Words of Content-Encoding that pack nothing: stores return what an uploader wrote there, such as S3's "aws-chunked".
_NO_CODINGS = frozenset({"", "identity", "none", "binary", "8bit", "base64", "utf-8", "utf8", "aws-chunked"})
# Types of a page that comes instead of a file, and the endings of those files that such a type is right for.
_TEXTS = {
    "text/html": (".html", ".htm"),
    "application/json": (".json", ".gltf"),
    "application/problem+json": (),
}


@dataclass(eq=False)
class DownloadAttemptError(Exception):
    """An attempt that did not bring the file."""

    reason: str
    _: KW_ONLY
    retryable: bool = False  # whether the next attempt may succeed
    discard: bool = False  # whether the part that was stored is useless
    late: bool = False  # whether the file may not exist yet; pauses are longer then
    unreachable: bool = False  # whether the connection could not be made, or was lost
    retry_after: float | None = None  # seconds that the server asks to wait


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a file that is stored."""

    size: int = 0  # bytes that are stored
    total: int | None = None  # bytes of the whole file, None when no answer has said so
    validator: str | None = None  # names this version of the file, for If-Range; None when it cannot be continued
    is_packed: bool = False  # whether it is compressed on the way

    def headers(self) -> dict[str, str]:
        """Return the request headers for the rest of the file. Bytes are counted, so no compression is requested."""
        headers = {"accept-encoding": "identity"}
        if self.size and self.validator:
            headers |= {"range": f"bytes={self.size}-", "if-range": self.validator}
        return headers

    def answered(self, head: Response, ending: str = "") -> Part:
        """Return what is stored when this answer begins: this part if the answer continues it, else an empty one."""
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if head.status == 416:
            raise DownloadAttemptError("HTTP 416", retryable=True, discard=True)
        if head.status not in (200, 203, 206):
            gone = "; outputs are stored for a few days only" if head.status in (403, 404, 410) else ""
            late = head.status in (202, 204, 403, 404, 423, 425)
            retryable = late or head.status in (408, 429) or head.status >= 500
            raise DownloadAttemptError(
                f"HTTP {head.status}{gone}", retryable=retryable, late=late, retry_after=retry_after(head)
            )
        if ending not in _TEXTS.get(kind, (ending,)):
            reason = f"a page of type {kind} came instead of the file"
            raise DownloadAttemptError(reason, retryable=True, late=True, retry_after=retry_after(head))
        if head.status == 206:  # some hosts answer so without a Range, and some send a large file in parts
            return self._continued(head) if not self.size or self.validator else Part().answered(head, ending)
        if _codings(head):
            return Part(is_packed=True)  # unpacked as it comes: its length and the places in it are not known
        length = head.headers.get("content-length", "")
        total = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
        return Part(0, total, _validator(head))

    def _continued(self, head: Response) -> Part:
        written = head.headers.get("content-range", "")
        found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", written.strip())
        if found and not _codings(head):
            start, end = int(found[1]), int(found[2])
            total = self.total if found[3] == "*" else int(found[3])
            if start == self.size <= end and (total is None or end < total) and self.total in (None, total):
                if self._is_another_version(head):
                    reason = "the file was changed while it was fetched"
                    raise DownloadAttemptError(reason, retryable=True, discard=True)
                if self.size:
                    return replace(self, total=total)
                if total is not None:  # else it is not known whether the part is all of it
                    return Part(0, total, _validator(head))
        reason = f"bytes from {self.size} on were requested, {written!r:.80} came"
        raise DownloadAttemptError(reason, retryable=True, discard=True)

    def _is_another_version(self, head: Response) -> bool:
        """Whether the answer names another version; the server compared If-Range for one that names none."""
        validator = self.validator or ""
        named = head.headers.get("etag" if validator.startswith('"') else "last-modified")
        return bool(validator and named and named.strip() != validator.strip())

    def check_whole(self) -> None:
        """Raise `DownloadAttemptError` unless this is the whole file."""
        if self.size == 0 or self.total not in (None, self.size):
            announced = self.total or 0
            raise DownloadAttemptError(
                f"{self.size} bytes came, {announced or 'some'} were announced",
                retryable=self.size < announced or not announced,
                late=not announced,  # an empty file may not be written yet
            )


@dataclass(slots=True)
class Pace:
    """Check that a file comes at `SLOWEST` bytes a second, measured over windows."""

    window: float  # length of a window in seconds
    since: float  # when this one began, in monotonic seconds
    brought: int = 0  # bytes that came in it, as they went over the wire

    def see(self, size: int, now: float) -> None:
        """Count bytes; raise `DownloadAttemptError` if too few came in this window."""
        self.brought += size
        passed = now - self.since
        if passed < self.window:
            return
        if self.brought < SLOWEST * passed:
            raise DownloadAttemptError(f"it comes too slowly: {self.brought} bytes in {passed:.0f} s", retryable=True)
        self.since, self.brought = now, 0


class Unpacking:
    """Unpack a compressed answer piece by piece, within limits of memory and size: gzip, or deflate with its header."""

    def __init__(self) -> None:
        self._packed = self._size = 0
        self._unpack = zlib.decompressobj(_EITHER)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what the next bytes unpack to; raise `DownloadAttemptError` for another compression or far too much."""
        self._packed += len(chunk)
        most = max(UNPACKED_FREELY, MOST_UNPACKED * self._packed)
        rest = chunk
        while rest:  # output that is still due without it comes with the check sum at the end
            if self._unpack.eof:
                if rest[:1] != b"\x1f":  # what follows is padding
                    return
                self._unpack = zlib.decompressobj(_EITHER)  # another member (RFC 1952, 2.2)
            try:
                piece = self._unpack.decompress(rest, _PIECE)
            except zlib.error as error:
                raise DownloadAttemptError(f"its compression is broken: {error}") from None
            self._size += len(piece)
            if self._size > most:
                raise DownloadAttemptError(
                    f"{self._packed} compressed bytes unpack to more than {most}, which no file of a task does"
                )
            yield piece
            rest = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail

    @property
    def is_whole(self) -> bool:
        return self._unpack.eof


@dataclass(slots=True)
class Attempts:
    """Count attempts: at most `retry_policy.attempts` in a row without progress, and more within the patience."""

    retry_policy: RetryPolicy  # how often, and how far apart
    patience: float = 0.0  # seconds for which the host may be unreachable
    failures: int = 0  # attempts in a row that brought less than `PROGRESS` bytes, or useless ones
    furthest: int = 0  # the most bytes that were stored when a failure was counted
    since: float = 0.0  # when the first of them ended, in monotonic seconds

    def pause(self, error: DownloadAttemptError, size: int, now: float) -> float | None:
        """Return the seconds until the next attempt, None for no further one; `size` bytes are stored."""
        if size >= self.furthest + PROGRESS and not error.discard:
            self.failures, self.furthest = 0, size
        self.failures += 1
        if self.failures == 1:
            self.since = now
        may_wait = error.unreachable and now - self.since <= self.patience and self.failures < self.retry_policy.reads
        if not error.retryable or (self.failures >= self.retry_policy.attempts and not may_wait):
            return None
        return self.retry_policy.pause(self.failures + LATE * error.late, error.retry_after)


def target(url: str) -> bytes:
    """Return path and query of a URL as they were written, except for characters that HTTP cannot carry."""
    path = url.partition("#")[0].partition("://")[2]
    written = "/" + re.sub(r"^[^/?]*/?", "", path)
    return re.sub(r"[^\x21-\x7e]+", lambda odd: quote(odd.group()), written).encode("ascii")


def _codings(head: Response) -> list[str]:
    """Return how the body is compressed, empty if it is not; raise for a compression that cannot be unpacked."""
    written = head.headers.get("content-encoding", "").lower()
    codings = [coding for part in written.split(",") if (coding := part.strip()) not in _NO_CODINGS]
    if len(codings) > 1 or (codings and codings[0] not in _PACKED):
        raise DownloadAttemptError(
            f"it was requested without compression and came in {written!r:.80}, which cannot be unpacked"
        )
    return codings


def _validator(head: Response) -> str | None:
    """Return a strong ETag, else Last-Modified."""
    etag = head.headers.get("etag", "").strip()
    return etag if re.fullmatch(r'"[^"]*"', etag) else head.headers.get("last-modified")
