"""Estimates, worked out by hand; contract_tests/test_prices.py compares them with what the local provider charges."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from unitask import TaskInput, tasks
from unitask._core import pricing
from unitask._core.contents import video_frames, video_seconds
from unitask.media import measured, wire_form

from .pictures import box, encoded, picture

URL = "https://me.test/a.png"


def raw(model: str, task_type: str, **given_input: Any) -> tasks.Raw:
    return tasks.Raw(model, task_type, given_input)


def kling(**given_input: Any) -> tasks.Raw:
    return raw("kling", "video_generation", version="3.0", **given_input)


def seedance(duration: int, *videos: bytes | str) -> tasks.Seedance2Fast:
    return tasks.Seedance2Fast(prompt="a", resolution="480p", duration=duration, video_urls=list(videos))


def track(kind: bytes, samples: int) -> bytes:
    sizes = box(b"stsz", struct.pack(">IIII", 0, 0, samples, 2**32 - 1))
    handler = box(b"hdlr", bytes(8), kind, bytes(12), b"a name\0")
    return box(b"trak", box(b"mdia", handler, box(b"minf", box(b"stbl", sizes))))


def movie(header: bytes, *tracks: bytes, wide: bool = False) -> bytes:
    content = box(b"moov", box(b"mvhd", header), *tracks, wide=wide)
    return box(b"ftyp", b"isom") + box(b"free") + box(b"mdat", bytes(40), wide=wide) + content


def times(scale: int, length: int) -> bytes:
    return struct.pack(">IIIII", 0, 0, 0, scale, length)


def long_times(scale: int, length: int) -> bytes:
    return struct.pack(">IQQIQ", 1 << 24, 0, 0, scale, length)


def lasting(seconds: float) -> bytes:
    return movie(times(1000, round(seconds * 1000)))


ESTIMATES: dict[str, tuple[TaskInput[Any], float | None]] = {
    "a generation": (tasks.FaceSwap(target_image=URL, swap_image=URL), 0.01),
    "pictures": (tasks.FluxSchnellTxt2Img(prompt="a", batch_size=3), 0.0045),
    "a type without a price": (raw("kling", "lip_sync", origin_task_id="a", tts_text="b"), None),
    "half a picture": (tasks.FluxSchnellTxt2Img(prompt="a", batch_size=1.5), None),
    "seconds as text": (tasks.Veo3Video(duration="8s", generate_audio=False), 0.96),
    "no seconds": (tasks.Seedance25(prompt="a", duration=0), None),
    "seconds that are a word": (tasks.Veo3Video(duration="auto", generate_audio=False), None),
    "seconds as they are written": (tasks.AceStepTxt2Audio(style_prompt="a", lyrics="", duration=10.3), 0.00515),
    "a fraction of a credit": (tasks.AceStepTxt2Audio(style_prompt="a", lyrics="", duration=10.0001), 0.0050001),
    "five seconds at a time": (tasks.KlingVideo(version="2.1", mode="pro", duration=10), 0.92),
    "a later rate": (tasks.KlingVideo(version="2.6", mode="pro", duration=5, enable_audio=True), 0.66),
    "what is documented for absent fields": (tasks.Kling3Video(prompt="a", enable_audio=False), 0.5),
    "one of several words": (tasks.Wan26Txt2Video(prompt="a", duration=5, resolution="1080P"), 0.6),  # type: ignore[arg-type]  # an undocumented word
    "a field that decides the rate is absent": (tasks.Wan26Txt2Video(prompt="a", duration=5), None),
    "another field's name for it": (tasks.LumaVideo(prompt="a", model="ray-v2", duration=5), 0.2),
    "a field without a price": (tasks.Seedance2Preview(prompt="a", duration=5, resolution="1080p"), None),
    "sides at a limit": (tasks.ZImageTxt2Img(prompt="a", width=1024, height=512), 0.002),
    "sides beyond it": (tasks.ZImageTxt2Img(prompt="a", width=1024, height=513), 0.004),
    "a side that is not a number": (raw("Qubico/z-image", "txt2img", prompt="a", width="wide"), None),
    "characters": (tasks.TtsZeroShot(gen_text="ä" * 1234, ref_audio=URL), 0.03085),
    "a few characters": (tasks.TtsZeroShot(gen_text="ä" * 10, ref_audio=URL), 0.00025),
    "pixels": (tasks.ImageSegment(image=encoded(1250, 1000), prompt="a"), 0.0125),
    "pixels below the least": (tasks.ImageSegment(image=picture(10, 10), prompt="a"), 0.01),
    "no picture": (raw("Qubico/image-toolkit", "segment", prompt="a"), None),
    "an unknown count": (tasks.ImageUpscale(image=encoded(), scale=2), None),
    "the most of any task": (tasks.Sora2Video(prompt="a", duration=10**12), 8 * 10**10),
    "more than any task": (tasks.Sora2Video(prompt="a", duration=10**13), None),
    "an unknown type": (raw("a", "b"), None),
    "null is absent": (kling(enable_audio=True, mode=None), 0.75),
    "true is not 1": (kling(enable_audio=1), None),
    "shots": (kling(enable_audio=True, multi_shots=[{"prompt": "a", "duration": 4}, {"prompt": "b"}]), 1.05),
    "shots that are not a list": (kling(enable_audio=True, multi_shots=2), None),
    "extra fields": (tasks.KlingEffects(image_url=URL, effect="a", extra={"professional_mode": True}), 0.46),
    "video below the least": (tasks.MmaudioVideo2Audio(video=lasting(0.4)), 0.00005),
    "video": (tasks.MmaudioVideo2Audio(video=lasting(7.3)), 0.000365),
    "video above the most": (tasks.MmaudioVideo2Audio(video=lasting(45)), 0.0015),
    "video in whole seconds": (tasks.KlingMotionControl(image_url=URL, video_url=lasting(8.766)), 0.585),
    "reference videos": (seedance(10, lasting(10), lasting(4)), 1.152),
    "a second and a reference video": (seedance(1, lasting(4)), 0.24),
    "no seconds and a reference video": (seedance(0, lasting(4)), None),
    "a reference video of unknown length": (seedance(10, URL), None),
    "no list of videos": (raw("seedance", "seedance-2-fast", duration=5, resolution="480p", video_urls=7), None),
    "no reference videos": (seedance(10), 0.48),
    "as long as the reference video": (tasks.Seedance25(prompt="a", duration=-1, video_urls=[lasting(10)]), None),
}


@pytest.mark.parametrize(("task", "usd"), ESTIMATES.values(), ids=ESTIMATES.keys())
def test_estimate(task: TaskInput[Any], usd: float | None) -> None:
    model, task_type = task.operation()
    found = pricing.estimate({"model": model, "task_type": task_type, "input": task.values()}, measured)

    assert task.estimate_usd() == usd
    assert (None if found is None else found / pricing.CREDITS_PER_USD) == usd  # raises nothing: a budget reads it


SHORT, LONG = times(600, 4383), long_times(600, 4383)
TRACKS = (track(b"soun", 999), track(b"vide", 240))


def test_length_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    for header, wide in ((SHORT, False), (LONG, True)):
        content = movie(header, *TRACKS, wide=wide)
        path.write_bytes(content)
        for medium in (content, path, wire_form(path)[0]):
            assert measured("seconds", medium) == Fraction(4383, 600)
            assert measured("frames", medium) == 240
        assert tasks.VideoUpscale(video=path).estimate_usd() == 0.072


def test_box_that_goes_on_to_the_end_of_the_file_is_read() -> None:
    inner = box(b"mvhd", SHORT) + TRACKS[1]
    for size in (0, 2**32 - 1, 3 * 10**9):  # to the end, the longest, cut off
        for head in (struct.pack(">I4s", size, b"moov"), struct.pack(">I4sQ", 1, b"moov", size << 32 or 2**64 - 1)):
            assert video_seconds(box(b"ftyp", b"isom") + head + inner) == Fraction(4383, 600)
            assert video_frames(head + inner) == 240


def test_numbers_of_a_video_have_no_sign() -> None:
    for header in (times(3 * 10**9, 2**32 - 2), long_times(3 * 10**9, 2**32 - 2)):
        assert video_seconds(movie(header)) == Fraction(2**32 - 2, 3 * 10**9)
    assert video_frames(movie(SHORT, track(b"vide", 2**31))) == 2**31


OF_NO_LENGTH = [
    *(movie(SHORT[:size]) for size in (0, 19)),  # the header is cut off
    movie(times(0, 5)),
    movie(times(600, 2**32 - 1)),
    movie(long_times(600, 2**64 - 1)),
    movie(times(600, 0), track(b"vide", 0)),  # in fragments
    movie(times(600, 0), track(b"soun", 5)),
    struct.pack(">I4s", 3, b"moov"),  # smaller than its head
]


def test_video_without_a_length_has_no_estimate() -> None:
    for content in OF_NO_LENGTH:
        assert (video_seconds(content), video_frames(content)) == (None, None)
        assert tasks.VideoUpscale(video=content).estimate_usd() is None
