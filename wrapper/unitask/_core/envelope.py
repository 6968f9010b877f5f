"""Read an HTTP answer as a task, an error, or "cannot be read". The only place that reads a status code.

A refused submission can be HTTP 500 with a whole task in it (recorded 2025-08-25). What decides is, in this order:

- A submission that is answered by a gateway (`GATEWAY_STATUSES`, or an error without the API's envelope) is uncertain.
- A submission whose answer names a task that has not failed was accepted, whatever the HTTP status is.
- Otherwise the HTTP status decides. The words of an answer never decide whether a submission is sent again.
- A poll that is answered by a gateway, or not in the API's envelope, says nothing about the task.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from unitask_api import contract
from unitask_api.states import State, state_of

from .. import errors
from .._model._json import as_object, is_id, is_list, is_object
from .._model.account import HistoryRow
from .._model.task import Output, OutputT, Task
from .._model.timestamp import Timestamp
from .effects import Response

TRACE_HEADERS = (*errors.REQUEST_IDS, "date", "server")  # for the provider's support
# "secret": "..." in JSON, and in JSON inside a JSON string, where each quote has backslashes before it
_SECRET = re.compile(
    r'((\\{0,7})"(?:[\w-]{0,40}secret|(?:x-)?api[_-]?key)\2"\s*:\s*)\2"(?:[^"\\]|(?!\2")\\++"?)*+(?:\2")?',
    re.IGNORECASE,
)
LONGEST_REASON = 1000  # characters of a provider's words in an error
DEEPEST = 100  # levels of objects and lists in a body; documented ones have fewer than 10
LONGEST_INTEGER = 4000  # digits; int() refuses more than 4,300
# Statuses of a gateway or a proxy, which say nothing about what the API did with a submission.
GATEWAY_STATUSES = frozenset({408, 499, 502, 503, 504, *range(520, 528)})
_TASK_ID = re.compile(r'"task_id\\*"\s*:\s*\\*"([^"\\]{1,200})\\*"')  # in JSON, and in JSON inside a JSON string
_TASK_PATH = re.compile(r"/task/([^/?#\s]{1,200})")
BEFORE_THE_API = 1.5e9  # unix seconds, in 2017; a clock before that is not set

Dated: TypeAlias = tuple[float, Timestamp]  # the provider's unix time in an answer, and the time on our clocks


class HistoryPage(NamedTuple):
    """One page of the history."""

    rows: list[HistoryRow]
    total: int | None  # how many rows there are in all, where that is stated
    size: int | None  # how many rows a full page has, where that is stated
    dated: Dated | None  # when the provider answered
    doubt: str  # why it may not be a page; empty if there is no reason


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An answer that does not show what the provider did."""

    reason: str
    error: errors.ProviderBroken  # the same as an error. Its `task_id` is the task that the answer names, if any


def read_task(
    answer: Response, output_type: type[OutputT], *, created: bool = False
) -> Task[OutputT] | errors.ApiError | Unreadable:
    """Read the task in an answer, or the refusal; `created`: it is the answer to a submission."""
    if answer.broken:
        return _unreadable(answer, f"HTTP {answer.status}, and {answer.broken}")
    if answer.status in GATEWAY_STATUSES:
        return _unreadable(answer, f"HTTP {answer.status} from a gateway")
    body, succeeded = (_damaged_object if created else _json_object)(answer.body), _succeeded(answer)
    converted = unified(body, output_type.PROTOCOL, created=created and succeeded)
    data = as_object((converted or {}).get("data"))
    if is_id(data.get("task_id")):
        # an accepted submission, or the end of a task
        if succeeded or (state_of(data.get("status")) is State.FAILED) != created:
            return Task(_without_secret(data), output_type)
    elif succeeded:
        return _unreadable(answer, f"HTTP {answer.status} without a task id")
    if not _is_refusal(answer, body, created=created):
        return _unreadable(answer, f"HTTP {answer.status} that is not the API's own")
    return refusal(answer, by_words=created)


def unified(body: dict[str, Any] | None, protocol: str, *, created: bool) -> dict[str, Any] | None:
    """Convert an answer of another protocol to the unified form; `legacy` has the original."""
    if body is None or protocol == "unified":
        return body
    rules: dict[str, Any] = contract.document()["x-protocols"][protocol]
    reasons: object = _at(body, rules.get("reasons", "")) or []
    message = "; ".join(map(str, reasons)) if is_list(reasons) else str(reasons)
    task = {
        "task_id": _at(body, rules["task_id"]),
        "model": "legacy",
        "task_type": protocol,
        # The answer to a submission shows only that it was accepted.
        "status": "pending" if created else _at(body, rules["status"]),
        "output": {name: _at(body, pointer) for name, pointer in rules["output"].items()},
        "error": {"code": 1 if message else 0, "message": message},
        "legacy": body,
    }
    return {**body, "data": task}


def _at(body: dict[str, Any], pointer: str) -> Any:
    node: Any = body
    for key in pointer.split("/")[1:]:
        node = as_object(node).get(key)
    return node if pointer else None


def _is_refusal(answer: Response, body: dict[str, Any] | None, *, created: bool) -> bool:
    """Whether an answer with an error status certainly means that the request was not carried out."""
    names_state = body is not None and (answer.status != 429 or is_id(as_object(body.get("data")).get("task_id")))
    if created and not names_state and named_task(answer) is not None:  # whether that task has failed is not known
        return False
    if created and 300 <= answer.status < 400:  # 303 is how a server says that it has carried a request out
        return answer.status != 303 and not _TASK_PATH.search(answer.headers.get("location", ""))
    return (created and 400 <= answer.status < 500) or answer.status == 429 or _is_envelope(body)


def named_task(answer: Response) -> str | None:
    """Return the id of the task that an answer names, also in a body that is cut off or damaged."""
    data = as_object((_damaged_object(answer.body) or {}).get("data"))
    text = answer.body.decode("utf-8", "replace")
    found = (data.get("task_id"), *_TASK_PATH.findall(answer.headers.get("location", "")), *_TASK_ID.findall(text))
    return next((value for value in found if is_id(value)), None)


def read_notification(body: dict[str, Any]) -> Task[Output] | None:
    """Return the task in the body of a webhook: in `data`, or at the root (an older form, one client, 2025)."""
    data = as_object(body.get("data"))
    task = data if is_id(data.get("task_id")) else body
    return Task(_without_secret(task), Output) if is_id(task.get("task_id")) else None


def read_acknowledgement(answer: Response) -> str:
    """Read the message of an answer without a task; an empty body has no message."""
    _check_success(answer)
    body = _json_object(answer.body)
    if body is None and answer.body.strip():
        raise broken(answer, "without an acknowledgement")
    message = (body or {}).get("message")
    return message if isinstance(message, str) else ""


def read_history(answer: Response) -> HistoryPage:
    """Read a page of the history: rows in `data.data`, or in `data`, `data.items` or `data.list` (clients, 2025)."""
    _check_success(answer)
    body = _json_object(answer.body) or {}
    code, data = body.get("code"), body.get("data")
    page = as_object(data)
    named = [page[name] for name in ("data", "items", "list") if name in page]
    rows: object = data if is_list(data) else next((rows for rows in named if rows is not None), None)
    found = [HistoryRow(row) for row in rows if is_object(row)] if is_list(rows) else []
    is_empty_page = rows is None and named
    # A row that cannot be read may be the one that `find` needs.
    if not is_empty_page and not (is_list(rows) and len(found) == len(rows)):
        raise broken(answer, "without a page of the history")
    is_success = not isinstance(code, int) or code == 0 or 200 <= code < 300
    doubt = "" if is_success else f"code {code} came in place of a page of the history"
    date = date_of(answer)
    dated = None if date is None else (date, answer.at)
    return HistoryPage(found, _count(page.get("total")), _count(page.get("size")), dated, doubt)


def date_of(answer: Response) -> float | None:
    """Return the unix time of the provider, from the Date header; None where it is unknown, as behind a cache (Age)."""
    if "age" in answer.headers and answer.headers["age"].strip() != "0":
        return None
    try:
        date = _unix_of(answer.headers.get("date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date > BEFORE_THE_API else None


@lru_cache(maxsize=16)  # many answers have the same date
def _unix_of(date: str) -> float:
    """Return unix seconds of an HTTP date; one without a zone is in UTC, not in the local zone."""
    read = parsedate_to_datetime(date)
    return read.replace(tzinfo=read.tzinfo or UTC).timestamp()


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def read_upload(answer: Response) -> str:
    """Read the URL of an uploaded file, in `data` or beside it (one client, 2025)."""
    _check_success(answer)
    body = _json_object(answer.body) or {}
    url = as_object(body.get("data")).get("url") or body.get("url")
    if isinstance(url, str) and url:
        return url
    raise broken(answer, "without the URL of the uploaded file")


def read_data(answer: Response) -> dict[str, Any]:
    _check_success(answer)
    data = (_json_object(answer.body) or {}).get("data")
    if is_object(data):
        return data
    raise broken(answer, "without data")


def _check_success(answer: Response) -> None:
    if not _succeeded(answer):
        raise refusal(answer)


def broken(answer: Response, what: str) -> errors.ProviderBroken:
    """Return the error of a success that is not as documented."""
    return _unreadable(answer, f"HTTP {answer.status} {what}").error


def refusal(answer: Response, *, by_words: bool = True) -> errors.ApiError:
    """Convert an answer with an error status to an error; `by_words`: its words and codes are about the task."""
    body = _json_object(answer.body) or {}
    data = as_object(body.get("data"))
    error = as_object(data.get("error"))
    reasons = (body.get("message"), error.get("message"), error.get("raw_message"))
    words = [reason if isinstance(reason, str) else json.dumps(reason) for reason in reasons if reason]
    said = "; ".join(dict.fromkeys(words))
    found = error.get("code") or body.get("code")
    code = found if isinstance(found, int) and not isinstance(found, bool) else None
    # a refused poll says nothing of the balance or the input of the task
    kind = refusal_kind(answer.status, code, said) if by_words else errors.KIND_BY_STATUS.get(answer.status)
    kind = kind if kind and issubclass(kind, errors.ApiError) else errors.ProviderBroken
    task_id = data.get("task_id")
    # the next step after a poll depends on whether the task goes on
    has_step = by_words or issubclass(kind, errors.AuthenticationFailed | errors.PermissionDenied)
    next_step = f". {kind.usual_next_step}" if has_step else ""
    return kind(
        f"HTTP {answer.status}: {_hide(said or _excerpt(answer)):.{LONGEST_REASON}}"
        f"{_redirect_hint(answer) or next_step}",
        code=code,
        task_id=task_id if is_id(task_id) else None,
        **facts(answer),
    )


def refusal_kind(status: int, code: int | None, words: str) -> type[errors.ApiError]:
    """Return the class of a refused request."""
    kind = _by_reason(code, words) or errors.KIND_BY_STATUS.get(status, errors.ProviderBroken)
    return kind if issubclass(kind, errors.ApiError) else errors.combined(errors.ApiError, kind)


def task_failed(task: Task[Output]) -> errors.TaskFailed:
    """Return the error of a task that ended without a result."""
    kind = _by_reason(task.failure_code, task.failure)
    is_reason = kind is not None and not issubclass(kind, errors.ApiError)
    return (errors.combined(errors.TaskFailed, kind) if is_reason and kind else errors.TaskFailed)(task)


def _by_reason(code: int | None, words: str) -> type[errors.UnitaskError] | None:
    folded = words.casefold()
    found = (kind for signs, kind in errors.REASONS if any(sign in folded for sign in signs))
    return next(found, None) or (errors.KIND_BY_CODE.get(code) if code is not None else None)


def _redirect_hint(answer: Response) -> str:
    if not 300 <= answer.status < 400:
        return ""
    where = answer.headers.get("location", "nowhere")
    return f". It points to {where!r:.200}, which is not followed, because the key would go with it: check base_url"


def retry_after(answer: Response) -> float | None:
    """Return the seconds of either form of Retry-After (RFC 9110, 10.2.3)."""
    value = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value, re.ASCII):
        return float(value)
    try:
        return max(0.0, _unix_of(value) - answer.at.unix)
    except (ValueError, OverflowError):
        return None


def trace_headers(answer: Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in TRACE_HEADERS if name in answer.headers}


def facts(answer: Response) -> dict[str, Any]:
    return {
        "status": answer.status,
        "retry_after": retry_after(answer),
        "headers": trace_headers(answer),
        "body": _hide(answer.body.decode(errors="replace"))[:4096],
    }


def _unreadable(answer: Response, what: str) -> Unreadable:
    reason = f"{what}: {_excerpt(answer)}{_redirect_hint(answer)}"
    return Unreadable(reason, errors.ProviderBroken(reason, task_id=named_task(answer), **facts(answer)))


def _excerpt(answer: Response) -> str:
    return repr(_hide(answer.body[:4096].decode(errors="replace"))[:120]) if answer.body else "an empty body"


def _hide(text: str) -> str:
    return _SECRET.sub(r'\1\2"***\2"', text)


def _succeeded(answer: Response) -> bool:
    return 200 <= answer.status < 300


def _is_envelope(body: dict[str, Any] | None) -> bool:
    """Whether the API wrote this: gateways answer with HTML, or with JSON of their own."""
    return body is not None and isinstance(body.get("code"), int) and ("data" in body or "message" in body)


def _without_secret(task: dict[str, Any]) -> dict[str, Any]:
    """Return the task without its webhook secret, which the provider repeats in every answer."""
    config = as_object(task.get("config"))
    webhook = as_object(config.get("webhook_config"))
    if not webhook.get("secret"):
        return task
    return {**task, "config": {**config, "webhook_config": {**webhook, "secret": "***"}}}


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    return value if is_object(value) and _is_shallow(value, body) else None


def _damaged_object(body: bytes) -> dict[str, Any] | None:
    """Read the JSON object at the beginning of a body: bytes that are not UTF-8, and text behind it, are tolerated."""
    try:
        text = body.decode(json.detect_encoding(body), "replace").lstrip(" \t\r\n\ufeff")
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    # More JSON is another answer.
    is_alone = text[end:].lstrip()[:1] not in ("{", "[")
    return value if is_alone and is_object(value) and _is_shallow(value, body) else None


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= LONGEST_INTEGER else text


def _is_shallow(value: object, body: bytes) -> bool:
    """Whether a value has at most `DEEPEST` levels, as it surely has with so few brackets in its text."""
    return body.count(b"{") + body.count(b"[") <= DEEPEST or _depth(value) <= DEEPEST


def _depth(value: object) -> int:
    """Count the levels of objects and lists, up to one more than `DEEPEST`."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        inner = (item.values() if is_object(item) else item for item in level if is_object(item) or is_list(item))
        level = [item for items in inner for item in items]
        depth += 1
    return depth


_DECODER = json.JSONDecoder(parse_int=_integer)
