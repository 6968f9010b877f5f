"""Take the steps of a flow over httpx: send, sleep, call back."""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx

from ._base_client import BROKEN, FETCH_ERRORS, OnChange, check, check_type
from ._bounded import bounded
from ._connections import Answer, Body, SyncRouting, watching
from ._core import retry
from ._core.effects import Flow, Reply, RowYielded, SendRequest, Sleep, Step, TaskUpdated, Write
from ._core.pool import Turn
from ._core.recovery import Submission
from ._drive import Drive
from ._environment import transport_settings
from ._io import SyncIO
from .download import Batch, Sink, Target, is_outage, plan
from .errors import InvalidInput, JournalError, SubmissionUncertain, UnitaskError
from .inputs import Options, TaskInput, reads_files, request_body, warner
from .mapping import FILE_ATTEMPTS, FILE_PAUSE, MapResult, MapRun, is_result

T = TypeVar("T")


class SyncRunner(SyncIO):
    """Carries out the calls of `Client`."""

    def _set_up(
        self,
        transport: httpx.BaseTransport | None,
        http_client: httpx.Client | None,
        sleep: Callable[[float], object] | None,
    ) -> None:
        senders = {"transport": transport, "http_client": http_client, "proxy": self._proxy}
        given = [name for name, value in senders.items() if value is not None]
        if len(given) > 1:
            raise InvalidInput(f"{' and '.join(given)} exclude each other: give one of them")
        check_type("transport", transport, httpx.BaseTransport)
        check_type("http_client", http_client, httpx.Client)
        self._sleep = sleep or self.defaults.sleep
        check(callable(self._sleep), "sleep", sleep, "a function")
        self._http_client = http_client
        transport = transport or self.defaults.transport
        if transport is not None:
            self._transport = lambda _: transport
        elif http_client is None:
            self._transport = functools.partial(SyncRouting, transport_settings(self._proxy))
        self._given = http_client or transport
        self._reset()

    def _body(self, task: TaskInput[Any], options: Options, *, validate: bool) -> dict[str, Any]:
        uploads = self._uploads.wanted
        if not reads_files(task):
            return request_body(task, options, validate=validate, uploads=uploads)
        return self._blocking(request_body, task, options, validate=validate, uploads=uploads, warn=warner())

    def _drive(self, flow: Flow[T], on_change: OnChange | None = None) -> T:
        self._check_open()
        if on_change is not None:
            self._check_on_change(on_change)
        drive = Drive(flow)
        while (step := drive.step) is not None:
            reply = None
            with drive:
                reply = self._take(step, on_change)
            drive.reply(reply)
        return drive.result

    def _work(self, run: MapRun, turn: Turn[TaskInput[Any]]) -> MapResult[Any] | None:
        """Carry out a turn of a pool; return the result if its job has one now."""
        try:
            self._check_open()
            self._attempt(run, turn)
            if turn.error is not None and (run.pool.is_search(turn) or not is_result(turn.error)):
                raise turn.error
        except BaseException as error:
            self._report(turn.job.submission or Submission(), error)
            raise
        if isinstance(turn.error, SubmissionUncertain):
            self._report(Submission(), turn.error)
        return self._with_files(run, run.result(turn)) if run.finish(turn, turn.at) else None

    def _attempt(self, run: MapRun, turn: Turn[TaskInput[Any]]) -> None:
        job, pool = turn.job, run.pool
        try:
            if pool.is_search(turn):
                lost = run.take_lost()
                for one in lost:
                    one.uncertain = one.uncertain or self._uncertain(one)
                self._drive(pool.search(turn, lost))
            elif job.waiting is not None:
                if (changed := pool.polled(turn, self._send(pool.poll(turn)))) is not None:
                    self._note_change(changed)
                if turn.task is not None:
                    self._drive(pool.write_end(turn))
            elif not pool.known(turn):
                flow = None
                if job.submission is None:
                    body = self._body(job.input, run.options, validate=run.validate)
                    flow, turn.at = self._map_submission(run, job, body), self._clock()  # reading files takes time
                self._drive(pool.submit(turn, flow))
        except UnitaskError as error:
            turn.error = error

    def _with_files(self, run: MapRun, result: MapResult[Any]) -> MapResult[Any]:
        """Fetch the files of a result."""
        ledger, task, attempt, is_fresh = run.pool.ledger, result.task, 0, False
        if run.to is None or task is None or result.files:
            return result
        overwrite = run.overwrite or ledger is not None  # an interrupted call may have written them
        while True:
            attempt += 1
            try:
                batch = plan(task, run.to, previews=False, overwrite=overwrite, parallel=1)
                paths = batch.paths(self._fetch_all(batch, self._fetch))
                if ledger is not None:
                    self._drive(ledger.keep(result.index, paths))
                return replace(result, files=tuple(paths))
            except JournalError:
                raise
            except UnitaskError as error:
                failure = replace(result, error=error)
            if is_outage(failure.error) and attempt < FILE_ATTEMPTS and not run.pool.is_closed:
                self._sleep(FILE_PAUSE)
                continue
            if is_fresh:
                return failure
            # its URLs may have expired since an earlier call
            fresh = self._drive(retry.get_task(task.id, self._limits(), task.output_type))
            if fresh is None or fresh.raw.get("output") == task.raw.get("output"):
                return failure
            task, is_fresh = fresh, True

    def _updates(self, flow: Flow[Any]) -> Iterator[Step]:
        """Yield each step that reports a changed task or a row."""
        self._check_open()
        drive = Drive(flow)
        while (step := drive.step) is not None:
            reply = None
            with drive:
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
                    self._report_change(on_change, step.task)
            case Write():
                self._settled(step.change)
            case RowYielded():
                pass
        return self._resumed()

    def _send(self, send: SendRequest) -> Reply:
        progress, answer = send.progress, Answer()
        progress.left = False
        pools = self._connected()
        http = pools.submissions if send.submission else pools.calls
        try:
            if self._has_shortcut(send):
                self._exchange(pools, send, answer)
                return self._response(answer)
            request = http.build_request(**self._request(send), extensions={"trace": watching(progress)})
            allowed = self._allowed(send, int(request.headers.get("content-length", 0)))
            if self._http_client is None:  # what was written may still be on its way when reading begins
                request.extensions["timeout"].update(write=allowed, read=allowed)
            with self._turn(pools, send, allowed):
                progress.left = None
                response = http.send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    answer.headers, answer.status = dict(response.headers), response.status_code
                    if response.is_stream_consumed:  # by a mock, or a hook of http_client
                        answer.body.take(response.content)
                    else:
                        answer.body = Body(response.headers.get("content-encoding", ""))
                        for chunk in response.iter_raw():
                            answer.body.take(chunk)
                    answer.body.end()
                finally:
                    response.close()
            return self._response(answer)
        except JournalError:  # it was not sent
            raise
        except Exception as error:  # no exception may hide that a submission may have arrived
            return self._failure(error, progress, answer)

    def _fetch(self, batch: Batch, target: Target) -> Path:
        with Sink(batch, target, self._retry_policy, self.http_timeout) as sink:
            while True:
                try:
                    if not self._blocking(sink.take_inline):
                        self._fetch_once(sink)
                    return self._blocking(sink.finish)
                except FETCH_ERRORS as error:
                    pause = sink.again(error, self._clock(), retryable=isinstance(error, BROKEN))
                self._sleep(pause)

    def _fetch_once(self, sink: Sink) -> None:
        http = self._connected().files
        with bounded(self.http_timeout):
            request = http.build_request(**self._file_request(sink))
            response = http.send(request, stream=True, auth=None, follow_redirects=True)
        try:
            sink.begin(self._head(response))
            if self._is_read(response):
                self._blocking(sink.write, response.content, self._clock())
                return
            chunks = iter(cast("httpx.SyncByteStream", response.stream))  # the Sink unpacks them
            while True:
                with bounded(self.http_timeout):
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                self._blocking(sink.write, chunk, self._clock())
        finally:
            response.close()
