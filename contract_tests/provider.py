"""Does a provider keep the contract? Named checks over plain HTTP, for the sandbox in-process or any base URL.

They speak to the provider without our client, so that a fault of the client cannot hide one of the provider.
"""

from __future__ import annotations

import base64
import copy
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS as ALL_CHECKS
from unitask_contract.serving import InProcess
from unitask_sandbox import Settings, create_app, samples

from .support import bundle, validator

BLANK = base64.b64decode(  # a grey picture of 64 x 64 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAK0lEQVR42u3MMREAAAgEoNfkRjeEmwcBqMlNRyAQCAQCgUAgEAgEAsHzYAFAdAEArKmlZAAAAABJRU5ErkJggg=="
)
HISTORY = "/api/open/tasks/histories"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say one word."}]}
# Checks of schemathesis that this API does not promise to keep.
LEFT_OUT = {"use_after_free": "a cancelled task can still be looked at: cancelling is not deleting"}
LEFT_OUT_OF_SEQUENCES = {
    **LEFT_OUT,
    "positive_data_acceptance": "a cancel that comes too late is refused, though nothing is wrong with the request",
}


LONGEST_SECONDS = 10_000  # of a video or a song


@dataclass
class Inside:
    """What only a provider in-process has: other accounts, a clock, and webhooks that arrive here.

    Attributes:
        later: Seconds by which its clock is ahead.
        answers: The statuses of the answers to the next webhooks; then 200.
        told: Each webhook that came: headers and body.
    """

    later: float = 0.0
    answers: list[int] = field(default_factory=list)
    told: list[tuple[Mapping[str, str], Any]] = field(default_factory=list)
    other_key: str = "another contract"
    poor_key: str = "no credit"

    def clock(self) -> float:
        """Now, for the provider."""
        return time.time() + self.later

    def receive(self, _url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """A webhook comes."""
        self.told.append((headers, json.loads(body)))
        return self.answers.pop(0) if self.answers else 200


@dataclass
class Provider:
    """A provider under test, and how time passes for it.

    Attributes:
        schema: Of schemathesis, bound to this provider.
        advance: Lets it work on.
        inside: What only a provider in-process has; None for one somewhere else.
    """

    http: httpx.Client
    schema: Any
    key: str
    advance: Callable[[], object]
    inside: Inside | None = None

    def request(self, method: str, path: str, key: str | None = "", **more: Any) -> httpx.Response:
        """One call, with the right key unless another or none is given."""
        return self.http.request(method, path, headers={} if key is None else self.headers(key), **more)

    def headers(self, key: str = "") -> dict[str, str]:
        """The key as every operation takes it: the OpenAI-shaped ones as a bearer token."""
        return {"x-api-key": key or self.key, "authorization": f"Bearer {key or self.key}"}


@contextmanager
def sandbox(defects: frozenset[str] = frozenset()) -> Iterator[Provider]:
    """The sandbox in-process; its tasks move only when the test lets them."""
    key, inside = "contract", Inside()
    app = create_app(
        Settings(
            keys={key: 1e9, inside.other_key: 1.0, inside.poor_key: 0.0},
            clock=inside.clock,
            autorun=False,
            engine_process=False,
            fetch=no_network,
            send_webhook=inside.receive,
            defects=defects,
        )
    )
    schema = schemathesis.openapi.from_dict(provider_view())
    schema.app = app
    try:
        with httpx.Client(transport=InProcess(app), base_url="http://sandbox.test") as http:
            yield Provider(http, schema, key, app.state.sandbox.advance, inside)
    finally:
        app.state.sandbox.close()


@contextmanager
def remote(base_url: str, key: str) -> Iterator[Provider]:
    """A provider somewhere else, in real time."""
    schema = schemathesis.openapi.from_dict({**provider_view(legacy=False), "servers": [{"url": base_url}]})
    schema.config.base_url = base_url
    with httpx.Client(base_url=base_url, timeout=60.0) as http:
        yield Provider(http, schema, key, lambda: time.sleep(1.0))


def provider_view(*, legacy: bool = True, bounded: bool = True) -> dict[str, Any]:
    """The bundle as a provider must keep it: a create is one of the task types, an upload is of a known kind.

    The key is left to `check_keys`: schemathesis would vary the header that every call here sets. Uploads go to the
    provider under test and not to their own host.

    Args:
        legacy: Whether the legacy operations belong to it; a live account need not have them any more.
        bounded: Whether what is paid by the second ends somewhere, as balances do.
    """
    view = copy.deepcopy(bundle())
    del view["security"], view["components"]["securitySchemes"], view["webhooks"]
    view["paths"] = {path: item for path, item in view["paths"].items() if legacy or not _is_legacy(item)}
    for item in view["paths"].values():
        item.pop("servers", None)
        for method in item.keys() & {"get", "post", "delete"}:
            item[method].pop("security", None)
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
    view["components"]["schemas"]["LegacyToolkitRequest"] = _toolkit_request(view)
    for entry in view["x-tasks"]:
        count = (entry.get("price") or {}).get("count")
        rule = view["components"]["schemas"][entry["input"]]["properties"].get(
            count.get("seconds") if isinstance(count, dict) else None, {}
        )
        if rule.get("type") in ("integer", "number") and bounded:
            rule.setdefault("maximum", LONGEST_SECONDS)
    created = view["paths"]["/api/v1/task"]["post"]["requestBody"]["content"]["application/json"]
    families = tuple(f"{entry['family']}." for entry in view["x-tasks"])
    created["examples"] = {name: example for name, example in created["examples"].items() if name.startswith(families)}
    upload = view["components"]["schemas"]["UploadRequest"]["properties"]
    upload["file_name"]["pattern"] = r"\.(jpg|jpeg|png|webp|mp4|wav|mp3)$"
    upload["file_data"]["pattern"] = "^([A-Za-z0-9+/]{4})+$"
    return view


def _toolkit_request(view: dict[str, Any]) -> dict[str, Any]:
    """The toolkit's create with the input that each of its tasks has today."""
    request = view["components"]["schemas"]["LegacyToolkitRequest"]
    inputs = {
        entry["task_type"].replace("-", "_"): {"$ref": f"#/components/schemas/{entry['input']}"}
        for entry in view["x-tasks"]
        if entry["model"] == "Qubico/image-toolkit"
    }
    branches = [
        {**request, "properties": {**request["properties"], "task_type": {"const": word}, "task_input": inputs[word]}}
        for word in request["properties"]["task_type"]["enum"]
    ]
    return {"anyOf": branches}


def _is_legacy(item: dict[str, Any]) -> bool:
    return any("legacy" in item[method]["tags"] for method in item.keys() & {"get", "post", "delete"})


def no_network(url: str) -> bytes:
    """Fetch nothing."""
    raise OSError(f"{url} is not fetched in tests")


# The checks. Each raises when the provider breaks the promise in its docstring.


def check_every_answer(provider: Provider, examples: int = 40) -> None:
    """Any request, right or wrong, gets an answer of the spec, operation by operation."""
    for result in provider.schema.get_all_operations():
        operation = result.ok()
        number = examples // 4 if operation.definition.raw.get("deprecated") else examples  # they are many, and alike
        _hold(provider, operation.as_strategy(), number)
        # Without a body a wrong request is mostly one with a parameter that nobody reads, and in a form every value is
        # a text, so that none is of a wrong type.
        if any(body.media_type == "application/json" for body in operation.body):
            _hold(provider, operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE), number)


def check_every_sequence(provider: Provider, examples: int = 15) -> None:
    """What one operation answers can be used in the next: create, then look, then cancel (the links of the spec)."""
    machine = provider.schema.as_state_machine()

    class Machine(machine):
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": provider.headers()}

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            case.validate_response(response, excluded_checks=_checks(LEFT_OUT_OF_SEQUENCES), **more)

    Machine.run(settings=_settings(examples, stateful_step_count=6))


def check_face_swap(provider: Provider) -> None:
    """A face swap of two portraits is accepted, done, paid at its price, and its output is a picture."""
    task = _create(provider)
    task = until_done(provider, task["task_id"])
    meta = task["meta"]
    (entry,) = (entry for entry in bundle()["x-tasks"] if entry["name"] == "FaceSwap")
    assert task["status"] == "completed", task
    assert "image_url" in task["output"], task
    picture = provider.http.get(task["output"]["image_url"])
    assert picture.status_code == 200, picture
    assert picture.headers["content-type"].startswith("image/"), picture.headers
    assert "0001" < meta["created_at"] <= meta["started_at"] <= meta["ended_at"], meta
    assert meta["usage"]["consume"] == round(entry["price"]["usd"] * 1e7), meta


def check_no_face(provider: Provider) -> None:
    """A picture without a face is accepted; the task ends failed, says so, and costs nothing."""
    blank = base64.b64encode(BLANK).decode()
    task = until_done(provider, _create(provider, target_image=blank)["task_id"])
    assert task["status"] == "failed", task
    assert "no face found in the image" in str(task["error"]), task
    assert task["meta"]["usage"]["consume"] == 0, task


def check_keys(provider: Provider) -> None:
    """Without a key, and with a wrong one, nothing is done and nothing is shown."""
    requests: tuple[tuple[str, str, Any], ...] = (
        ("POST", "/api/v1/task", _body()),
        ("GET", "/api/v1/task/x", None),
        ("DELETE", "/api/v1/task/x", None),
        ("GET", "/account/info", None),
        ("GET", "/account/active_tasks", None),
        ("GET", "/api/open/tasks/histories", None),
        ("POST", "/api/ephemeral_resource", _file()),
        ("POST", "/v1/chat/completions", CHAT),
    )
    for key in (None, "wrong"):
        for method, path, body in requests:
            answer = provider.request(method, path, key, json=body)
            assert answer.status_code == 401, (method, path, answer)


def check_cancel(provider: Provider) -> None:
    """A pending task can be cancelled, and is done then; one that is done cannot."""
    pending = _create(provider)["task_id"]
    assert provider.request("DELETE", f"/api/v1/task/{pending}").status_code == 200
    assert look(provider, pending)["status"] in ("cancelled", "canceled", "failed")
    done = until_done(provider, _create(provider)["task_id"])["task_id"]
    answer = provider.request("DELETE", f"/api/v1/task/{done}")
    assert 400 <= answer.status_code < 500, answer


def check_bad_requests(provider: Provider) -> None:
    """A request that lacks something, or names something that is not there, is refused with an envelope."""
    bodies = ({}, {**_body(), "input": {}}, {**_body(), "model": "nobody/nothing"}, {**_body(), "input": None}, [])
    answers = [provider.request("POST", "/api/v1/task", json=body) for body in bodies]
    queries: tuple[dict[str, str], ...] = ({}, {"created_before": "-1"}, {"created_before": "soon"})
    answers += [provider.request("DELETE", "/api/v1/tasks", params=query) for query in queries]
    answers += [provider.request(method, "/api/v1/task/no-such-task") for method in ("GET", "DELETE")]
    answers += [provider.request("GET", "/api/open/tasks/histories", params={"page_size": "101"})]
    answers += [provider.request("POST", "/api/ephemeral_resource", json=body) for body in ({}, _file("a.exe"))]
    for answer in answers:
        assert 400 <= answer.status_code < 500, (answer.request.url, answer)
        assert answer.headers["content-type"] == "application/json", answer.text
        assert list(validator("ErrorEnvelope").iter_errors(answer.json())) == [], answer.text


def check_account(provider: Provider) -> None:
    """The account says what is left, and a task takes its price from it."""
    before = answered(provider, "GET", "/account/info")["equivalent_in_usd"]
    task = until_done(provider, _create(provider)["task_id"])
    after = answered(provider, "GET", "/account/info")["equivalent_in_usd"]
    assert round((before - after) * 1e7) == task["meta"]["usage"]["consume"], (before, after, task["meta"])


def check_history(provider: Provider) -> None:
    """A task is in the history from its create on, newest first, in the time that it was created in."""
    since = int(time.time()) - 60
    created = [_create(provider)["task_id"] for _ in range(3)]
    pages = [
        answered(provider, "GET", HISTORY, params={"page": page, "page_size": 2, "start_time": since})["data"]
        for page in (1, 2)
    ]
    listed = [row["task_id"] for page in pages for row in page or []]
    assert [task_id for task_id in listed if task_id in created] == created[::-1], (listed, created)
    earlier = answered(provider, "GET", HISTORY, params={"end_time": since})["data"] or []
    assert not [row for row in earlier if row["task_id"] in created], earlier


def check_upload(provider: Provider) -> None:
    """An uploaded file comes back byte for byte, without a key, and can be the input of a task."""
    portrait = samples.ASTRONAUT.read_bytes()
    uploaded = provider.request("POST", "/api/ephemeral_resource", json=_file("a.png", portrait))
    assert uploaded.status_code == 200, uploaded.text
    url = uploaded.json()["data"]["url"]
    assert provider.http.get(url).content == portrait
    task = until_done(provider, _create(provider, target_image=url)["task_id"])
    assert task["status"] == "completed", task


def check_chat(provider: Provider) -> None:
    """A chat is answered with words, whole or as a stream that ends with [DONE]."""
    whole = provider.request("POST", "/v1/chat/completions", json=CHAT).json()
    assert whole["choices"][0]["message"]["content"], whole
    stream = provider.request("POST", "/v1/chat/completions", json={**CHAT, "stream": True})
    lines = [line for line in stream.text.splitlines() if line]
    assert stream.headers["content-type"].startswith("text/event-stream"), stream.headers
    assert lines[-1] == "data: [DONE]", lines
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas), deltas


CHECKS: tuple[Callable[[Provider], None], ...] = (
    check_every_answer,
    check_every_sequence,
    check_face_swap,
    check_no_face,
    check_keys,
    check_cancel,
    check_bad_requests,
    check_account,
    check_history,
    check_upload,
    check_chat,
)


def _hold(provider: Provider, strategy: Any, examples: int) -> None:
    @_settings(examples)
    @given(case=strategy)
    def hold(case: Any) -> None:
        case.call_and_validate(headers=provider.headers(), excluded_checks=_checks(LEFT_OUT))

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


def _file(name: str = "a.png", content: bytes = BLANK) -> dict[str, str]:
    return {"file_name": name, "file_data": base64.b64encode(content).decode()}


def answered(provider: Provider, method: str, path: str, **request: Any) -> dict[str, Any]:
    """The data of an answer, which must be one of success."""
    answer = provider.request(method, path, **request)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def _create(provider: Provider, **pictures: str) -> dict[str, Any]:
    return answered(provider, "POST", "/api/v1/task", json=_body(**pictures))


def look(provider: Provider, task_id: str) -> dict[str, Any]:
    """A task as it stands."""
    return answered(provider, "GET", f"/api/v1/task/{task_id}")


def until_done(provider: Provider, task_id: str, looks: int = 120) -> dict[str, Any]:
    """The task once it has ended."""
    for _ in range(looks):
        task = look(provider, task_id)
        if str(task["status"]).casefold() not in ("pending", "processing", "staged"):
            return task
        provider.advance()
    raise AssertionError(f"task {task_id} is not done after {looks} looks")
