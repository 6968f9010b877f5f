"""Behaviour that needs a real socket: limits of time and size, broken answers, forks, event loops, interruptions."""

import asyncio
import contextlib
import gc
import gzip
import json
import socket
import subprocess
import sys
import time
import types
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpcore
import httpx
import pytest
import uvloop
from unitask import AsyncClient, Budget, Client, Timestamp, _bounded, _connections, errors, tasks
from unitask._connections import IN_FLIGHT, AnswerError, AsyncRouting, Body, SyncRouting
from unitask._core import range_download
from unitask._environment import transport_settings
from unitask.bulk import transport

from .interruption import Interruption, at_each_line
from .raw_server import Hangup, RawServer, Received, raw_server, response, shown
from .script import TASK_ID, seen
from .shells import FACE_SWAP, KEY, get, in_turn, perform, provider, responded, submit

# A closed loop cannot close the connections that were made in it; Python closes their sockets, with a warning.
leaks_sockets = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
WHOLE = seen("completed").body


@pytest.fixture(params=["sync", "async", "fast"])
def shell(request: pytest.FixtureRequest) -> str:
    """The kind of client, and the async one over `FastTransport`."""
    return str(request.param)


def dripping(server: RawServer, head: bytes) -> Iterator[bytes]:
    """An answer that arrives byte by byte without an end."""
    yield head
    while not server.stopped.wait(0.02):
        yield b"x"


BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n"


@pytest.mark.parametrize(
    ("call", "head", "kind"),
    [
        (submit, BODY, errors.SubmissionUncertain),
        (submit, b"HTTP/1.1 200 OK\r\nx-slow: ", errors.SubmissionUncertain),
        (submit, b"HTTP/1.1 200 O", errors.SubmissionUncertain),
        (get, BODY, errors.Unreachable),
        (lambda client: client.wait(TASK_ID, timeout=0.1), BODY, errors.WaitTimeout),
    ],
    ids=["body", "head", "status line", "get", "wait"],
)
def test_call_with_a_dripping_answer_ends(shell: str, call: Callable[[Any], Any], head: bytes, kind: type) -> None:
    with raw_server(lambda _: dripping(server, head)) as server, pytest.raises(kind):
        perform(shell, server.url, call, http_timeout=0.2, poll_patience=0.1 if call is get else 60)


def test_large_body_gets_the_time_to_be_sent(shell: str) -> None:
    task = tasks.Raw("m", "t", {"picture": "x" * (8 << 20)})
    with raw_server(lambda request: [shown(request)], pause=0.005) as server:
        perform(shell, server.url, lambda client: client.submit(task), http_timeout=0.3)

    assert len(server.creates) == 1


LARGE = WHOLE[:-1] + b" " * (3 << 20) + b"}"
PACKED = "content-encoding: gzip"
SHORT = "HTTP 200, and RemoteProtocolError: peer closed connection "
NO_ID = "HTTP 200 without a task id"
BROKEN: dict[str, tuple[bytes, str | None, str]] = {
    "cut off after the id": (response(200, WHOLE[:80], length=500), TASK_ID, SHORT),
    "shorter than announced": (response(200, WHOLE, length=1000), TASK_ID, SHORT),
    "too large when unpacked": (
        *(response(200, gzip.compress(LARGE), PACKED), TASK_ID),
        "HTTP 200, and its body cannot be unpacked, 3",
    ),
    "too large": (response(200, LARGE), TASK_ID, "HTTP 200, and its body is larger than 2 MB: "),
    "packed twice": (response(200, gzip.compress(gzip.compress(WHOLE)), f"{PACKED}, gzip"), None, NO_ID),
    "packed, cut off": (
        *(response(200, gzip.compress(WHOLE)[:-9], PACKED), None),
        "HTTP 200, and its packed body is cut off: ",
    ),
    "not packed": (
        *(response(200, WHOLE, PACKED), TASK_ID),
        "HTTP 200, and its body cannot be unpacked, its compression is broken: ",
    ),
    "JSON in a JSON text": (response(200, json.dumps(WHOLE.decode())), TASK_ID, NO_ID),
    "broken head": (b"HTTP/1.1 200\0 OK\r\n\r\n", None, "no answer, RemoteProtocolError: illegal status line: "),
    "nothing": (b"", None, "no answer, RemoteProtocolError: Server disconnected without sending a response. It was "),
}


@pytest.mark.parametrize(("answer", "task_id", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_submission_with_a_broken_answer_is_uncertain_and_logged_with_what_find_needs(
    shell: str,
    answer: bytes,
    task_id: str | None,
    reason: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_connections, "LARGEST_ANSWER", 2 << 20)
    monkeypatch.setattr(range_download, "UNPACKED_FREELY", 2 << 20)

    def respond(_: Received) -> Iterable[bytes]:
        yield answer
        raise Hangup

    with raw_server(respond) as server, pytest.raises(errors.SubmissionUncertain) as caught:
        perform(shell, server.url, submit)

    assert len(server.creates) == 1
    assert task_id in (None, caught.value.task_id)
    if shell == "fast":  # it has words of its own for a broken connection
        reason = "".join(reason.partition("RemoteProtocolError")[:2])
    assert f" may have been accepted, and is not sent again: {reason}" in str(caught.value)
    (record,) = (record for record in caplog.records if record.name == "unitask")
    assert record.uncertain is caught.value  # type: ignore[attr-defined]  # an extra of the log record
    advice = f"or, in another process, client.find({caught.value.token!r})"
    assert record.getMessage() == f"{caught.value}; {advice}"


def test_body_may_have_the_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connections, "LARGEST_ANSWER", 8)
    body = Body()
    body.take(b"1234")
    body.take(b"5678")
    assert body.content == b"12345678"
    with pytest.raises(AnswerError, match="larger"):
        body.take(b"90")
    assert body.content == b"123456789"


FRAMED: dict[str, bytes] = {
    "in chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(WHOLE), WHOLE),
    "until the connection ends": b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE,
    "after an early hint": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + response(200, WHOLE),
}


@pytest.mark.parametrize("answer", FRAMED.values(), ids=FRAMED.keys())
def test_answer_is_read_however_its_end_is_marked(shell: str, answer: bytes) -> None:
    def respond(_: Received) -> Iterable[bytes]:
        yield answer
        raise Hangup

    with raw_server(respond) as server:
        assert perform(shell, server.url, in_turn(get, get))[1].id == TASK_ID


def test_packed_answer_is_unpacked(shell: str) -> None:
    for coding, body in (
        ("x-gzip", gzip.compress(WHOLE[:9]) + gzip.compress(WHOLE[9:])),
        ("deflate", zlib.compress(WHOLE)),
    ):
        packed = response(200, body, f"content-encoding: {coding}")
        with raw_server(lambda _, packed=packed: [packed]) as server:
            assert perform(shell, server.url, get).id == TASK_ID


def test_cookies_are_not_kept(shell: str) -> None:
    cookies = ("set-cookie: session=caf\xe9; Path=/", "set-cookie: a=b")
    with raw_server(lambda _: [response(200, WHOLE, *cookies)]) as server:
        perform(shell, server.url, in_turn(get, get))

    assert ["cookie" in request.headers for request in server.requests] == [False, False]


@pytest.mark.parametrize("error", [RuntimeError("loop"), MemoryError(), UnicodeError("x")], ids=repr)
def test_any_exception_of_a_send_is_a_typed_error(shell: str, error: Exception) -> None:
    with pytest.raises(errors.SubmissionUncertain, match=type(error).__name__):
        perform(shell, provider(error), submit)


def test_exception_before_a_connection_is_made_leaves_no_doubt(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no socket")

    for backend in (httpcore._backends.sync.SyncBackend, httpcore._backends.auto.AutoBackend):
        monkeypatch.setattr(backend, "connect_tcp", fail)
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", fail)
    with pytest.raises(errors.Unreachable, match="RuntimeError: no socket"):
        perform(shell, "http://127.0.0.1:9", submit, max_retries=0)


@pytest.mark.parametrize("took", [15.0, 70.0])  # seconds to connect, as where IPv6 packets are dropped
def test_slow_connection_leaves_time_for_the_next_address_and_no_doubt(
    took: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, given, connect = 0.0, list[float](), socket.create_connection

    def slow(address: Any, timeout: float, **options: Any) -> socket.socket:
        nonlocal now
        now += took
        given.append(timeout)
        return connect(address, timeout, **options)

    with raw_server(lambda request: [shown(request)]) as server:
        with monkeypatch.context() as patch:
            patch.setattr(_bounded, "time", types.SimpleNamespace(monotonic=lambda: now))
            patch.setattr(socket, "create_connection", slow)
            (made,) = perform("sync", server.url, in_turn(submit), max_retries=0)
        assert given == [10.0]
        assert (type(made) is errors.Unreachable, len(server.creates)) == ((True, 0) if took > 60 else (False, 1))


def test_connection_trusts_the_certificates_of_the_settings(shell: str) -> None:
    settings = transport_settings()
    request = httpx.Request("GET", "http://127.0.0.1:1")
    routing: Any = SyncRouting(settings) if shell == "sync" else AsyncRouting(settings)
    with pytest.raises(httpx.ConnectError):
        _ = routing.handle_request(request) if shell == "sync" else asyncio.run(routing.handle_async_request(request))
    assert routing._by_proxy[None]._pool._ssl_context is settings.verify


def test_process_and_event_loop_have_connections_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(lambda request: [shown(request)]) as server, Client(KEY, server.url) as client:
        get(client)
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)
            get(client)
    assert server.connections == 2


FORKS = """
import os, sys
from unitask import Client, tasks
def submit(name):
    return client.submit(tasks.FaceSwap(target_image=f"https://me.test/{name}.jpg", swap_image="https://me.test/b.png")).id
client, (start, go) = Client("a-key-of-a-test-0123456789", sys.argv[1]), os.pipe()
submit("parent")
children = []
for number in range(40):
    if child := os.fork():
        children.append(child)
        continue
    os.close(go)
    os.read(start, 1)
    try:
        line = f"{number} {submit(f'{number}x0')} {submit(f'{number}x1')}"
    except BaseException as error:
        line = repr(error)
    os.write(1, f"{line}\\n".encode())
    os._exit(0)
os.close(go)
[os.waitpid(child, 0) for child in children]
os.write(1, f"parent {submit('parent-again')}\\n".encode())
"""


def test_each_of_many_forked_children_gets_its_own_task() -> None:
    with raw_server(lambda request: [shown(request)]) as server:
        ran = subprocess.run([sys.executable, "-c", FORKS, server.url], capture_output=True, text=True, check=True)
    *children, parent = ran.stdout.splitlines()

    assert len(server.creates) == 2 + 2 * len(children) == 82
    for line in children:
        number, *ids = line.split(" ")
        assert [f"{number}x{turn}" in task_id for turn, task_id in enumerate(ids)] == [True, True], line
    assert "parentagain" in parent


def test_submission_that_could_not_connect_is_not_in_doubt(shell: str) -> None:
    with raw_server(lambda _: []) as server:
        pass  # nothing listens there any more
    with pytest.raises(errors.Unreachable, match="was not sent, ConnectError"):
        perform(shell, server.url, submit, max_retries=0)


@leaks_sockets
@pytest.mark.parametrize("given", [None, transport.FastTransport()], ids=["httpx", "fast"])
def test_client_works_in_one_event_loop_after_another_and_keeps_one_pool(given: Any) -> None:
    with raw_server(lambda request: [shown(request)]) as server:
        client = AsyncClient(KEY, server.url, transport=given)
        for _ in range(5):
            asyncio.run(client.submit(FACE_SWAP))
        pools = len(client._pools)
        asyncio.run(client.aclose())

    assert len(server.creates) == 5
    assert pools == 1
    gc.collect()


def test_closing_outside_of_asyncio_hides_no_other_error() -> None:
    with pytest.raises(StopIteration):  # trio runs a coroutine so, and then raises that it is of another library
        AsyncClient(KEY).aclose().send(None)


def test_fast_transport_works_on_uvloop() -> None:
    async def submitted() -> None:
        async with AsyncClient(KEY, server.url, transport=transport.FastTransport()) as client:
            await client.submit(FACE_SWAP)

    with raw_server(lambda request: [shown(request)]) as server:
        uvloop.run(submitted())

    assert len(server.creates) == 1


@pytest.mark.parametrize(("call", "connections"), [(submit, 2), (get, 1)], ids=["submit", "get"])
def test_submission_is_not_sent_on_a_connection_that_was_idle(
    shell: str, call: Callable[[Any], Any], connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = types.SimpleNamespace(monotonic=lambda: time.monotonic() + 2.0)

    def idle(_: object) -> None:
        monkeypatch.setattr(httpcore._sync.http11, "time", later)
        monkeypatch.setattr(httpcore._async.http11, "time", later)
        monkeypatch.setattr(transport, "time", later)

    with raw_server(lambda request: [shown(request)]) as server:
        perform(shell, server.url, in_turn(call, idle, call))

    assert server.connections == connections


def test_many_runs_at_once_share_a_bounded_number_of_connections() -> None:
    async def call(client: Any) -> None:
        await asyncio.gather(*(client.run(FACE_SWAP) for _ in range(300)))

    with raw_server(lambda request: [shown(request)]) as server:
        perform("async", server.url, call)

    assert len(server.creates) == 300
    assert server.most_open <= 2 * IN_FLIGHT  # the pools of submissions and of polls


def test_submission_that_is_cancelled_before_its_turn_is_not_in_doubt(caplog: pytest.LogCaptureFixture) -> None:
    budget = Budget(100)

    async def cancelled(client: Any) -> None:
        calls = [asyncio.create_task(submit(client)) for _ in range(IN_FLIGHT + 8)]
        while len(server.creates) < IN_FLIGHT:
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    with raw_server(lambda _: dripping(server, b"HTTP/1.1 200 OK\r\n")) as server:
        perform("async", server.url, cancelled, budget=budget)

    assert [record.levelname for record in caplog.records] == ["WARNING"] * IN_FLIGHT
    assert all("may have been accepted" in record.getMessage() for record in caplog.records)
    assert budget.held_usd == pytest.approx(IN_FLIGHT * 0.01)


def test_submission_waits_for_its_turn_without_a_limit_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connections, "IN_FLIGHT", 1)
    arrived, large = asyncio.Event(), tasks.Raw("m", "t", {"text": "x" * 10_000})  # its body has 0.2 s more

    async def hanging_once(_: Any) -> Any:
        if not arrived.is_set():
            arrived.set()
            await asyncio.Event().wait()
        for _ in range(5):  # a limit that is over already would end the call here
            await asyncio.sleep(0)
        return responded(seen("pending"))

    async def both(client: Any) -> Any:
        first = asyncio.create_task(client.submit(large))
        await arrived.wait()
        return await asyncio.gather(first, submit(client), return_exceptions=True)

    first, second = perform("async", hanging_once, both, http_timeout=0.05, max_retries=0)  # type: ignore[arg-type]  # it is async
    assert isinstance(first, errors.SubmissionUncertain)
    assert second.id == TASK_ID


def test_poll_that_waited_long_for_its_turn_still_has_seconds_for_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connections, "IN_FLIGHT", 1)
    now, limits, timeout = 0.0, list[float](), asyncio.timeout

    async def slow(_: Any) -> Any:
        nonlocal now
        for _ in range(20):  # until the others wait for their turn
            await asyncio.sleep(0)
        now += 40.0
        return responded(seen("completed"))

    def noted(seconds: float) -> Any:
        limits.append(seconds)
        return timeout(seconds)

    async def main() -> None:
        transport = httpx.MockTransport(slow)
        async with AsyncClient(KEY, transport=transport, clock=lambda: Timestamp(now, 0.0)) as client:
            await asyncio.gather(*(client.get(TASK_ID) for _ in range(3)))

    monkeypatch.setattr(asyncio, "timeout", noted)
    asyncio.run(main())
    assert limits == [60.0, 20.0, 10.0]


def reported(error: BaseException, caplog: pytest.LogCaptureFixture) -> bool:
    """Whether an exception and the log name the task that goes on, or say that one may have been accepted."""
    notes = "\n".join(getattr(error, "__notes__", ()))
    return all("goes on" in text or "may have been accepted" in text for text in (notes, caplog.text))


@leaks_sockets
@pytest.mark.parametrize(
    ("packages", "step"), [(("unitask",), 1), (("unitask", "httpx", "httpcore", "h11"), 29)], ids=["ours", "all"]
)
def test_submission_that_is_interrupted_before_any_line_is_reported(
    packages: tuple[str, ...], step: int, caplog: pytest.LogCaptureFixture
) -> None:
    def call(interruption: Interruption) -> None:
        caplog.clear()
        before, is_reported, client = len(server.creates), False, Client(KEY, server.url)
        try:
            with interruption:
                submit(client)
        except KeyboardInterrupt as error:  # its traceback holds connections
            is_reported = reported(error, caplog)
        client.close()
        server.settle()
        arrived = len(server.creates) - before
        assert arrived <= 1
        assert is_reported or not arrived or not interruption.reached

    with raw_server(lambda request: [shown(request)]) as server:
        perform("sync", server.url, submit)  # loads and caches what the first call needs
        assert at_each_line(call, *packages, step=step) > 100


@leaks_sockets
def test_client_works_after_an_interruption_before_any_line() -> None:
    def call(interruption: Interruption) -> None:
        with Client(KEY, server.url) as client:
            get(client)  # makes a connection
            with contextlib.suppress(KeyboardInterrupt), interruption:
                get(client)
            assert get(client).id == TASK_ID  # in the same thread: it may hold a lock

    modules = ("httpcore._synchronization", "httpcore._sync.connection_pool")
    with raw_server(lambda request: [shown(request)]) as server:
        assert at_each_line(call, *modules) > 100
    gc.collect()


@types.coroutine
def cancelled_at(work: Any, at: int, waits: list[Any]) -> Any:
    """Await a coroutine, and cancel the task where it waits for the n-th time."""
    steps = work.__await__()
    go_on, value = steps.send, None
    while True:
        try:
            future = go_on(value)
        except StopIteration as end:
            return end.value
        if len(waits) == at:
            asyncio.current_task().cancel()  # type: ignore[union-attr]  # it runs in a task
        waits.append(future)
        try:
            go_on, value = steps.send, (yield future)
        except BaseException as error:
            go_on, value = steps.throw, error


@leaks_sockets
@pytest.mark.parametrize("shell", ["async", "fast"])
def test_submission_that_is_cancelled_at_any_step_is_reported(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    async def cancelled(client: Any) -> BaseException | None:
        async def work() -> None:
            await cancelled_at(submit(client), at, waits)

        try:
            await asyncio.create_task(work())
        except asyncio.CancelledError as error:  # with its notes, which `gather` would not return
            return error
        return None

    with raw_server(lambda request: [shown(request)]) as server:
        for at in range(1000):
            caplog.clear()
            before, waits = len(server.creates), list[Any]()
            error = perform(shell, server.url, cancelled)
            server.settle()
            arrived = len(server.creates) - before
            assert arrived <= 1
            if len(waits) <= at:
                break
            assert not arrived or error is None or reported(error, caplog), f"step {at}"
    assert at > 3
    gc.collect()
