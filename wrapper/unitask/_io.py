"""What differs between the clients, in two classes with the same methods; the rest of the async client is generated."""

import asyncio
import contextlib
import inspect
import json
import math
import os
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import httpx

from ._base_client import OnChange, check, send_as_written
from ._bounded import bounded
from ._connections import Answer, Exchange, Exchanger, Pools, connect
from ._core.effects import SendRequest
from ._mapping_client import MappingClient
from ._model.task import Output, Task
from ._workers import AsyncTasks, Threads
from .download import Batch, Target
from .errors import InvalidInput
from .mapping import MapResult, MapRun, MapTurn

P = ParamSpec("P")
T = TypeVar("T")
JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
JSON_CONTENT = ("content-type", "application/json")
SHORTEST_CALL = 10.0  # seconds that a poll gets, or all of its own, however long it waited for its turn


class SyncIO(MappingClient[httpx.Client, httpx.BaseTransport, object]):
    """The I/O of `Client`: connections belong to a process, files are fetched in threads."""

    _given: httpx.Client | httpx.BaseTransport | None
    _sleep: Callable[[float], object]
    _transport: Callable[[float], httpx.BaseTransport]  # by the seconds for which it keeps an idle connection

    def _reset(self) -> None:
        self._pools: dict[int, Pools[httpx.Client]] = {}  # by process
        self._retired: list[Pools[httpx.Client]] = []  # no new call takes these; other threads may be using them

    def _connected(self) -> Pools[httpx.Client]:
        """Return the HTTP clients of this process."""
        self._check_going_on()
        process = os.getpid()
        if self._pools and process not in self._pools and isinstance(self._given, httpx.Client | httpx.HTTPTransport):
            given = "the transport or http_client of this client has connections of another process"
            raise InvalidInput(f"{given}: make a client in each process", undone="the request was not sent")
        return self._pools.get(process) or self._pools.setdefault(process, self._connect())

    def _connect(self) -> Pools[httpx.Client]:
        if given := self._http_client:
            return Pools(given, given, given)
        return connect(httpx.Client, self._transport, self.http_timeout, send_as_written)

    def _close_pools(self) -> None:
        for pools in [*self._pools.values(), *self._retired]:
            if pools.process == os.getpid() and self._http_client is None:
                for http in (pools.submissions, pools.calls, pools.files):
                    http.close()
        self._reset()

    def _has_shortcut(self, send: SendRequest) -> bool:  # noqa: ARG002
        return False

    def _exchange(self, pools: Pools[httpx.Client], send: SendRequest, answer: Answer) -> None:
        raise NotImplementedError

    @contextmanager
    def _turn(self, pools: Pools[httpx.Client], send: SendRequest, allowed: float) -> Generator[None]:
        """Limit the time of a call, in seconds."""
        if send.check is not None:
            send.check()
        try:
            with bounded(allowed):
                yield
        except Exception:
            raise
        except BaseException:  # inside httpcore, an interruption may leave a connection locked for good
            if self._pools.pop(pools.process, None) is pools:
                self._retired.append(pools)
            raise

    def _blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    def _settled(self, change: Future[Any]) -> None:
        """Wait for a change of a journal, whatever its outcome."""
        wait([change])

    def _check_on_change(self, on_change: OnChange | None) -> None:
        check(on_change is None or callable(on_change), "on_change", on_change, "a function")
        if inspect.iscoroutinefunction(on_change):
            raise InvalidInput("on_change is a coroutine function: give AsyncClient that, and Client a plain function")

    def _report_change(self, on_change: OnChange, task: Task[Output]) -> None:
        on_change(task)

    def _fetch_all(self, batch: Batch, fetch: Callable[[Batch, Target], Path]) -> list[Path | Exception]:
        def fetched(target: Target) -> Path | Exception:
            try:
                return fetch(batch, target)
            except Exception as error:
                return error

        if batch.parallel == 1:
            return [fetched(target) for target in batch.targets]
        with ThreadPoolExecutor(batch.parallel) as pool:
            try:
                return list(pool.map(fetched, batch.targets))
            except BaseException:  # an interruption; the pool waits for running fetches, which end soon
                batch.stopped = True
                raise

    def _idle(self, run: MapRun, seconds: float, woken: threading.Event) -> None:
        """Let time pass until the next turn of a pool is due, or it is woken."""
        notified, is_real = None, self._sleep is time.sleep  # a test clock does not wait for what may never come
        if self._webhooks is not None:
            tasks = run.pool.waiting.keys()
            notified = self._webhooks.wait_for_notification(tasks, seconds if is_real else 0, woken)
        elif is_real:
            woken.wait(min(seconds, threading.TIMEOUT_MAX))
        if notified is not None:
            run.notify(notified, self._clock().monotonic)
        elif not is_real:
            self._sleep(seconds)

    def _results(
        self, run: MapRun, work: Callable[[MapRun, MapTurn], MapResult[Any] | None]
    ) -> Iterator[MapResult[Any]]:
        """Carry out a pool, and yield each result as it comes."""
        workers = Threads(run, work, self._idle, self._clock, self._report)
        return workers.results() if self._sleep is time.sleep else workers.results_one_by_one()


class AsyncIO(MappingClient[httpx.AsyncClient, httpx.AsyncBaseTransport, Awaitable[object]]):
    """The I/O of `AsyncClient`: connections belong to an event loop, files are read and written in threads."""

    _given: httpx.AsyncClient | httpx.AsyncBaseTransport | None
    _exchanger: Exchanger | None
    _sleep: Callable[[float], Awaitable[object]]
    _transport: Callable[[float], httpx.AsyncBaseTransport]

    def _reset(self) -> None:
        # by event loop; connections refer to their loop, so weak keys would be kept, too
        self._pools: dict[asyncio.AbstractEventLoop, Pools[httpx.AsyncClient]] = {}
        self._exchanger = self._given if isinstance(self._given, Exchanger) else None
        self._settling: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        self._guard = threading.Lock()  # of `_settling`

    def _connected(self) -> Pools[httpx.AsyncClient]:
        """Return the HTTP clients of this process and event loop."""
        self._check_going_on()
        loop = asyncio.get_running_loop()
        pools = self._pools.get(loop)
        if pools is None or pools.process != os.getpid():
            if self._http_client is not None and self._pools:
                given = "http_client has connections of another process or event loop"
                raise InvalidInput(f"{given}: make a client in each", undone="the request was not sent")
            for other in [other for other in list(self._pools) if other.is_closed()]:
                self._pools.pop(other, None)  # their sockets are closed with it
            pools = self._pools[loop] = self._connect()
        return pools

    def _connect(self) -> Pools[httpx.AsyncClient]:
        if given := self._http_client:
            return Pools(given, given, given)
        return connect(httpx.AsyncClient, self._transport, self.http_timeout, _send_as_written)

    async def _close_pools(self) -> None:
        try:
            pools = self._pools.pop(asyncio.get_running_loop(), None)
        except RuntimeError:  # trio, whose own error says so, runs this
            return
        if pools and self._http_client is None:
            for http in (pools.submissions, pools.calls, pools.files):
                await http.aclose()

    def _has_shortcut(self, send: SendRequest) -> bool:
        if self._exchanger is None:
            return False
        return self._exchanger.reaches(self.base_url if send.path[0] == "/" else send.path)

    async def _exchange(self, pools: Pools[httpx.AsyncClient], send: SendRequest, answer: Answer) -> None:
        """Send a request without objects of httpx, and read its answer."""
        assert self._exchanger is not None
        base, path = (self.base_url, send.path) if send.path[0] == "/" else (send.path, "")
        if send.params:
            path = f"{path}?{httpx.QueryParams(send.params)}"
        headers, body = self._call_headers, b""
        if send.json is not None:
            self._hide_secret_of(send)
            headers, body = (*headers, JSON_CONTENT), JSON.encode(send.json).encode()
        allowed = self._allowed(send, len(body))
        begun = self._clock().monotonic if pools.gate.locked() else None
        async with pools.gate:
            left = self._time_left(send, allowed, begun)
            request = Exchange(send.method, base, path, headers, body)
            await self._exchanger.exchange(request, answer, send.progress, left)

    @asynccontextmanager
    async def _turn(self, pools: Pools[httpx.AsyncClient], send: SendRequest, allowed: float) -> AsyncGenerator[None]:
        """Wait until a call may begin; limit its time, in seconds. What a poll has waited is taken from its time."""
        begun = self._clock().monotonic
        async with pools.gate, asyncio.timeout(self._time_left(send, allowed, begun)):
            yield

    def _time_left(self, send: SendRequest, allowed: float, begun: float | None) -> float:
        """Return the seconds that are left for a call whose turn it is; `begun` is when it began to wait for it."""
        if send.check is not None:
            send.check()
        if send.timeout is None or begun is None:
            return allowed
        return max(min(SHORTEST_CALL, allowed), allowed - (self._clock().monotonic - begun))

    async def _blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    async def _settled(self, change: Future[Any]) -> None:
        """Wait for a change of a journal, whatever its outcome."""
        if not change.done():
            settled = asyncio.get_running_loop().create_future()
            change.add_done_callback(lambda _: self._wake_soon(settled))
            await settled

    def _wake_soon(self, settled: asyncio.Future[None]) -> None:
        """Complete a future from another thread, together with the others: each wake of the loop costs system calls."""
        loop = settled.get_loop()
        with self._guard, contextlib.suppress(RuntimeError):  # that loop is closed, so nothing waits there
            others = self._settling.setdefault(loop, [])
            others.append(settled)
            if len(others) == 1:
                loop.call_soon_threadsafe(self._wake, loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            settling = self._settling.pop(loop)
        for settled in settling:
            if not settled.done():
                settled.set_result(None)

    def _check_on_change(self, on_change: OnChange | None) -> None:
        check(on_change is None or callable(on_change), "on_change", on_change, "a function")

    async def _report_change(self, on_change: OnChange, task: Task[Output]) -> None:
        if inspect.isawaitable(awaited := on_change(task)):
            await awaited

    async def _fetch_all(
        self, batch: Batch, fetch: Callable[[Batch, Target], Awaitable[Path]]
    ) -> list[Path | BaseException]:
        at_once, gate = asyncio.Semaphore(batch.parallel), self._connected().file_gate

        async def fetched(target: Target) -> Path:
            async with at_once, gate:
                return await fetch(batch, target)

        return await asyncio.gather(*map(fetched, batch.targets), return_exceptions=True)

    async def _idle(self, run: MapRun, seconds: float, woken: asyncio.Event) -> None:
        """Let time pass until the next turn of a pool is due, or it is woken."""
        notified, is_real = None, self._sleep is asyncio.sleep  # a test clock does not wait for what may never come
        if self._webhooks is not None:
            tasks = run.pool.waiting.keys()
            notified = await self._webhooks.wait_for_notification_async(tasks, seconds if is_real else 0, woken)
        elif is_real:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if seconds == math.inf else seconds):
                    await woken.wait()
        if notified is not None:
            run.notify(notified, self._clock().monotonic)
        elif not is_real:
            await self._sleep(seconds)

    def _results(
        self, run: MapRun, work: Callable[[MapRun, MapTurn], Awaitable[MapResult[Any] | None]]
    ) -> AsyncGenerator[MapResult[Any]]:
        """Carry out a pool, and yield each result as it comes."""
        workers = AsyncTasks(run, work, self._idle, self._clock)
        return workers.results() if self._sleep is asyncio.sleep else workers.results_one_by_one()


async def _send_as_written(request: httpx.Request) -> None:
    send_as_written(request)
