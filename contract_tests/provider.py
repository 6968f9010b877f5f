"""Does a provider keep the contract? Named checks over plain HTTP, for the sandbox in-process or any base URL.

They speak to the provider without our client, so that a fault of the client cannot hide one of the provider.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS as ALL_CHECKS
from unitask_sandbox import Settings, create_app, samples

from .support import bundle, validator

BLANK = base64.b64decode(  # a grey picture of 64 x 64 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAK0lEQVR42u3MMREAAAgEoNfkRjeEmwcBqMlNRyAQCAQCgUAgEAgEAsHzYAFAdAEArKmlZAAAAABJRU5ErkJggg=="
)
# Checks of schemathesis that this API does not promise to keep.
LEFT_OUT = {"use_after_free": "a cancelled task can still be looked at: cancelling is not deleting"}
LEFT_OUT_OF_SEQUENCES = {
    **LEFT_OUT,
    "positive_data_acceptance": "a cancel that comes too late is refused, though nothing is wrong with the request",
}


@dataclass
class Provider:
    """A provider under test, and how time passes for it."""

    http: httpx.Client
    schema: Any  # of schemathesis, bound to this provider
    key: str
    advance: Callable[[], object]

    def request(self, method: str, path: str, key: str | None = "", **more: Any) -> httpx.Response:
        """One call, with the right key unless another or none is given."""
        headers = {} if key is None else {"x-api-key": key or self.key}
        return self.http.request(method, path, headers=headers, **more)


@contextmanager
def sandbox(defects: frozenset[str] = frozenset()) -> Iterator[Provider]:
    """The sandbox in-process; its tasks move only when the test lets them."""
    key = "contract"
    app = create_app(
        Settings(keys={key: 1000.0}, autorun=False, engine_process=False, fetch=_no_network, defects=defects)
    )
    schema = schemathesis.openapi.from_dict(provider_view())
    schema.app = app
    try:
        with httpx.Client(transport=_InProcess(app), base_url="http://sandbox.test") as http:
            yield Provider(http, schema, key, app.state.sandbox.advance)
    finally:
        app.state.sandbox.close()


@contextmanager
def remote(base_url: str, key: str) -> Iterator[Provider]:
    """A provider somewhere else, in real time."""
    schema = schemathesis.openapi.from_dict({**provider_view(), "servers": [{"url": base_url}]})
    schema.config.base_url = base_url
    with httpx.Client(base_url=base_url, timeout=60.0) as http:
        yield Provider(http, schema, key, lambda: time.sleep(1.0))


def provider_view() -> dict[str, Any]:
    """The bundle as a provider must keep it: a create is one of the task types of the catalogue.

    Only the operations on tasks are tried; the others follow when the sandbox has them. The key is left to
    `check_keys`: schemathesis would vary the header that every call here sets.
    """
    view = copy.deepcopy(bundle())
    del view["security"], view["components"]["securitySchemes"]
    branches = [
        {
            "type": "object",
            "required": ["model", "task_type", "input"],
            "properties": {
                "model": {"const": entry["model"]},
                "task_type": {"const": entry["task_type"]},
                "input": {"$ref": f"#/components/schemas/{entry['input']}"},
                "config": {"$ref": "#/components/schemas/TaskConfig"},
            },
        }
        for entry in view["x-tasks"]
        if entry["protocol"] == "unified"
    ]
    view["components"]["schemas"]["TaskRequest"] = {"anyOf": branches}
    created = view["paths"]["/api/v1/task"]["post"]["requestBody"]["content"]["application/json"]
    families = tuple(f"{entry['family']}." for entry in view["x-tasks"])
    created["examples"] = {name: example for name, example in created["examples"].items() if name.startswith(families)}
    view["paths"] = {path: item for path, item in view["paths"].items() if path.startswith("/api/v1/task")}
    del view["webhooks"]
    return view


def _no_network(url: str) -> bytes:
    raise OSError(f"{url} is not fetched in tests")


class _InProcess(httpx.BaseTransport):
    """Calls an ASGI application, one event loop a request."""

    def __init__(self, app: Any) -> None:
        self._app = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its whole answer."""

        async def call() -> httpx.Response:
            answer = await self._app.handle_async_request(request)
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        return asyncio.run(call())


# The checks. Each raises when the provider breaks the promise in its docstring.


def check_every_answer(provider: Provider, examples: int = 40) -> None:
    """Any request, right or wrong, gets an answer of the spec, operation by operation."""
    for result in provider.schema.get_all_operations():
        operation = result.ok()
        _hold(provider, operation.as_strategy(), examples)
        if operation.body:  # elsewhere a wrong request is mostly one with a parameter that nobody reads
            _hold(provider, operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE), examples)


def check_every_sequence(provider: Provider, examples: int = 15) -> None:
    """What one operation answers can be used in the next: create, then look, then cancel (the links of the spec)."""
    machine = provider.schema.as_state_machine()

    class Machine(machine):
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": {"x-api-key": provider.key}}

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            case.validate_response(response, excluded_checks=_checks(LEFT_OUT_OF_SEQUENCES), **more)

    Machine.run(settings=_settings(examples, stateful_step_count=6))


def check_face_swap(provider: Provider) -> None:
    """A face swap of two portraits is accepted, done, paid at its price, and its output is a picture."""
    task = _create(provider)
    task = _until_done(provider, task["task_id"])
    meta = task["meta"]
    (entry,) = (entry for entry in bundle()["x-tasks"] if entry["name"] == "FaceSwap")
    picture = provider.http.get(task["output"]["image_url"])
    assert task["status"] == "completed", task
    assert picture.status_code == 200, picture
    assert picture.headers["content-type"].startswith("image/"), picture.headers
    assert "0001" < meta["created_at"] <= meta["started_at"] <= meta["ended_at"], meta
    assert meta["usage"]["consume"] == round(entry["price"]["usd"] * 1e7), meta


def check_no_face(provider: Provider) -> None:
    """A picture without a face is accepted; the task ends failed, says so, and costs nothing."""
    blank = base64.b64encode(BLANK).decode()
    task = _until_done(provider, _create(provider, target_image=blank)["task_id"])
    assert task["status"] == "failed", task
    assert "no face found in the image" in str(task["error"]), task
    assert task["meta"]["usage"]["consume"] == 0, task


def check_keys(provider: Provider) -> None:
    """Without a key, and with a wrong one, nothing is done and nothing is shown."""
    for key in (None, "wrong"):
        for method, path in (("POST", "/api/v1/task"), ("GET", "/api/v1/task/x"), ("DELETE", "/api/v1/task/x")):
            answer = provider.request(method, path, key, json=_body() if method == "POST" else None)
            assert answer.status_code == 401, (method, path, answer)


def check_cancel(provider: Provider) -> None:
    """A pending task can be cancelled, and is done then; one that is done cannot."""
    pending = _create(provider)["task_id"]
    assert provider.request("DELETE", f"/api/v1/task/{pending}").status_code == 200
    assert _look(provider, pending)["status"] in ("cancelled", "canceled", "failed")
    done = _until_done(provider, _create(provider)["task_id"])["task_id"]
    answer = provider.request("DELETE", f"/api/v1/task/{done}")
    assert 400 <= answer.status_code < 500, answer


def check_bad_requests(provider: Provider) -> None:
    """A request that lacks something, or names something that is not there, is refused with an envelope."""
    bodies = ({}, {**_body(), "input": {}}, {**_body(), "model": "nobody/nothing"}, {**_body(), "input": None}, [])
    answers = [provider.request("POST", "/api/v1/task", json=body) for body in bodies]
    queries: tuple[dict[str, str], ...] = ({}, {"created_before": "-1"}, {"created_before": "soon"})
    answers += [provider.request("DELETE", "/api/v1/tasks", params=query) for query in queries]
    answers += [provider.request(method, "/api/v1/task/no-such-task") for method in ("GET", "DELETE")]
    for answer in answers:
        assert 400 <= answer.status_code < 500, (answer.request.url, answer)
        assert list(validator("ErrorEnvelope").iter_errors(answer.json())) == [], answer.text


CHECKS: tuple[Callable[[Provider], None], ...] = (
    check_every_answer,
    check_every_sequence,
    check_face_swap,
    check_no_face,
    check_keys,
    check_cancel,
    check_bad_requests,
)


def _hold(provider: Provider, strategy: Any, examples: int) -> None:
    @_settings(examples)
    @given(case=strategy)
    def hold(case: Any) -> None:
        case.call_and_validate(headers={"x-api-key": provider.key}, excluded_checks=_checks(LEFT_OUT))

    hold()


def _settings(examples: int, **more: Any) -> settings:
    phases, checks = [Phase.explicit, Phase.generate], list(HealthCheck)
    return settings(
        max_examples=examples, deadline=None, database=None, phases=phases, suppress_health_check=checks, **more
    )


def _checks(names: Iterable[str]) -> list[Any]:
    return [ALL_CHECKS.get_one(name) for name in names]


def _body(**pictures: str) -> dict[str, Any]:
    portraits = {"target_image": samples.ASTRONAUT, "swap_image": samples.GRACE_HOPPER}
    encoded = {name: base64.b64encode(path.read_bytes()).decode() for name, path in portraits.items()}
    return {"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": {**encoded, **pictures}}


def _create(provider: Provider, **pictures: str) -> dict[str, Any]:
    answer = provider.request("POST", "/api/v1/task", json=_body(**pictures))
    assert answer.status_code == 200, answer.text
    task: dict[str, Any] = answer.json()["data"]
    return task


def _look(provider: Provider, task_id: str) -> dict[str, Any]:
    answer = provider.request("GET", f"/api/v1/task/{task_id}")
    assert answer.status_code == 200, answer.text
    task: dict[str, Any] = answer.json()["data"]
    return task


def _until_done(provider: Provider, task_id: str, looks: int = 120) -> dict[str, Any]:
    for _ in range(looks):
        task = _look(provider, task_id)
        if str(task["status"]).casefold() not in ("pending", "processing", "staged"):
            return task
        provider.advance()
    raise AssertionError(f"task {task_id} is not done after {looks} looks")
