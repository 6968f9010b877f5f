"""Redact an exchange: keep what the contract is about, and nothing that a user wrote.

Keys, secrets and e-mail addresses vanish; the other private texts get pseudonyms (texts.py). The SHA-256 of a text that
can be guessed confirms the guess, so the words of a stream and what an account is called get none.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from email.parser import BytesParser
from enum import IntEnum, auto
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, unquote, urlencode

from unitask_api import contract
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.exchange import read_strictly
from unitask_contract.hiding import HIDDEN, LONG, hidden, scrubbed
from unitask_contract.patches.redaction import names, words
from unitask_contract.recording import texts
from unitask_contract.recording.folder import Body, Recorded
from unitask_contract.recording.texts import CUT, MOST_MEMOS, pseudonym, url

SECRET = "(secret)"
MOST_KEYS = 6  # that are remembered; hiding.py has patterns for 8
MOST_TASKS, MOST_TEXTS, LONGEST_SENT = 1024, 8, 2000  # whose texts are remembered: tasks, texts of each, characters
LONGEST_TEXT = 10_000  # characters of a body that is text, or of the message of an error
HEADERS = ("accept", "content-type", "authorization", "x-api-key")
RESPONSE_HEADERS = ("age", "content-type", "date", "retry-after", "server")
REQUEST_IDS = ("x-request-id", "x-trace-id", "cf-ray")
_MEDIA = re.compile(
    r"(?:application|audio|font|image|model|multipart|text|video)/\d{0,2}[a-z]{1,20}\d{0,2}(?:[.+-][a-z]{1,20}\d{0,2}){0,5}"
    r"|\*/\*"
)
_CHARSET = re.compile(r";\s*charset=\"?([\w-]{1,20})", re.IGNORECASE)
_DATE = re.compile(r"\d{1,9}(?:\.\d{1,9})?|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
_EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)|(?<=\r\r)")
_TOKEN = re.compile(r"\"(?P<string>(?:[^\"\\]|\\.|\\\Z)*+(?P<end>\"?))(?P<colon>\s*:)?|(?P<other>[^\"]+)", re.DOTALL)
_STRUCTURE = re.compile(
    r"(?P<kept>[\s{}\[\]:,\ufeff]+|\b(?:true|false|null|NaN|Infinity)\b)|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![^\s{}\[\]:,]))"
    r"|[^\s{}\[\]:,\ufeff]+"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_SECRET_NAMES = re.compile(
    r"(?:.*_)?key|.*(?:api_?key|authorization|secret|token|passw(?:or)?d|credentials?|cookie|signature)"
)
_DATA_NAMES = frozenset({
    "input", "output", "task_input", "task_result", "choices", "generation", "works"
})  # fmt: skip
REASONS = "error_messages"  # of an older protocol, beside an output
_MAP_NAMES = frozenset({"metadata", "parameters", "schema"})  # of objects whose names are the user's


class Mode(IntEnum):
    """What the texts in a part of a body are."""

    SENT = auto()  # a user's, or made for a user
    MAP = auto()  # the same, in an object whose names are a user's, too
    PLAIN = auto()  # of the provider
    STREAM = auto()  # the same, in an event
    MADE = auto()  # made for a user, in an event
    ERROR = auto()  # the message of an error
    SECRET = auto()


class Redactor:
    """Redacts exchanges; any thread may call it.

    Args:
        keep_texts: Keep prompts, the texts of outputs, and URLs without their query.
        key: The API key, where it is known beforehand. The keys in the headers of requests are hidden in any case.
    """

    def __init__(self, keep_texts: bool = False, key: str = "") -> None:
        self._keep_texts = keep_texts
        self._key = key
        self._keys: dict[str, None] = {}  # of requests
        # Texts of requests by the pseudonym of the task, whose failure may quote them.
        self._texts: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def request(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, str, Body]:
        """Return path, query and body of a request, redacted."""
        return self.sent(method, path, query, headers, body)[1:]

    def sent(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> "Sent":
        """Redact a request before its answer has come, for `recorded`."""
        one = self._exchange(headers)
        shown = one.path(method, path), one.query(query)
        return Sent(one, *shown, one.body(body, headers.get("content-type", ""), Mode.SENT))

    def recorded(
        self,
        number: int,
        method: str,
        path: str,
        query: str,
        request_headers: Mapping[str, str],
        request_body: bytes,
        started: str,
        head_seconds: float,
        seconds: float,
        status: int | None,
        response_headers: Mapping[str, str],
        response_body: bytes,
        pieces: Sequence[tuple[float, bytes]] = (),
        lost: str = "",
        sent: "Sent | None" = None,
    ) -> Recorded:
        """Return an exchange, redacted.

        Args:
            number: From 1, in the order in which the exchanges ended.
            method: In capitals.
            path: As it was sent, without the query.
            query: As it was sent.
            request_headers: By their names in lower case, as those of the answer.
            request_body: Unpacked, as that of the answer.
            started: ISO 8601 in UTC.
            head_seconds: From there to the head of the answer.
            seconds: From there to the end of the answer.
            status: None without an answer.
            response_headers: Empty without an answer.
            response_body: Empty without an answer.
            pieces: Of a stream: seconds since the request, and bytes; they are the body.
            lost: Why there was no answer, or no whole one.
            sent: The request, if it was redacted before.
        """
        one, shown_path, shown_query, request = sent or self.sent(method, path, query, request_headers, request_body)
        try:
            operation = bundle.operation_of(method, path)
        except LookupError:
            operation = ""
        kind = response_headers.get("content-type", "")
        one.sent |= dict.fromkeys(self._texts.get(shown_path.rpartition("/")[2], ()))
        if _media(kind) == "text/event-stream":
            response = one.events(pieces or [(seconds, response_body)])
        else:
            response = one.body(response_body, kind, Mode.PLAIN)
        if method == "POST" and one.sent:
            self._remember(response, one.sent)
        return Recorded(
            number=number,
            operation=operation,
            method=method,
            path=shown_path,
            query=shown_query,
            request_headers=one.headers(request_headers, HEADERS),
            request=request,
            started=started,
            head_seconds=round(head_seconds, 6),
            seconds=round(seconds, 6),
            status=status,
            response_headers=one.response_headers(response_headers),
            response=response,
            lost=lost,
        )

    def _remember(self, response: Body, sent: Iterable[str]) -> None:
        """Remember the texts of a submission, by the id of its task."""
        named = fields(response.content)
        task_id = fields(named.get("data")).get("task_id") or named.get("task_id")
        if isinstance(task_id, str):
            with self._lock:
                self._texts[task_id] = tuple(text[:LONGEST_SENT] for text in islice(sent, MOST_TEXTS))
                if len(self._texts) > MOST_TASKS:
                    del self._texts[next(iter(self._texts))]

    def _exchange(self, headers: Mapping[str, str]) -> "_Exchange":
        with self._lock:
            for value in (headers.get("x-api-key", ""), headers.get("authorization", "").rpartition(" ")[2]):
                if len(value) >= LONG and value not in self._keys:
                    self._keys[value] = None
                    if len(self._keys) > MOST_KEYS:
                        del self._keys[next(iter(self._keys))]
            return _Exchange(self._keep_texts, tuple(filter(None, (self._key, *self._keys))))


class _Exchange:
    """Redacts the parts of one exchange, the request first."""

    def __init__(self, keep_texts: bool, keys: tuple[str, ...]) -> None:
        self._keep_texts, self._keys = keep_texts, keys
        self._ids = set[str]()  # of the path
        self._secrets: dict[str, set[str]] = {}  # by how they begin; an answer may have thousands
        self.sent = dict[str, None]()  # texts of the request

    def path(self, method: str, path: str) -> str:
        try:
            operation, values = contract.match(method, path)
        except LookupError:
            return "/".join(self._without_key(texts.segment(unquote(one))) for one in path.split("/"))
        shown = bundle.routes()[operation][1]
        for value in map(unquote, values):
            self._ids.add(value)
            shown = re.sub(r"\{[^}]*\}", pseudonym(value), shown, count=1)
        return shown

    def query(self, query: str) -> str:
        if not query:
            return ""
        try:
            pairs = parse_qsl(query, keep_blank_values=True, errors="replace")
        except ValueError:  # too many fields
            return CUT
        return urlencode([(self._name(name, Mode.SENT), self._parameter(name, value)) for name, value in pairs])

    def _parameter(self, name: str, value: str) -> str:
        is_number = name in texts.parameters() and re.fullmatch(r"-?\d{1,13}(\.\d{1,9})?", value)
        return value if is_number else str(self.value(value, name, _mode(Mode.SENT, name)))

    def headers(self, headers: Mapping[str, str], wanted: Iterable[str]) -> dict[str, str]:
        shown = ((name, _header(name, headers[name])) for name in wanted if name in headers)
        return {name: self._without_key(value) for name, value in shown if value}

    def response_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        found = self.headers(headers, RESPONSE_HEADERS)
        found |= {name: pseudonym(headers[name]) for name in REQUEST_IDS if headers.get(name)}
        if where := headers.get("location"):
            path, mark, query = where.partition("?")
            is_path = path.startswith("/") and not path.startswith("//")
            found["location"] = f"{self.path('GET', path)}{mark}{self.query(query)}" if is_path else url(where)
        return found

    # Bodies.

    def body(self, raw: bytes, kind: str, mode: Mode) -> Body:
        media, size = _media(kind), len(raw)
        if not raw:
            return Body("none", media)
        try:
            is_form = media in ("multipart/form-data", "application/x-www-form-urlencoded") and raw[:1] != b"{"
            value = _form(raw, kind) if is_form else read_strictly(raw)
            return Body("json", media, size, "", self.value(value, "", mode))
        except (ValueError, RecursionError):
            is_text = not media or media.startswith("text/") or media.endswith(("json", "xml"))
        if is_text and size <= LONGEST_TEXT:
            text = raw.decode("utf-8", "surrogateescape")
            return Body("text", media, size, "", self._damaged(text, mode))
        return Body("bytes", media, size, hashlib.sha256(raw).hexdigest())

    def events(self, pieces: Iterable[tuple[float, bytes]]) -> Body:
        """Redact a stream of server-sent events; an event has the time at which its end came."""
        content, left, size, at = list[list[Any]](), b"", 0, 0.0
        for at, piece in pieces:
            size += len(piece)
            *whole, left = _EVENT_END.split(left + piece)
            content += [[round(at, 6), self._event(event)] for event in whole]
        content += [[round(at, 6), self._event(left)]] if left else []
        return Body("events", "text/event-stream", size, "", content)

    def _event(self, event: bytes) -> str:
        lines = re.split(r"(\r\n|\n|\r)", event.decode("utf-8", "replace"))
        return "".join(line if number % 2 else self._line(line) for number, line in enumerate(lines))

    def _line(self, line: str) -> str:
        name, colon, value = line.partition(":")
        if name not in ("", "data", "event", "id", "retry"):
            return self._message(line)
        space, value = " " * value.startswith(" "), value.removeprefix(" ")
        if name != "data" or value == "[DONE]":
            return name + colon + space + (value if value == "[DONE]" else self._message(value))
        try:
            shown = json.dumps(self.value(json.loads(value), "", Mode.STREAM), separators=(",", ":"))
        except (ValueError, RecursionError):
            shown = self._damaged(value, Mode.STREAM)
        return name + colon + space + shown

    def _damaged(self, text: str, mode: Mode) -> str:
        """Redact a text that is no JSON; one that begins like JSON stays as damaged as it is."""
        if text.lstrip("\ufeff \t\r\n")[:1] not in ("{", "["):
            return self._message(_NOT_UTF8.sub("", text)) + ("\udcff" if _NOT_UTF8.search(text) else "")
        name, is_field, shown = "", False, list[str]()
        for token in _TOKEN.finditer(text):
            if not token["other"]:
                written = token["string"][: -1 if token["end"] else None]
                plain = _NOT_UTF8.sub("", written)
                try:
                    string = str(json.loads(f'"{plain}"', strict=False))
                except ValueError:
                    string = plain
                if token["colon"]:
                    name = string
                    string = self._name(string, mode)
                elif not token["end"] and string:  # the word may be a part of a text
                    string = string if texts.is_placeholder(string) else texts.placeholder(string, has_digest=False)
                else:
                    string = str(self.value(string, name, _mode(_mode(mode, name), name)))
                mark = "\udcff" if plain != written else ""
                shown.append(f"{json.dumps(string)[:-1]}{mark}{token['end']}{token['colon'] or ''}")
            for part in _STRUCTURE.finditer(token["other"] or ""):
                number = part["number"] and (part[0] if is_field and not texts.is_id(name) else "1")
                shown.append(part["kept"] or number or CUT)
                is_field = is_field and part[0].isspace()
            is_field = bool(token["colon"])
        return "".join(shown)

    # Values.

    def value(self, value: Any, name: str, mode: Mode) -> Any:
        """Redact a JSON value in the field of a name."""
        if isinstance(value, str):
            return self._text(value, name, mode)
        if isinstance(value, dict):
            known, kept = names(), dict[str, Any]()
            for step, part in cast("dict[str, Any]", value).items():
                shown = step if step in known else self._name(step, mode)
                kept[shown] = self.value(part, step, _mode(mode, step)) if part else part
            return kept
        if isinstance(value, list):
            return [self.value(one, name, mode) for one in cast("list[object]", value)]
        if not value or isinstance(value, bool):
            return value
        is_bytes = mode not in (Mode.PLAIN, Mode.STREAM) and name in ("bytes", "tokens")  # they spell a text
        is_private = mode is Mode.SECRET or is_bytes or (isinstance(value, int) and texts.is_id(name))
        return 1 if is_private else value

    def _name(self, name: str, mode: Mode) -> str:
        return self._without_key(texts.field(name, is_listed=mode is Mode.MAP))

    def _without_key(self, shown: str) -> str:
        return HIDDEN if self._has_key(shown) else shown

    def _has_key(self, text: str) -> bool:
        if text in words() or text in names():
            return False
        found = (*(key for key in self._keys if len(key) >= LONG), *self._secrets_near(text))
        return any(secret.casefold() in text.casefold() for secret in found)

    def _secrets_near(self, text: str) -> set[str]:
        """Return the secrets whose beginning is in a text."""
        if not self._secrets:
            return set()
        folded = text.casefold()
        begins = (folded[at : at + LONG] for at in range(len(folded) - LONG + 1))
        return {secret for begin in begins for secret in self._secrets.get(begin, ())}

    def _text(self, text: str, name: str, mode: Mode) -> str:
        if not text:
            return text
        if not text.isascii() and (plain := _SURROGATE.sub("", text)) != text:
            return self._text(plain, name, mode) + "\ud800"  # a client may refuse it
        if mode is Mode.SECRET:
            if len(text) >= LONG:
                self._secrets.setdefault(text.casefold()[:LONG], set()).add(text)
            return SECRET
        if mode is Mode.ERROR:
            return self._scrubbed(text) if self._keep_texts else self._message(text)
        if text in self._ids:
            return pseudonym(text)
        has_digest = mode in (Mode.SENT, Mode.MAP)
        shown = texts.shown(text, name, has_digest)
        if shown == text:
            return HIDDEN if self._has_key(text) else text
        if has_digest:
            self.sent[text] = None
        if self._keep_texts and shown.startswith(("(", "https://removed.test")) and not texts.is_media(text):
            return self._scrubbed(text)
        return shown

    def _scrubbed(self, text: str) -> str:
        for key in self._keys:
            text = hidden(text, key)
            cut = next((size for size in range(len(key) - 1, 3, -1) if text.endswith(key[:size])), 0)
            text = text[:-cut] + HIDDEN if cut else text
        for secret in self._secrets_near(text):
            text = text.replace(secret, SECRET)
        return scrubbed(text, "") if self._keep_texts else text

    def _message(self, text: str) -> str:
        """Redact the message of an error, or a page: it may be cut within a key, so it is not kept on demand."""
        if text in texts.messages():
            return text
        if len(text) > LONGEST_TEXT:
            return texts.placeholder(text, has_digest=False)
        return texts.masked(texts.without_quotes(self._scrubbed(text), self.sent))


class Sent(NamedTuple):
    """A request, redacted, and what redacts its answer."""

    exchange: _Exchange
    path: str
    query: str
    body: Body


@lru_cache(MOST_MEMOS)
def _mode(mode: Mode, name: str) -> Mode:
    """Return the mode below a field."""
    folded = re.sub(r"(?<=[a-z])(?=[A-Z])|-", "_", name).lower()
    if mode is Mode.SECRET or _SECRET_NAMES.fullmatch(folded):
        return Mode.SECRET
    if folded in _MAP_NAMES:
        return Mode.MAP
    if mode is Mode.SENT and folded == REASONS:
        return Mode.ERROR
    if mode in (Mode.PLAIN, Mode.STREAM):
        if folded in _DATA_NAMES:
            return Mode.SENT if mode is Mode.PLAIN else Mode.MADE
        return Mode.ERROR if folded in texts.MESSAGE_NAMES else mode
    return mode


@lru_cache(MOST_MEMOS)
def _media(kind: str) -> str:
    """Return the media type of a Content-Type; empty for an unusual one."""
    found = _MEDIA.fullmatch(kind.partition(";")[0].strip().lower())
    return found[0] if found else ""


@lru_cache(MOST_MEMOS)
def _header(name: str, value: str) -> str:
    match name:
        case "authorization":
            return f"Bearer {HIDDEN}" if value.lower().startswith("bearer ") else HIDDEN
        case "x-api-key":
            return HIDDEN
        case "accept":
            return ", ".join(filter(None, map(_media, value.split(","))))
        case "content-type":
            charset = _CHARSET.search(value)
            return _media(value) + (f"; charset={charset[1]}" if charset else "")
        case "server":
            return value if texts.is_word(value) else ""
        case _:
            return value if _DATE.fullmatch(value) else ""


def _part(head: bytes) -> Any:
    """Parse headers alone: the parser takes a second for a file of 30 MB."""
    return BytesParser().parsebytes(head + b"\r\n\r\n")


def _form(raw: bytes, kind: str) -> dict[str, Any]:
    """Return the fields of a form; a file in it becomes what stands for it. Raise ValueError if it is none."""
    pairs: list[tuple[str, str]] = []
    if _media(kind) != "multipart/form-data":
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=True)
    else:
        boundary = _part(b"Content-Type: " + kind.encode("latin-1", "replace")).get_boundary()
        _, *parts, end = (b"\r\n" + raw).split(b"\r\n--" + (boundary or "").encode("latin-1"))
        if not boundary or end[:2] != b"--":
            raise ValueError("this is no multipart body")
        for head, mark, content in (part.partition(b"\r\n\r\n") for part in parts):
            part = _part(head.removeprefix(b"\r\n"))
            if not mark or "content-transfer-encoding" in part:
                raise ValueError("this is no part of a form")
            is_file = part.get_filename() is not None
            shown = texts.file_of(content, part.get_content_type()) if is_file else content.decode()
            pairs.append((str(part.get_param("name", "", "content-disposition")), shown))
    found: dict[str, list[str | int]] = {}
    for name, value in pairs:
        is_number = name in texts.whole_numbers() and re.fullmatch("[1-9][0-9]{0,8}", value)
        found.setdefault(name.removesuffix("[]"), []).append(int(value) if is_number else value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
