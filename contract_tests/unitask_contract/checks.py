"""The promises of a provider on tasks, accounts and files, a named check each, over plain HTTP.

Each raises when the provider breaks the promise in its docstring.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

from unitask_sandbox import samples

from . import bundle
from .provider import LeftOut, Provider, answered, look, until_done

BLANK = base64.b64decode(  # a grey picture of 64 x 64 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAK0lEQVR42u3MMREAAAgEoNfkRjeEmwcBqMlNRyAQCAQCgUAgEAgEAsHzYAFAdAEArKmlZAAAAABJRU5ErkJggg=="
)
HISTORY = "/api/open/tasks/histories"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say one word."}]}
DRAWING = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a fox"}}


def check_face_swap(provider: Provider) -> None:
    """A face swap of two portraits is accepted, done, paid at its price, and its output is a picture."""
    task = _create(provider)
    task = until_done(provider, task["task_id"])
    meta = task["meta"]
    entry = bundle.entries()["FaceSwap"]
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
        ("DELETE", "/api/v1/tasks?created_before=1", None),
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
    pending = drawing(provider)["task_id"]
    cancel(provider, pending)
    assert look(provider, pending)["status"] in ("cancelled", "canceled", "failed")
    done = until_done(provider, drawing(provider)["task_id"])["task_id"]
    answer = provider.request("DELETE", f"/api/v1/task/{done}")
    assert 400 <= answer.status_code < 500, answer


def check_bad_requests(provider: Provider) -> None:
    """A request that lacks something, or names something that is not there, is refused with an envelope."""
    bodies: tuple[Any, ...] = (
        {},
        {**_body(), "input": {}},
        {**_body(), "model": "nobody/nothing"},
        {**_body(), "input": None},
        [],
    )
    answers = [provider.request("POST", "/api/v1/task", json=body) for body in bodies]
    queries: tuple[dict[str, str], ...] = ({}, {"created_before": "-1"}, {"created_before": "soon"})
    answers += [provider.request("DELETE", "/api/v1/tasks", params=query) for query in queries]
    answers += [provider.request(method, "/api/v1/task/no-such-task") for method in ("GET", "DELETE")]
    answers += [provider.request("GET", "/api/open/tasks/histories", params={"page_size": "101"})]
    answers += [provider.request("POST", "/api/ephemeral_resource", json=body) for body in ({}, _file("a.exe"))]
    for answer in answers:
        assert 400 <= answer.status_code < 500, (answer.request.url, answer)
        assert answer.headers["content-type"] == "application/json", answer.text
        assert bundle.allows("ErrorEnvelope", answer.json()), answer.text


def check_account(provider: Provider) -> None:
    """The account says what is left, and a task takes its price from it."""
    before = answered(provider, "GET", "/account/info")["equivalent_in_usd"]
    task = until_done(provider, drawing(provider)["task_id"])
    after = answered(provider, "GET", "/account/info")["equivalent_in_usd"]
    assert round((before - after) * 1e7) == task["meta"]["usage"]["consume"], (before, after, task["meta"])


def check_history(provider: Provider) -> None:
    """A task is in the history from its create on, newest first, in the time that it was created in."""
    since = int(time.time()) - 60
    created = [drawing(provider)["task_id"] for _ in range(3)]
    pages = [rows_of(provider, page=page, page_size=2, start_time=since) for page in (1, 2)]
    listed: list[str] = [row["task_id"] for page in pages for row in page]
    assert [task_id for task_id in listed if task_id in created] == created[::-1], (listed, created)
    earlier = rows_of(provider, end_time=since)
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


def _body(**pictures: str) -> dict[str, Any]:
    portraits = {"target_image": samples.ASTRONAUT, "swap_image": samples.GRACE_HOPPER}
    encoded = {name: base64.b64encode(path.read_bytes()).decode() for name, path in portraits.items()}
    return {"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": {**encoded, **pictures}}


def _file(name: str = "a.png", content: bytes = BLANK) -> dict[str, str]:
    return {"file_name": name, "file_data": base64.b64encode(content).decode()}


def _create(provider: Provider, **pictures: str) -> dict[str, Any]:
    return answered(provider, "POST", "/api/v1/task", json=_body(**pictures))


def cancel(provider: Provider, task_id: str) -> None:
    """Cancel a task that has just been created, if it is still pending.

    Raises:
        LeftOut: The provider was faster.
    """
    answer = provider.request("DELETE", f"/api/v1/task/{task_id}")
    if answer.status_code != 200 and provider.inside is None:
        status = str(look(provider, task_id)["status"]).casefold()
        if status not in ("pending", "staged"):
            raise LeftOut(f"the task was {status} before it could be cancelled")
    assert answer.status_code == 200, answer.text


def rows_of(provider: Provider, **query: Any) -> list[dict[str, Any]]:
    """The rows of a page of the history."""
    return answered(provider, "GET", HISTORY, params=query)["data"] or []


def drawing(provider: Provider) -> dict[str, Any]:
    """A task that costs next to nothing, just created."""
    return answered(provider, "POST", "/api/v1/task", json=DRAWING)
