"""Fetching one file: what to ask for, what an answer brings, and what is worth another attempt.

Rules of this file: a file is continued only with a validator (RFC 9110, 13.1.5), so that two versions of it are never
put together; without one, it is begun again. What may be gone by the next attempt is decided here, in contents.py and
in `BROKEN` of _base_client.py, and nowhere else. Nothing that a host sends lasts for ever, or grows without a bound.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

from .effects import Response
from .envelope import retry_after
from .retry_policy import RetryPolicy

PROGRESS = 1 << 20  # bytes that an attempt must bring for those before it to be forgiven
SLOWEST = 4096  # bytes a second that must come, or the attempt is given up
LONGEST_WINDOW = 30.0  # seconds over which that is measured; less where the client's http_timeout is less
LARGEST = 16 << 30  # bytes of one file
MOST_UNPACKED = 100  # bytes that a byte of a compressed answer may become
UNPACKED_FREELY = 32 << 20  # bytes that a compressed answer may become in any case
LATE = 2  # failures that one counts for in the length of its pause, besides itself, where the file may not be there yet
_PIECE = 1 << 18  # bytes that are unpacked at once
# Words of Content-Encoding that pack nothing: stores hand out what an uploader wrote there, such as S3's "aws-chunked".
_NO_CODINGS = frozenset({"", "identity", "none", "binary", "8bit", "base64", "utf-8", "utf8", "aws-chunked"})
# Types of a page that comes instead of a file, and the endings of those files that such a type is right for.
_TEXTS = {
    "text/html": (".html", ".htm"),
    "application/json": (".json", ".gltf"),
    "application/problem+json": (),
}


class DownloadAttemptError(Exception):
    """An attempt that did not bring the file.

    Attributes:
        retryable: Whether it may be gone by the next attempt.
        discard: Whether what is there already is of no use any more.
        late: Whether the file may just not be there yet; pauses are longer then.
        retry_after: Seconds that the server asks to wait.
    """

    retryable: bool
    discard: bool
    late: bool
    retry_after: float | None

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool = False,
        discard: bool = False,
        late: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.retryable, self.discard, self.late, self.retry_after = retryable, discard, late, retry_after


@dataclass(frozen=True, slots=True)
class Part:
    """What is there of a file.

    Attributes:
        size: Bytes that are there.
        total: Bytes that the whole file has, None when no answer has said so.
        validator: Names this version of the file, for If-Range; None when it cannot be continued.
        modified: The time of the last change that came beside it.
        coding: How it is compressed on the way; empty when it is not.
    """

    size: int = 0
    total: int | None = None
    validator: str | None = None
    modified: str | None = None
    coding: str = ""

    def headers(self) -> dict[str, str]:
        """The request headers that ask for the rest of the file. Bytes are counted, so no compression is wanted."""
        asked = {"accept-encoding": "identity"}
        if self.size and self.validator:
            asked |= {"range": f"bytes={self.size}-", "if-range": self.validator}
        return asked

    def answered(self, head: Response, ending: str = "") -> Part:
        """What is there once this answer begins: this part if the answer continues it, an empty one if it begins anew.

        Args:
            head: The answer, whose body is still to come.
            ending: Of the file, with its dot.

        Raises:
            Trouble: The answer brings nothing of the file.
        """
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if head.status == 416:
            raise DownloadAttemptError("HTTP 416", retryable=True, discard=True)
        if head.status not in (200, 203, 206):
            gone = "; outputs are kept for a few days only" if head.status in (403, 404, 410) else ""
            late = head.status in (202, 204, 403, 404, 423, 425)
            passes = late or head.status in (408, 429) or head.status >= 500
            raise DownloadAttemptError(
                f"HTTP {head.status}{gone}", retryable=passes, late=late, retry_after=retry_after(head)
            )
        if ending not in _TEXTS.get(kind, (ending,)):
            raise DownloadAttemptError(
                f"a page of type {kind} came instead of the file",
                retryable=True,
                late=True,
                retry_after=retry_after(head),
            )
        if head.status == 206:  # some hosts answer so unasked, and some bring a large file in parts
            return self._continued(head) if not self.size or self.validator else Part().answered(head, ending)
        if coding := _coding(head):
            return Part(coding=coding)  # unpacked as it comes: its length and the places in it are not known
        length = head.headers.get("content-length", "")
        total = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
        return Part(0, total, _validator(head), head.headers.get("last-modified"))

    def _continued(self, head: Response) -> Part:
        written = head.headers.get("content-range", "")
        found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", written.strip())
        if found and not _codings(head):
            start, end = int(found[1]), int(found[2])
            total = self.total if found[3] == "*" else int(found[3])
            if start == self.size <= end and (total is None or end < total) and self.total in (None, total):
                self._check_version(head)
                if self.size:
                    return replace(self, total=total)
                if total is not None:  # else it is not known whether the part is all of it
                    return Part(0, total, _validator(head), head.headers.get("last-modified"))
        raise DownloadAttemptError(
            f"bytes from {self.size} on were asked for, {written!r:.80} came", retryable=True, discard=True
        )

    def _check_version(self, head: Response) -> None:
        """Raise `Trouble` if the answer names another version; one that names none was held to If-Range."""
        etag, modified = head.headers.get("etag"), head.headers.get("last-modified")
        had_etag = self.validator is not None and self.validator.startswith('"')
        is_other = bool(had_etag and etag and etag.strip() != self.validator)
        if is_other or (modified and self.modified and modified.strip() != self.modified.strip()):
            raise DownloadAttemptError("the file was changed while it was fetched", retryable=True, discard=True)

    def check_whole(self) -> None:
        """Raise `Trouble` unless this is the whole file."""
        if self.size == 0 or self.total not in (None, self.size):
            announced = self.total or 0
            raise DownloadAttemptError(
                f"{self.size} bytes came, {announced or 'some'} were announced",
                retryable=self.size < announced or not announced,
                late=not announced,  # an empty file may not be written yet
            )


@dataclass(slots=True)
class Pace:
    """Whether a file comes fast enough: `SLOWEST` bytes a second, measured over windows of so many seconds.

    Attributes:
        window: How long a window is, in seconds.
        since: When this one began, in monotonic seconds.
        brought: Bytes that came in it, as they went over the wire.
    """

    window: float
    since: float
    brought: int = 0

    def see(self, size: int, now: float) -> None:
        """Count bytes that came.

        Raises:
            Trouble: Too few came in this window.
        """
        self.brought += size
        passed = now - self.since
        if passed < self.window:
            return
        if self.brought < SLOWEST * passed:
            raise DownloadAttemptError(f"it comes too slowly: {self.brought} bytes in {passed:.0f} s", retryable=True)
        self.since, self.brought = now, 0


class Unpacking:
    """Unpacks a compressed answer piece by piece, so that it needs little memory, and within bounds.

    Args:
        coding: gzip or deflate.
    """

    def __init__(self, coding: str) -> None:
        self._coding, self._packed, self._size, self._begun = coding, 0, 0, b""
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)  # gzip

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the next bytes unpack to.

        Raises:
            Trouble: It is no such compression, or it unpacks to far too much.
        """
        self._packed += len(chunk)
        rest = self._begun + chunk
        if self._coding == "deflate":
            if len(rest) < 2:
                self._begun = rest
                return
            is_wrapped = rest[0] & 15 == 8 and int.from_bytes(rest[:2], "big") % 31 == 0  # RFC 1950; some send it bare
            self._unpack = zlib.decompressobj(zlib.MAX_WBITS if is_wrapped else -zlib.MAX_WBITS)
            self._coding, self._begun = "", b""
        while True:
            if self._unpack.eof:
                if self._coding != "gzip" or rest[:1] != b"\x1f":  # what follows is padding
                    return
                self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)  # another member (RFC 1952, 2.2)
            try:
                piece = self._unpack.decompress(rest, _PIECE)
            except zlib.error as error:
                raise DownloadAttemptError(f"its compression is broken: {error}") from None
            self._size += len(piece)
            if self._size > (most := max(UNPACKED_FREELY, MOST_UNPACKED * self._packed)):
                raise DownloadAttemptError(
                    f"{self._packed} compressed bytes unpack to more than {most}: that is no file of a task"
                )
            if piece:
                yield piece
            rest = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail
            if not rest and len(piece) < _PIECE:
                return

    @property
    def is_whole(self) -> bool:
        """Whether its end has come."""
        return self._unpack.eof

    def check_whole(self) -> None:
        """Raise `Trouble` if its end is missing."""
        if not self.is_whole:
            raise DownloadAttemptError("its compression is cut off", retryable=True, discard=True)


@dataclass(slots=True)
class Attempts:
    """How often a file is tried: `resend.attempts` times in a row that bring it no further.

    Attributes:
        resend: How often, and how far apart.
        failures: Attempts in a row that brought less than `PROGRESS` bytes, or what was of no use.
        furthest: The most bytes that were there when a failure was counted.
    """

    retry_policy: RetryPolicy
    failures: int = 0
    furthest: int = 0

    def pause(self, trouble: DownloadAttemptError, size: int) -> float | None:
        """Seconds until the next attempt, None when there shall be none.

        Args:
            trouble: What ended this one.
            size: Bytes of the file that were there then.
        """
        if size >= self.furthest + PROGRESS and not trouble.discard:
            self.failures, self.furthest = 0, size
        self.failures += 1
        if not trouble.retryable or self.failures >= self.retry_policy.attempts:
            return None
        return self.retry_policy.pause(self.failures + LATE * trouble.late, trouble.retry_after)


def target(url: str) -> bytes:
    """Path and query of a URL as they go over the wire: as they were written, except for what HTTP cannot carry."""
    path = url.partition("#")[0].partition("://")[2]
    found = re.search(r"[/?].*", path, re.DOTALL)
    written = found.group() if found else "/"
    written = written if written.startswith("/") else f"/{written}"
    return re.sub(r"[^\x21-\x7e]+", lambda odd: quote(odd.group()), written).encode("ascii")


def _coding(head: Response) -> str:
    """How the body is compressed: gzip, deflate, or not at all.

    Raises:
        Trouble: In a way that cannot be unpacked.
    """
    match _codings(head):
        case []:
            return ""
        case ["gzip" | "x-gzip"]:
            return "gzip"
        case ["deflate"]:
            return "deflate"
        case _:
            written = head.headers["content-encoding"]
            raise DownloadAttemptError(
                f"it was asked for without compression and came in {written!r:.80}, which cannot be unpacked"
            )


def _codings(head: Response) -> list[str]:
    """The words of Content-Encoding that say how the body is packed."""
    written = head.headers.get("content-encoding", "").lower().split(",")
    return [coding for part in written if (coding := part.strip()) not in _NO_CODINGS]


def _validator(head: Response) -> str | None:
    """A strong ETag, else the time of the last change."""
    etag = head.headers.get("etag", "").strip()
    return etag if re.fullmatch(r'"[^"]*"', etag) else head.headers.get("last-modified")
