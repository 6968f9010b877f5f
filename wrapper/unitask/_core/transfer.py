"""Fetching one file: what to ask for, what an answer brings, and what is worth another attempt.

Rules of this file: a file is continued only with a validator (RFC 9110, 13.1.5), so that two versions of it are never
put together; without one, it is begun again. What may be gone by the next attempt is decided here and in `BROKEN` of
_shell.py, and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote

from .delivery import Resend
from .envelope import retry_after
from .messages import Answer

PROGRESS = 1 << 20  # bytes that an attempt must bring for those before it to be forgiven
_TEXTS = ("text/html", "application/json", "application/problem+json")


class Trouble(Exception):
    """An attempt that did not bring the file.

    Attributes:
        passes: Whether it may be gone by the next attempt.
        spoils: Whether what is there already is of no use any more.
        retry_after: Seconds that the server asks to wait.
    """

    passes: bool
    spoils: bool
    retry_after: float | None

    def __init__(
        self, reason: str, *, passes: bool = False, spoils: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.passes, self.spoils, self.retry_after = passes, spoils, retry_after


@dataclass(frozen=True, slots=True)
class Part:
    """What is there of a file.

    Attributes:
        size: Bytes that are there.
        total: Bytes that the whole file has, None when nobody has said so.
        validator: Names this version of the file, for If-Range; None when it cannot be continued.
    """

    size: int = 0
    total: int | None = None
    validator: str | None = None

    def headers(self) -> dict[str, str]:
        """The request headers that ask for the rest of the file. Bytes are counted, so no compression is wanted."""
        asked = {"accept-encoding": "identity"}
        if self.size and self.validator:
            asked |= {"range": f"bytes={self.size}-", "if-range": self.validator}
        return asked

    def answered(self, head: Answer) -> Part:
        """What is there once this answer begins: this part if the answer continues it, an empty one if it begins anew.

        Raises:
            Trouble: The answer brings nothing of the file.
        """
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if head.status == 206 and "range" in self.headers():
            return self._continued(head)
        if head.status == 416:
            raise Trouble("HTTP 416", passes=True, spoils=True)
        if head.status != 200:
            gone = "; outputs are kept for a few days only" if head.status in (403, 404, 410) else ""
            passes = head.status in (408, 425, 429) or head.status >= 500
            raise Trouble(f"HTTP {head.status}{gone}", passes=passes, retry_after=retry_after(head))
        if kind in _TEXTS:
            raise Trouble(f"a page of type {kind} came instead of the file")
        if head.headers.get("content-encoding", "identity") != "identity":
            return Part()  # it is unpacked as it comes: neither its length nor a place in it can be told
        length = head.headers.get("content-length", "")
        return Part(0, int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None, _validator(head))

    def _continued(self, head: Answer) -> Part:
        written = head.headers.get("content-range", "")
        found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", written.strip())
        if found and head.headers.get("content-encoding", "identity") == "identity":
            start, end = int(found[1]), int(found[2])
            total = self.total if found[3] == "*" else int(found[3])
            if start == self.size <= end and (total is None or end < total) and self.total in (None, total):
                return replace(self, total=total)
        raise Trouble(f"bytes from {self.size} on were asked for, {written!r:.80} came", passes=True, spoils=True)

    def check_whole(self) -> None:
        """Raise `Trouble` unless this is the whole file."""
        if self.size == 0 or self.total not in (None, self.size):
            cut_off = self.total is not None and self.size < self.total
            raise Trouble(f"{self.size} bytes came, {self.total or 'some'} were announced", passes=cut_off)


@dataclass(slots=True)
class Attempts:
    """How often a file is tried: `resend.attempts` times in a row that bring it no further.

    Attributes:
        resend: How often, and how far apart.
        failures: Attempts in a row that brought less than `PROGRESS` bytes.
        furthest: The most bytes that were there when a failure was counted.
    """

    resend: Resend
    failures: int = 0
    furthest: int = 0

    def pause(self, trouble: Trouble, size: int) -> float | None:
        """Seconds until the next attempt, None when there shall be none.

        Args:
            trouble: What ended this one.
            size: Bytes of the file that were there then.
        """
        if size >= self.furthest + PROGRESS:
            self.failures, self.furthest = 0, size
        self.failures += 1
        if not trouble.passes or self.failures >= self.resend.attempts:
            return None
        return self.resend.pause(self.failures, trouble.retry_after)


def target(url: str) -> bytes:
    """Path and query of a URL as they go over the wire: as they were written, except for what HTTP cannot carry."""
    path = url.partition("#")[0].partition("://")[2]
    found = re.search(r"[/?].*", path, re.DOTALL)
    written = found.group() if found else "/"
    written = written if written.startswith("/") else f"/{written}"
    return re.sub(r"[^\x21-\x7e]+", lambda odd: quote(odd.group()), written).encode("ascii")


def _validator(head: Answer) -> str | None:
    """A strong ETag, else the time of the last change."""
    etag = head.headers.get("etag", "").strip()
    return etag if re.fullmatch(r'"[^"]*"', etag) else head.headers.get("last-modified")
