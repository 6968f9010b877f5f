"""Run a scenario with either client, over scripted answers.

Time passes only while the client sleeps, and one second with each request.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from unitask import AsyncClient, Client, Timestamp, errors, tasks
from unitask_contract import bundle
from unitask_contract.exchange import Exchange

from .scenarios import Answer, Scenario

SHELLS = ("sync", "async")
BASE_URL = "https://provider.test"
KEY = "0123456789abcdef" * 4
UNIX = 1.7e9
WITH_A_TASK_ID = ("wait", "get", "cancel")
WITH_A_TASK = ("submit", "run")


@dataclass
class Played:
    """How a call ended, and the operation of each request, in order."""

    sent: list[str] = field(default_factory=list[str])
    result: Any = None
    error: errors.UnitaskError | None = None


class Time:
    """A clock that advances with sleeps and requests.

    Args:
        slept: Receives every pause, in seconds.
    """

    def __init__(self, slept: list[float]) -> None:
        self._now = 0.0
        self._slept = slept

    def clock(self) -> Timestamp:
        return Timestamp(self._now, UNIX + self._now)

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        if seconds:
            self._slept.append(round(seconds, 9))

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def tick(self) -> None:
        """Pass the time of a request."""
        self._now += 1.0


def scripted(scenario: Scenario, shell: str, on_exchange: Callable[[Exchange], object] = lambda _: None) -> Played:
    """Run a scenario with the client of a kind: "sync" or "async"."""
    played, time = Played(), Time([])
    coming: dict[str, list[Answer]] = {}
    for answer in scenario.answers:
        coming.setdefault(answer.operation, []).append(answer)

    def reply(request: httpx.Request) -> httpx.Response:
        time.tick()
        operation = bundle.operation_of(request.method, request.url.path)
        played.sent.append(operation)
        left = coming.get(operation)
        if not left:
            raise AssertionError(f"{scenario.name}: the script has no answer to {operation}")
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer.fails:
            raise getattr(httpx, answer.fails)("as the scenario says", request=request)
        on_exchange(Exchange.of(request, answer.status, answer.content))
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.content)

    settings: dict[str, Any] = {"transport": httpx.MockTransport(reply), "clock": time.clock}
    try:
        if shell == "sync":
            with Client(KEY, BASE_URL, sleep=time.sleep, **settings) as client:
                played.result = _call(scenario, client)
        else:
            played.result = asyncio.run(_call_async(scenario, time, settings))
    except errors.UnitaskError as error:
        played.error = error
    return played


async def _call_async(scenario: Scenario, time: Time, settings: dict[str, Any]) -> Any:
    async with AsyncClient(KEY, BASE_URL, sleep=time.sleep_async, **settings) as client:
        called = _call(scenario, client)
        return await called if not hasattr(called, "__aiter__") else [row async for row in called]


def _call(scenario: Scenario, client: Any) -> Any:
    call = getattr(client, scenario.call)
    if scenario.call in WITH_A_TASK:
        assert scenario.task
        name, fields = scenario.task
        return call(getattr(tasks, name)(**fields), **scenario.options)
    if scenario.call in WITH_A_TASK_ID:
        return call(scenario.task_id, **scenario.options)
    made = call(**scenario.options)
    return list(made) if hasattr(made, "__next__") else made


def problems(scenario: Scenario, played: Played) -> Iterator[str]:
    """Yield each difference between how a call ended and what its scenario expects."""
    expect, error = scenario.expect, played.error
    if "sent" in expect and played.sent != expect["sent"]:
        yield f"sent {played.sent}, not {expect['sent']}"
    if error is None and "raises" in expect:
        yield f"returned {played.result!r} instead of raising {expect['raises']}"
    elif error is None:
        yield from _wrong_result(expect, played.result)
    elif "raises" in expect:
        yield from _wrong_error(scenario, error)
    else:
        yield f"raised {type(error).__name__}: {error}"


def _wrong_error(scenario: Scenario, error: errors.UnitaskError) -> Iterator[str]:
    expect = scenario.expect
    raises: str | list[str] = expect["raises"]
    for kind in [raises] if isinstance(raises, str) else raises:
        if not isinstance(error, getattr(errors, kind)):
            yield f"raised {type(error).__name__}, not {kind}: {error}"
    if expect.get("says", "") not in str(error):
        yield f"the error does not say {expect['says']!r}: {error}"
    wanted = scenario.task_id if expect.get("task_id", True) is True else expect["task_id"] or None
    if error.task_id != wanted:
        yield f"the error has the task id {error.task_id!r}, not {wanted!r}"
    if expect.get("next_step", "") not in error.next_step:
        yield f"the next step of the error is {error.next_step!r}, not {expect['next_step']!r}"


def _wrong_result(expect: Mapping[str, Any], result: Any) -> Iterator[str]:
    for name, value in expect.get("returns", {}).items():
        got = json.loads(json.dumps(getattr(result, name), default=str))  # an enum by its word, a file by its address
        if got != value:
            yield f"{name} is {got!r}, not {value!r}"
    for name, value in expect.get("output", {}).items():
        if (got := getattr(result.output, name)) != value:
            yield f"output.{name} is {got!r}, not {value!r}"
