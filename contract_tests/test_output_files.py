"""The files of every documented and recorded answer, as a user is given them: which, where, how big, how long."""

from __future__ import annotations

import re
from typing import Any

import pytest
from unitask import Output, OutputFile, Task, tasks
from unitask._core import contents, protocols
from unitask._core.range_download import DownloadAttemptError
from unitask_api import output_files
from unitask_sandbox.engines.simulated.files import Scene, film, picture, plaque, sound

from .support import examples

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


def answers() -> dict[str, Task[Output]]:
    found: dict[str, Task[Output]] = {}
    for name, example in examples().items():
        kind = READ_BY.get(name, Output)
        body = example["value"]
        if example["x-part"] != "request" and isinstance(body, dict):
            data = (protocols.unified(body, kind.PROTOCOL, created=False) or {}).get("data")
            if isinstance(data, dict) and "task_id" in data and "status" in data:
                found[name] = Task(data, kind)
    return found


@pytest.mark.parametrize("name", answers())
def test_files_of_an_example_are_these(name: str) -> None:
    task = answers()[name]
    expected = EXPECTED.get(name, [])

    assert [described(found) for found in task.output.files] == expected
    for number, found in enumerate(task.output.files, start=1):
        assert (found.task_id, found.number, found.documented) == (task.id, number, True)
        assert found.url == value_at(task.output.raw, found.place)


def described(found: OutputFile) -> str:
    size = [f"{found.width}x{found.height}"] if found.width or found.height else []
    length = [f"{found.duration_s}s"] if found.duration_s else []
    mark = [] if found.watermark is None else ["marked" if found.watermark else "clean"]
    return " ".join([found.place, str(found.kind), str(found.role), *size, *length, *mark])


def value_at(output: Any, place: str) -> Any:
    for step in re.findall(r"[^.\[\]]+", place):
        output = output[int(step)] if isinstance(output, list) else output[step]
    return output


def test_table_names_examples() -> None:
    assert EXPECTED.keys() <= answers().keys()


SCENE = Scene(7, "a model", "A cat", "SIMULATED by a test")
MADE = {
    ".png": lambda: picture(SCENE, (64, 48), "png"),
    ".jpg": lambda: picture(SCENE, (64, 48), "jpg"),
    ".webp": lambda: picture(SCENE, (64, 48), "webp"),
    ".mp4": lambda: film(SCENE, (64, 48), 1.0),
    ".wav": lambda: sound(7, 0.5, "wav", "SIMULATED by a test"),
    ".glb": lambda: plaque(SCENE),
}


@pytest.mark.parametrize("ending", MADE)
def test_file_of_the_local_provider_is_whole(ending: str) -> None:
    content, kind = MADE[ending](), output_files.kind_of_ending(ending)
    contents.check(content, kind, ending)
    with pytest.raises(DownloadAttemptError, match="that is cut off"):
        contents.check(content[: len(content) // 2], kind, ending)
