"""Tasks and bodies of the bundle, and a client of either kind over scripted answers."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import settings
from unitask import AsyncClient, Client, TaskInput, errors, tasks
from unitask._core.retry import RetryPolicy
from unitask_contract import bundle as contract
from unitask_contract.inputs import least_object

from .scenario_runner import BASE_URL, KEY, Time
from .scenario_runner import SHELLS as SHELLS
from .scenarios import TASK_ID

FACE_SWAP = tasks.FaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.png")
ENTRIES = contract.entries()
bundle = contract.document
TASK_OPERATIONS = ("create_task", "get_task", "cancel_task", "cancel_tasks")

Reply = httpx.Response | httpx.RequestError
Call = Callable[[Any], Any]
Plant = Callable[[pytest.MonkeyPatch], None]


def examples(part: str | None = None, *, of_tasks: bool = False) -> dict[str, dict[str, Any]]:
    """Return the bodies of spec/examples by name: of one part (request, 200 or default), of operations on tasks."""
    return {
        name: example
        for name, example in contract.examples().items()
        if part in (None, example["x-part"]) and (not of_tasks or example["x-operation"] in TASK_OPERATIONS)
    }


def tries(number: int) -> int:
    return number * settings().max_examples // 100  # hypothesis tries 100 by default


def component_of(example: dict[str, Any]) -> str:
    return contract.components_of(example["x-operation"])[example["x-part"]]


def address(kind: str) -> str:
    return f"https://me.test/a.{'jpg' if kind == 'image' else 'bin'}"


def required(name: str) -> dict[str, Any]:
    schema = contract.component(ENTRIES[name]["input"])
    least_fields = least_object(schema, address).items()
    return {field: value for field, value in least_fields if "const" not in schema["properties"][field]}


def make(name: str, **changes: Any) -> TaskInput[Any]:
    task: TaskInput[Any] = getattr(tasks, name)(**{**required(name), **changes})
    return task


@dataclass
class Trace:
    """What a call sent, how long it slept, and how it ended."""

    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[httpx.Headers] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    result: Any = None
    error: errors.UnitaskError | None = None

    def submissions(self) -> int:
        return sum(method == "POST" for method, _, _ in self.requests)

    def outcome(self) -> object:
        if self.error is not None:
            return type(self.error), str(self.error), self.error.task_id
        return getattr(self.result, "raw", None) or repr(self.result)


def answer(status: int, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(status, content=content, headers={"content-type": "application/json", **headers})


def envelope(status: object, **fields: Any) -> dict[str, Any]:
    data = {"task_id": TASK_ID, "model": FACE_SWAP.MODEL, "task_type": FACE_SWAP.TASK_TYPE, "status": status, **fields}
    return {"code": 200, "data": data, "message": "success"}


def perform(
    shell: str, call: Call, submissions: Iterable[Reply] = (), polls: Iterable[Reply] = (), **settings: Any
) -> Trace:
    """Make a call over scripted answers, in time that passes only while the client sleeps; the last answer repeats."""
    trace = Trace()
    time = Time(trace.sleeps)
    to_posts, to_others = [*submissions], [*polls]

    def reply(request: httpx.Request) -> httpx.Response:
        time.tick()
        body = json.loads(request.content) if request.content else None
        trace.requests.append((request.method, request.url.raw_path.decode(), body))
        trace.headers.append(request.headers)
        script = to_posts if request.method == "POST" else to_others
        scripted = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(scripted, httpx.RequestError):
            raise scripted
        return httpx.Response(scripted.status_code, headers=scripted.headers, content=scripted.content)

    settings = {"transport": httpx.MockTransport(reply), "clock": time.clock, **settings}
    made, sleep = (AsyncClient, time.sleep_async) if shell == "async" else (Client, time.sleep)
    client: Any = made(KEY, BASE_URL, sleep=sleep, **settings)
    client._retry_policy = RetryPolicy(lambda: 0.5)

    async def main() -> Any:
        async with client:
            return await call(client)

    try:
        if shell == "async":
            trace.result = asyncio.run(main())
        else:
            with client:
                trace.result = call(client)
    except errors.UnitaskError as error:
        trace.error = error
    return trace


def replaced(place: Any, name: str, value: Any) -> Plant:
    return lambda monkeypatch: monkeypatch.setattr(place, name, value)


def quick_client(base_url: str) -> Client:
    return Client("sandbox", base_url, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))


def rows(history: Any) -> Any:
    if not hasattr(history, "__aiter__"):
        return list(history)

    async def gather() -> list[Any]:
        return [row async for row in history]

    return gather()
