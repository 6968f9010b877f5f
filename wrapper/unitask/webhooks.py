"""Notifications of the provider: read one, receive them over HTTP, and wake the calls that wait for them.

The provider posts {timestamp, data: task} when a task ends, for some task types on each change too, and sends it again
when the answer is not 2xx.

Rules of this file: every request ends in a notification or in `WebhookRejected`; no message repeats a body, except
numbers; what senders can cause to be stored is bounded; any thread and any event loop may call.
"""

import asyncio
import contextlib
import hashlib
import hmac
import inspect
import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from threading import TIMEOUT_MAX, Event, Lock
from typing import Any, TypeAlias, TypeGuard, TypeVar, cast

from unitask_api.states import State

from ._core import envelope
from ._model._json import as_object, is_list
from ._model.secret import Secret, secret_problem
from ._model.task import Output, Task
from .errors import InvalidInput, WebhookRejected

__all__ = ["AccountNotification", "AccountType", "Notification", "Receiver", "TaskNotification", "parse"]

SECRET_HEADER = "x-webhook-secret"  # noqa: S105 - the name of a header
LARGEST_BODY = 5 * 1024 * 1024
REMEMBERED = 10_000  # handled notifications, tasks with an undelivered one, and own tasks of a client
log: logging.Logger = logging.getLogger("unitask")

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")
Headers: TypeAlias = Mapping[Any, Any] | Iterable[tuple[Any, Any]]
_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]


class AccountType(StrEnum):
    """The known subjects of notifications about the account (PiAPI's notion page)."""

    GO_API_QUOTA_EXCHANGE_FAILED = "go_api_quota_exchange_failed"
    MJ_PENALTY_TRIGGERED = "mj_penalty_triggered"
    MJ_BOT_BANNED = "mj_bot_banned"
    MJ_BOT_SUBSCRIPTION_EXPIRED = "mj_bot_subscription_expired"
    NO_ACTIVE_MJ_BOT = "no_active_mj_bot"
    MJ_BOT_NO_FASTHOUR = "mj_bot_no_fasthour"


@dataclass(frozen=True, slots=True)
class TaskNotification:
    """A task has ended, or has changed.

    Attributes:
        task: The task as the provider sent it, without the webhook secret.
        timestamp: When it was sent, in UTC; None when it does not say, as in the older form.
    """

    task: Task[Output]
    timestamp: datetime | None


@dataclass(frozen=True, slots=True)
class AccountNotification:
    """Something happened to the account.

    Attributes:
        type: What happened: an `AccountType` if the word is known, otherwise the word as it is.
        time: When, in UTC; None when it does not say.
        message: The same in words; empty when there are none.
        detail: Particulars of the type; empty when there are none.
        raw: The whole body.
    """

    type: str
    time: datetime | None
    message: str
    detail: dict[str, Any] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)


Notification: TypeAlias = TaskNotification | AccountNotification


def parse(
    body: bytes | str,
    headers: Headers,
    *,
    secret: str | None,
    tolerance: float | None = 300.0,
    now: Callable[[], float] = time.time,
) -> Notification:
    """Read the notification in a request to your webhook.

    Args:
        body: The body as it came.
        headers: The headers as your framework has them: a mapping or pairs of text or bytes, or WSGI's environ.
        secret: The webhook_secret of the submission. None accepts any sender.
        tolerance: Seconds that its timestamp may be before or after now; None for any. A body without a timestamp
            passes.
        now: Returns the time, in seconds since 1970.

    Returns:
        A `TaskNotification` or an `AccountNotification`.

    Raises:
        WebhookRejected: It is not a notification, or has another secret; `status` is the HTTP status to answer with.
        InvalidInput: An argument cannot be used.
    """
    secret = _usable(secret, tolerance)
    content = cast("object", body)
    if not isinstance(content, bytes | str):
        raise InvalidInput(f"the body is of type {type(content).__name__}: give the bytes or the text that came")
    _check_secret(headers, secret)
    return _notification(content, tolerance, now)


class Receiver:
    """An ASGI application that receives notifications: mount it in another one, or serve it alone.

    It answers 204 to a notification, at once or when `on_notification` is done, and 4xx with a short text to anything
    else. Each state of a task is reported once, and so is each account notification, as long as they are among the last
    10,000. It belongs to one process.

    Args:
        secret: The webhook_secret of the submissions. None accepts any sender.
        on_notification: Called with each notification; may be async, otherwise it is called in a thread. When it
            raises, the answer is 500, so that the provider sends the notification again.
        tolerance: Seconds that a timestamp may be before or after now; None for any.
        clock: Returns the time, in seconds since 1970.

    Raises:
        InvalidInput: An argument cannot be used.
    """

    def __init__(
        self,
        secret: str | None,
        *,
        on_notification: Callable[[Notification], object] | None = None,
        tolerance: float | None = 300.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = _usable(secret, tolerance)
        if on_notification is not None and not callable(on_notification):
            raise InvalidInput("on_notification cannot be called: give a function of one argument")
        self._handler, self._tolerance, self._clock = on_notification, tolerance, clock
        self._notifications = _Notifications()
        # Notifications that were handled (True), or are being handled (False); the oldest are dropped.
        self._handled: OrderedDict[bytes, bool] = OrderedDict()
        self._lock = Lock()

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Serve one connection (ASGI 3). A server continues without the events that an application refuses."""
        if scope["type"] != "http":
            raise NotImplementedError(f"a Receiver serves http, not {scope['type']}")
        if (answer := await self._answer(scope, receive)) is not None:
            await _say(send, *answer)

    def wait_for_notification(
        self, task_ids: str | Collection[str], seconds: float, event: Event | None = None
    ) -> str | None:
        """Wait until a notification of one of these tasks comes; return the id of that task, or None.

        `event` ends the wait, too.

        A notification ends every call that waits for it at that moment. If there is none, it ends the next one at once.
        """
        event = event or Event()
        self._notifications.subscribe(_set_of(task_ids), event.set)
        try:
            event.wait(min(seconds, TIMEOUT_MAX))
        finally:
            notified = self._notifications.unsubscribe(event.set)
        return notified

    async def wait_for_notification_async(
        self, task_ids: str | Collection[str], seconds: float, event: asyncio.Event | None = None
    ) -> str | None:
        """Do what `wait_for_notification` does, in asyncio; the notification may arrive in another event loop."""
        loop, event = asyncio.get_running_loop(), event or asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # that loop is closed, so nothing waits there
                loop.call_soon_threadsafe(event.set)

        self._notifications.subscribe(_set_of(task_ids), wake)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if seconds == math.inf else seconds):
                    await event.wait()
        finally:
            notified = self._notifications.unsubscribe(wake)
        return notified

    async def _answer(self, scope: Mapping[str, Any], receive: _Receive) -> tuple[int, str] | None:
        """Status and text of the answer; None when the client has disconnected."""
        if scope["method"] != "POST":
            return 405, "notifications are sent by POST"
        try:
            _check_secret(scope["headers"], self._secret)
            body = await _read(receive)
            return None if body is None else await self._take(body)
        except WebhookRejected as rejected:
            log.warning("%s", rejected)
            return rejected.status, str(rejected)

    async def _take(self, body: bytes) -> tuple[int, str]:
        notification = _notification(body, self._tolerance, self._clock)
        key = _identity(notification, body)
        with self._lock:
            is_handled = self._handled.get(key)
            if is_handled is None:
                remember(self._handled, key, False)
        if is_handled:
            return 204, ""
        if is_handled is not None:  # handling it may still fail: it must come again then
            return 503, "this notification is being handled; send it again later"
        if isinstance(notification, TaskNotification):
            self._notifications.deliver(notification.task.id)
        try:
            await self._handle(notification)
        except BaseException as error:  # a cancellation, too
            with self._lock:
                self._handled.pop(key, None)
            if not isinstance(error, Exception):
                raise
            log.exception("on_notification failed; the provider is asked to send the notification again")
            return 500, "the notification could not be handled; send it again"
        with self._lock:
            remember(self._handled, key, True)
        return 204, ""

    async def _handle(self, notification: Notification) -> None:
        handler = self._handler
        if handler is None:
            return
        if inspect.iscoroutinefunction(handler):
            await handler(notification)
            return
        result = await asyncio.to_thread(_call, handler, notification)
        if inspect.isawaitable(result):
            await result


def _call(handler: Callable[[Notification], object], notification: Notification) -> object:
    try:
        return handler(notification)
    except StopIteration as error:  # asyncio cannot carry it out of a thread
        raise RuntimeError("on_notification raised StopIteration") from error


def _set_of(task_ids: str | Collection[str]) -> Set[str]:
    given = {task_ids} if isinstance(task_ids, str) else task_ids
    return given if isinstance(given, Set) else frozenset(given)


def _identity(notification: Notification, body: bytes) -> bytes:
    if isinstance(notification, TaskNotification):
        task = notification.task
        word = repr(task.status).casefold() if task.state is State.UNKNOWN else ""  # each unknown word is a state
        body = _utf8("\0".join((task.id, task.state, word)))
    return hashlib.sha256(body).digest()


class _Notifications:
    def __init__(self) -> None:
        self._lock = Lock()
        self._undelivered: OrderedDict[str, None] = OrderedDict()
        # By the function that wakes a call: the tasks that it waits for, and those of which a notification came.
        self._waiting: dict[Callable[[], object], tuple[Set[str], dict[str, None]]] = {}

    def deliver(self, task_id: str) -> None:
        """Wake each call that waits for this task; without one, store the notification for the next."""
        with self._lock:
            calls = [(wake, came) for wake, (task_ids, came) in self._waiting.items() if task_id in task_ids]
            for wake, came in calls:
                came[task_id] = None
                wake()
            if not calls:
                remember(self._undelivered, task_id, None)

    def subscribe(self, task_ids: Set[str], wake: Callable[[], object]) -> None:
        """Call `wake` when a notification comes, or at once for an undelivered one."""
        with self._lock:
            few, many = sorted((self._undelivered.keys(), task_ids), key=len)
            found = next((task_id for task_id in list(few) if task_id in many), None)
            self._waiting[wake] = (task_ids, {} if found is None else {found: None})
            if found is not None:
                del self._undelivered[found]
                wake()

    def unsubscribe(self, wake: Callable[[], object]) -> str | None:
        """Stop waiting; return the first task that was notified, and store the notifications of the others."""
        with self._lock:
            _, came = self._waiting.pop(wake)
            for task_id in list(came)[1:]:
                remember(self._undelivered, task_id, None)
            return next(iter(came), None)


def remember(stored: OrderedDict[KeyT, ValueT], key: KeyT, value: ValueT) -> None:
    """Store a value as the newest of at most `REMEMBERED`."""
    stored[key] = value
    stored.move_to_end(key)
    if len(stored) > REMEMBERED:
        stored.popitem(last=False)


async def _read(receive: _Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise WebhookRejected(f"the body is larger than {LARGEST_BODY} bytes", kind="size")
        if not message.get("more_body", False):
            return bytes(body)


async def _say(send: _Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text.encode()))]
    allow = [(b"allow", b"POST")] if status == 405 else []
    await send({"type": "http.response.start", "status": status, "headers": [*(headers if text else ()), *allow]})
    await send({"type": "http.response.body", "body": text.encode()})


def _usable(secret: str | None, tolerance: float | None) -> Secret | None:
    if tolerance is not None and not (_is_number(tolerance) and tolerance >= 0):
        raise InvalidInput(f"tolerance is {tolerance!r}: give seconds, or None to accept any timestamp")
    if secret is None:
        return None
    if not isinstance(cast("object", secret), str):
        raise InvalidInput(f"the webhook secret is of type {type(secret).__name__}: give text, or None to check none")
    if problem := secret_problem(secret):
        raise InvalidInput(problem)
    return Secret(secret)


def _check_secret(headers: object, secret: str | None) -> None:
    if secret is None:
        return
    given = [value for name, value in _pairs(headers) if _is_secret_header(name)]
    if not given:
        raise WebhookRejected(f"the header {SECRET_HEADER} is missing", kind="secret")
    if not all(_is_secret(value, secret) for value in given):
        raise WebhookRejected(f"the header {SECRET_HEADER} holds another secret", kind="secret")


def _pairs(headers: Any) -> Iterator[tuple[object, object]]:
    """Yield name and value of each header; a list of values is several headers."""
    items: Any = getattr(headers, "items", None)
    try:
        pairs: Any = items() if callable(items) else headers
        for name, value in pairs:
            for each in value if is_list(value) else (value,):
                yield name, each
    except (TypeError, ValueError):
        raise InvalidInput(
            f"the headers are of type {type(headers).__name__}: give those of the request, as a mapping or as pairs"
        ) from None


def _is_secret_header(name: object) -> bool:
    """Whether this is the name of the header, as HTTP, ASGI or WSGI spells it."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return isinstance(text, str) and text.lower().replace("_", "-").removeprefix("http-") == SECRET_HEADER


def _is_secret(given: object, secret: str) -> bool:
    """Whether the value of a header is the secret; servers decode headers as Latin-1, as UTF-8, or not at all."""
    if isinstance(given, str):
        forms = [_utf8(given), given.encode("latin-1", "backslashreplace")]
    else:
        forms = [bytes(given)] if isinstance(given, bytes | bytearray) else []
    return any(hmac.compare_digest(form, _utf8(secret)) for form in forms)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _notification(content: bytes | str, tolerance: float | None, now: Callable[[], float]) -> Notification:
    body = _json_object(content)
    task = envelope.read_notification(body)
    if task is not None:
        return TaskNotification(task, _timely(body.get("timestamp"), task.id, tolerance, now))
    kind = body.get("type")
    if not isinstance(kind, str) or not kind:
        raise WebhookRejected("the body has neither a task_id, in data or at the root, nor a type", kind="form")
    _timely(body.get("timestamp"), None, tolerance, now)
    message = body.get("message")
    return AccountNotification(
        type=AccountType(kind) if kind in set(AccountType) else kind,
        time=_moment(body.get("time")),
        message=message if isinstance(message, str) else "",
        detail=as_object(body.get("detail")),
        raw=body,
    )


def _timely(value: object, task_id: str | None, tolerance: float | None, now: Callable[[], float]) -> datetime | None:
    if value is None:
        return None
    moment = _moment(value)
    if moment is None:
        shown = f"{value!r:.40}" if _is_number(value) else f"of type {type(value).__name__}"
        raise WebhookRejected(f"its timestamp is {shown}, not unix time in seconds", kind="form", task_id=task_id)
    distance = now() - moment.timestamp()
    if tolerance is not None and abs(distance) > tolerance:
        side = "before" if distance > 0 else "after"
        raise WebhookRejected(
            f"its timestamp {moment:%Y-%m-%d %H:%M:%S} UTC is {abs(distance):.0f} s {side} now, {tolerance:g} s are "
            "allowed: it is old, or the clock of this machine is wrong",
            kind="time",
            task_id=task_id,
        )
    return moment


def _moment(value: object) -> datetime | None:
    """Return the time of a number of seconds since 1970; None for anything else."""
    if not _is_number(value):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json_object(content: bytes | str) -> dict[str, Any]:
    value, problem = None, "the body is not a JSON object"
    try:
        value = json.loads(content.decode("utf-8-sig") if isinstance(content, bytes) else content)
    except RecursionError:
        problem = "the body is nested too deeply"
    except ValueError as error:
        problem = f"the body is not JSON: {error}"
    if not isinstance(value, dict):  # raised here, because exceptions of the decoders hold the whole body
        raise WebhookRejected(problem, kind="form")
    return cast("dict[str, Any]", value)
