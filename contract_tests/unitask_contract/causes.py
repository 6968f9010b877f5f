"""Why promises are broken. Checks that are broken by one cause, and differences that show it, are one finding."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.exchange import Exchange

MOST_FORGOTTEN = 2  # tasks that GET does not find after they were created; more have one cause
OF_SCHEMATHESIS = ("MissingContentType", "MalformedMediaType", "UndefinedContentType")


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause of broken promises.

    Attributes:
        title: What is wrong with the provider, in a line, without ids.
        hint: What to do; empty when the detail says enough.
        key: What findings with this cause have in common in every run; the title if it is empty.
    """

    title: str
    hint: str = ""
    key: str = ""

    @property
    def id(self) -> str:
        return self.key or self.title


class Broken(AssertionError):
    """A promise is broken for a known cause; the message names tasks and values."""

    def __init__(self, cause: Cause, said: str) -> None:
        super().__init__(said)
        self.cause = cause


OUTPUT = Cause("a task shows the output of another task", "a user would download the files of another user")
INPUT = Cause("a task shows the input of another task", "answers are mixed up, for example by a cache or an index")
SECRET = Cause("a task shows the webhook secret of another task", "a user could forge webhooks to another user")
GONE = Cause(
    "GET does not find a task that exists", "keep tasks after their end: clients poll again and download later"
)
BACK = Cause("the status of a task goes back", "a status only moves on: pending, processing, then an end")
CHANGED = Cause("a task changes after its end", "a status that ends a task is final")
STUCK = Cause("a task does not end", "a longer --timeout waits longer")
WORD = Cause(
    "a task ends with a status that the contract does not name",
    "use completed, failed or cancelled: clients take an unknown status for 'not done yet', and wait",
)
STALE = Cause("the history shows a task that has ended as under way", "update the row when the task ends")
CONTENT_TYPE = Cause(
    "answers are not JSON by their content type", "send `content-type: application/json` with every JSON body"
)
NOT_JSON = Cause("answers are not JSON, though their content type says so")
SLOW = Cause("answers are slow", "polls and submissions should be answered at once; the work happens in the background")
ECHO = Cause("a task shows another id, model or task type than its own")
NOT_REFUSED = Cause("an invalid request is not refused", "answer HTTP 400 with a message before anything is charged")
ENVELOPE = Cause(
    'a refusal is not {"code", "message", "data"}', "clients read the reason of a refusal from this envelope"
)
NO_DATA = Cause('an answer has no field "data"')


def http_cause(status: int, method: str, path: str) -> Cause:
    """Return the cause of an unexpected status, for all requests of an operation."""
    try:
        method, path = bundle.routes()[bundle.operation_of(method, path)]
    except LookupError:
        path = re.sub(r"[0-9a-f-]{12,}", "...", path)
    return Cause(f"HTTP {status} to {method} {path}")


def missing(name: str) -> Cause:
    """Return the cause of a missing field."""
    return Cause(f"an answer has no field {json.dumps(name)}")


def of_error(error: BaseException, check: str, promise: str, line: str) -> Cause:
    """Return the cause of an error that a check raised in a line."""
    kind = type(error).__name__
    if kind in OF_SCHEMATHESIS:
        return CONTENT_TYPE
    if kind == "MalformedJson":
        return NOT_JSON
    if isinstance(error, KeyError):
        return missing(str(error.args[0]))
    if isinstance(error, AssertionError):
        return Cause(f"{check}: {promise}", key=f"{check}: {line or kind}")
    place = f" in {check}" if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)) else ""
    return Cause(f"{kind}: {re.sub(r'[0-9a-f-]{8,}', '...', str(error))}{place}")


def of_all(exchanges: Iterable[Exchange]) -> Cause | None:
    """Return what would explain everything that is broken: the provider keeps no tasks. None when it keeps them."""
    created: list[str] = []
    forgotten: set[str] = set()
    is_kept = False
    for exchange in exchanges:
        shown = fields(fields(exchange.answer).get("data")).get("task_id")
        wanted = exchange.path.rpartition("/")[2]
        if exchange.operation == "create_task" and exchange.status == 200 and isinstance(shown, str):
            created.append(shown)
        elif exchange.operation == "get_task" and exchange.status in (200, 404) and wanted in created:
            is_kept |= shown == wanted
            forgotten |= set() if shown == wanted else {wanted}
    if len(created) > MOST_FORGOTTEN and len(set(created)) == 1:
        return _stateless(f"{len(created)} submissions were answered with one task id")
    if len(forgotten) > MOST_FORGOTTEN and not is_kept:
        return _stateless(f"{len(forgotten)} tasks were created, and GET finds none of them")
    return None


def _stateless(seen: str) -> Cause:
    return Cause(
        f"the provider keeps no tasks: {seen}",
        "This one cause explains what is broken: a mock server that answers the examples of a schema, such as Prism or"
        " Mockoon, cannot keep the contract. No change of the spec is proposed from its answers. `unitask sandbox` is a"
        " local provider that keeps tasks",
        "stateless",
    )
