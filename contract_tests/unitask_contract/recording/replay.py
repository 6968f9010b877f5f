"""Answer again as a recording did, without a provider.

A request is compared after redaction, so a recorded prompt is equal to the real one that a test sends. Method, path,
query and body must be equal; headers, webhooks and times in a query do not matter. Equal requests get their answers in
the recorded order, and polls not later than recorded. The last answer repeats, except that of a request that may be
paid for.

A value that an answer repeats, such as a prompt or the endpoint of a webhook, is the one that was sent this time. Files
of outputs are replaced by small ones marked SIMULATED. Delays are not repeated.
"""

import base64
import hashlib
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import cache
from typing import Any, cast
from urllib.parse import parse_qsl

from unitask_api import contract, output_files
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.exchange import shortened
from unitask_contract.recording import texts
from unitask_contract.recording.folder import OTHER, Body, Recorded
from unitask_contract.recording.messages import unpack
from unitask_contract.recording.redaction import Redactor
from unitask_sandbox.engines.simulated import files, simulated_picture, simulated_sound
from unitask_sandbox.engines.simulated.outputs import MARK

REMOVED = "https://removed.test"  # the host of every URL after redaction
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_UNIX = re.compile(r"\d{10}(\.\d+)?")
_DIGEST = re.compile("[0-9a-f]{12}")  # in a placeholder that only one text has
_FILE = re.compile(r"\((\w+/[\w.+-]+), \d+ bytes, sha256 [0-9a-f]+\)")
LONGEST = 200  # characters of a value in a message
_OWN_HEADERS = ("connection", "content-encoding", "content-length", "date", "transfer-encoding")
Key = frozenset[tuple[str, str]]  # the parts of a request that matter


class NotRecorded(LookupError):
    """The recording has no answer to a request; the message names the nearest recorded request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, as it was recorded.

    Attributes:
        status: None when there was none.
        headers: The names in lower case.
        pieces: The body; one item for each event of a stream.
        lost: Why the connection ended before the answer did; else empty.
    """

    status: int | None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pieces: list[bytes] = field(default_factory=list[bytes])
    lost: str = ""


class Replay:
    """The answers of a recording; any thread may call `answer`.

    Args:
        exchanges: The exchanges, in their order.
        now: Returns the provider's time: unix seconds.
        files_at: What the URLs of files begin with in the answers of this replay, without a slash at the end.
    """

    def __init__(self, exchanges: Iterable[Recorded], now: Callable[[], float], files_at: str = REMOVED) -> None:
        self._recorded = defaultdict[Key, list[Recorded]](list)
        self._used = defaultdict[Key, int](int)
        self._first: dict[Key, float] = {}  # when each request arrived first
        self._now, self._files_at = now, files_at
        self._repeated: dict[str, str] = {}  # what was sent, by the recorded value
        self._files: dict[str, tuple[str, str]] = {}  # recorded URL and kind, by the name in answers
        own = re.escape(f"{files_at}/").replace("/", r"\\?/")  # some programs escape it in JSON
        self._own_url = re.compile(rf"{own}([\w.]+)".encode())
        self._lock = threading.Lock()
        for one in exchanges:
            self._recorded[_key(one.method, one.path, one.query, one.request)].append(one)
            for url, kind in _files_in(one.response.content):
                if kind != "file" or _name(url) not in self._files:
                    self._files[_name(url)] = url, kind

    @property
    def unsent(self) -> list[str]:
        """The file names of the recorded submissions, uploads and other paid requests that did not arrive."""
        left = [one for key, recorded in self._recorded.items() for one in recorded[self._used[key] :]]
        return sorted(one.file_name for one in left if _may_be_paid(one))

    def answer(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the next answer to a request.

        Args:
            method: In capitals.
            path: As it was sent.
            query: As it was sent.
            headers: The names in lower case.
            body: As it was sent.

        Raises:
            NotRecorded: There is none.
        """
        body = self._own_url.sub(self._recorded_url, unpack(body, headers.get("content-encoding", ""))[0])
        redacted = [Redactor(keep_texts=kept).request(method, path, query, headers, body) for kept in (False, True)]
        keys = [_key(method, *request) for request in redacted]
        with self._lock:
            key = next((key for key in keys if key in self._recorded), None)
            if key is None:
                raise NotRecorded(f"{method} {path} is not in the recording. {self._nearest(method, path, redacted)}")
            chosen = self._next(key, f"{method} {path}")
            self._learn(chosen, path, body)
            return self._answer(chosen)

    def file(self, url: str) -> tuple[str, bytes] | None:
        """Return the media type and the content of a file; None if no recorded answer names its URL."""
        _, kind = self._files.get(url.rpartition("/")[2], ("", ""))
        return placeholder(output_files.ending_of(url), kind) if kind else None

    def _recorded_url(self, found: re.Match[bytes]) -> bytes:
        name = found[1].decode()
        return self._files.get(name, (f"{REMOVED}/{name}", ""))[0].encode()

    def _next(self, key: Key, line: str) -> Recorded:
        """Return the exchange whose answer is due, and count it."""
        recorded, number = self._recorded[key], self._used[key]
        if _may_be_paid(recorded[0]):
            if number == len(recorded):
                raise NotRecorded(
                    f"{line} was sent {number + 1} times, and was recorded {number} times (last in "
                    f"{recorded[-1].file_name}): a submission is answered as often as it was recorded"
                )
        else:  # a program that polls less often than the recorded one waits no longer
            now, began = self._now(), _at(recorded[0])
            passed = now - self._first.setdefault(key, now)
            number = max(number, sum(0 < _at(one) - began <= passed for one in recorded))
        self._used[key] = number + 1
        return recorded[min(number, len(recorded) - 1)]

    def _learn(self, recorded: Recorded, path: str, body: bytes) -> None:
        """Remember what was sent in place of each value that was removed."""
        with suppress(ValueError):
            sent = [path.split("/"), json.loads(body or b"null")]
            for before, now in _pairs([recorded.path.split("/"), recorded.request.content], sent):
                if before != now and texts.is_placeholder(before) and _DIGEST.search(before):
                    self._repeated[before] = now

    def _answer(self, recorded: Recorded) -> Answer:
        body = recorded.response
        headers = {name: value for name, value in recorded.response_headers.items() if name not in _OWN_HEADERS}
        if "date" in recorded.response_headers:
            headers["date"] = formatdate(self._now(), usegmt=True)
        if body.kind:
            headers.setdefault("content-type", body.kind)
        pieces = [body.raw]
        if body.form == "json":
            pieces = [Body("json", content=_mapped(body.content, self._shown)).raw]
        elif body.form == "events":
            pieces = [text.encode("utf-8", "surrogateescape") for _, text in body.content]
        elif body.form == "bytes" and not recorded.lost:
            pieces = [_placeholder_of_type(body.kind)]
        return Answer(recorded.status, headers, pieces, recorded.lost)

    def _shown(self, text: str) -> str:
        if text in self._repeated:
            return self._repeated[text]
        if found := _FILE.fullmatch(text):
            return base64.b64encode(_placeholder_of_type(found[1])).decode()
        name = _name(text)
        return f"{self._files_at}/{name}" if name in self._files else text

    def _nearest(self, method: str, path: str, redacted: Iterable[tuple[str, str, Body]]) -> str:
        """Return a sentence about the nearest recorded request."""
        found: list[tuple[bool, int, str, str]] = []
        for sent in (_parts(method, *request) for request in redacted):
            for one, *_ in self._recorded.values():
                was = _parts(one.method, one.path, one.query, one.request)
                first, *more = [name for name in {**sent, **was} if sent.get(name) != was.get(name)]
                now, before = (shortened(parts.get(first, "absent"), LONGEST) for parts in (sent, was))
                is_other = _operation(one.method, one.path) != _operation(method, path)
                found.append((is_other, len(more), one.file_name, f"{first}: sent {now}, recorded {before}"))
        *_, name, what = min(found, default=("", ""))
        return f"The nearest one is {name}; the first difference: {what}" if name else "The recording is empty"


def started(exchanges: Sequence[Recorded]) -> float:
    """Return the provider's time at the first exchange: unix seconds."""
    for one in exchanges:
        with suppress(ValueError):
            return parsedate_to_datetime(one.response_headers.get("date", "")).timestamp()
    return _at(exchanges[0]) if exchanges else 0.0


def _at(recorded: Recorded) -> float:
    return datetime.fromisoformat(recorded.started).timestamp()


def _key(method: str, path: str, query: str, body: Body) -> Key:
    return frozenset(_parts(method, path, query, body).items())


def _parts(method: str, path: str, query: str, body: Body) -> dict[str, str]:
    """Return the parts of a request that matter, by name."""
    parts = {"method": method, "path": path}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parts[f"query.{name}"] = "(a time)" if _UNIX.fullmatch(value) else value
    if body.form == "bytes":
        parts["body"] = f"{body.kind}, sha256 {body.sha256[:12]}"
    else:
        parts.update(_flat("body", body.content))
    return parts


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the values in a JSON value with their places; webhooks are left out."""
    if isinstance(value, dict):
        for step, part in cast("dict[str, Any]", value).items():
            if "hook" not in step:
                yield from _flat(f"{name}.{step}", part)
    elif isinstance(value, list):
        for number, part in enumerate(cast("list[object]", value)):
            yield from _flat(f"{name}[{number}]", part)
    elif value is not None or "." in name:
        yield name, json.dumps(value)


def _operation(method: str, path: str) -> str:
    try:
        return bundle.operation_of(method, path)
    except LookupError:
        return OTHER


def _may_be_paid(recorded: Recorded) -> bool:
    """Return whether a request may create something; older protocols poll with POST, too."""
    return recorded.method == "POST" and "fetch" not in _operation(recorded.method, recorded.path)


def _pairs(before: Any, now: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts at the same places of two JSON values."""
    if isinstance(before, dict) and isinstance(now, dict):
        first, second = cast("dict[str, Any]", before), cast("dict[str, Any]", now)
        for step in first.keys() & second.keys():
            yield from _pairs(first[step], second[step])
    elif isinstance(before, list) and isinstance(now, list):
        for pair in zip(cast("list[object]", before), cast("list[object]", now), strict=False):
            yield from _pairs(*pair)
    elif isinstance(before, str) and isinstance(now, str):
        yield before, now


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with each text changed."""
    if isinstance(value, dict):
        return {step: _mapped(part, change) for step, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_mapped(part, change) for part in cast("list[object]", value)]
    return change(value) if isinstance(value, str) else value


def _files_in(content: Any) -> Iterator[tuple[str, str]]:
    """Yield the URL and the kind of each file in a body; of a URL without ending, the schema of the output has it."""
    for text, _ in _pairs(content, content):
        kind = output_files.kind_of_ending(output_files.ending_of(text)) if text.startswith("http") else None
        if kind or text.startswith(f"{REMOVED}/"):
            yield text, kind or "file"
    task = fields(fields(content).get("data"))
    for one in contract.named(task.get("model"), task.get("task_type")):
        for file in output_files.files_of(fields(task.get("output")), one.output, ""):
            if file.url.startswith("http"):
                yield file.url, file.kind or "file"


def _name(url: str) -> str:
    if url.startswith(f"{REMOVED}/"):
        return url.removeprefix(f"{REMOVED}/")
    return hashlib.sha256(url.encode(errors="replace")).hexdigest()[:12] + output_files.ending_of(url)


def _placeholder_of_type(media_type: str) -> bytes:
    ending = output_files.ending_of_type(media_type)
    return placeholder(ending, output_files.kind_of_ending(ending) or "file")[1]


@cache
def placeholder(ending: str, kind: str) -> tuple[str, bytes]:
    """Return the media type and the content of a small file marked SIMULATED.

    Args:
        ending: With its dot; "" for the usual one.
        kind: As in `OutputFile`; "file" for bytes without a form.
    """
    match kind:
        case "image":
            extension = ending[1:] if ending in PICTURES else "png"
            return f"image/{extension}".replace("jpg", "jpeg"), simulated_picture(MARK, 64, 64, extension)
        case "video":
            return "video/mp4", files.film(0, MARK, (64, 64), 1.0)
        case "audio":
            return "audio/mpeg", simulated_sound(MARK, "it stands for a recorded file")
        case "model":
            return "model/gltf-binary", files.plaque(0, MARK)
        case _:
            return "application/octet-stream", f"\0{MARK}".encode()
