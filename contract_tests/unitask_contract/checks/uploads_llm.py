"""Checks of uploads and of the LLM endpoints."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from unitask_contract.checks._http import CHAT, UPLOAD, create, face_swap, file, shown, status_of, until_done
from unitask_contract.provider import Provider
from unitask_sandbox import samples

IMAGE = {"model": "gpt-image-1", "prompt": "a fox"}
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")


def check_upload(provider: Provider) -> None:
    """An uploaded file can be fetched byte for byte, without a key, and can be the input of a task."""
    portrait = samples.ASTRONAUT.read_bytes()
    uploaded = provider.request("POST", UPLOAD, json=file("a.png", portrait))
    assert uploaded.status_code == 200, shown(uploaded)
    url = uploaded.json()["data"]["url"]
    assert provider.fetch(url).content == portrait
    task = until_done(provider, create(provider, face_swap(target_image=url))["task_id"])
    assert status_of(task) == "completed", task


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


def check_images(provider: Provider) -> None:
    """An image request is answered with a picture."""
    answer = provider.request("POST", "/v1/images/generations", json=IMAGE).json()
    assert answer["data"], answer
    assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(PICTURES), answer


CHECKS: tuple[Callable[[Provider], None], ...] = (check_upload, check_chat, check_images)
