"""A clock, a quick engine, and an HTTP client of an in-process sandbox that checks every answer against the spec."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from unitask_api import contract
from unitask_sandbox import Sandbox
from unitask_sandbox.engines import EngineResult
from unitask_sandbox.failures import TaskFailure

MODEL, TASK_TYPE = "Qubico/image-toolkit", "face-swap"
CREATE = "/api/v1/task"
NOW = 1_800_000_000.25
PRICE = 100_000  # credits of a face swap
NO_FACE = b"a picture without a face"
BASE_URL = "http://sandbox.test"
KEY = {"x-api-key": "sandbox"}


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def face_swap(target: bytes = b"target", **changes: Any) -> dict[str, Any]:
    """The body of a create request, with other or additional top-level fields."""
    given = {"target_image": base64_of(target), "swap_image": base64_of(b"source")}
    return {"model": MODEL, "task_type": TASK_TYPE, "input": given, **changes}


def simulated(model: str = "Qubico/flux1-schnell", task_type: str = "txt2img", **given: Any) -> dict[str, Any]:
    """The body of a create request of a task without an engine."""
    return {"model": model, "task_type": task_type, "input": given or {"prompt": "a lighthouse"}}


SONG = simulated("music-u", "generate_music", gpt_description_prompt="a song", lyrics_type="instrumental")
SONG_PRICE = 500_000  # points


def encoded(body: object) -> bytes:
    return json.dumps(body).encode()


def fake_swap(given: Any) -> EngineResult:
    """Replace the face swap: quick, and without OpenCV."""
    if given["target_image"] == NO_FACE:
        raise TaskFailure("no face found in the image")
    return EngineResult({"image_url": (b"<" + given["target_image"] + b">", "png")})


class Http:
    """A client of an app in this process; each call has an event loop of its own."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        self.sandbox: Sandbox = app.state.sandbox
        self.headers: Mapping[str, str] = KEY

    def __call__(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request and check the answer against the spec."""
        response = self.unchecked(method, path, **request)
        if path.startswith(("/api/", "/account/", "/v1/", "/mj/")):
            check_against_spec(response)
        return response

    def unchecked(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
                return await client.request(method, path, **{"headers": self.headers, **request})

        return asyncio.run(send())

    def create(self, body: dict[str, Any] | None = None, **changes: Any) -> str:
        """Create a task, by default a face swap, and return its id."""
        answer = self("POST", CREATE, json=body or face_swap(**changes))
        assert answer.status_code == 200, answer.text
        task_id: str = answer.json()["data"]["task_id"]
        return task_id

    def task(self, task_id: str) -> dict[str, Any]:
        data: dict[str, Any] = self("GET", f"{CREATE}/{task_id}").json()["data"]
        return data

    def statuses(self, *task_ids: str) -> list[str]:
        return [self.task(task_id)["status"] for task_id in task_ids]

    def done(self, model: str, task_type: str, **given: object) -> dict[str, Any]:
        """Create a task, run it and return it; media may be given as bytes."""
        fields = {name: base64_of(value) if isinstance(value, bytes) else value for name, value in given.items()}
        task_id = self.create(simulated(model, task_type, **fields))
        self.sandbox.advance()
        return self.task(task_id)

    def file(self, task: dict[str, Any], name: str = "image_url") -> bytes:
        """The file of a completed task."""
        assert task["status"] == "completed", task["error"]
        return self.unchecked("GET", task["output"][name]).content

    @property
    def usd(self) -> float:
        """What the account has left."""
        left: float = self.unchecked("GET", "/account/info").json()["data"]["equivalent_in_usd"]
        return left


def check_against_spec(response: httpx.Response) -> None:
    """Fail unless the spec allows the operation to give this answer."""
    request = response.request
    try:
        name, _ = contract.match(request.method, request.url.path)
        allowed = contract.operation(name).components
    except LookupError:
        allowed = {"default": "LlmError" if request.url.path.startswith("/v1/") else "ErrorEnvelope"}
    component = allowed.get(str(response.status_code)) or allowed["default"]
    schema = {"$ref": f"#/components/schemas/{component}", "components": contract.document()["components"]}
    body = response.json()
    Draft202012Validator(schema).validate(body)
    assert response.headers["content-type"] == "application/json"
    assert request.url.path.startswith("/v1/") or body.get("code", response.status_code) == response.status_code


@dataclass
class Receiver:
    """Stands for the endpoint of a webhook: keeps what comes, and answers from a script, then with 200."""

    answers: list[int | Exception] = field(default_factory=list)
    got: list[tuple[str, dict[str, Any], Mapping[str, str]]] = field(default_factory=list)

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.got.append((url, json.loads(body), headers))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


def fail_at_first(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, error: Exception) -> None:
    """Let a method raise three times before it works."""
    works, left = getattr(place, name), [error] * 3

    def method(*args: Any, **kwargs: Any) -> Any:
        if left:
            raise left.pop()
        return works(*args, **kwargs)

    monkeypatch.setattr(place, name, method)


SandboxWith = Callable[..., Sandbox]
HttpWith = Callable[..., Http]
