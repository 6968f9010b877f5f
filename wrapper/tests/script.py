"""Drive the flows of the core without a client: replies go in, steps come out, and time is a number."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from hypothesis import strategies as st
from unitask import Timestamp, errors
from unitask._core import flows
from unitask._core.effects import Flow, Reply, Response, Resumed, SendRequest, Sleep, TaskUpdated, TransportFailure
from unitask._core.polling import DurationTracker
from unitask._core.retry import RetryPolicy, Timeouts
from unitask._model.task import Output, OutputT, Task

TASK_ID = "90efd2db-bcfc-413f-a0be-c893850c9d68"
OUTPUT_URL = "https://out.test/temp/swapped.png"
MODEL, TASK_TYPE = "Qubico/image-toolkit", "face-swap"
BODY = {"model": MODEL, "task_type": TASK_TYPE, "input": {}}
UNIX = 1_700_000_000.0  # when every script begins
TICKS = 4096.0  # the same on the monotonic clock
AT_SOME_TIME = Timestamp(0.0, UNIX)
RESEND = RetryPolicy(random=lambda: 0.5)  # pauses of 0.375, 0.75, 1.5, ... seconds


def answer(status: int = 200, body: Any = b"", **headers: str) -> Response:
    """Make an answer; a body of bytes as it is, any other as JSON. Underscores in header names stand for hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, content, AT_SOME_TIME)


def task_data(status: object = "pending", **fields: Any) -> dict[str, Any]:
    return {"task_id": TASK_ID, "model": MODEL, "task_type": TASK_TYPE, "status": status, **fields}


def finished(output: Any = None, **fields: Any) -> Task[Output]:
    return Task(task_data("completed", output=output or {"image_url": OUTPUT_URL}, **fields), Output)


def seen(status: object = "pending", **fields: Any) -> Response:
    return answer(200, {"code": 200, "data": task_data(status, **fields), "message": "success"})


def refused(status: int, message: str = "no", data: Any = None, **headers: str) -> Response:
    return answer(status, {"code": status, "message": message, "data": data}, **headers)


def json_values(keys: Iterable[str], texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Draw any JSON value with these texts, and NaN; its objects have some of these keys."""
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*keys]), inner, max_size=4),
        max_leaves=12,
    )


def history_page(*rows: object, total: object = None) -> Response:
    """A page of the history; a text stands for the row of the task with this id."""
    data = [{"task_id": row} if isinstance(row, str) else row for row in rows]
    return answer(200, {"code": 200, "data": {"data": data, "total": total}, "message": "success"})


NEVER_LEFT = TransportFailure("ConnectError: refused", AT_SOME_TIME, never_left=True)
CUT_OFF = TransportFailure("ReadTimeout", AT_SOME_TIME)
GATEWAY = answer(502, b"<html>Bad Gateway</html>")


def limits(
    timeout: float | None = 60.0,
    patience: float = 30.0,
    http_timeout: float = 20.0,
    durations: DurationTracker | None = None,
) -> Timeouts:
    return Timeouts(timeout, patience, http_timeout, RESEND, durations or DurationTracker())


Answers = Callable[[SendRequest], Response | TransportFailure]


@dataclass
class Played:
    """The steps of a flow, when each began, and how it ended; times in seconds."""

    steps: list[Any] = field(default_factory=list)
    begun_at: list[float] = field(default_factory=list)
    ended_at: float = 0.0
    result: Any = None
    error: errors.UnitaskError | None = None

    @property
    def sent(self) -> list[str]:
        return [step.method for step in self.steps if isinstance(step, SendRequest)]

    @property
    def sent_at(self) -> list[float]:
        return [moment for step, moment in zip(self.steps, self.begun_at, strict=True) if isinstance(step, SendRequest)]

    @property
    def sleeps(self) -> list[float]:
        return [step.seconds for step in self.steps if isinstance(step, Sleep) and step.seconds]

    @property
    def changes(self) -> list[object]:
        return [step.task.status for step in self.steps if isinstance(step, TaskUpdated)]

    @property
    def timeouts(self) -> list[float | None]:
        return [step.timeout for step in self.steps if isinstance(step, SendRequest)]


def drive(flow: Flow[Any], respond: Callable[[Any, float], tuple[Reply | BaseException | None, float]]) -> Played:
    """Drive a flow to its end.

    `respond` returns the reply to a step, and the seconds that it takes. An exception is thrown into the flow.
    """
    played, now = Played(), 0.0
    try:
        step = next(flow)
        while True:
            played.steps.append(step)
            played.begun_at.append(now)
            reply, seconds = respond(step, now)
            now += seconds
            if isinstance(reply, BaseException):
                step = flow.throw(reply)
            else:
                at = Timestamp(TICKS + now, UNIX + now)
                step = flow.send(Resumed(at) if reply is None else dataclasses.replace(reply, at=at))
    except StopIteration as end:
        played.result = end.value
    except errors.UnitaskError as error:
        played.error = error
    played.ended_at = now
    return played


def play(
    flow: Flow[Any],
    *replies: Response | TransportFailure | Answers,  # to its requests, in order; the last one repeats
    took: float = 0.0,  # seconds that each request takes
    interrupted: tuple[int, BaseException] | None = None,  # at which step, and what is thrown into the flow there
    dated: bool = False,  # whether answers have a Date header
) -> Played:
    """Drive a flow to its end."""
    script, steps = itertools.chain(replies, itertools.repeat(replies[-1] if replies else None)), itertools.count()

    def respond(step: Any, now: float) -> tuple[Reply | BaseException | None, float]:
        if interrupted and next(steps) == interrupted[0]:
            return interrupted[1], 0.0
        if not isinstance(step, SendRequest):
            return None, step.seconds if isinstance(step, Sleep) else 0.0
        reply = next(script)
        reply = reply(step) if callable(reply) else reply
        if dated and isinstance(reply, Response):
            date = formatdate(UNIX + now + took, usegmt=True)
            reply = dataclasses.replace(reply, headers={"date": date, **reply.headers})
        return reply, took

    return drive(flow, respond)


def run_flow(body: dict[str, Any], output_type: type[OutputT], kind: str, timeouts: Timeouts) -> Flow[Task[OutputT]]:
    """Submit a task and wait until it is completed, as the clients do."""
    task = yield from flows.submit(body, output_type, timeouts.retry_policy)
    return (yield from flows.wait(task.id, output_type, kind, timeouts, seen=task))
