"""The core played by hand: replies go in, steps come out. No mocks, and no clock but the one that is kept here."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from unitask import errors
from unitask._core import flows
from unitask._core.effects import (
    Delivery,
    Flow,
    Reply,
    Response,
    Resumed,
    SendRequest,
    Sleep,
    Step,
    TaskUpdated,
    TransportFailure,
)
from unitask._core.polling import DurationTracker
from unitask._core.retry_policy import RetryPolicy, Timeouts
from unitask._model.task import OutputT, Task
from unitask._model.timestamp import Timestamp

TASK_ID = "90efd2db-bcfc-413f-a0be-c893850c9d68"
MODEL, TASK_TYPE = "Qubico/image-toolkit", "face-swap"
UNIX = 1_700_000_000.0  # when every script begins
TICKS = 4096.0  # the same on the other clock, which counts from some moment of its own
AT_SOME_TIME = Timestamp(0.0, UNIX)
RESEND = RetryPolicy(random=lambda: 0.5)  # pauses of 0.375, 0.75, 1.5, ... seconds


def answer(status: int = 200, body: Any = b"", **headers: str) -> Response:
    """An answer; a body of bytes as it is, any other as JSON. Underscores in header names stand for hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, content, AT_SOME_TIME)


def task_data(status: object = "pending", **fields: Any) -> dict[str, Any]:
    """A task as the provider describes it."""
    return {"task_id": TASK_ID, "model": MODEL, "task_type": TASK_TYPE, "status": status, **fields}


def seen(status: object = "pending", **fields: Any) -> Response:
    """HTTP 200 with our task in this status."""
    return answer(200, {"code": 200, "data": task_data(status, **fields), "message": "success"})


def refused(status: int, message: str = "no", **headers: str) -> Response:
    """A refusal in the API's own envelope."""
    return answer(status, {"code": status, "message": message, "data": None}, **headers)


NEVER_LEFT = TransportFailure(Delivery.NEVER, "ConnectError: refused", AT_SOME_TIME)
CUT_OFF = TransportFailure(Delivery.MAYBE, "ReadTimeout", AT_SOME_TIME)
GATEWAY = answer(502, b"<html>Bad Gateway</html>")


def limits(
    timeout: float | None = 60.0,
    patience: float = 30.0,
    http_timeout: float = 20.0,
    durations: DurationTracker | None = None,
) -> Timeouts:
    """Limits with pauses that are known."""
    return Timeouts(timeout, patience, http_timeout, RESEND, durations or DurationTracker())


@dataclass
class Played:
    """What a flow did, and how it ended."""

    steps: list[Step] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    ended_at: float = 0.0
    result: Any = None
    error: errors.UnitaskError | None = None

    @property
    def sent(self) -> list[str]:
        """The method of each request."""
        return [step.method for step in self.steps if isinstance(step, SendRequest)]

    @property
    def sleeps(self) -> list[float]:
        """Every pause that is one, in seconds."""
        return [step.seconds for step in self.steps if isinstance(step, Sleep) and step.seconds]

    @property
    def changes(self) -> list[object]:
        """The status of each change that was told."""
        return [step.task.status for step in self.steps if isinstance(step, TaskUpdated)]

    @property
    def timeouts(self) -> list[float | None]:
        """The limit of each request, in seconds."""
        return [step.timeout for step in self.steps if isinstance(step, SendRequest)]


def play(
    flow: Flow[Any],
    *replies: Response | TransportFailure,
    took: float = 0.0,
    interrupted: tuple[int, BaseException] | None = None,
    dated: bool = False,
) -> Played:
    """Drive a flow to its end.

    Args:
        flow: What to drive.
        *replies: What its requests bring, in order; the last one repeats.
        took: Seconds that each request takes.
        interrupted: The number of a step, counted from 0, and what is thrown into the flow there.
        dated: Whether answers have a Date header.
    """
    played, now, script = Played(), 0.0, _then_last(replies)
    try:
        step = next(flow)
        for number in itertools.count():
            played.steps.append(step)
            if interrupted and interrupted[0] == number:
                flow.throw(interrupted[1])
            reply: Reply = Resumed(AT_SOME_TIME)
            if isinstance(step, SendRequest):
                played.sent_at.append(now)
                now, reply = now + took, next(script)
                if dated and isinstance(reply, Response):
                    date = formatdate(UNIX + now, usegmt=True)
                    reply = dataclasses.replace(reply, headers={"date": date, **reply.headers})
            elif isinstance(step, Sleep):
                now += step.seconds
            step = flow.send(dataclasses.replace(reply, at=Timestamp(TICKS + now, UNIX + now)))
    except StopIteration as end:
        played.result = end.value
    except errors.UnitaskError as error:
        played.error = error
    played.ended_at = now
    return played


def _then_last(replies: tuple[Response | TransportFailure, ...]) -> Iterable[Response | TransportFailure]:
    return itertools.chain(replies, itertools.repeat(replies[-1])) if replies else iter(())


def run_flow(body: dict[str, Any], output_type: type[OutputT], kind: str, timeouts: Timeouts) -> Flow[Task[OutputT]]:
    """Create a task and wait until it is completed, as the clients do."""
    task = yield from flows.submit(body, output_type, timeouts.retry_policy)
    return (yield from flows.wait(task.id, output_type, kind, timeouts, seen=task))
