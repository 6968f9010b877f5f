"""Checks of the life of a task, of refused requests, webhooks, uploads and the LLM endpoints."""

import base64
import json
import time
from typing import Any

from unitask_contract import causes
from unitask_contract.causes import Broken
from unitask_contract.checks import _http as api
from unitask_contract.prices import credits_of
from unitask_contract.provider import Provider
from unitask_sandbox import samples

IMAGE = {"model": "gpt-image-1", "prompt": "a fox"}
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")


def check_face_swap(provider: Provider) -> None:
    """A face swap of two portraits completes, costs its price, and its output is a picture."""
    body = api.face_swap()
    task = api.until_done(provider, api.create(provider, body)["task_id"])
    meta = task["meta"]
    assert api.status_of(task) == "completed", task
    assert "image_url" in task["output"], task
    picture = provider.fetch(task["output"]["image_url"])
    assert picture.status_code == 200, api.shown(picture)
    assert picture.headers.get("content-type", "").startswith("image/"), picture.headers
    assert "0001" < meta["created_at"] <= meta["started_at"] <= meta["ended_at"], meta
    assert meta["usage"]["consume"] == credits_of(body), meta


def check_no_face(provider: Provider) -> None:
    """A picture without a face is accepted; the task fails with that reason, and costs nothing."""
    blank = base64.b64encode(api.BLANK).decode()
    task = api.until_done(provider, api.create(provider, api.face_swap(target_image=blank))["task_id"])
    assert api.status_of(task) == "failed", task
    assert "no face found in the image" in str(task["error"]), task
    assert task["meta"]["usage"]["consume"] == 0, task


def check_echo(provider: Provider) -> None:
    """A submission and each poll show the id, model, task type, config and input of the task."""
    sent = [_numbered(number) for number in range(2)]
    created = [api.create(provider, body) for body in sent]
    polled = [api.poll(provider, task["task_id"]) for task in created]
    for body, task, made in (*zip(sent, created, created, strict=True), *zip(sent, polled, created, strict=True)):
        api.require_echo(task, made["task_id"], body)
        wanted = body["config"]["webhook_config"]["endpoint"]
        assert task["config"]["webhook_config"]["endpoint"] == wanted, task


def _numbered(number: int) -> dict[str, Any]:
    webhook = {"endpoint": api.ENDPOINT, "secret": f"{api.SECRET}, {number}"}
    return {**api.DRAWING, "input": {"prompt": f"fox number {number}"}, "config": {"webhook_config": webhook}}


def check_own_output(provider: Provider) -> None:
    """A task has its own output: of two drawings, one upright and one wide, each has the requested form."""
    sizes = ((256, 384), (384, 256))
    bodies = [
        {**api.DRAWING, "input": {**api.DRAWING["input"], "width": width, "height": height}} for width, height in sizes
    ]
    ids = [api.create(provider, body)["task_id"] for body in bodies]
    for task_id, (width, height) in zip(ids, sizes, strict=True):
        seen = _size(provider, api.until_done(provider, task_id))
        if (seen[0] < seen[1]) != (width < height):
            (other,) = {*ids} - {task_id}
            raise Broken(causes.OUTPUT, f"task {task_id} shows the output of task {other}: a picture of {seen}")


def _size(provider: Provider, task: dict[str, Any]) -> tuple[int, int]:
    import cv2  # lazy: the extra of the sandbox
    import numpy as np

    assert api.status_of(task) == "completed", task
    content = provider.fetch(task["output"]["image_url"]).content
    picture: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, f"the output of task {task['task_id']} is not a picture"
    return picture.shape[1], picture.shape[0]


def check_bad_requests(provider: Provider) -> None:
    """An invalid request, or one about an unknown task, is refused with an envelope: the HTTP status, and a reason."""
    bodies: tuple[Any, ...] = (
        {},
        {**api.face_swap(), "input": {}},
        {**api.face_swap(), "model": "nobody/nothing"},
        {**api.face_swap(), "input": None},
        [],
    )
    answers = [provider.request("POST", api.TASK, json=body) for body in bodies]
    queries: tuple[dict[str, str], ...] = ({}, {"created_before": "-1"}, {"created_before": "soon"})
    answers += [provider.request("DELETE", "/api/v1/tasks", params=query) for query in queries]
    answers += [provider.request(method, f"{api.TASK}/no-such-task") for method in ("GET", "DELETE")]
    answers += [provider.request("GET", api.HISTORY, params={"page_size": "101"})]
    answers += [provider.request("POST", api.UPLOAD, json=body) for body in ({}, api.file("a.exe"))]
    for answer in answers:
        body = api.refusal_in(answer)
        assert body["code"] == answer.status_code, api.shown(answer)
        assert body["message"].strip(), api.shown(answer)


def check_cancel(provider: Provider) -> None:
    """A pending task can be cancelled, and has ended then; a completed one cannot."""
    pending = api.create(provider)["task_id"]
    api.cancel(provider, pending)
    task = api.poll(provider, pending)
    assert api.status_of(task) in ("cancelled", "canceled", "failed"), task
    done = api.until_done(provider, api.create(provider)["task_id"])["task_id"]
    answer = provider.request("DELETE", f"{api.TASK}/{done}")
    assert 400 <= answer.status_code < 500, api.shown(answer)


def check_cancel_many(provider: Provider) -> None:
    """Cancelling many tasks ends the pending ones of the model that were created before the time, and no others."""
    api.inside_of(provider)  # a remote account may have tasks that are not ours
    task_id, now = api.create(provider)["task_id"], int(time.time())
    for query, status in (
        ({"created_before": now - 3600, "model": "all"}, "pending"),
        ({"created_before": now + 3600, "model": "kling"}, "pending"),
        ({"created_before": now + 3600, "model": "all"}, "cancelled"),
    ):
        assert provider.request("DELETE", "/api/v1/tasks", params=query).status_code == 200, query
        assert api.poll(provider, task_id)["status"] == status, query


def check_webhook(provider: Provider) -> None:
    """The endpoint gets one webhook at the end, {timestamp, data}, with the secret, and data as a poll shows it."""
    inside = api.inside_of(provider)
    task_id = api.create(provider, api.WITH_WEBHOOK)["task_id"]
    for _ in range(4):
        provider.advance(0)
        inside.later += 60
    webhooks = inside.webhooks_of(task_id)
    assert len(webhooks) == 1, webhooks
    ((headers, body),) = webhooks
    polled = api.poll(provider, task_id)
    assert body.keys() == {"timestamp", "data"}, body
    assert (body["data"]["status"], body["data"]["output"]) == (polled["status"], polled["output"]), body
    assert headers.get("x-webhook-secret") == api.SECRET, headers


def check_webhook_that_is_not_taken(provider: Provider) -> None:
    """A webhook that is answered with an error is sent again after some seconds, three times in all."""
    inside = api.inside_of(provider)
    inside.answers = [500] * 9
    task_id = api.create(provider, api.WITH_WEBHOOK)["task_id"]
    for _ in range(9):
        provider.advance(0)
        inside.later += 5
    webhooks = inside.webhooks_of(task_id)
    inside.answers.clear()
    assert len(webhooks) == 3, webhooks


def check_upload(provider: Provider) -> None:
    """An uploaded file can be fetched byte for byte, without a key, and can be the input of a task."""
    portrait = samples.ASTRONAUT.read_bytes()
    uploaded = provider.request("POST", api.UPLOAD, json=api.file("a.png", portrait))
    url = api.data_in(uploaded)["url"]
    assert provider.fetch(url).content == portrait
    task = api.until_done(provider, api.create(provider, api.face_swap(target_image=url))["task_id"])
    assert api.status_of(task) == "completed", task


def check_chat(provider: Provider) -> None:
    """A chat is answered with words, whole or as a stream that ends with [DONE]."""
    whole = api.json_of(provider.request("POST", "/v1/chat/completions", json=api.CHAT))
    assert whole["choices"][0]["message"]["content"], whole
    stream = provider.request("POST", "/v1/chat/completions", json={**api.CHAT, "stream": True})
    lines = [line for line in stream.text.splitlines() if line]
    assert stream.headers.get("content-type", "").startswith("text/event-stream"), stream.headers
    assert lines[-1] == "data: [DONE]", lines
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas), deltas


def check_images(provider: Provider) -> None:
    """An image request is answered with a picture."""
    answer = api.json_of(provider.request("POST", "/v1/images/generations", json=IMAGE))
    assert answer["data"], answer
    assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(PICTURES), answer
