"""The checks of the bundle: the spec passes, and each check finds its fault."""

from typing import Any

import pytest
from generator.lint import faults, own_faults

from .conftest import Document, Edit, put

SCHEMAS, EXAMPLES = "#/components/schemas", "#/components/examples"
STATES = f"{SCHEMAS}/TaskStatus/x-states/staged"
FIRST_LINK = "#/paths/~1api~1v1~1task/post/responses/200/links/poll"
HISTORY_LINK = "#/paths/~1api~1open~1tasks~1histories/get/responses/200/links/poll"
LISTED = f"{SCHEMAS}/MidjourneyOutput/properties"
RESOURCE = f"{SCHEMAS}/KlingVideoFile/properties/resource/x-media"
CLIP = f"{SCHEMAS}/SunoClip/properties"
SONG = f"{EXAMPLES}/suno.generate_music.completed.200/value/data/model"


def both(*changes: Edit) -> Edit:
    def change(document: Document) -> None:
        for each in changes:
            each(document)

    return change


def twin(document: Document) -> None:
    (face_swap,) = (task for task in document["x-tasks"] if task["name"] == "FaceSwap")
    document["x-tasks"].append({**face_swap, "name": "Twin"})


def price(**changes: Any) -> Edit:
    """Kling 3.0 with another price; a part that is None is taken out."""

    def change(document: Document) -> None:
        (task,) = (task for task in document["x-tasks"] if task["name"] == "Kling3Video")
        changed = {**task["price"], **changes}
        task["price"] = {part: value for part, value in changed.items() if value is not None}

    return change


FAULTS: list[tuple[Edit, str]] = [
    (put(f"{STATES}/words", {"held": ["docs"]}), "x-states: 'staged' of the enum belongs to no state"),
    (put(f"{STATES}/words/pending", ["docs"]), "x-states: 'pending' must be in lower case and belong to one state"),
    (put(f"{STATES}/words/held", ["hearsay"]), "x-states: name the sources of 'held'"),
    (put(f"{STATES}/phase", "late"), "the phase of staged is not one of"),
    (put(f"{FIRST_LINK}/operationId", "get"), "link poll leads to 'get'"),
    (put(f"{FIRST_LINK}/parameters/id", "$url"), "fills 'id', which is not a parameter of get_task"),
    (put(f"{HISTORY_LINK}/parameters/task_id", "$response.body#/data/0/task_id"), "which is not a documented field"),
    (put("#/x-protocols/kling_v1/output/video_url", "/data/video_url"), "kling_v1 reads '/data/video_url'"),
    (put("#/x-protocols/mj_v2/reasons", "/error_messages"), "x-protocols: mj_v2 reads '/error_messages'"),
    (put("#/x-tasks/0/typical_seconds", {"value": 6000}), "the first poll would be late"),
    (
        put(f"{EXAMPLES}/faceswap.face-swap.create.200/value/data/status", None),
        "example faceswap.face-swap.create.200 does not fit post /api/v1/task 200: /data/status",
    ),
    (
        put(f"{EXAMPLES}/faceswap.face-swap.request/value/input/swap_image", 7),
        "its input does not fit FaceSwapInput: /swap_image",
    ),
    (
        put(f"{EXAMPLES}/faceswap.face-swap.completed.200/value/data/output/image_url", 7),
        "its output does not fit FaceSwapOutput: /image_url",
    ),
    (put(f"{EXAMPLES}/stray", {"value": 1, "x-part": "request"}), "example stray belongs to no operation"),
    (put(f"{SCHEMAS}/TaskUsage/properties/frozen/default", 0), "a default would be sent"),
    (put(f"{SCHEMAS}/TaskUsage/title", "Usage"), "a title would rename the class"),
    (twin, "Twin and FaceSwap have the same model, task_type and match"),
    (put("#/x-tasks/0/output", "Nothing"), "the output 'Nothing', which is not a schema"),
    # prices
    (price(**{"x-source": None}), 'the price of Kling3Video: /: "x-source" is a required'),
    (price(usd=0), "/usd: 0 is less than or equal to the minimum"),
    (price(count={"seconds": "duration", "plus": "prompt"}), "count: 'prompt' is not a list of videos"),
    (price(each=5), "'each' was unexpected"),
    (price(more=[{"usd": 1}]), '/more/0: "when" is a required property'),
    (price(when=None), '"when" is a required'),
    (price(when={"mode": {"over": 5}}), '/when/mode: "at_most" is a required property'),
    (price(when={"mode": "fast"}), "mode cannot be 'fast'"),
    (price(when={"enable_audio": [True, "no"]}), "enable_audio cannot be 'no'"),
    (price(when={"mood * mode": {"at_most": 5}}), "the input has no field 'mood'"),
    (price(when={"mode or mood": "std"}), "the input has no field 'mood'"),
    (price(count="some"), '/count: "unknown" was expected'),
    (price(count={"of": 5}), '/count: {"of":5} is not valid under any'),
    (price(count={"seconds": "length"}), "the input has no field 'length'"),
    (price(count={"pictures": "mode", "items": "multi_shots"}), "no field 'multi_shots.mode'"),
    (price(count={"frames": "duration"}), "'duration' is not a file and has no frames"),
    (price(absent={"duration": "five"}), "duration cannot be 'five'"),
    (price(absent={"prompt": "a"}), "absent: no condition or count uses 'prompt'"),
    (price(unless=["preset"]), "the input has no field 'preset'"),
    # sources and files
    (put(f"{SCHEMAS}/Task/properties/model/x-source", ["hearsay"]), "'hearsay' is not in"),
    (put(f"{SCHEMAS}/TaskUsage/properties/more", {"type": "string"}), "name its sources"),
    (
        put(f"{SCHEMAS}/UdioSong/properties/image_path/x-media/role", "cover"),
        "#/components/schemas/UdioSong/properties/image_path: x-media: the role 'cover' is not one of preview, input",
    ),
    (
        put(f"{LISTED}/intermediate_image_urls/items/x-media/role", "x"),
        "intermediate_image_urls: x-media: the role 'x'",
    ),
    (put(f"{RESOURCE}/duration_ms", "length"), "duration_ms names 'length', which is not a field beside it"),
    (put(f"{CLIP}/video_url/x-media/variant_of", "video_url"), "variant_of names 'video_url', which is not a field"),
    (put(RESOURCE, {}), "kling.video_generation.completed.200: KlingOutput.works[].video.resource holds a URL"),
    (
        put(f"{LISTED}/temporary_image_urls/items", {"type": "string"}),
        "example midjourney.imagine.completed.200: MidjourneyOutput.temporary_image_urls[] holds a URL",
    ),
    (
        both(put(SONG, "music-s"), put(f"{CLIP}/audio_url/x-media", {})),  # the page says "suno"
        ": SunoMusicOutput.clips.a43c955a-3474-47f3-a550-57bf7c395c48.audio_url holds a URL",
    ),
]


def test_spec_has_no_faults(document: Document) -> None:
    assert faults(document) == []


def test_invalid_openapi_is_reported(document: Document) -> None:
    document["info"]["version"] = 3

    assert any("/info/version: 3 is not of type" in fault for fault in faults(document))


@pytest.mark.parametrize(("change", "expected"), FAULTS, ids=range(len(FAULTS)))
def test_fault_is_found_and_its_place_named(document: Document, change: Edit, expected: str) -> None:
    change(document)

    assert any(expected in fault for fault in own_faults(document)), own_faults(document)


def test_task_without_output_or_with_an_unexpected_input_is_accepted(document: Document) -> None:
    document["components"]["schemas"]["Task"]["properties"]["input"] = {"x-source": ["docs"]}
    task = document["components"]["examples"]["faceswap.face-swap.completed.200"]["value"]["data"]
    del task["output"]
    task["input"] = "a text"

    assert own_faults(document) == []
