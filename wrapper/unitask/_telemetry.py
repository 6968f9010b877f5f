"""What others may watch: OpenTelemetry spans, when its API is installed, and nothing when it is not.

    unitask.create     model, task type, task id
    unitask.wait       task id, polls, status, cost; model and task type as the answer says
    unitask.download   task id, files

Spans hold ids and figures, never an input, an output or a key. What httpx, httpcore and openai log passes a filter that
hides keys and webhook secrets.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from ._core.effects import Flow, SendRequest
from ._model.secret import Hider
from ._model.task import OutputT, Task
from ._version import __version__

_LOGGERS = (  # of the libraries that log requests and answers
    *("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks"),
    *("httpx2", "httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy", "httpcore2.socks"),
    *("openai", "openai._base_client", "openai._response", "openai._legacy_response"),
)


class Span:
    """Start a span; do nothing when no OpenTelemetry SDK is set up."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def note(self, **facts: str | float | None) -> None:
        """Add what is known by now; None is left out."""
        if self._span is not None:
            self._span.set_attributes({f"unitask.{name}": fact for name, fact in facts.items() if fact is not None})

    def note_task(self, task: Task[Any]) -> None:
        """Add what a task says of itself."""
        names = {"task_id": task.id, "model": task.model, "task_type": task.task_type, "status": str(task.state)}
        self.note(cost_usd=task.cost_usd, **{name: word for name, word in names.items() if word})


@contextmanager
def span(name: str, **facts: str | float | None) -> Generator[Span]:
    """Around something that is watched; an error that leaves it is noted, with its task id."""
    tracer = _tracer()
    if tracer is None:
        yield Span(None)
        return
    started = tracer.start_span(f"unitask.{name}")
    under_way = Span(started)
    under_way.note(**facts)
    try:
        yield under_way
    except BaseException as error:
        under_way.note(task_id=getattr(error, "task_id", None))
        started.record_exception(error)
        started.set_status(import_module("opentelemetry.trace").StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        started.end()


def watched(flow: Flow[Task[OutputT]], name: str, **facts: str | float | None) -> Flow[Task[OutputT]]:
    """A flow that ends with a task, with a span around it."""
    with span(name, **facts) as under_way:
        polls = 0
        try:
            step = next(flow)
            while True:
                polls += isinstance(step, SendRequest)
                try:
                    reply = yield step
                except BaseException as interruption:
                    flow.throw(interruption)
                    raise
                step = flow.send(reply)
        except StopIteration as end:
            task: Task[OutputT] = end.value
        finally:
            under_way.note(polls=polls)
        under_way.note_task(task)
        return task


def load() -> None:
    """Load OpenTelemetry, if it is there, before any call needs it (see `requests.load`)."""
    _tracer()


@cache
def _tracer() -> Any:
    try:
        trace = import_module("opentelemetry.trace")
    except ImportError:
        return None
    return trace.get_tracer("unitask", __version__)


class _LogFilter(logging.Filter):
    """Takes the secrets of all hiders out of log records."""

    def __init__(self) -> None:
        super().__init__()
        self._hiders: list[weakref.ref[Hider]] = []  # no lock: a fork could leave it held

    def add(self, hider: Hider) -> None:
        self._hiders.append(weakref.ref(hider, self._hiders.remove))
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)  # once: a logger takes a filter no second time

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            told = text = record.getMessage()
        except (TypeError, ValueError):  # as logging itself says when the record is written
            return True
        for reference in list(self._hiders):
            hider = reference()
            text = text if hider is None else hider.text(text)
        if text != told:
            record.msg, record.args = text, ()
        return True


_LOG_FILTER = _LogFilter()


def keep_out_of_logs(hider: Hider) -> None:
    """While the hider lives, hide its secrets in what httpx, httpcore and openai log: headers of answers, at DEBUG."""
    _LOG_FILTER.add(hider)
