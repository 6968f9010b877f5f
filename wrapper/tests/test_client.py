"""The shells: what goes over HTTP, how settings are found, what is never shown. Each test runs with both clients."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import logging
import pickle
import re
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from unitask import AsyncClient, Client, Output, State, Task, errors, tasks
from unitask._base_client import NEVER_LEFT, BaseClient
from unitask._core import polling
from unitask._core.effects import Delivery, Response
from unitask._model import spec
from unitask._model.fingerprint import Fingerprint
from unitask.tasks import FaceSwapOutput

from .pictures import encoded
from .script import GATEWAY, MODEL, TASK_ID, TASK_TYPE, answer, refused, seen, task_data
from .shells import BASE_URL, FACE_SWAP, KEY, FakeClock, Provider, all_of, perform, provider

OUTPUT_URL = "https://out.test/temp/swapped.png"
DONE = seen("completed", output={"image_url": OUTPUT_URL})
CREATE, LOOK = "POST /api/v1/task", f"GET /api/v1/task/{TASK_ID}"
CLASSES = {"sync": Client, "async": AsyncClient}


# ---- the calls


def test_run_creates_waits_and_returns_the_task(shell: str) -> None:
    """One create with the whole body, looks at planned times, a typed task."""
    script, clock = provider(seen("pending"), seen("processing"), DONE), FakeClock()
    task = perform(shell, script, lambda client: client.run(FACE_SWAP, service_mode="public"), clock=clock)

    assert script.lines == [CREATE, LOOK, LOOK]
    assert script.body() == {
        "model": MODEL,
        "task_type": TASK_TYPE,
        "input": {"target_image": "https://me.test/a.jpg", "swap_image": "https://me.test/b.png"},
        "config": {"service_mode": "public"},
    }
    assert task.output.image_url == OUTPUT_URL
    usual = polling.DurationEstimate(spec.task_types()["FaceSwap"].typical_seconds)
    first = polling.next_poll_delay(0.0, usual)
    assert clock.sleeps == pytest.approx([first, polling.next_poll_delay(first, usual)])


def test_submit_returns_at_once(shell: str) -> None:
    """With the task as it was accepted."""
    script, clock = provider(seen("pending")), FakeClock()
    task = perform(shell, script, lambda client: client.submit(FACE_SWAP, webhook_url="https://me.test"), clock=clock)

    assert script.lines == [CREATE]
    assert script.body()["config"]["webhook_config"].keys() == {"endpoint"}
    assert (task.id, task.state, task.output_type) == (TASK_ID, State.PENDING, FaceSwapOutput)
    assert clock.sleeps == []


def test_pictures_are_read_before_anything_is_sent(shell: str, tmp_path: Path) -> None:
    """A file that is not there is no reason to ask the provider."""
    script = provider()
    with pytest.raises(errors.InvalidInput, match=r"target_image: .*missing\.png"):
        perform(
            shell,
            script,
            lambda client: client.run(tasks.FaceSwap(target_image=tmp_path / "missing.png", swap_image=encoded())),
        )

    assert script.lines == []


@pytest.mark.parametrize("method", ["run", "submit"])
def test_unchecked_task_is_sent(shell: str, method: str) -> None:
    """validate=False sends what the documents do not allow."""
    script = provider(seen("completed"))
    perform(shell, script, lambda client: getattr(client, method)(tasks.Raw("", ""), validate=False))

    assert script.body() == {"model": "", "task_type": "", "input": {}}


@pytest.mark.parametrize("method", ["run", "submit"])
def test_misspelt_option_is_refused(shell: str, method: str) -> None:
    """It is not swallowed while the task is paid for."""
    with pytest.raises(errors.InvalidInput, match="there is no option 'webhook'"):
        perform(shell, provider(), lambda client: getattr(client, method)(FACE_SWAP, webhook="https://me.test"))


@pytest.mark.parametrize("by", ["id", "value"])
def test_wait_returns_the_finished_task(shell: str, by: str) -> None:
    """The task, or its id, is enough; a task keeps its type."""
    given = TASK_ID if by == "id" else Task(task_data(), FaceSwapOutput)
    script = provider(seen("pending"), DONE)
    task = perform(shell, script, lambda client: client.wait(given))

    assert script.lines == [LOOK, LOOK]
    assert task.output_type is (Output if by == "id" else FaceSwapOutput)
    assert task.output.image_url == OUTPUT_URL


def test_get_looks_once(shell: str) -> None:
    """However the task stands."""
    script = provider(seen("failed"))
    task = perform(shell, script, lambda client: client.get(TASK_ID))

    assert script.lines == [LOOK]
    assert task.state is State.FAILED


@pytest.mark.parametrize("by", ["id", "value"])
def test_cancel_asks_once_and_returns_nothing(shell: str, by: str) -> None:
    """A pending task is cancelled."""
    given = TASK_ID if by == "id" else Task(task_data(), Output)
    script = provider(answer(200, {"code": 200, "message": "task canceled"}))

    assert perform(shell, script, lambda client: client.cancel(given)) is None
    assert script.lines == [f"DELETE /api/v1/task/{TASK_ID}"]


def test_refused_cancel_names_the_task(shell: str) -> None:
    """A running task cannot be cancelled."""
    with pytest.raises(errors.InvalidRequest) as caught:
        perform(shell, provider(refused(400, "task is running")), lambda client: client.cancel(TASK_ID))

    assert caught.value.task_id == TASK_ID


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({"created_before": 1_700_000_000}, "created_before=1700000000"),
        ({"created_before": 1_700_000_000.9, "model": "kling"}, "created_before=1700000000&model=kling"),
        ({"created_before": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)}, "created_before=1700000000"),
    ],
    ids=["seconds", "fraction and model", "datetime"],
)
def test_cancel_many_says_before_when(shell: str, given: dict[str, Any], query: str) -> None:
    """In whole unix seconds; of one model group, or of all."""
    script = provider(answer(200, {"code": 200, "message": "ok"}))

    assert perform(shell, script, lambda client: client.cancel_many(**given)) is None
    assert script.lines == [f"DELETE /api/v1/tasks?{query}"]


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_events_are_each_change_up_to_the_end(shell: str, end: str) -> None:
    """The first look included; the last one tells how it ended."""
    script = provider(seen("pending"), seen("pending"), seen("processing"), seen(end))
    events = perform(shell, script, lambda client: all_of(client.watch(TASK_ID)))

    assert [event.status for event in events] == ["pending", "processing", end]


def test_on_change_is_called_with_each_change(shell: str) -> None:
    """From the moment the task is accepted."""
    told: list[object] = []
    script = provider(seen("pending"), seen("pending"), seen("processing"), DONE)
    perform(shell, script, lambda client: client.run(FACE_SWAP, on_change=lambda task: told.append(task.status)))

    assert told == ["pending", "processing", "completed"]


def test_on_change_of_wait_is_called_from_the_first_look(shell: str) -> None:
    """Nothing was seen before it."""
    told: list[object] = []
    script = provider(seen("pending"), DONE)
    perform(shell, script, lambda client: client.wait(TASK_ID, on_change=lambda task: told.append(task.status)))

    assert told == ["pending", "completed"]


@pytest.mark.parametrize("method", ["get", "cancel", "wait", "watch"])
@pytest.mark.parametrize("task_id", ["", "  "])
def test_empty_task_id_is_refused(shell: str, method: str, task_id: str) -> None:
    """It would ask for another resource."""
    with pytest.raises(errors.InvalidInput, match="the task id is empty"):
        perform(
            shell,
            provider(),
            lambda client: all_of(client.watch(task_id)) if method == "watch" else getattr(client, method)(task_id),
        )


@pytest.mark.parametrize("timeout", [-1, -0.1, float("nan"), "60"])
@pytest.mark.parametrize("method", ["run", "wait"])
def test_timeout_that_is_none_is_refused_before_anything_is_sent(shell: str, method: str, timeout: Any) -> None:
    """Nothing is paid for that could then not be waited for."""
    given = FACE_SWAP if method == "run" else TASK_ID
    with pytest.raises(errors.InvalidInput, match="timeout is"):
        perform(shell, provider(), lambda client: getattr(client, method)(given, timeout=timeout))


def test_timeout_is_the_total(shell: str) -> None:
    """It ends the wait, and says how to go on."""
    clock = FakeClock()
    with pytest.raises(errors.WaitTimeout) as caught:
        perform(
            shell, provider(*[seen("processing")] * 99), lambda client: client.wait(TASK_ID, timeout=20), clock=clock
        )

    assert clock.monotonic == pytest.approx(20)
    assert caught.value.task_id == TASK_ID


def test_patience_of_the_client_bounds_failing_looks(shell: str) -> None:
    """With the id."""
    clock = FakeClock()
    with pytest.raises(errors.ProviderBroken) as caught:
        perform(shell, provider(*[GATEWAY] * 99), lambda client: client.get(TASK_ID), clock=clock, poll_patience=5)

    assert 5 < clock.monotonic < 5 + 8
    assert caught.value.task_id == TASK_ID


@pytest.mark.parametrize(
    ("asked", "limit"),
    [({}, 60.0), ({"http_timeout": 7}, 7)],
    ids=["default", "as set"],
)
def test_each_call_has_the_limit_of_the_client(shell: str, asked: dict[str, Any], limit: float) -> None:
    """To connect, to send, to bring the next bytes, and to find a free connection."""
    script = provider(seen("pending"), DONE)
    perform(shell, script, lambda client: client.run(FACE_SWAP), **asked)

    for request in script.requests:
        sending = int(request.headers.get("content-length", 0)) / 50_000  # bytes a second
        timeouts = {"connect": limit, "pool": limit, "read": limit + sending, "write": limit + sending}
        assert request.extensions["timeout"] == timeouts


def test_client_works_from_several_threads() -> None:
    """Calls share no state but the connections."""
    script = provider(*[seen("completed")] * 8)
    found: list[str] = []
    with Client(KEY, BASE_URL, transport=httpx.MockTransport(script)) as client:
        threads = [threading.Thread(target=lambda: found.append(client.get(TASK_ID).id)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == [TASK_ID] * 8


# ---- settings


def made(shell: str, **settings: Any) -> BaseClient:
    """A client that is never used for a request."""
    transport = httpx.MockTransport(provider())
    return CLASSES[shell](transport=transport, **settings)


@pytest.mark.parametrize(
    ("environment", "given", "sent"),
    [
        ({"UNITASK_API_KEY": "first"}, None, "first"),
        ({"PIAPI_API_KEY": "second"}, None, "second"),
        ({"UNITASK_API_KEY": "first", "PIAPI_API_KEY": "second"}, None, "first"),
        ({"UNITASK_API_KEY": "", "PIAPI_API_KEY": "second"}, None, "second"),
        ({"UNITASK_API_KEY": "first"}, "given", "given"),
        ({"UNITASK_API_KEY": "first"}, "", "first"),
    ],
)
def test_key_is_the_given_one_or_the_one_of_the_environment(
    shell: str, environment: dict[str, str], given: str | None, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UNITASK_API_KEY comes before PIAPI_API_KEY."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    script = provider(seen())
    perform(shell, script, lambda client: client.get(TASK_ID), api_key=given)

    assert script.requests[0].headers.get_list("x-api-key") == [sent]


@pytest.mark.parametrize(
    ("environment", "given", "url"),
    [
        (None, None, "https://api.piapi.ai"),
        ("http://127.0.0.1:8042", None, "http://127.0.0.1:8042"),
        ("http://127.0.0.1:8042", "https://given.test/", "https://given.test"),
        ("", None, "https://api.piapi.ai"),
        (None, "https://given.test/prefix/", "https://given.test/prefix"),
    ],
)
def test_base_url_is_the_given_one_or_the_one_of_the_environment(
    shell: str, environment: str | None, given: str | None, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PiAPI is the last resort, as the first server of the spec."""
    if environment is not None:
        monkeypatch.setenv("UNITASK_BASE_URL", environment)
    script = provider(seen())
    perform(shell, script, lambda client: client.get(TASK_ID), base_url=given)

    assert str(script.requests[0].url) == f"{url}/api/v1/task/{TASK_ID}"
    assert spec.bundle()["servers"][0]["url"] == "https://api.piapi.ai"


def test_missing_key_is_refused_with_a_way_out(shell: str) -> None:
    """Whoever has no account learns of the local provider."""
    with pytest.raises(errors.InvalidInput, match=r"set UNITASK_API_KEY or pass api_key=.*`unitask sandbox`"):
        made(shell)


@pytest.mark.parametrize("key", ["key\n", "a key", "ключ", "key\r\nx-other: 1", "k\x00y"], ids=repr)
def test_key_that_cannot_be_sent_is_refused_and_not_shown(shell: str, key: str) -> None:
    """It was copied with something around it."""
    with pytest.raises(errors.InvalidInput, match="copy it again") as caught:
        made(shell, api_key=key)

    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "provider.test",
        "ftp://provider.test",
        "https://",
        "https://provider.test/?a=b",
        "https://provider.test/#top",
        "https://user:word@provider.test",
        "https://provider.test:65536",
        "http://provider test",
        "https://[::1",
        "https://provider.test\n",
        7,
    ],
    ids=repr,
)
def test_base_url_that_is_none_is_refused(shell: str, url: Any) -> None:
    """With what it should be."""
    with pytest.raises(errors.InvalidInput, match="base_url is"):
        made(shell, api_key=KEY, base_url=url)


@pytest.mark.parametrize("name", ["http_timeout", "poll_patience"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "60", None], ids=repr)
def test_limit_that_is_none_is_refused(shell: str, name: str, seconds: Any) -> None:
    """A client without limits could hang for ever."""
    with pytest.raises(errors.InvalidInput, match=f"{name} is"):
        made(shell, api_key=KEY, **{name: seconds})


@pytest.mark.parametrize("seconds", [float("inf"), 1e12])
def test_call_must_have_a_limit_that_a_socket_takes(shell: str, seconds: float) -> None:
    """Otherwise each call would fail with an error of the socket's."""
    with pytest.raises(errors.InvalidInput, match="http_timeout is"):
        made(shell, api_key=KEY, http_timeout=seconds)


def test_patience_may_be_without_end(shell: str) -> None:
    """The timeout still ends a wait."""
    assert made(shell, api_key=KEY, poll_patience=float("inf")).poll_patience == float("inf")


def test_client_cannot_be_pickled(shell: str) -> None:
    """It holds a key, which must not go through a queue."""
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(made(shell, api_key=KEY))


def test_client_shows_its_provider_alone(shell: str) -> None:
    """And no key."""
    assert repr(made(shell, api_key=KEY, base_url=BASE_URL)) == f"{CLASSES[shell].__name__}(base_url={BASE_URL!r})"


# ---- the key


@pytest.mark.parametrize("method", ["submit", "get", "cancel"])
def test_redirect_is_not_followed_with_the_key(shell: str, method: str) -> None:
    """Whoever answers with one would get the key."""
    script = provider(*[answer(307, b"", location="https://else.test/api/v1/task")] * 9)
    given = FACE_SWAP if method == "submit" else TASK_ID
    with pytest.raises(errors.ProviderBroken, match=r"else\.test.*not followed"):
        perform(shell, script, lambda client: getattr(client, method)(given), poll_patience=1)

    assert {request.url.host for request in script.requests} == {"provider.test"}


def test_key_goes_to_the_provider_and_not_to_the_host_of_outputs(shell: str, tmp_path: Path) -> None:
    """Nor does any other header that names the user."""
    script = provider(DONE, httpx.Response(200, content=encoded()))

    def call(client: Any) -> Any:
        if shell == "sync":
            return client.download(client.get(TASK_ID), tmp_path / "a.png")

        async def both() -> Any:
            return await client.download(await client.get(TASK_ID), tmp_path / "a.png")

        return both()

    perform(shell, script, call)

    look, download = script.requests
    assert look.headers["x-api-key"] == KEY
    assert str(download.url) == OUTPUT_URL
    assert "x-api-key" not in download.headers
    assert KEY not in str(download.headers.raw)


# ---- no answer

KINDS: dict[type[httpx.RequestError], Delivery] = {
    httpx.ConnectError: Delivery.NEVER,
    httpx.ConnectTimeout: Delivery.NEVER,
    httpx.PoolTimeout: Delivery.NEVER,
    httpx.ProxyError: Delivery.NEVER,
    httpx.UnsupportedProtocol: Delivery.NEVER,
    httpx.ReadTimeout: Delivery.MAYBE,
    httpx.WriteTimeout: Delivery.MAYBE,
    httpx.ReadError: Delivery.MAYBE,
    httpx.WriteError: Delivery.MAYBE,
    httpx.CloseError: Delivery.MAYBE,
    httpx.RemoteProtocolError: Delivery.MAYBE,
    httpx.LocalProtocolError: Delivery.MAYBE,
    httpx.DecodingError: Delivery.MAYBE,
    httpx.TooManyRedirects: Delivery.MAYBE,
}


def leaves(kind: type[Any]) -> set[type[Any]]:
    """The classes below a class that have none below them."""
    below = kind.__subclasses__()
    return {kind} if not below else set().union(*map(leaves, below))


def test_every_error_of_httpx_is_in_the_table() -> None:
    """A new version may bring another one: what is not listed may have arrived."""
    assert {kind for kind in leaves(httpx.RequestError) if kind.__module__ == "httpx"} == set(KINDS)
    assert {kind for kind in KINDS if KINDS[kind] is Delivery.NEVER} == set(NEVER_LEFT)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_failed_create_is_sent_again_only_if_it_never_left(shell: str, kind: type[httpx.RequestError]) -> None:
    """By what httpx says of it."""
    script = provider(kind("why"), seen("pending"))
    if KINDS[kind] is Delivery.NEVER:
        assert perform(shell, script, lambda client: client.submit(FACE_SWAP)).id == TASK_ID
        assert len(script.requests) == 2
        return
    with pytest.raises(errors.SubmissionUncertain, match=f"no answer, {kind.__name__}: why"):
        perform(shell, script, lambda client: client.submit(FACE_SWAP))

    assert len(script.requests) == 1


def test_failure_without_words_is_called_by_its_class(shell: str) -> None:
    """Many of httpx's errors have no text."""
    with pytest.raises(errors.SubmissionUncertain, match=r"no answer, ReadTimeout\."):
        perform(shell, provider(httpx.ReadTimeout("")), lambda client: client.submit(FACE_SWAP))


def test_broken_compression_leaves_it_open(shell: str) -> None:
    """The provider answered, but not in a way that can be read."""
    broken = answer(200, b"not gzip", content_encoding="gzip")
    with pytest.raises(errors.SubmissionUncertain, match="HTTP 200, and its body cannot be unpacked"):
        perform(shell, provider(broken), lambda client: client.submit(FACE_SWAP))


# ---- interruption


class Stopped:
    """A clock whose n-th sleep is interrupted."""

    def __init__(self, at: int, by: type[BaseException]) -> None:
        self.clock, self.left, self.by = FakeClock(), at, by

    def __call__(self) -> Any:
        return self.clock()

    def sleep(self, seconds: float) -> None:
        """Let time pass, or not."""
        if seconds:
            self.left -= 1
            if self.left < 0:
                raise self.by
        self.clock.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let time pass, or not."""
        self.sleep(seconds)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("by", [KeyboardInterrupt, asyncio.CancelledError], ids=lambda by: by.__name__)
def test_interrupted_wait_names_the_task(shell: str, by: type[BaseException], at: int) -> None:
    """The task goes on, and is paid for."""
    script = provider(seen("pending"), *[seen("processing")] * 9)
    with pytest.raises(by) as caught:
        perform(shell, script, lambda client: client.run(FACE_SWAP), clock=Stopped(at, by))

    assert caught.value.__notes__ == [f"unitask: task {TASK_ID} goes on; client.wait({TASK_ID!r}) waits for it again"]


def test_interrupted_events_name_the_task(shell: str) -> None:
    """As a wait does."""
    script = provider(*[seen("processing")] * 9)
    with pytest.raises(KeyboardInterrupt) as caught:
        perform(shell, script, lambda client: all_of(client.watch(TASK_ID)), clock=Stopped(0, KeyboardInterrupt))

    assert TASK_ID in caught.value.__notes__[0]


def test_error_of_on_change_names_the_task(shell: str) -> None:
    """It is the caller's own, and comes through as it is."""

    def broken(task: Task[Output]) -> None:
        raise LookupError(task.status)

    with pytest.raises(LookupError, match="pending") as caught:
        perform(shell, provider(seen("pending")), lambda client: client.run(FACE_SWAP, on_change=broken))

    assert TASK_ID in caught.value.__notes__[0]


def test_cancelled_async_wait_names_the_task() -> None:
    """The way asyncio itself does it, while the client really sleeps."""

    async def main() -> None:
        transport = httpx.MockTransport(provider(seen("pending")))
        async with AsyncClient(KEY, BASE_URL, transport=transport) as client:
            wait = asyncio.create_task(
                client.wait(TASK_ID, on_change=lambda _: asyncio.get_running_loop().call_soon(wait.cancel))
            )
            await wait

    with pytest.raises(asyncio.CancelledError) as caught:
        asyncio.run(main())

    assert TASK_ID in caught.value.__notes__[0]


# ---- what is logged


def test_unknown_status_warns_once_a_word(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is waited for all the same."""
    odd = [seen("odd"), seen("odd", progress=1), seen("odder"), seen("odd", progress=2), DONE]
    perform(shell, provider(*odd), lambda client: client.wait(TASK_ID))

    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        f"task {TASK_ID} has the unknown status {word!r} and is waited for all the same" for word in ("odd", "odder")
    ]


def test_changes_are_logged(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    """At the level of information."""
    caplog.set_level(logging.INFO, "unitask")
    perform(shell, provider(seen("pending"), DONE), lambda client: client.wait(TASK_ID))

    assert [record.getMessage() for record in caplog.records if record.name == "unitask"] == [
        f"task {TASK_ID}: pending",
        f"task {TASK_ID}: completed",
    ]


def test_words_of_the_provider_make_no_line_of_their_own(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the log could not tell it from one of ours."""
    caplog.set_level(logging.INFO, "unitask")
    perform(shell, provider(seen("odd\nCRITICAL \ud800"), DONE), lambda client: client.wait(TASK_ID))

    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert f"task {TASK_ID}: odd\\nCRITICAL \\ud800" in [record.getMessage() for record in caplog.records]


# ---- what is never shown

SECRET = "5ecret-" * 5
CONFIG = {"webhook_config": {"endpoint": "https://me.test", "secret": SECRET}}
ECHOED = ("x-request-id", "x-trace-id", "cf-ray", "server", "location", "x-echo")


def leaky(status: int, /, words: str = f"{KEY} is not {SECRET}", **task: Any) -> Response:
    """An answer of a provider that repeats what it was sent wherever it can, and the secret where it is documented."""
    body = {
        "code": status,
        "message": words if status >= 300 else "success",
        "data": {**task_data(**task), "config": CONFIG, "detail": words, "logs": [{"x-api-key": KEY}]},
        "api_key": KEY,
    }
    return Response(status, dict.fromkeys(ECHOED, words), json.dumps(body).encode(), GATEWAY.at)


def leaky_look(status: int = 200, /, **task: Any) -> Response:
    """The same for a look: a client that sent no secret knows it only from where it is documented."""
    return leaky(status, KEY, **task)


def submit(client: Any) -> Any:
    return client.submit(FACE_SWAP, webhook_url="https://me.test", webhook_secret=SECRET)


def run(client: Any) -> Any:
    return client.run(FACE_SWAP, timeout=0, webhook_url="https://me.test", webhook_secret=SECRET)


def get(client: Any) -> Any:
    return client.get(TASK_ID)


@pytest.mark.parametrize("call", [submit, run, get, lambda client: all_of(client.history())])
def test_closed_client_refuses_every_call_and_sends_nothing(shell: str, call: Callable[[Any], Any]) -> None:
    script, kept = provider(seen()), list[Any]()
    perform(shell, script, lambda client: (kept.append(client), client.get(TASK_ID))[1])
    with pytest.raises(errors.InvalidInput, match="nothing was sent: this client is closed: make a new one"):
        asyncio.run(call(kept[0])) if shell == "async" else call(kept[0])

    assert len(script.requests) == 1


def bad_option(client: Any) -> Any:
    return client.submit(FACE_SWAP, webhook_url=7, webhook_secret=SECRET)


def bad_input(client: Any) -> Any:
    return client.run(dataclasses.replace(FACE_SWAP, extra={"a": object()}), webhook_secret=SECRET)


LOST = errors.SubmissionUncertain(
    "no answer",
    identity=Fingerprint(MODEL, TASK_TYPE, "f" * 64),
    sent_between=(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
)
LEAKY_PAGE = answer(502, f"<html>{KEY} {SECRET}".encode(), server=f"{KEY} {SECRET}")
LEAKS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "refused create": (submit, [leaky(400, status="failed")]),
    "refused key": (submit, [leaky(401, status="failed")]),
    "redirected create": (submit, [leaky(307, status="failed")]),
    "lack of credit": (submit, [leaky(500, status="failed")]),
    "create, broken gateway": (submit, [LEAKY_PAGE]),
    "create, read timeout": (submit, [httpx.ReadTimeout(KEY)]),
    "create, no connection": (submit, [httpx.ConnectError(KEY)] * 9),
    "create without an id": (submit, [leaky(200, task_id="")]),
    "bad option": (bad_option, []),
    "bad input": (bad_input, []),
    "timeout": (run, [leaky(200), leaky_look()]),
    "failed task": (run, [leaky(200, status="failed", error={"message": KEY})]),
    "refused look": (get, [leaky_look(404)]),
    "look at another task": (get, [leaky_look(task_id="other")] * 99),
    "broken connection": (get, [httpx.ReadError(KEY)] * 99),
    "refused account": (lambda client: client.account(), [leaky_look(401)]),
    "account without data": (lambda client: client.active_tasks(), [answer(200, {"data": KEY})] * 99),
    "refused history": (lambda client: all_of(client.history()), [leaky_look(400)]),
    "refused upload": (lambda client: client.upload(encoded()), [leaky_look(403)]),
    "bad token": (lambda client: client.wait("ut1.###"), []),
}


def told(error: BaseException) -> list[str]:
    """An error as text, and its traceback with the variables of every frame but those of the tests."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in frames.stack:
        if Path(frame.filename).parent == Path(__file__).parent:
            frame.locals = None
    return [str(error), repr(error), *frames.format()]


@pytest.mark.parametrize(("call", "script"), LEAKS.values(), ids=LEAKS.keys())
def test_error_shows_neither_key_nor_secret(
    shell: str, call: Callable[[Any], Any], script: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Not in its words, not in its attributes, not in a pickle, not in a traceback with variables, not in the log."""
    caplog.set_level(logging.NOTSET)
    with pytest.raises(errors.UnitaskError) as caught:
        perform(shell, Provider(list(script)), call, poll_patience=1)

    shown = "\n".join([str(vars(caught.value)), caplog.text, *told(caught.value)]).encode()
    shown += pickle.dumps(caught.value)
    assert KEY.encode() not in shown
    assert SECRET.encode() not in shown


@pytest.mark.parametrize("call", [submit, run, get], ids=lambda call: call.__name__)
def test_task_shows_neither_key_nor_secret(shell: str, call: Callable[[Any], Any]) -> None:
    """In no part of it."""
    script = provider(leaky_look(status="completed") if call is get else leaky(200, status="completed"))
    task = perform(shell, script, call)
    shown = f"{task!r} {task.raw!r} {task.output!r}".encode() + pickle.dumps(task)

    assert task.raw["config"]["webhook_config"]["secret"] == "***"
    assert KEY.encode() not in shown
    assert SECRET.encode() not in shown


def leaky_data(data: Any) -> Response:
    """An answer about the account, with the key where it is documented and where it is not."""
    return answer(200, {"data": data, "message": KEY}, server=KEY)


RESULTS: dict[str, tuple[Callable[[Any], Any], list[Response]]] = {
    "account": (lambda client: client.account(), [leaky_data({"api_key": KEY, "name": KEY, "wallet": {"id": KEY}})]),
    "active_tasks": (lambda client: client.active_tasks(), [leaky_data({"flux": {"active_tasks": [KEY]}})]),
    "history": (
        lambda client: all_of(client.history()),
        [leaky_data({"data": [{"task_id": "t", "api_key_id": KEY}], "total": 1})],
    ),
    "upload": (lambda client: client.upload(encoded()), [leaky_data({"url": f"https://img.test/{KEY}.png"})]),
    "wait_all": (
        lambda client: client.wait_all([TASK_ID, "other"]),
        [leaky_look(status="failed"), leaky_look(401)],
    ),
    "find": (
        lambda client: client.find(LOST, timeout=0),
        [leaky_data({"data": [{"task_id": TASK_ID}], "total": 1}), leaky_look()],
    ),
    "find, refused": (lambda client: client.find(LOST, timeout=0), [leaky_look(401)]),
}


@pytest.mark.parametrize(("call", "script"), RESULTS.values(), ids=RESULTS.keys())
def test_result_shows_no_key(
    shell: str, call: Callable[[Any], Any], script: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Account info is documented to return it."""
    caplog.set_level(logging.NOTSET)
    result = perform(shell, Provider(list(script)), call)

    shown = repr(result).encode() + pickle.dumps(result) + caplog.text.encode()
    assert KEY.encode() not in shown


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": KEY, "base_url": "provider.test"},
        {"api_key": KEY, "http_timeout": 0},
        {"api_key": KEY + "\n"},
        {"base_url": "provider.test"},
    ],
    ids=["base_url", "http_timeout", "broken key", "key of the environment"],
)
def test_refused_setting_shows_no_key(shell: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in a traceback with variables: the frames of the constructor have it in their hands."""
    monkeypatch.setenv("UNITASK_API_KEY", KEY)
    with pytest.raises(errors.InvalidInput) as caught:
        made(shell, **settings)

    assert KEY not in "\n".join(told(caught.value))


def test_short_key_is_not_searched_for(shell: str) -> None:
    """The sandbox's key is a word that may stand in any text."""
    task = perform(shell, provider(seen("pending", detail="sandbox")), get, api_key="sandbox")

    assert task.raw["detail"] == "sandbox"


def test_httpcore_logs_no_key(caplog: pytest.LogCaptureFixture) -> None:
    """Its loggers tell every step of a connection, at the level DEBUG."""
    caplog.set_level(logging.NOTSET)
    content = seen("completed").body
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    transport = httpx.HTTPTransport()
    transport._pool = httpcore.ConnectionPool(network_backend=httpcore.MockBackend([head.encode(), content]))
    with Client(KEY, "http://provider.test", transport=transport) as client:
        client.submit(FACE_SWAP, webhook_secret=SECRET)

    assert "receive_response_headers.complete" in caplog.text
    assert KEY not in caplog.text
    assert SECRET not in caplog.text


# ---- both clients are one


def public(kind: type[Any]) -> dict[str, Any]:
    """The public methods of a class."""
    return {name: method for name, method in inspect.getmembers(kind, callable) if not name.startswith("_")}


def test_both_clients_have_the_same_names() -> None:
    """Whoever knows one knows the other."""
    assert public(Client).keys() == public(AsyncClient).keys()


@pytest.mark.parametrize("name", ["__init__", *public(Client)])
def test_both_clients_have_the_same_signatures(name: str) -> None:
    """Parameters, their kinds, defaults and types; only what is awaited differs."""
    differs = {"transport": "transport", "sleep": "sleep"}

    def shape(kind: type[Any]) -> list[tuple[Any, ...]]:
        parameters = inspect.signature(getattr(kind, name)).parameters.values()
        return [
            (each.name, each.kind, *(() if each.name in differs else (each.default, str(each.annotation))))
            for each in parameters
        ]

    def result(kind: type[Any]) -> str:
        text = str(inspect.signature(getattr(kind, name)).return_annotation)
        return re.sub(r"\bAsync(Iterator|OpenAI)\b", r"\1", text)

    assert shape(Client) == shape(AsyncClient)
    assert result(Client) == result(AsyncClient)


@pytest.mark.parametrize("name", public(Client))
def test_both_clients_have_the_same_docstrings(name: str) -> None:
    """One text, written once."""
    text = getattr(Client, name).__doc__

    assert text
    assert getattr(AsyncClient, name).__doc__ == text


def test_async_methods_are_to_be_awaited() -> None:
    """All that ask the provider, and the iterator of events."""
    kinds = {name: inspect.iscoroutinefunction(method) for name, method in public(AsyncClient).items()}

    assert [name for name, awaited in kinds.items() if not awaited] == ["history", "openai", "watch"]
    assert inspect.isasyncgenfunction(AsyncClient.watch)
