"""Carry out the turns of a pool, in threads or in asyncio tasks.

One worker at a time waits for the next turn. Workers are started as they are needed. On a test clock, one turn follows
another instead.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, cast

from ._connections import IN_FLIGHT
from ._core.pool import Turn
from ._core.recovery import Submission
from ._model.timestamp import Timestamp
from .mapping import MapResult, MapRun, MapTurn

RESULT, STOPPED = True, False  # a worker has a result; a worker has stopped
REPORTED_EVERY = 1.0  # seconds; the longest time between two reports of the progress


class _Reader(Iterator[Any]):
    """Reads inputs in a thread of its own, one at a time and as they are needed, since that may take long."""

    def __init__(self, inputs: Iterator[Any], wake: Callable[[], object]) -> None:
        self._inputs, self._wake = inputs, wake
        self._requests, self._is_requested = queue.SimpleQueue[bool](), False
        self._found = list[tuple[Any, BaseException | None]]()  # the next input, or what its iterator raised
        threading.Thread(target=self._read, daemon=True).start()

    def is_ready(self) -> bool:
        """Whether the next input was read; if not, it is read now."""
        if not self._is_requested:
            self._is_requested = True
            self._requests.put(True)
        return bool(self._found)

    def __next__(self) -> Any:
        (given, error), self._is_requested = self._found.pop(), False
        if error is not None:
            raise error
        return given

    def close(self) -> None:
        """Read no more."""
        self._requests.put(False)

    def _read(self) -> None:
        while self._requests.get():
            try:
                self._found.append((next(self._inputs), None))
            except BaseException as error:
                self._found.append((None, error))
            self._wake()


class Threads:
    """The workers of `Client.map`."""

    def __init__(
        self,
        run: MapRun,
        work: Callable[[MapRun, MapTurn], MapResult[Any] | None],
        idle: Callable[[MapRun, float, threading.Event], None],
        clock: Callable[[], Timestamp],
        report: Callable[[Submission, BaseException], None],
    ) -> None:
        self._run, self._work, self._idle, self._clock, self._report = run, work, idle, clock, report
        self._woken, self._leader, self._threads = threading.Event(), threading.Lock(), list[threading.Thread]()
        self._ended = queue.SimpleQueue[bool | BaseException]()  # what ended a worker, else RESULT or STOPPED

    def results_one_by_one(self) -> Iterator[MapResult[Any]]:
        """Yield the results, on a test clock."""
        try:
            while (turn := self._next_turn()) is not None:
                if (result := self._work(self._run, turn)) is not None:
                    self._run.put(result)
                    self._run.report()
                while (ready := self._run.pop()) is not None:
                    yield ready
        except BaseException as interruption:
            self._run.note(interruption)
            raise
        self._run.raise_stop()

    def results(self) -> Iterator[MapResult[Any]]:
        """Yield the results."""
        stopped, pool = 0, self._run.pool
        reader = pool.inputs = _Reader(pool.inputs or iter(()), self._wake)
        pool.is_input_ready = reader.is_ready
        try:
            self._start()
            while stopped < len(self._threads):
                try:
                    item = self._ended.get(timeout=REPORTED_EVERY)
                except queue.Empty:
                    item = RESULT
                if isinstance(item, BaseException):
                    raise item
                stopped += item is STOPPED
                self._run.report()
                while (ready := self._run.pop()) is not None:
                    self._wake(self._run.has_room)
                    yield ready
        except BaseException as interruption:
            self._run.pool.close()
            self._wake()
            try:
                for thread in self._threads:
                    thread.join()  # a submission that was sent gets its answer
            except BaseException as again:
                for turn in list(self._run.turns):  # whose answer may not come any more
                    self._report(turn.job.submission or Submission(), again)
                raise
            finally:
                self._run.note(interruption, [self._ended.get() for _ in range(self._ended.qsize())])
            raise
        finally:
            reader.close()
        self._run.raise_stop()

    def _start(self) -> None:
        thread = threading.Thread(target=self._go, daemon=True)
        thread.start()
        self._threads.append(thread)  # before it can have a turn, since its starter has the lead

    def _go(self) -> None:
        try:
            while (turn := self._lead()) is not None:
                if (result := self._work(self._run, turn)) is not None:
                    self._run.put(result)
                    self._ended.put(RESULT)
                self._wake(self._run.brings_forward(turn.job.due))
            self._ended.put(STOPPED)
        except BaseException as error:
            self._ended.put(error)

    def _lead(self) -> MapTurn | None:
        with self._leader:
            turn = self._next_turn()
            if turn is not None and len(self._threads) < IN_FLIGHT:
                with contextlib.suppress(RuntimeError):  # the system has no more threads
                    self._start()
            return turn

    def _next_turn(self) -> MapTurn | None:
        while True:
            self._woken.clear()
            at = self._clock()
            found = self._run.next(at)
            if found is None or isinstance(found, Turn):
                return found
            self._idle(self._run, found - at.monotonic, self._woken)

    def _wake(self, needed: bool = True) -> None:
        if needed:
            self._woken.set()


class AsyncTasks:
    """The workers of `AsyncClient.map`: tasks that end when nothing is due, and one that starts them."""

    def __init__(
        self,
        run: MapRun,
        work: Callable[[MapRun, MapTurn], Awaitable[MapResult[Any] | None]],
        idle: Callable[[MapRun, float, asyncio.Event], Awaitable[None]],
        clock: Callable[[], Timestamp],
    ) -> None:
        self._run, self._work, self._idle, self._clock = run, work, idle, clock
        self._woken, self._workers = asyncio.Event(), set[asyncio.Task[None]]()
        self._ended = asyncio.Queue[bool | BaseException]()  # what ended a task, else RESULT or STOPPED

    async def results_one_by_one(self) -> AsyncGenerator[MapResult[Any]]:
        """Yield the results, on a test clock."""
        try:
            while (turn := await self._next_turn()) is not None:
                if (result := await self._work(self._run, turn)) is not None:
                    self._run.put(result)
                    self._run.report()
                while (ready := self._run.pop()) is not None:
                    yield ready
        except BaseException as interruption:
            self._run.note(interruption)
            raise
        self._run.raise_stop()

    async def results(self) -> AsyncGenerator[MapResult[Any]]:
        """Yield the results."""
        item: bool | BaseException = RESULT
        leader = asyncio.create_task(self._lead())
        try:
            while item is not STOPPED:
                try:
                    item = await self._next_item()
                except TimeoutError:
                    item = RESULT
                if isinstance(item, BaseException):
                    raise item
                self._run.report()
                while (ready := self._run.pop()) is not None:
                    self._wake(self._run.has_room)
                    yield ready
        except BaseException as interruption:
            self._run.pool.close()
            self._wake()
            try:
                await asyncio.gather(leader, *self._workers)  # a submission that was sent gets its answer
            finally:  # also when it is interrupted again
                self._run.note(interruption, [self._ended.get_nowait() for _ in range(self._ended.qsize())])
            raise
        self._run.raise_stop()

    async def _next_item(self) -> bool | BaseException:
        if not self._ended.empty():
            return self._ended.get_nowait()
        async with asyncio.timeout(REPORTED_EVERY):
            return await self._ended.get()

    async def _lead(self) -> None:
        """Start a worker for each turn that is due."""
        try:
            while (turn := await self._next_turn()) is not None:
                self._workers.add(asyncio.create_task(self._go(turn)))
                if len(self._workers) >= IN_FLIGHT:
                    await asyncio.wait(self._workers, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*self._workers)
            self._ended.put_nowait(STOPPED)
        except BaseException as error:
            self._ended.put_nowait(error)

    async def _go(self, turn: MapTurn) -> None:
        """Carry out a turn, and then others that are due."""
        found: MapTurn | float | None = turn
        try:
            while isinstance(found, Turn):
                if (result := await self._work(self._run, found)) is not None:
                    self._run.put(result)
                    self._ended.put_nowait(RESULT)
                found = self._run.next(self._clock(), waits=False)
            self._wake(self._run.brings_forward(found))
        except BaseException as error:
            self._ended.put_nowait(error)
        self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _next_turn(self) -> MapTurn | None:
        while True:
            self._woken.clear()
            at = self._clock()
            found = self._run.next(at)
            if found is None or isinstance(found, Turn):
                return found
            await self._idle(self._run, found - at.monotonic, self._woken)

    def _wake(self, needed: bool = True) -> None:
        if needed:
            self._woken.set()
