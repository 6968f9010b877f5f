"""Take the steps of a flow over httpx: send, sleep, call back."""

import contextlib
import functools
import inspect
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx

from ._base_client import BROKEN, FETCH_ERRORS, BaseClient, OnChange, checked_callback, checked_type, send_as_written
from ._bounded import bounded
from ._connections import IDLE, IDLE_FOR_SUBMISSIONS, Body, Pools, SyncRouting, common, watching
from ._core.effects import Flow, Reply, RowYielded, SendRequest, Sleep, Step, TaskUpdated
from ._drive import Drive
from ._environment import transport_settings
from .download import Batch, Sink, Target
from .errors import InvalidInput
from .inputs import Options, TaskInput, request_body
from .media import Media, read_file

T = TypeVar("T")


class SyncRunner(BaseClient):
    """The I/O of `Client`."""

    _http_client: httpx.Client | None
    _transport: Callable[[float], httpx.BaseTransport]  # by the seconds for which it keeps an idle connection

    def _set_up(
        self,
        transport: httpx.BaseTransport | None,
        http_client: httpx.Client | None,
        sleep: Callable[[float], object] | None,
    ) -> None:
        self._sleep = sleep or self.defaults.sleep
        checked_callback("sleep", self._sleep)
        checked_type("transport", transport, httpx.BaseTransport)
        checked_type("http_client", http_client, httpx.Client)
        transport = transport or self.defaults.transport
        if transport is not None:
            self._transport = lambda _: transport
        elif http_client is None:
            self._transport = functools.partial(SyncRouting, transport_settings(self._proxy))
        self._is_given = http_client is not None or isinstance(transport, httpx.HTTPTransport)
        self._pools: dict[int, Pools[httpx.Client]] = {}  # by process
        self._retired: list[Pools[httpx.Client]] = []  # no new call takes these; other threads may be using them

    def _close_pools(self) -> None:
        for pools in [*self._pools.values(), *self._retired]:
            if pools.process == os.getpid() and self._http_client is None:
                pools.submissions.close()
                pools.calls.close()
                pools.files.close()
        self._pools, self._retired = {}, []

    def _body(self, task: TaskInput[Any], options: Options, *, validate: bool) -> dict[str, Any]:
        return request_body(task, options, validate=validate, uploads=self._uploads.wanted)

    def _read(self, file: Media) -> bytes:
        return read_file(file)

    def _drive(self, flow: Flow[T], on_change: OnChange | None = None) -> T:
        self._check_open()
        checked_callback("on_change", on_change, optional=True)
        if inspect.iscoroutinefunction(on_change):
            raise InvalidInput("on_change is a coroutine function: give AsyncClient that, and Client a plain function")
        drive = Drive(flow)
        while (step := drive.step) is not None:
            with drive.guard():
                reply = self._take(step, on_change)
            drive.reply(reply)
        return drive.result

    def _updates(self, flow: Flow[Any]) -> Iterator[Step]:
        """Yield each step that reports a changed task or a row."""
        self._check_open()
        drive = Drive(flow)
        while (step := drive.step) is not None:
            with drive.guard():
                reply = self._take(step)
            if isinstance(step, TaskUpdated | RowYielded):
                yield step
            drive.reply(reply)

    def _take(self, step: Step, on_change: OnChange | None = None) -> Reply:
        match step:
            case SendRequest():
                return self._send(step)
            case Sleep(seconds, notification_of) if notification_of and seconds and self._webhooks:
                is_real = self._sleep is time.sleep  # a test clock does not wait for what may never come
                notified = self._webhooks.wait_for_notification(notification_of, seconds if is_real else 0)
                if notified is None and not is_real:
                    self._sleep(seconds)
                return self._resumed(notified)
            case Sleep():
                self._sleep(step.seconds)
            case TaskUpdated():
                self._note_change(step.task)
                if on_change:
                    on_change(step.task)
            case RowYielded():
                pass
        return self._resumed()

    def _send(self, send: SendRequest) -> Reply:
        progress = send.progress
        progress.left = False
        pools = self._connected()
        client = pools.submissions if send.submission else pools.calls
        response = body = None
        try:
            request = client.build_request(**self._request(send), extensions={"trace": watching(progress)})
            with bounded(self._allowed(send, request)):
                progress.left = None
                response = client.send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    body = Body(response)
                    for chunk in body.chunks or response.iter_raw():
                        body.take(chunk)
                    body.end()
                finally:
                    response.close()
            return self._response(response, body.content)
        except Exception as error:  # no exception may hide that a submission may have arrived
            return self._failure(error, progress, response, body)
        except BaseException:  # inside httpcore, an interruption may leave a connection locked for good
            if self._pools.pop(pools.process, None) is pools:
                self._retired.append(pools)
            raise

    def _connected(self) -> Pools[httpx.Client]:
        """Return the HTTP clients of this process."""
        self._check_going_on()
        process = os.getpid()
        if self._pools and process not in self._pools and self._is_given:
            given = "the transport or http_client of this client has connections of another process"
            raise InvalidInput(f"{given}: make a client in each process", undone="the request was not sent")
        return self._pools.get(process) or self._pools.setdefault(process, self._connect())

    def _connect(self) -> Pools[httpx.Client]:
        if given := self._http_client:
            return Pools(given, given, given)
        files = httpx.Client(
            transport=self._transport(IDLE),
            timeout=self.http_timeout,
            event_hooks={"request": [send_as_written]},
            **common(),
        )
        submissions, calls = (
            httpx.Client(transport=self._transport(idle), **common()) for idle in (IDLE_FOR_SUBMISSIONS, IDLE)
        )
        return Pools(submissions, calls, files)

    def _fetch_all(self, batch: Batch) -> list[Path | Exception]:
        fetch = functools.partial(self._fetched, batch)
        if batch.parallel == 1:
            return [fetch(target) for target in batch.targets]
        with ThreadPoolExecutor(batch.parallel) as pool:
            try:
                return list(pool.map(fetch, batch.targets))
            except BaseException:  # an interruption; the pool waits for running fetches, which end soon
                batch.stopped = True
                raise

    def _fetched(self, batch: Batch, target: Target) -> Path | Exception:
        try:
            return self._fetch(batch, target)
        except Exception as error:
            return error

    def _fetch(self, batch: Batch, target: Target) -> Path:
        with Sink(batch, target, self._retry_policy, self.http_timeout) as sink:
            while True:
                try:
                    if not sink.take_inline():
                        self._fetch_once(sink)
                    return sink.finish()
                except FETCH_ERRORS as error:
                    pause = sink.again(error, retryable=isinstance(error, BROKEN))
                self._sleep(pause)

    def _fetch_once(self, sink: Sink) -> None:
        with contextlib.ExitStack() as stack:
            with bounded(self.http_timeout):
                response = stack.enter_context(self._connected().files.stream(**self._file_request(sink)))
            sink.begin(self._head(response))
            if self._is_read(response):
                sink.write(response.content, self._clock())
                return
            chunks = iter(cast("httpx.SyncByteStream", response.stream))  # the Sink unpacks them
            while True:
                with bounded(self.http_timeout):
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                sink.write(chunk, self._clock())
