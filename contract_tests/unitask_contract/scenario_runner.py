"""A scenario played: by either client, over scripted answers, or over a sandbox that gives them.

    ways    scripted    a transport gives the answers; no server
            socket      the sandbox gives them over a real connection

Time passes only while the client sleeps, and a second with each request.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from unitask import AsyncClient, Client, Output, errors, tasks
from unitask._model.timestamp import Timestamp
from unitask_contract import bundle
from unitask_contract.exchange import Exchange
from unitask_contract.scenarios import Answer, Scenario

SHELLS = ("sync", "async")
BASE_URL = "https://provider.test"
KEY = "0123456789abcdef" * 4
UNIX = 1.7e9
ABOUT_A_TASK = ("wait", "get", "cancel")
OF_A_TASK = ("submit", "run")


@dataclass
class Played:
    """What a call did and how it ended.

    Attributes:
        sent: The operation of each request, in order.
        slept: Every pause between requests, in seconds.
    """

    sent: list[str] = field(default_factory=list[str])
    slept: list[float] = field(default_factory=list[float])
    result: Any = None
    error: errors.UnitaskError | None = None


class Time:
    """Time that passes while somebody sleeps, and a second with each request.

    Args:
        slept: Takes every pause that is one, in seconds.
    """

    def __init__(self, slept: list[float]) -> None:
        self._now = 0.0
        self._slept = slept

    def clock(self) -> Timestamp:
        """Now."""
        return Timestamp(self._now, UNIX + self._now)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        if seconds:
            self._slept.append(round(seconds, 9))

    async def sleep_async(self, seconds: float) -> None:
        """Let time pass."""
        self.sleep(seconds)

    def tick(self) -> None:
        """Let a request take its time."""
        self._now += 1.0


def scripted(scenario: Scenario, shell: str, tell: Callable[[Exchange], object] = lambda _: None) -> Played:
    """Play a scenario over scripted answers with a client of either kind, and tell each exchange."""
    played = Played()
    time = Time(played.slept)
    reply = _script(scenario, played, time)

    def told(request: httpx.Request) -> httpx.Response:
        answer = reply(request)
        tell(Exchange.of(request, answer.status_code, answer.content))
        return answer

    perform(scenario, shell, played, time, BASE_URL, transport=httpx.MockTransport(told))
    return played


def _script(scenario: Scenario, played: Played, time: Time) -> Callable[[httpx.Request], httpx.Response]:
    coming: dict[str, list[Answer]] = defaultdict(list)
    for answer in scenario.answers:
        coming[answer.operation].append(answer)

    def reply(request: httpx.Request) -> httpx.Response:
        time.tick()
        operation = bundle.operation_of(request.method, request.url.path)
        played.sent.append(operation)
        left = coming[operation]
        if not left:
            raise AssertionError(f"{scenario.name}: no answer to {operation} is in the script")
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer.fails:
            raise getattr(httpx, answer.fails)("as the scenario wants it", request=request)
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.content)

    return reply


def perform(scenario: Scenario, shell: str, played: Played, time: Time, base_url: str, **settings: Any) -> None:
    """Make the call of a scenario, and note how it ends."""
    settings = {"api_key": KEY, "base_url": base_url, "clock": time.clock, **settings}
    try:
        if shell == "sync":
            with Client(sleep=time.sleep, **settings) as client:
                played.result = _call(scenario, client)
        else:
            played.result = asyncio.run(_perform_async(scenario, {**settings, "sleep": time.sleep_async}))
    except errors.UnitaskError as error:
        played.error = error


async def _perform_async(scenario: Scenario, settings: dict[str, Any]) -> Any:
    async with AsyncClient(**settings) as client:
        called = _call(scenario, client)
        return await called if not hasattr(called, "__aiter__") else [row async for row in called]


def _call(scenario: Scenario, client: Any) -> Any:
    call = getattr(client, scenario.call)
    if scenario.call in OF_A_TASK:
        assert scenario.task
        name, fields = scenario.task
        return call(getattr(tasks, name)(**fields), **scenario.options)
    if scenario.call in ABOUT_A_TASK:
        return call(scenario.task_id, **scenario.options)
    made = call(**scenario.options)
    return list(made) if hasattr(made, "__next__") else made


def problems(scenario: Scenario, played: Played) -> Iterator[str]:
    """Where a call ended otherwise than its scenario says, each in a line; nothing when it ended so."""
    expect = scenario.expect
    if "sent" in expect and played.sent != expect["sent"]:
        yield f"sent {played.sent}, not {expect['sent']}"
    if (kind := expect.get("raises")) is None:
        if played.error is not None:
            yield f"raised {type(played.error).__name__}: {played.error}"
        else:
            yield from _differences(expect, played.result)
        return
    if played.error is None:
        yield f"returned {played.result!r} instead of raising {kind}"
        return
    yield from _wrong_error(scenario, played.error)


def _wrong_error(scenario: Scenario, error: errors.UnitaskError) -> Iterator[str]:
    expect = scenario.expect
    raises: str | list[str] = expect["raises"]
    kinds = [raises] if isinstance(raises, str) else raises
    yield from (
        f"raised {type(error).__name__}, no {kind}: {error}"
        for kind in kinds
        if not isinstance(error, getattr(errors, kind))
    )
    if expect.get("says", "") not in str(error):
        yield f"the error does not say {expect['says']!r}: {error}"
    wanted = scenario.task_id if expect.get("task_id", True) is True else expect["task_id"] or None
    if error.task_id != wanted:
        yield f"the error has the task id {error.task_id!r}, not {wanted!r}"
    if expect.get("next_step", "") not in error.next_step:
        yield f"the next step of the error is {error.next_step!r}, not {expect['next_step']!r}"


def _differences(expect: Mapping[str, Any], result: Any) -> Iterator[str]:
    for name, value in expect.get("returns", {}).items():
        if (got := _value(getattr(result, name))) != value:
            yield f"{name} is {got!r}, not {value!r}"
    if "output" in expect:
        yield from _fields(expect["output"], result.output)


def _fields(wanted: Mapping[str, Any], output: Output) -> Iterator[str]:
    for name, value in wanted.items():
        if (got := getattr(output, name)) != value:
            yield f"output.{name} is {got!r}, not {value!r}"


def _value(value: Any) -> Any:
    """The value in the words of a scenario: an enum by its word, files by their addresses."""
    return json.loads(json.dumps(value, default=str))
