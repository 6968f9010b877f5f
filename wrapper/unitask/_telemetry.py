"""OpenTelemetry spans, when its API is installed, and a filter that hides secrets in the logs of other libraries.

Spans hold ids and figures, never an input, an output or a key.
"""

import logging
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from ._core.effects import Flow
from ._model.secret import Hider
from ._model.task import OutputT, Task
from ._version import __version__

_LOGGERS = (  # of the libraries that log requests and answers
    *("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks"),
    *("httpx2", "httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy", "httpcore2.socks"),
    *("openai", "openai._base_client", "openai._response", "openai._legacy_response"),
)


@contextmanager
def span(name: str, **facts: str | float | None) -> Generator[Callable[..., None]]:
    """Put a span around a block, which gets a function that adds attributes; an error that leaves it is recorded."""
    started = tracer().start_span(f"unitask.{name}") if tracer() else None

    def note(**facts: str | float | None) -> None:
        if started is not None:
            started.set_attributes({f"unitask.{name}": fact for name, fact in facts.items() if fact is not None})

    note(**facts)
    try:
        yield note
    except BaseException as error:
        if started is not None:
            note(task_id=getattr(error, "task_id", None))
            started.record_exception(error)
            started.set_status(import_module("opentelemetry.trace").StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        if started is not None:
            started.end()


def watched(flow: Flow[Task[OutputT]], name: str, **facts: str | float | None) -> Flow[Task[OutputT]]:
    """Put a span around a flow that ends with a task."""
    return flow if tracer() is None else _watched(flow, name, facts)


def _watched(flow: Flow[Task[OutputT]], name: str, facts: dict[str, Any]) -> Flow[Task[OutputT]]:
    with span(name, **facts) as note:
        task = yield from flow
        names = {"task_id": task.id, "model": task.model, "task_type": task.task_type, "status": str(task.state)}
        note(cost_usd=task.cost_usd, **{name: word for name, word in names.items() if word})
        return task


@cache
def tracer() -> Any:
    """Return the tracer, None where OpenTelemetry is not installed; a client loads it before a call needs it."""
    try:
        trace = import_module("opentelemetry.trace")
    except ImportError:
        return None
    return trace.get_tracer("unitask", __version__)


class _LogFilter(logging.Filter):
    """Removes the secrets of all hiders from log records."""

    def __init__(self) -> None:
        super().__init__()
        self.hiders: list[weakref.ref[Hider]] = []  # no lock: a fork could leave it held

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = text = record.getMessage()
        except (TypeError, ValueError):  # as logging itself says when the record is written
            return True
        for reference in list(self.hiders):
            hider = reference()
            text = text if hider is None else hider.text(text)
        if text != message:
            record.msg, record.args = text, ()
        return True


_LOG_FILTER = _LogFilter()


def keep_out_of_logs(hider: Hider) -> None:
    """While the hider lives, hide its secrets in what httpx, httpcore and openai log: headers of answers, at DEBUG."""
    _LOG_FILTER.hiders.append(weakref.ref(hider, _LOG_FILTER.hiders.remove))
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_LOG_FILTER)  # a logger adds a filter only once
