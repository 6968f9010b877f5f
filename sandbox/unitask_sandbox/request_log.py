"""The log of all requests, with fingerprints of keys and no keys, and the limit on the requests of an account."""

import hashlib
import itertools
import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from unitask_sandbox import bundle
from unitask_sandbox.failures import Refusal

KEPT = 100_000  # requests; older ones are dropped
KEPT_WHOLE = 1000  # requests that are kept with query, headers and bodies
LARGEST_KEPT = 16 * 1024  # bytes of a body, long texts shortened; of a larger one, size and SHA-256 are kept
LARGEST_READ = 8 * 1024 * 1024  # bytes of a body that is shortened
LONGEST_TEXT = 1000  # characters
SHORTEST_SECRET = 8  # characters of a key that is hidden wherever it stands; the default key is shorter
MOST_NAMES, NOTED = 50, 200  # parameters or headers, and characters of each
HIDDEN = "[hidden]"

_SECRETS = frozenset({"api_key", "apikey", "authorization", "secret", "token", "webhook_secret", "x-api-key"})
HEADERS = ("accept", "authorization", "content-type", "idempotency-key", "origin", "user-agent", "x-api-key")


class Rate:
    """Lets so many requests a second pass, and as many at once; any thread may call `take`."""

    def __init__(self, limit: float | None, clock: Callable[[], float]) -> None:
        self._limit, self._clock, self._lock = limit, clock, threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # by account: tokens, and when they were counted

    def take(self, account: str) -> float:
        """Count a request and return 0; or, when it is one too many, count nothing and return the seconds to wait."""
        if self._limit is None:
            return 0.0
        full = max(1.0, self._limit)
        with self._lock:
            now = self._clock()
            tokens, since = self._buckets.get(account, (full, now))
            tokens = min(full, tokens + max(0.0, now - since) * self._limit)
            passes = tokens >= 1
            self._buckets[account] = (tokens - 1 if passes else tokens, now)
            return 0.0 if passes else (1 - tokens) / self._limit


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request, or of its answer."""

    kind: str  # its content type
    size: int
    sha256: str
    content: bytes | None  # JSON, with long texts shortened; None: it is something else, or too large

    def shown(self) -> dict[str, Any]:
        """Return what the log shows of it."""
        shown: dict[str, Any] = {"kind": self.kind, "size": self.size, "sha256": self.sha256}
        try:
            return {**shown, "json": _shown(json.loads(self.content or b""))}
        except (ValueError, RecursionError):
            return shown


class Recorder:
    """Records a body while it passes."""

    def __init__(self) -> None:
        self._digest, self._pieces = hashlib.sha256(), list[bytes]()
        self.size, self.has_ended = 0, False

    def add(self, piece: bytes, *, more: bool) -> None:
        """Record a piece; `more` follow."""
        self.size += len(piece)
        self.has_ended = not more
        self._digest.update(piece)
        if self.size <= LARGEST_READ:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def body(self, kind: str, secrets: Collection[str]) -> Body | None:
        """Return the body without secrets; None when there was none, or its end was not read."""
        if not self.size or not self.has_ended:
            return None
        content: bytes | None = b"".join(self._pieces)
        self._pieces.clear()
        if not content or not content.lstrip().startswith((b"{", b"[")):
            content = None
        else:
            if b"\\" in content:
                content = _with_few_escapes(content)
            for secret in secrets:
                for spelt in (secret, json.dumps(secret)[1:-1]):
                    content = content.replace(spelt.encode(), HIDDEN.encode())
            if len(content) > LARGEST_KEPT:
                content = _shortened(content)
        return Body(kind, self.size, self._digest.hexdigest(), content)


def _with_few_escapes(content: bytes) -> bytes:
    """Return JSON in which a text is spelt as Python does; other programs write a slash or a plus as an escape."""
    try:
        return json.dumps(json.loads(content), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return b""  # it is not shown


def _shortened(content: bytes) -> bytes | None:
    try:
        shortened = json.dumps(_shown(bundle.read_json(content))).encode()
    except Refusal:
        return None
    return shortened if len(shortened) <= LARGEST_KEPT else None


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value).items()
        return {name: HIDDEN if part and name.lower() in _SECRETS else _shown(part) for name, part in fields}
    if isinstance(value, list):
        return [_shown(part) for part in cast("list[object]", value)]
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        digest = hashlib.sha256(value.encode(errors="replace")).hexdigest()
        return f"{value[:60]}... ({len(value)} characters, SHA-256 {digest})"
    return value


def without_secrets(
    values: Mapping[str, str], secrets: Collection[str], names: Iterable[str] | None = None
) -> dict[str, str]:
    """Return parameters or headers as the log has them; those with some names, or all of them."""
    shown: dict[str, str] = {}
    for name in itertools.islice(values if names is None else (name for name in names if name in values), MOST_NAMES):
        value = HIDDEN if name.lower() in _SECRETS else _hidden(values[name], secrets)
        shown[_hidden(name, secrets)[:NOTED]] = value[:NOTED]
    return shown


def _hidden(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


@dataclass(slots=True)
class Arrival:
    """One request to the API, as it was answered."""

    operation: str | None  # the operation of the spec; None for another path or method
    method: str
    path: str
    key: str | None  # the beginning of the SHA-256 of the API key; None when there was none
    time: float  # when it arrived: unix seconds
    status: int | None  # the HTTP status that it was answered with; None when the answer was lost
    number: int = 0  # in the log, from 1
    query: dict[str, str] = field(default_factory=dict[str, str])
    headers: dict[str, str] = field(default_factory=dict[str, str])  # those that a test may ask for
    request: Body | None = None  # None: it had no body, or an older one was dropped
    response: Body | None = None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON."""
        bodies = {"request": self.request and self.request.shown(), "response": self.response and self.response.shown()}
        return {**{each.name: getattr(self, each.name) for each in fields(self)}, **bodies}


class RequestLog(deque[Arrival]):
    """Every request to the API in the order of the answers; only the newest ones have query, headers and bodies."""

    def __init__(self) -> None:
        super().__init__(maxlen=KEPT)
        self._whole = deque[Arrival]()
        self._numbers = itertools.count(1)

    def append(self, arrival: Arrival, /) -> None:
        """Add a request."""
        arrival.number = next(self._numbers)
        super().append(arrival)
        self._whole.append(arrival)
        if len(self._whole) > KEPT_WHOLE:
            old = self._whole.popleft()
            old.query, old.headers, old.request, old.response = {}, {}, None, None

    def clear(self) -> None:
        """Remove all requests."""
        super().clear()
        self._whole.clear()
        self._numbers = itertools.count(1)


def key_fingerprint(key: str | None) -> str | None:
    """Return what is shown of a key: enough to distinguish keys, and of no use."""
    return hashed(key)[:8] if key else None


def hashed(key: str) -> str:
    """Return the id of the account of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_of_key(fingerprint: str | None, wanted: str | None) -> bool:
    """Return whether a fingerprint is of a key, or of a fingerprint; always when `wanted` is None."""
    return wanted is None or fingerprint in (wanted, key_fingerprint(wanted))
