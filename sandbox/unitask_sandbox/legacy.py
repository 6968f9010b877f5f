"""The API before the unified one: from a legacy request to a create request, and from a task to a legacy answer.

A legacy task has the model and task type that do the same today. `Task.legacy` holds what its old form shows besides.
Where no page and no client shows an answer, it has the form of the unified one.
"""

import base64
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unitask_api import contract

from unitask_sandbox import bundle
from unitask_sandbox.create_request import CreateRequest
from unitask_sandbox.inputs import is_address
from unitask_sandbox.task import FILE, Task, rfc3339

IMAGE_TOOLKIT = "Qubico/image-toolkit"
FACE_SWAP, TOOLKIT, KLING, LUMA, MIDJOURNEY = "face_swap_v1", "image_toolkit_v2", "kling_v1", "luma_v1", "mj_v2"

EXTENSIONS: Mapping[str, str] = {"legacy_extend_kling_video": KLING, "legacy_extend_luma_video": LUMA}
CREATES: Mapping[str, str] = {  # operation: protocol
    "legacy_create_image_toolkit": TOOLKIT,
    **EXTENSIONS,
    **{entry.create: entry.protocol for entry in contract.task_types().values() if entry.protocol != bundle.UNIFIED},
}
POLLS: Mapping[str, str] = {  # operation: protocol
    "legacy_fetch_image_toolkit": TOOLKIT,
    **{rules["poll"]: protocol for protocol, rules in contract.document()["x-protocols"].items()},
}
_MODELS: Mapping[str, tuple[str, str]] = {  # model and task type of the tasks
    FACE_SWAP: (IMAGE_TOOLKIT, "face-swap"),
    KLING: ("kling", "video_generation"),
    LUMA: ("luma", "video_generation"),
}
_WORDS: Mapping[str, Mapping[str, str]] = {  # status words that differ from today's
    FACE_SWAP: {"completed": "success", "cancelled": "failed"},  # goapi.ai, face swap, 2024-03: a closed list
    TOOLKIT: {"completed": "success", "cancelled": "failed"},
    MIDJOURNEY: {"completed": "finished"},  # public clients, 2023 to 2025
}
_RENAMED: Mapping[str, Mapping[str, str]] = {  # fields of the input with another name today
    KLING: {"creativity": "cfg_scale"},
    LUMA: {"image_url": "start_image", "image_end_url": "end_image"},
}
_NO_INPUT = frozenset({"webhook_config", "webhook_endpoint", "webhook_secret", "result_type"})
_NO_FACE = "no face found in the image"


def protocol_of(task: Task) -> str | None:
    """Return the legacy protocol that a task was created by; None for the unified API."""
    return task.legacy.get("protocol")


def read_create_request(operation: str, body: bytes, origin: str = "") -> CreateRequest:
    """Read the body of a legacy create request; `origin` is the task that it continues, from the path."""
    protocol = CREATES[operation]
    requested = read(operation, body)
    shown = {"protocol": protocol, "result_type": requested.get("result_type", "base64")}
    if protocol == TOOLKIT:
        given = requested["task_input"]
        kind = bundle.task_type(IMAGE_TOOLKIT, requested["task_type"].replace("_", "-"), given)
        bundle.check(kind.input, given, at="task_input")
        shown |= {"task_type": requested["task_type"], "input": _echo(given, kind.media)}
        return CreateRequest(kind, given, {}, shown)
    names = _RENAMED.get(protocol, {})
    given = {names.get(name, name): value for name, value in requested.items() if name not in _NO_INPUT and value != ""}
    if origin:
        given["origin_task_id"] = origin
    elif protocol == KLING:
        given["mode"] = "pro" if given.pop("professional_mode", False) else "std"
    if protocol == LUMA:
        echo = _echo(requested, names)
        shown["input"] = {"user_prompt": echo.pop("prompt"), **echo}
    model, task_type = _MODELS.get(protocol, ("midjourney", operation.removeprefix("legacy_mj_")))
    kind = bundle.task_type(model, "extend_video" if origin else task_type, given)
    if entry := next((one for one in contract.task_types().values() if one.create == operation), None):
        kind = replace(kind, price=entry.price, typical_seconds=entry.typical_seconds)
    return CreateRequest(kind, given, _config(protocol, requested), shown)


def read(operation: str, body: bytes) -> dict[str, Any]:
    """Return the body of a request."""
    return bundle.read(contract.operations()[operation].components["request"], body)


def _config(protocol: str, requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the webhook; the page says of Midjourney's open inputs nothing that could be checked before."""
    if protocol == KLING:
        return {"webhook_config": requested.get("webhook_config", {})}
    names = ("endpoint", "secret") if protocol == MIDJOURNEY else ()
    webhook = {name: requested[f"webhook_{name}"] for name in names if f"webhook_{name}" in requested}
    config: dict[str, Any] = bundle.check("TaskConfig", {"webhook_config": webhook})
    return config


def _echo(given: Mapping[str, Any], media: Collection[str]) -> dict[str, Any]:
    """Return what is shown of an input, and stored with the task: no picture itself, which may be of a person."""
    return {name: value for name, value in given.items() if name not in media or is_address(value)}


def accepted(task: Task) -> dict[str, Any]:
    """Return the answer to a create request: the id, and little else."""
    if protocol_of(task) == MIDJOURNEY:
        return {"task_id": task.task_id, "status": "success", "message": ""}
    return {"code": 200, "data": {"task_id": task.task_id}, "message": "success"}


def answer(task: Task, base_url: str, file: Callable[[str], Path]) -> dict[str, Any]:
    """Return the answer to a poll of a legacy task, which is also the body of its webhook."""
    protocol = task.legacy["protocol"]
    shown = {"task_id": task.task_id, "status": _WORDS.get(protocol, {}).get(task.status, task.status)}
    if protocol == MIDJOURNEY:
        output = _output(task, base_url)
        discord = {"discord_image_url": output.get("image_url", "")}  # five clients read it
        return {**shown, "message": "", "task_result": {**output, **discord, "error_messages": _reasons(task)}}
    show = {FACE_SWAP: _face_swap, TOOLKIT: _toolkit, KLING: _kling, LUMA: _luma}[protocol]
    return {"code": 200, "data": {**shown, **show(task, base_url, file)}, "message": "success"}


def _face_swap(task: Task, base_url: str, file: Callable[[str], Path]) -> dict[str, Any]:
    url, content = _picture(task, base_url, file)
    return {"image": url or content, "error_messages": _reasons(task)}


def _toolkit(task: Task, base_url: str, file: Callable[[str], Path]) -> dict[str, Any]:
    url, content = _picture(task, base_url, file)
    return {
        "task_type": task.legacy["task_type"],
        "task_info": {
            "created_at": rfc3339(task.created_at),
            "started_at": rfc3339(task.started_at),
            "completed_at": rfc3339(task.ended_at),
            "frozen_credits": task.frozen,
            "task_input": task.legacy["input"],
        },
        "task_result": {
            "used_credits": task.consume,
            "error_messages": _reasons(task),
            "task_output": {"image_base64": content, "image_url": url},
        },
    }


def _kling(task: Task, base_url: str, _file: Callable[[str], Path]) -> dict[str, Any]:
    output = _output(task, base_url)
    works = [
        {
            "contentType": "video",
            "status": work["status"],
            "resource": {
                "resource": work["video"]["resource"],
                "resourceWithoutWatermark": work["video"]["resource_without_watermark"],
                "duration": work["video"]["duration"],
            },
            "cover": {"resource": work["cover"]["resource"]},
        }
        for work in output.get("works") or ()
    ]
    older = {"video_url": output.get("video_url", ""), "works": works}  # where one client reads it, 2025
    return {**task.body(base_url), "output": older, "works": works}


def _luma(task: Task, base_url: str, _file: Callable[[str], Path]) -> dict[str, Any]:
    video = _output(task, base_url).get("video")
    return {
        "input": json.dumps(task.legacy["input"]),
        "metadata": {
            "created_at": rfc3339(task.created_at),
            "started_at": rfc3339(task.started_at),
            "ended_at": rfc3339(task.ended_at),
            "quota_frozen": task.frozen,
            "quota_usage": task.consume,
        },
        "generation": {
            "id": task.task_id,
            "prompt": task.legacy["input"]["user_prompt"],
            "state": task.status,
            "created_at": rfc3339(task.created_at),
            "video": video and video["url"],
            "like": None,
            "estimate_wait_seconds": None,
        },
    }


def _output(task: Task, base_url: str) -> dict[str, Any]:
    return task.shown_output(base_url) or {}


def _picture(task: Task, base_url: str, file: Callable[[str], Path]) -> tuple[str, str]:
    """Return the address of the result, or its content as base64: as it was requested, the other one empty."""
    if task.output is None:
        return "", ""
    if task.legacy["result_type"] == "url":
        return _output(task, base_url)["image_url"], ""
    return "", base64.b64encode(file(task.output["image_url"][FILE]).read_bytes()).decode()


def _reasons(task: Task) -> list[str]:
    """Return why it failed, in the words of the old pages where they are known (goapi.ai, face swap, 2024-03)."""
    if task.status == "cancelled":
        return ["task was cancelled"]
    reason = str(task.error["raw_message"] or task.error["message"])
    return [f"invalid request, {reason}" if reason.startswith(_NO_FACE) else reason] if reason else []
