"""What both clients share: settings, each call as a flow, and requests and answers of httpx in the core's terms.

It does no I/O.
"""

import asyncio
import functools
import hashlib
import logging
import math
import os
import random
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar, cast
from uuid import UUID

import httpx
from unitask_api import contract
from unitask_api.outputs import output_named
from unitask_api.states import State

from . import _notebook, _telemetry
from ._connections import ENCODINGS, SLOWEST_SENDING, Answer, AnswerError, SyncRouting, checked_headers, connect
from ._core import envelope, flows, pagination, polling, pricing, recovery, requests
from ._core.effects import Flow, Progress, Reply, Response, Resumed, SendRequest, TransportFailure
from ._core.polling import DurationTracker
from ._core.range_download import DownloadAttemptError, target
from ._core.recovery import Submission
from ._core.retry import RetryPolicy, Timeouts
from ._core.uploads import Upload, Uploads, upload, upload_ending, with_uploads
from ._environment import DEFAULT_BASE_URL, USER_AGENT, checked_base_url, transport_settings
from ._model import task_token
from ._model._json import as_object, is_id
from ._model.secret import Hider, Secret
from ._model.task import Output, OutputT, Recovery, Task
from ._model.timestamp import Timestamp
from ._telemetry import keep_out_of_logs, watched
from .budget import Budget
from .download import Sink
from .errors import InvalidInput, SubmissionUncertain, UnitaskError, Unreachable
from .inputs import TaskInput
from .media import LARGEST_FILE, measured
from .webhooks import Receiver, remember

T = TypeVar("T")
HttpClientT = TypeVar("HttpClientT", bound=httpx.Client | httpx.AsyncClient)
TransportT = TypeVar("TransportT")
SleptT = TypeVar("SleptT")
Clock = Callable[[], Timestamp]
OnChange = Callable[[Task[Output]], object]

LONGEST_CALL = 86_400.0  # seconds; what a socket takes ends at some 1e10
LATEST_TIME = 2.0**53  # unix seconds
PROCESS = secrets.token_hex(8)  # the clocks of this process are compared only with each other
# The request provably never left. Any other exception may have happened after it arrived.
NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
# An attempt to fetch a file that ends so is repeated; _core/range_download.py has the reasons that an answer gives.
BROKEN: tuple[type[Exception], ...] = (
    *(httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError),
    *(ConnectionError, TimeoutError),  # of transports that do not convert them
)
# All that a host or its URL can cause. ValueError: urllib or ssl cannot read the URL; LookupError: an unknown charset;
# OverflowError: a port above 65535, which anyio wraps into a group.
FETCH_ERRORS: tuple[type[Exception], ...] = (
    *(DownloadAttemptError, httpx.HTTPError, httpx.InvalidURL, httpx.StreamError),
    *(ValueError, LookupError, OSError, OverflowError, ExceptionGroup),
)
log: logging.Logger = logging.getLogger("unitask")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a client uses for arguments that are not given; `unitask.testing` replaces it during a test."""

    transport: httpx.MockTransport | None = None  # None: the network
    clock: Clock = lambda: Timestamp(time.monotonic(), time.time())
    sleep: Callable[[float], object] = time.sleep
    sleep_async: Callable[[float], Awaitable[object]] = asyncio.sleep


def checked_key(given: str | None) -> Secret:
    """Return the key, from the environment if it is not given."""
    if not isinstance(cast("object", given), str | None):
        raise InvalidInput(f"api_key is of type {type(given).__name__}: give text")
    key = Secret(given or os.environ.get("UNITASK_API_KEY") or os.environ.get("PIAPI_API_KEY") or "")
    if not key:
        raise InvalidInput(
            "there is no API key: set UNITASK_API_KEY or pass api_key=. Without an account, start the local provider "
            "with `unitask sandbox`, and use the key 'sandbox' and the base_url that it prints"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise InvalidInput("the API key has a space, a line break or a character outside ASCII: copy it again")
    return key


class BaseClient(Generic[HttpClientT, TransportT, SleptT]):
    """Settings of a client, and each of its calls as a flow."""

    defaults: ClassVar[Defaults] = Defaults()
    base_url: str = ""  # until it is known: a traceback with variables shows a half-made client too
    http_timeout: float
    poll_patience: float
    _http_client: HttpClientT | None = None

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        http_timeout: float = 60.0,
        max_retries: int | None = None,
        poll_patience: float = 60.0,
        mark_webhooks: bool = True,
        uploads: bool = True,
        webhooks: Receiver | None = None,
        budget: Budget | None = None,
        default_headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        http_client: HttpClientT | None = None,
        transport: TransportT | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], SleptT] | None = None,
    ) -> None:
        # a traceback with variables must not show it
        api_key = Secret(api_key) if isinstance(cast("object", api_key), str) else api_key
        self._key = checked_key(api_key)
        self._hider = Hider(self._key)
        keep_out_of_logs(self._hider)
        self.base_url = checked_base_url(base_url)
        for name, seconds in (("http_timeout", http_timeout), ("poll_patience", poll_patience)):
            check(is_number(seconds) and seconds > 0, name, seconds, "a number of seconds above 0")
        check(http_timeout <= LONGEST_CALL, "http_timeout", http_timeout, f"at most {LONGEST_CALL:.0f} seconds")
        check_type("budget", budget, Budget)
        check_type("webhooks", webhooks, Receiver)
        whole = max_retries is None or (is_whole(max_retries) and max_retries >= 0)
        check(whole, "max_retries", max_retries, "a whole number from 0, or None")
        clock = clock or self.defaults.clock
        is_clock = callable(clock) and isinstance(cast("object", clock()), Timestamp)
        check(is_clock, "clock", clock, "a function that returns a unitask.Timestamp")
        self.http_timeout, self.poll_patience = http_timeout, poll_patience
        self.budget: Budget | None = budget
        self._headers = checked_headers(default_headers)
        own = {"accept-encoding": ENCODINGS, "x-api-key": self._key}
        self._call_headers = tuple({"user-agent": USER_AGENT, **self._headers, **own}.items())
        self._proxy, self._clock = proxy, clock
        self._mark_webhooks, self._webhooks = mark_webhooks, webhooks
        self._retry_policy = RetryPolicy(random.random)
        self._has_own_retries = max_retries is not None
        if max_retries is not None:
            self._retry_policy = RetryPolicy(random.random, attempts=max_retries + 1, reads=max_retries + 1)
        self._durations = DurationTracker()
        origin = (self.base_url == DEFAULT_BASE_URL and contract.operation("upload_file").server) or self.base_url
        self._uploads = Uploads(origin, wanted=uploads)
        self._own_ids: OrderedDict[str, str] = OrderedDict()  # the submission of each created or found task
        self._dated: envelope.Dated | None = None  # the provider's time in the last answer that had it
        self._account = hashlib.sha256(f"{self.base_url} {self._key}".encode()).hexdigest()[:16]
        self._closed = False
        self._unknown_words: set[str] = set()
        _telemetry.tracer()
        self._bar = _notebook.Bar()
        _notebook.register(functools.partial(_file_client, self.defaults.transport))
        self._set_up(transport, http_client, sleep)

    def _set_up(
        self,
        transport: TransportT | None,
        http_client: HttpClientT | None,
        sleep: Callable[[float], SleptT] | None,
    ) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    def __reduce__(self) -> str:
        raise TypeError(f"a {type(self).__name__} holds a key and connections: make one in each process")

    def _is_closed(self) -> bool:
        return self._closed or (self._http_client is not None and self._http_client.is_closed)

    def _check_open(self) -> None:
        if self._is_closed():
            raise InvalidInput("this client is closed: make a new one")

    def _check_going_on(self) -> None:
        """Make no new connections in a call during which the client is closed."""
        if self._is_closed():
            raise Unreachable("the client was closed during the call, so the request was not sent: use a new client")

    def _limits(self, timeout: float | None = None) -> Timeouts:
        usable = timeout is None or (is_number(timeout) and timeout >= 0)
        check(usable, "timeout", timeout, "seconds, 0 to poll once, None for the usual limit")
        return Timeouts(timeout, self.poll_patience, self.http_timeout, self._retry_policy, self._durations)

    def _submit_flow(
        self,
        body: dict[str, Any],
        task: TaskInput[OutputT],
        submission: Submission,
        *,
        retry_policy: RetryPolicy | None = None,
        budgets: tuple[Budget, ...] | None = None,
    ) -> Flow[Task[OutputT]]:
        submission.token, submission.client = secrets.token_hex(8), recovery.ClientIdentity(PROCESS, self._account)
        submission.dated = lambda: self._dated
        if self._mark_webhooks:
            body = recovery.with_correlation_id(body, submission.token)
        model, task_type = task.operation()

        def send() -> "Flow[Task[OutputT]]":  # quoted: it would be evaluated at each call
            policy = retry_policy or self._retry_policy
            attached = yield from with_uploads(body, self._uploads, replace(self._limits(), retry_policy=policy))
            submitted = flows.submit(attached, task.output_type(), policy, submission)
            return (yield from watched(submitted, "create", model=model, task_type=task_type))

        flow = send()
        if budgets is None:
            budgets = (self.budget,) if self.budget else ()
        estimate = pricing.estimate(body, measured) if budgets else None
        for budget in budgets:
            flow = budget.within(estimate, f"{model} {task_type}", flow, submission)
        created = yield from flow
        remember(self._own_ids, created.id, submission.token)
        return created

    def _report(self, submission: Submission, interruption: BaseException) -> None:
        """Log what became of a submission that an exception ends, and note it, unless its message contains it."""
        if isinstance(interruption, SubmissionUncertain):
            _log_uncertain(interruption)
        task_id = submission.task_id
        if isinstance(interruption, UnitaskError) and (task_id is None or interruption.task_id == task_id):
            return
        if task_id is not None:
            note = flows.goes_on(task_id)
            log.warning("stopped by %s: %s", type(interruption).__name__, note)
        elif submission.in_doubt:
            error = submission.uncertain(f"stopped by {type(interruption).__name__}", self._clock())
            note = f"unitask: {error}; or, in another process, client.find({error.token!r})"
            _log_uncertain(error)
        else:
            return
        if note not in getattr(interruption, "__notes__", ()):
            interruption.add_note(note)

    def _run_flow(
        self, body: dict[str, Any], task: TaskInput[OutputT], limits: Timeouts, submission: Submission
    ) -> Flow[Task[OutputT]]:
        started, policy = self._clock().monotonic, self._retry_policy
        if limits.timeout is not None:
            policy = replace(policy, within=limits.timeout)
        created = yield from self._submit_flow(body, task, submission, retry_policy=policy)
        if limits.timeout is not None:
            left = limits.timeout - (self._clock().monotonic - started)
            limits = replace(limits, timeout=max(0.0, left))
        kind = type(task).__name__ if type(task).__name__ in contract.task_types() else None
        wait = flows.wait(created.id, task.output_type(), kind, limits, seen=created)
        wait = self._bar.around(wait, created.id, created.status)
        return (yield from watched(wait, "wait", task_id=created.id))

    def _wait_flow(self, task: Task[Any] | str, limits: Timeouts) -> Flow[Task[Any]]:
        target = target_of(task)
        wait = flows.wait(*target, limits, exists=self._exists(task))
        return watched(self._bar.around(wait, target[0]), "wait", task_id=target[0])

    def _wait_all_flow(self, tasks: Iterable[Task[Any] | str], limits: Timeouts) -> Flow[list[Any]]:
        if isinstance(tasks, str | Task):
            raise InvalidInput(f"{tasks!r:.80} is one task: give a list of tasks, or use wait")
        waits = [(target_of(task)[0], self._wait_flow(task, limits)) for task in list(tasks)]
        return flows.together(waits, limits.timeout)

    def _exists(self, task: Task[Any] | str) -> bool:
        return isinstance(task, Task) or task in self._own_ids

    def _get_flow(self, task: Task[Any] | str) -> Flow[Task[Any]]:
        task_id, output_type, _ = target_of(task)
        found = yield from flows.get(task_id, output_type, self._limits(), exists=self._exists(task))
        if self.budget is not None:
            self.budget.see(found)
        return found

    def _find_flow(self, uncertain: SubmissionUncertain | str, timeout: float | None) -> Flow[Recovery]:
        if isinstance(uncertain, str):
            uncertain = task_token.read_uncertain(uncertain)
        if not isinstance(cast("object", uncertain), SubmissionUncertain):
            raise InvalidInput(f"{uncertain!r:.80} is not a SubmissionUncertain: give the error, or its token")
        found = yield from recovery.find(
            uncertain, self._own_ids, self._limits(timeout), recovery.ClientIdentity(PROCESS, self._account)
        )
        if found.task is not None:
            remember(self._own_ids, found.task.id, recovery.submission_of(uncertain))
        if self.budget is not None:
            self.budget.see_finding(uncertain, found)
        return found

    def _upload_flow(self, content: bytes) -> Flow[Upload]:
        ending = upload_ending(content)
        if ending is None:
            raise InvalidInput(f"an upload takes jpg, png, webp, mp4, wav and mp3; this starts with {content[:12]!r}")
        if len(content) > LARGEST_FILE:
            raise InvalidInput(f"it has {len(content) / 1e6:.1f} MB; an upload takes at most 10 MB")
        return upload(content, ending, self._uploads, self._limits())

    def _history_flow(
        self, group: str | None, start: datetime | float | None, end: datetime | float | None, page_size: int
    ) -> Flow[None]:
        usable = is_whole(page_size) and 1 <= page_size <= pagination.LARGEST_PAGE
        check(usable, "page_size", page_size, f"1 to {pagination.LARGEST_PAGE} rows")
        first, last = (None if time is None else unix(name, time) for name, time in (("start", start), ("end", end)))
        return pagination.history(requests.HistoryQuery(first, last, checked_group(group), page_size), self._limits())

    def _response(self, answer: Answer, broken: str = "") -> Response:
        """Return an answer without secrets."""
        hide, headers, body = self._hider.text, answer.headers, answer.body.content
        together = (
            "\0".join((*headers, *headers.values(), "")).encode("utf-8", "surrogatepass") + body
        )  # no escape goes beyond a zero
        if self._hider.content(together) != together:
            headers = {hide(name): hide(value) for name, value in headers.items()}
            body = self._hider.content(body)
        response = Response(answer.status, headers, body, self._clock(), broken)
        if 200 <= answer.status < 300 and (date := envelope.date_of(response)) is not None:
            self._dated = (date, response.at)
        return response

    def _failure(self, error: Exception, progress: Progress, answer: Answer) -> Reply:
        """Return the reply to a request that ended in an exception."""
        name = "" if isinstance(error, AnswerError) else type(error).__name__
        words = self._hider.text(": ".join(filter(None, (name, str(error)))))
        if "CERTIFICATE_VERIFY_FAILED" in words:
            words += " (if your network inspects TLS, set SSL_CERT_FILE to a file with its certificates)"
        if answer.status:
            return self._response(answer, words)
        never = progress.left is False or (isinstance(error, NEVER_LEFT) and not progress.left)
        return TransportFailure(words, self._clock(), never_left=never)

    def _limit(self, send: SendRequest) -> float:
        """Return the seconds that a call may take, besides sending its body."""
        return self.http_timeout if send.timeout is None else send.timeout

    def _allowed(self, send: SendRequest, size: int) -> float:
        """Return the seconds that a call may take in all, with the time to send a large body."""
        return self._limit(send) + size / SLOWEST_SENDING

    def _url(self, send: SendRequest) -> str:
        return f"{self.base_url}{send.path}" if send.path.startswith("/") else send.path

    def _request(self, send: SendRequest) -> dict[str, Any]:
        """Return the arguments of `httpx.Client.build_request`."""
        self._hide_secret_of(send)
        call: dict[str, Any] = {
            "method": send.method,
            "url": self._url(send),
            "params": send.params,
            "headers": self._call_headers,
        }
        if send.json is not None:
            call["json"] = send.json
        if self._http_client is None:  # it has timeouts of its own
            call["timeout"] = self._limit(send)
        return call

    def _hide_secret_of(self, send: SendRequest) -> None:
        """Hide the webhook secret of a submission in all later answers."""
        if send.json is not None:
            self._hider.remember(_webhook_secret(send))

    def _file_request(self, sink: Sink) -> dict[str, Any]:
        """Return the arguments of `build_request` for the next attempt to fetch a file; it gets no key."""
        url = sink.target.file.url
        return {"method": "GET", "url": url, "headers": sink.headers(), "extensions": {"written": url}}

    def _head(self, response: httpx.Response) -> Response:
        """Return an answer without its body, which is read later."""
        headers = dict(response.headers)
        if self._is_read(response) and "content-encoding" in headers:
            for name in ("content-encoding", "content-length"):  # the length is that of the packed body
                headers.pop(name, None)
        return Response(response.status_code, headers, b"", self._clock())

    def _is_read(self, response: httpx.Response) -> bool:
        """Whether a hook of `http_client` has read and unpacked the body; the connection may be in other use then."""
        return self._http_client is not None and response.is_stream_consumed

    def _resumed(self, notification_of: str | None = None) -> Resumed:
        return Resumed(self._clock(), notification_of)

    def _note_change(self, task: Task[Output]) -> None:
        """Log a change, and pass it to the budget. Warn of each unknown status word once."""
        if self.budget is not None:
            self.budget.see(task)
        if log.isEnabledFor(logging.INFO):
            log.info("task %s: %s", _plain(task.id), _plain(task.status))
        if task.state is State.UNKNOWN and (word := str(task.status)) not in self._unknown_words:
            self._unknown_words.add(word)
            facts = _plain(task.id), task.status
            log.warning("task %s has the unknown status %r; the wait goes on", *facts)


def _log_uncertain(error: SubmissionUncertain) -> None:
    log.warning("%s; or, in another process, client.find(%r)", error, error.token, extra={"uncertain": error})


def send_as_written(request: httpx.Request) -> None:
    """Send the URL of a file as the provider wrote it; an event hook of httpx, which normalises the path otherwise."""
    request.extensions.pop("target", None)
    if url := request.extensions.pop("written", None):
        request.extensions["target"] = target(url)


def _file_client(transport: httpx.BaseTransport | None) -> httpx.Client:
    """Return an HTTP client that fetches files for a notebook."""

    def routing(idle: float) -> httpx.BaseTransport:
        return transport or SyncRouting(transport_settings(), idle)

    return connect(httpx.Client, routing, _notebook.LONGEST, send_as_written).files


def target_of(task: Task[Any] | str) -> tuple[str, type[Any], str | None]:
    """Return id, output type and catalogue name of a task that is given by its id, by its token, or as a value."""
    if isinstance(task, Task):
        if not is_id(task.raw.get("task_id")):
            raise InvalidInput(f"the task has no usable id: {task.raw.get('task_id')!r:.80}")
        is_known = task.output_type is not Output and len(contract.named(task.model, task.task_type)) <= 1
        return task.id, task.output_type, polling.kind_of(task) if is_known else None
    given = cast("object", str(task) if isinstance(cast("object", task), UUID) else task)
    if not isinstance(given, str):
        raise InvalidInput(f"{given!r:.80} is not a task: give a task, its id, or its token")
    resumed = task_token.read(given)
    task_id = resumed.task_id
    if not task_id.strip():
        raise InvalidInput("the task id is empty")
    if not (is_id(task_id) and task_id.isprintable() and task_id == task_id.strip()):
        raise InvalidInput(f"{task_id!r:.80} cannot be the id of a task: copy it again")
    named = contract.named(resumed.model, resumed.task_type)  # of several, the first poll decides
    return task_id, output_named(resumed.output), named[0].name if len(named) == 1 else None


def unix(name: str, time: datetime | float) -> int:
    """Whole unix seconds."""
    try:
        seconds = time.timestamp() if isinstance(time, datetime) else time
    except (OverflowError, ValueError, OSError):  # a local time beyond the range of the system
        seconds = -1
    check(is_number(seconds) and 0 <= seconds < LATEST_TIME, name, time, "a datetime, or unix seconds")
    return int(seconds)


def checked_group(group: str | None) -> str | None:
    usable = isinstance(cast("object", group), str | None)
    check(usable, "group", group, "a group of models as text, such as 'image_toolkit'")
    return group


def check(is_usable: bool, name: str, given: object, wanted: str) -> None:
    """Raise InvalidInput, unless an argument can be used."""
    if not is_usable:
        raise InvalidInput(f"{name} is {given!r:.80}: give {wanted}")


def check_type(name: str, given: object, kind: type) -> None:
    check(given is None or isinstance(given, kind), name, given, f"an object of the class {kind.__name__}")


_WITH_SECRETS = frozenset({"config", "webhook_config", "webhook_secret"})


def _webhook_secret(send: SendRequest) -> str:
    """Return the webhook secret of a submission; empty without one."""
    body = as_object(send.json)
    if _WITH_SECRETS.isdisjoint(body):
        return ""
    webhooks = (as_object(as_object(body.get("config")).get("webhook_config")), as_object(body.get("webhook_config")))
    given = (*(webhook.get("secret") for webhook in webhooks), body.get("webhook_secret"))  # the last two are legacy
    return next((secret for secret in given if isinstance(secret, str) and secret), "")


def _plain(value: object) -> str:
    """Escape what the provider said for a log: a line break in it makes no second line."""
    return repr(value)[1:-1] if isinstance(value, str) else repr(value)


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Return whether a value is a number that fits into a float, infinity included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max or value == math.inf
