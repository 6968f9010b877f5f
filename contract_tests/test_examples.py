"""Every documented and recorded body: the wrapper sends it or reads it, and finds the files in it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from generator.bundle import task_of
from unitask import Output, OutputFile, Task, errors, tasks
from unitask._core import protocols
from unitask.inputs import request_body

from .support import Call, answer, bundle, component_of, examples, perform, rows, validator


def test_examples_are_valid() -> None:
    wrong = {name for name, one in examples().items() if not validator(component_of(one)).is_valid(one["value"])}
    assert wrong == set()


@pytest.mark.filterwarnings("ignore::unitask.inputs.AdvisoryWarning")  # what one page shows, another may advise against
def test_wrapper_sends_the_documented_requests() -> None:
    for name, example in examples("request", of_tasks=True).items():
        files = dict.fromkeys(example.get("x-placeholder", []), "https://me.test/file.png")
        body = {key: value for key, value in example["value"].items() if key != "config"}
        body["input"] = {**body["input"], **files}
        entry = task_of(bundle(), body)
        given = {key: value for key, value in body["input"].items() if entry and key not in entry.get("match", {})}
        task = getattr(tasks, entry["name"])(**given) if entry else tasks.Raw(**body)
        assert request_body(task) == body, name


CALLS: dict[str, Call] = {
    "create_task": lambda client: client.submit(tasks.Raw("m", "t")),
    "cancel_task": lambda client: client.cancel("t"),
    "get_account_info": lambda client: client.account(),
    "list_active_tasks": lambda client: client.active_tasks(),
    "list_task_history": lambda client: rows(client.history()),
    "upload_file": lambda client: client.upload(b"ID3"),
}


def test_wrapper_returns_the_documented_answers() -> None:
    for name, example in examples("200").items():
        body, operation = example["value"], example["x-operation"]
        if operation not in (*CALLS, "get_task"):
            continue
        task_id = body["data"]["task_id"] if operation == "get_task" else ""
        call = CALLS.get(operation, lambda client, one=task_id: client.get(one))
        trace = perform("sync", call, creates=[answer(200, body)], looks=[answer(200, body)])
        documented = body.get("data")
        assert trace.error is None, name
        match operation:
            case "cancel_task":
                assert trace.result is None, name
            case "list_task_history":
                assert [row.raw for row in trace.result] == documented["data"], name
            case "list_active_tasks":
                assert {group: counts.raw for group, counts in trace.result.items()} == documented, name
            case "upload_file":
                assert trace.result.url == documented["url"], name
            case "get_account_info":
                assert trace.result.raw == {**documented, "api_key": "***"}, name
            case _:
                assert trace.result.raw == without_secrets(documented), name


def without_secrets(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: "***" if part and key == "secret" else without_secrets(part) for key, part in value.items()}


def test_documented_refusal_is_a_typed_error_with_the_task_id() -> None:
    for name, example in examples("default", of_tasks=True).items():
        body = example["value"]
        trace = perform("sync", CALLS["create_task"], creates=[answer(body.get("code", 400), body)])
        task = body.get("data") or {}

        assert isinstance(trace.error, errors.InsufficientCredit if "no-credit" in name else errors.ApiError), name
        assert trace.error.task_id == task.get("task_id"), name
        assert trace.error.code == task.get("error", {}).get("code", body.get("code")), name
        assert trace.creates() == 1, name


CLIP = "clips.a43c955a-3474-47f3-a550-57bf7c395c48"
BIG = "1440x1440 5.1s"
TALL = "720x1280"
# Of each file: its place in the output, kind and role, then what is known of its size, length and watermark.
EXPECTED: dict[str, list[str]] = {
    "faceswap.face-swap.completed.200": ["image_url image result"],
    "faceswap.video-face-swap.completed.200": ["video_url video result"],
    "flux.kontext.200": ["image_url image result"],
    "flux.txt2img.200": ["image_url image result"],
    "kling.ai_try_on.completed.200": [
        "works[0].image.resource_without_watermark image result clean",
        "works[0].image.resource image variant marked",
    ],
    "kling.motion_control.completed.200": [
        f"video_url video result {TALL} 8.766s clean",
        f"works[0].cover.resource image preview {TALL} marked",
        f"works[0].video.resource video variant {TALL} 8.766s marked",
    ],
    "kling.omni_video_generation.completed.200": ["video video result"],
    "kling.turbo.completed.200": ["video video result"],
    "kling.video_generation.completed.200": [
        f"works[0].video.resource_without_watermark video result {BIG} clean",
        "works[0].cover.resource image preview 1440x1440 marked",
        f"works[0].video.resource video variant {BIG} marked",
    ],
    "kling.video_generation_3.completed.200": ["video video result"],
    "legacy.face-swap.fetch.200": ["image image result"],
    # the sample has one address for the video and the raw one, and one for both pictures
    "luma.video_generation.completed.200": [
        "video.url video result 1360x752",
        "thumbnail.url image preview 1360x752",
    ],
    "midjourney.imagine.completed.200": [
        "image_url image result",
        *(f"temporary_image_urls[{number}] image result" for number in range(4)),
    ],
    "sora.sora2-video.completed.200": ["video video result"],
    "suno.generate_music.completed.200": [
        f"{CLIP}.audio_url audio result 102.0s",
        f"{CLIP}.image_url image preview",
        f"{CLIP}.video_url video variant 102.0s",
    ],
    "trellis.pixal3d-image-to-3d.200": ["model_file model result"],
}
# Answers whose task does not say what reads it: Suno's page echoes another model, legacy ones echo none.
READ_BY: dict[str, type[Output]] = {
    "suno.generate_music.completed.200": tasks.SunoMusicOutput,
    "legacy.face-swap.fetch.200": tasks.LegacyFaceSwapOutput,
    "legacy.face-swap.fetch.failed.200": tasks.LegacyFaceSwapOutput,
    "legacy.luma.200": tasks.LegacyLumaOutput,
}


def test_files_of_the_documented_answers_are_found() -> None:
    found: dict[str, list[str]] = {}
    for name, example in examples("200").items():
        kind = READ_BY.get(name, Output)
        data = (protocols.unified(example["value"], kind.PROTOCOL, created=False) or {}).get("data")
        if not isinstance(data, dict) or not {"task_id", "status"} <= data.keys():
            continue
        task = Task(data, kind)
        found[name] = [described(file) for file in task.output.files]
        for number, file in enumerate(task.output.files, start=1):
            assert (file.task_id, file.number, file.documented) == (task.id, number, True), name
            assert file.url == value_at(task.output.raw, file.place), name

    assert {name: files for name, files in found.items() if files} == EXPECTED


def described(found: OutputFile) -> str:
    size = [f"{found.width}x{found.height}"] if found.width or found.height else []
    length = [f"{found.duration_s}s"] if found.duration_s else []
    mark = [] if found.watermark is None else ["marked" if found.watermark else "clean"]
    return " ".join([found.place, str(found.kind), str(found.role), *size, *length, *mark])


def value_at(output: Any, place: str) -> Any:
    for step in re.findall(r"[^.\[\]]+", place):
        output = output[int(step)] if isinstance(output, list) else output[step]
    return output
