"""The files of every documented and recorded answer, as a user is given them: which, where, how big, how long."""

from __future__ import annotations

from typing import Any

import pytest
from unitask import Output, OutputFile, Task, tasks
from unitask._core import contents, protocols
from unitask._core.range_download import DownloadAttemptError
from unitask_api import output_files
from unitask_sandbox.engines.simulated import film, mesh, pictures, sound
from unitask_sandbox.engines.simulated.pictures import Scene

from .support import examples

TEMP = "https://img.theapi.app/temp"
NOBODY = "00000000-0000-0000-0000-000000000000"
KLING_COVER = (
    "EMXN1y8qYwoGdXBsb2FkEg55bGFiLXN0dW50LXNncBpJNTU3YTEzNTktY2I1MC00NzkxLWEzZWItODg3MThhNTNkNDIzLXhacEdFUGFQaHlOdjhC"
    "ODRqUE1wZGctb3V0cHV0X2ZmLmpwZw.origin?x-kcdn-pid=112372"
)
CROPS = ("trim=0;816;1456;0", "trim=0;0;1456;816", "trim=816;816;0;0", "trim=816;0;0;1456")
CLIP = "clips.a43c955a-3474-47f3-a550-57bf7c395c48"


def file(url: str, kind: Any, place: str, role: Any = "result", **known: Any) -> OutputFile:
    return OutputFile(url, kind, role, place, documented=True, **known)


EXPECTED: dict[str, list[OutputFile]] = {
    "faceswap.face-swap.completed.200": [file(f"{TEMP}/{NOBODY}.png", "image", "image_url")],
    "faceswap.video-face-swap.completed.200": [file(f"{TEMP}/{NOBODY}.mp4", "video", "video_url")],
    "flux.kontext.200": [file(f"{TEMP}/10f0a646-6155-4938-bf50-76934c953e9c.png", "image", "image_url")],
    "flux.txt2img.200": [file("https://ixxxxe3f.png", "image", "image_url")],
    "kling.ai_try_on.completed.200": [
        file("https://example.com/clean.png", "image", "works[0].image.resource_without_watermark", watermark=False),
        file("https://example.com/wm.png", "image", "works[0].image.resource", "variant", watermark=True),
    ],
    "kling.motion_control.completed.200": [
        file(
            "https://storage.theapi.app/videos/299676610318135.mp4",
            "video",
            "video_url",
            width=720,
            height=1280,
            duration_s=8.766,
            watermark=False,
        ),
        file(
            f"https://s15-kling.klingai.com/kimg/{KLING_COVER}",
            "image",
            "works[0].cover.resource",
            "preview",
            width=720,
            height=1280,
            watermark=True,
        ),
        file(
            "https://v15-kling.klingai.com/bs2/upload-ylab-stunt-sgp/557a1359-cb50-4791-a3eb-88718a53d423-"
            "xZpGEPaPhyNv8B84jPMpdg-output.mp4?x-kcdn-pid=112372",
            "video",
            "works[0].video.resource",
            "variant",
            width=720,
            height=1280,
            duration_s=8.766,
            watermark=True,
        ),
    ],
    "kling.omni_video_generation.completed.200": [
        file("https://storage.theapi.app/videos/302394780311449.mp4", "video", "video")
    ],
    "kling.turbo.completed.200": [
        file("https://img.theapi.app/ephemeral/fe08dad8-f79b-44ce-9fe5-c1e7fd14d45a.mp4", "video", "video")
    ],
    "kling.video_generation.completed.200": [
        file(
            "https://storage.goapi.ai/xxx.mp4",
            "video",
            "works[0].video.resource_without_watermark",
            width=1440,
            height=1440,
            duration_s=5.1,
            watermark=False,
        ),
        file("https://xxx.png", "image", "works[0].cover.resource", "preview", width=1440, height=1440, watermark=True),
        file(
            "https://xxx.mp4",
            "video",
            "works[0].video.resource",
            "variant",
            width=1440,
            height=1440,
            duration_s=5.1,
            watermark=True,
        ),
    ],
    "kling.video_generation_3.completed.200": [
        file("https://storage.theapi.app/videos/302924319317897.mp4", "video", "video")
    ],
    "legacy.face-swap.fetch.200": [file(f"{TEMP}/{NOBODY}.png", "image", "image")],
    # the sample has one address for the video and the raw one, and one for both pictures
    "luma.video_generation.completed.200": [
        file("https://xxx.mp4", "video", "video.url", width=1360, height=752),
        file("https://xxx.jpg", "image", "thumbnail.url", "preview", width=1360, height=752),
    ],
    "midjourney.imagine.completed.200": [
        file("https://img.theapi.app/mj/x.png", "image", "image_url"),
        *(
            file(f"https://img.theapi.app/cdn-cgi/image/{crop}/mj/x.png", "image", f"temporary_image_urls[{number}]")
            for number, crop in enumerate(CROPS)
        ),
    ],
    "sora.sora2-video.completed.200": [
        file("https://img.theapi.app/ephemeral/6147ebfc-fe47-4184-8ce4-66ffe37049eb.mp4", "video", "video")
    ],
    "suno.generate_music.completed.200": [
        file("https://xxx.mp3", "audio", f"{CLIP}.audio_url", duration_s=102.0),
        file("https://xxx.jpeg", "image", f"{CLIP}.image_url", "preview"),
        file("https://xxx.mp4", "video", f"{CLIP}.video_url", "variant", duration_s=102.0),
    ],
    "trellis.pixal3d-image-to-3d.200": [
        file(f"{TEMP}/b8c351a5-3895-491d-a9de-5c886b2e8c8b.glb", "model", "model_file")
    ],
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
    numbers = range(1, len(expected) + 1)

    assert [(found.task_id, found.number) for found in task.output.files] == [(task.id, number) for number in numbers]
    assert [_without_task(found) for found in task.output.files] == expected


def test_table_names_examples() -> None:
    assert EXPECTED.keys() <= answers().keys()


SCENE = Scene(7, "a model", "A cat", "SIMULATED by a test")
MADE = {
    ".png": lambda: pictures.picture(SCENE, (64, 48), "png"),
    ".jpg": lambda: pictures.picture(SCENE, (64, 48), "jpg"),
    ".webp": lambda: pictures.picture(SCENE, (64, 48), "webp"),
    ".mp4": lambda: film.film(SCENE, (64, 48), 1.0),
    ".wav": lambda: sound.sound(7, 0.5, "wav", "SIMULATED by a test"),
    ".glb": lambda: mesh.plaque(SCENE),
}


@pytest.mark.parametrize("ending", MADE)
def test_file_of_the_local_provider_is_whole(ending: str) -> None:
    content, kind = MADE[ending](), output_files.kind_of_ending(ending)
    contents.check(content, kind, ending, documented=True)
    with pytest.raises(DownloadAttemptError, match="that is cut off"):
        contents.check(content[: len(content) // 2], kind, ending, documented=True)


def _without_task(found: OutputFile) -> OutputFile:
    values = {name: getattr(found, name) for name in OutputFile.__slots__}
    return OutputFile(**{**values, "task_id": "", "number": 1})
