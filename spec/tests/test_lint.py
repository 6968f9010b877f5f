"""The checks of the bundle: the spec passes, and each check finds its fault."""

from collections.abc import Callable
from typing import Any

import pytest
from generator.lint import faults, own_faults

Document = dict[str, Any]


def _set(*path: Any, value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        node: Any = document
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = value

    return change


def _schema(*path: Any, value: Any) -> Callable[[Document], None]:
    return _set("components", "schemas", *path, value=value)


def _example(name: str, *path: Any, value: Any) -> Callable[[Document], None]:
    return _set("components", "examples", name, "value", *path, value=value)


def _both(*changes: Callable[[Document], None]) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        for each in changes:
            each(document)

    return change


def _twin(document: Document) -> None:
    (face_swap,) = (task for task in document["x-tasks"] if task["name"] == "FaceSwap")
    document["x-tasks"].append({**face_swap, "name": "Twin"})


def _price(**changes: Any) -> Callable[[Document], None]:
    """Kling 3.0 with another price; a part that is None is taken out."""

    def change(document: Document) -> None:
        (task,) = (task for task in document["x-tasks"] if task["name"] == "Kling3Video")
        price = {**task["price"], **changes}
        task["price"] = {part: value for part, value in price.items() if value is not None}

    return change


FAULTS = {
    "status-word-without-state": (
        _schema("TaskStatus", "x-states", "staged", "words", value={"held": ["docs"]}),
        "x-states: 'staged' of the enum belongs to no state",
    ),
    "status-word-of-two-states": (
        _schema("TaskStatus", "x-states", "staged", "words", "pending", value=["docs"]),
        "x-states: 'pending' must be in lower case and belong to one state",
    ),
    "status-word-without-source": (
        _schema("TaskStatus", "x-states", "staged", "words", "held", value=["hearsay"]),
        "x-states: name the sources of 'held'",
    ),
    "phase": (_schema("TaskStatus", "x-states", "staged", "phase", value="late"), "the phase of staged is not one of"),
    "link-to-no-operation": (
        _set("paths", "/api/v1/task", "post", "responses", "200", "links", "poll", "operationId", value="get"),
        "link poll leads to 'get'",
    ),
    "link-with-no-parameter": (
        _set("paths", "/api/v1/task", "post", "responses", "200", "links", "poll", "parameters", "id", value="$url"),
        "fills 'id', which is not a parameter of get_task",
    ),
    "link-from-no-field": (
        _set(
            *("paths", "/api/open/tasks/histories", "get", "responses", "200", "links", "poll", "parameters"),
            *("task_id",),
            value="$response.body#/data/0/task_id",
        ),
        "which is not a documented field",
    ),
    "protocol-reads-no-field": (
        _set("x-protocols", "kling_v1", "output", "video_url", value="/data/video_url"),
        "x-protocols: kling_v1 reads '/data/video_url'",
    ),
    "protocol-has-no-reasons": (
        _set("x-protocols", "mj_v2", "reasons", value="/error_messages"),
        "x-protocols: mj_v2 reads '/error_messages'",
    ),
    "typical-time-is-none": (
        _set("x-tasks", 0, "typical_seconds", value={"value": 6000}),
        "the first poll would be late",
    ),
    "example-breaks-its-schema": (
        _example("faceswap.face-swap.create.200", "data", "status", value=None),
        "example faceswap.face-swap.create.200 does not fit post /api/v1/task 200: /data/status",
    ),
    "example-breaks-its-input": (
        _example("faceswap.face-swap.request", "input", "swap_image", value=7),
        "its input does not fit FaceSwapInput: /swap_image",
    ),
    "example-breaks-its-output": (
        _example("faceswap.face-swap.completed.200", "data", "output", "image_url", value=7),
        "its output does not fit FaceSwapOutput: /image_url",
    ),
    "example-of-nothing": (
        _set("components", "examples", "stray", value={"value": 1, "x-part": "request"}),
        "example stray belongs to no operation",
    ),
    "default": (_schema("TaskUsage", "properties", "frozen", "default", value=0), "a default would be sent"),
    "title": (_schema("TaskUsage", "title", value="Usage"), "a title would rename the class"),
    "twin-task-types": (_twin, "Twin and FaceSwap have the same model, task_type and match"),
    "no-such-schema": (_set("x-tasks", 0, "output", value="Nothing"), "the output 'Nothing', which is not a schema"),
    "price-without-source": (_price(**{"x-source": None}), 'the price of Kling3Video: /: "x-source" is a required'),
    "price-of-nothing": (_price(usd=0), "/usd: 0 is less than or equal to the minimum"),
    "price-plus": (_price(count={"seconds": "duration", "plus": "prompt"}), "count: 'prompt' is not a list of videos"),
    "price-part": (_price(each=5), "'each' was unexpected"),
    "price-rate-without-condition": (_price(more=[{"usd": 1}]), '/more/0: "when" is a required property'),
    "price-rates-without-first-condition": (_price(when=None), '"when" is a required'),
    "price-condition": (_price(when={"mode": {"over": 5}}), '/when/mode: "at_most" is a required property'),
    "price-condition-value": (_price(when={"mode": "fast"}), "mode cannot be 'fast'"),
    "price-condition-type": (_price(when={"enable_audio": [True, "no"]}), "enable_audio cannot be 'no'"),
    "price-condition-field": (_price(when={"mood * mode": {"at_most": 5}}), "the input has no field 'mood'"),
    "price-condition-name": (_price(when={"mode or mood": "std"}), "the input has no field 'mood'"),
    "price-count": (_price(count="some"), '/count: "unknown" was expected'),
    "price-count-kind": (_price(count={"of": 5}), '/count: {"of":5} is not valid under any'),
    "price-count-field": (_price(count={"seconds": "length"}), "the input has no field 'length'"),
    "price-count-items": (_price(count={"pictures": "mode", "items": "multi_shots"}), "no field 'multi_shots.mode'"),
    "price-count-of-no-file": (_price(count={"frames": "duration"}), "'duration' is not a file and has no frames"),
    "price-absent-value": (_price(absent={"duration": "five"}), "duration cannot be 'five'"),
    "price-absent-unasked": (_price(absent={"prompt": "a"}), "absent: no condition or count uses 'prompt'"),
    "price-unless": (_price(unless=["preset"]), "the input has no field 'preset'"),
    "unknown-source": (_schema("Task", "properties", "model", "x-source", value=["hearsay"]), "'hearsay' is not in"),
    "role-of-a-file": (
        _schema("UdioSong", "properties", "image_path", "x-media", "role", value="cover"),
        "#/components/schemas/UdioSong/properties/image_path: x-media: the role 'cover' is not one of preview, input",
    ),
    "role-of-a-listed-file": (
        _schema("MidjourneyOutput", "properties", "intermediate_image_urls", "items", "x-media", "role", value="x"),
        "intermediate_image_urls: x-media: the role 'x' is not one of",
    ),
    "size-of-nothing": (
        _schema("KlingVideoFile", "properties", "resource", "x-media", "duration_ms", value="length"),
        "resource: x-media: duration_ms names 'length', which is not a field beside it",
    ),
    "variant-of-itself": (
        _schema("SunoClip", "properties", "video_url", "x-media", "variant_of", value="video_url"),
        "video_url: x-media: variant_of names 'video_url', which is not a field beside it",
    ),
    "file-in-an-object": (
        _schema("KlingVideoFile", "properties", "resource", "x-media", value={}),
        "example kling.video_generation.completed.200: KlingOutput.works[].video.resource holds a URL",
    ),
    "file-in-a-list": (
        _schema("MidjourneyOutput", "properties", "temporary_image_urls", "items", value={"type": "string"}),
        "example midjourney.imagine.completed.200: MidjourneyOutput.temporary_image_urls[] holds a URL",
    ),
    "file-in-a-map": (
        _both(
            _example("suno.generate_music.completed.200", "data", "model", value="music-s"),  # the page says "suno"
            _schema("SunoClip", "properties", "audio_url", "x-media", value={}),
        ),
        ": SunoMusicOutput.clips.a43c955a-3474-47f3-a550-57bf7c395c48.audio_url holds a URL",
    ),
    "no-source": (_schema("TaskUsage", "properties", "more", value={"type": "string"}), "name its sources"),
}


def test_spec_has_no_faults(document: Document) -> None:
    assert faults(document) == []


def test_invalid_openapi_is_reported(document: Document) -> None:
    document["info"]["version"] = 3

    assert any("/info/version: 3 is not of type" in fault for fault in faults(document))


@pytest.mark.parametrize(("change", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_fault_is_found_and_its_place_named(
    document: Document, change: Callable[[Document], None], expected: str
) -> None:
    change(document)

    assert any(expected in fault for fault in own_faults(document)), own_faults(document)


def test_task_without_output_or_with_an_unexpected_input_is_accepted(document: Document) -> None:
    document["components"]["schemas"]["Task"]["properties"]["input"] = {"x-source": ["docs"]}
    task = document["components"]["examples"]["faceswap.face-swap.completed.200"]["value"]["data"]
    del task["output"]
    task["input"] = "a text"

    assert own_faults(document) == []
