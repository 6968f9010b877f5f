"""What the tests of the sandbox share: a clock, a create, and a client that holds every answer against the spec."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.routing import Match
from unitask_api import contract
from unitask_sandbox import Sandbox
from unitask_sandbox.engines import EngineResult
from unitask_sandbox.failures import TaskFailure

MODEL, TASK_TYPE = "Qubico/image-toolkit", "face-swap"
NOW = 1_800_000_000.25
PRICE = 100_000
NO_FACE = b"a picture without a face"
BASE_URL = "http://sandbox.test"


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def face_swap(target: bytes = b"target", **changes: Any) -> dict[str, Any]:
    """The body of a create, with other or additional top-level fields."""
    given = {"target_image": base64_of(target), "swap_image": base64_of(b"source")}
    return {"model": MODEL, "task_type": TASK_TYPE, "input": given, **changes}


def encoded(body: object) -> bytes:
    return json.dumps(body).encode()


def fake_swap(given: Any) -> EngineResult:
    """Stands in for the face swap: quick, and without OpenCV."""
    if given["target_image"] == NO_FACE:
        raise TaskFailure("no face found in the image")
    return EngineResult({"image_url": (b"<" + given["target_image"] + b">", "png")})


class Http:
    """A client of an app in this process; each call has an event loop of its own, and none runs the lifespan."""

    def __init__(self, app: Starlette, key: str | None = "sandbox") -> None:
        self.app = app
        self.sandbox: Sandbox = app.state.sandbox
        self.headers = {} if key is None else {"x-api-key": key}

    def __call__(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer to a request; every answer of the API is held against the spec."""
        response = self.unchecked(method, path, **request)
        if path.startswith(("/api/", "/account/", "/v1/", "/mj/")):
            hold_against_spec(self.app, response)
        return response

    def unchecked(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = request.pop("headers", self.headers)

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=headers) as client:
                return await client.request(method, path, **request)

        return asyncio.run(send())

    def create(self, **changes: Any) -> str:
        """Create a face swap and return its id."""
        task_id: str = self("POST", "/api/v1/task", json=face_swap(**changes)).json()["data"]["task_id"]
        return task_id

    def task(self, task_id: str) -> dict[str, Any]:
        """Look at a task."""
        data: dict[str, Any] = self("GET", f"/api/v1/task/{task_id}").json()["data"]
        return data


def hold_against_spec(app: Starlette, response: httpx.Response) -> None:
    """Fail unless the answer is one that the spec allows the operation to give."""
    if response.request.method == "HEAD":
        return
    operation = _operation(app, response.request)
    schema = _answer_schema(operation, response.status_code)
    Draft202012Validator({**schema, "components": contract.document()["components"]}).validate(response.json())
    assert response.headers["content-type"] == "application/json"
    if not response.request.url.path.startswith("/v1/") and "code" in response.json():  # mj/v2 is flat, without one
        assert response.json()["code"] == response.status_code


def _operation(app: Starlette, request: httpx.Request) -> dict[str, Any]:
    scope = {"type": "http", "path": request.url.path, "method": request.method}
    for route in app.router.routes:
        if route.matches(scope)[0] is Match.FULL and route.path in contract.document()["paths"]:
            found: dict[str, Any] = contract.document()["paths"][route.path][request.method.lower()]
            return found
    return {"responses": {"default": {"$ref": "#/components/responses/Refusal"}}}


def _answer_schema(operation: dict[str, Any], status: int) -> dict[str, Any]:
    answer = operation["responses"].get(str(status)) or operation["responses"]["default"]
    if "$ref" in answer:
        answer = contract.document()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema: dict[str, Any] = answer["content"]["application/json"]["schema"]
    return schema


SandboxWith = Callable[..., Sandbox]
HttpWith = Callable[..., Http]
