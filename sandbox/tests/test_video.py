"""The video toolkit: what a swapped and an enlarged video must keep, and which videos are refused."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from unitask_sandbox.engines import run
from unitask_sandbox.engines.video import video_face_swap, video_upscale
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.video.track import OneEuro

from .clips import SECOND, Watched, clip, moving, portrait, watched
from .local import SandboxWith, base64_of, encoded
from .portraits import ASTRONAUT, HOPPER, Picture
from .portraits import encoded as png
from .recogniser import SAME_PERSON, face_distance, judge

HOPPER_MIDDLE = (283, 190)
GREY = np.full((256, 256, 3), 128, np.uint8)


@cache
def moving_clip() -> bytes:
    return clip(moving(portrait(), 16))


@cache
def swapped_clip() -> tuple[Watched, dict[str, Any]]:
    return swap(moving_clip())


def swap(video: bytes, picture: bytes = HOPPER, **indexes: str) -> tuple[Watched, dict[str, Any]]:
    made = run(video_face_swap, {"target_video": video, "swap_image": picture, **indexes})
    data, extension = made.output["video_url"]
    assert extension == "mp4"
    return watched(data), dict(made.meta)


def enlarge(video: bytes) -> Watched:
    return watched(run(video_upscale, {"video": video}).output["video_url"][0])


def difference(one: Picture, other: Picture) -> float:
    """In grey levels, on average."""
    return float(cv2.absdiff(one, other).mean())


# The swap.


def test_swapped_video_shows_the_source() -> None:
    """An independent recogniser sees the source in every sampled frame, and the target outside of the face."""
    before, (after, meta) = watched(moving_clip()), swapped_clip()

    assert meta == {"frames": 16, "frames_swapped": 16}
    for number in range(0, 16, 3):
        verdict = judge(png(before.pictures[number]), png(after.pictures[number]), HOPPER)
        assert verdict.accepted, f"frame {number}: {verdict.reason}"


@pytest.mark.parametrize("make", [lambda video: swap(video)[0], enlarge], ids=["swap", "upscale"])
def test_times_and_sound_are_kept(make: Any) -> None:
    """Frames keep the times at which they are shown, evenly spaced or not, and every packet of sound its bytes."""
    uneven = clip(moving(portrait(), 12), times=[number * number * SECOND // 100 for number in range(12)])
    before, after = watched(uneven), make(uneven)

    assert [time for time, _ in after.times] == [time for time, _ in before.times]
    assert after.sound == before.sound
    assert len(after.sound) > 40


def test_rate_and_length_are_kept() -> None:
    """A video of an even frame rate comes back with it, as H.264."""
    before, after = watched(moving_clip()), swapped_clip()[0]

    assert (after.rate, after.seconds, after.codec) == (before.rate, before.seconds, "h264")
    assert after.times == before.times
    assert after.sound == before.sound


def test_result_is_marked_as_synthetic() -> None:
    """The metadata say so to whoever finds the file."""
    assert swapped_clip()[0].comment == "synthetic: face swapped by the unitask sandbox"
    assert enlarge(clip(moving(portrait(), 10))).comment == "synthetic: enlarged by the unitask sandbox"


def test_video_that_is_stored_turned_comes_back_upright() -> None:
    """As a phone stores what was filmed upright: the result needs no turning, and the face in it is replaced."""
    upright = moving(portrait()[:, 20:236], 2)
    lying = [np.ascontiguousarray(np.rot90(picture, -1)) for picture in upright]
    after, _ = swap(clip(lying, shape=lambda stream: stream.set_display_rotation(90)))

    assert difference(upright[0][:40], after.pictures[0][:40]) < 4
    assert face_distance(png(after.pictures[0]), HOPPER) < SAME_PERSON


@pytest.mark.parametrize("colours", [1, 2, 5], ids=["BT.709", "unnamed", "BT.601"])
def test_colours_are_kept(colours: int) -> None:
    """The colour space is that of the given video, and the orange of the suit beside the face is no other."""
    given = clip(moving(portrait(), 2), colours=colours)
    before, (after, _) = watched(given), swap(given)

    assert after.colours == before.colours == colours
    orange = [video.pictures[0][226:].mean((0, 1)) for video in (before, after)]
    assert orange[1] == pytest.approx(orange[0], abs=0.8)


def test_numbers_say_which_face_gets_which() -> None:
    """Of two people, the left one alone gets the right one's face, though that is the larger one."""
    both = np.hstack([portrait(), portrait(HOPPER, HOPPER_MIDDLE)])
    given = clip([both] * 3)
    before, (after, _) = watched(given), swap(given, png(both), swap_faces_index="1", target_faces_index="0")

    for old, new in zip(before.pictures, after.pictures, strict=True):
        assert face_distance(png(new[:, :256]), HOPPER) < SAME_PERSON
        assert difference(old[:, 256:], new[:, 256:]) < 3  # what the encoder makes of it


def test_two_faces_change_places() -> None:
    """Several faces are followed at once, and none is taken for the other."""
    both = np.hstack([portrait(), portrait(HOPPER, HOPPER_MIDDLE)])
    after, _ = swap(clip([both] * 2), png(both), swap_faces_index="0,1", target_faces_index="1 0")

    assert face_distance(png(after.pictures[1][:, :256]), HOPPER) < SAME_PERSON
    assert face_distance(png(after.pictures[1][:, 256:]), ASTRONAUT) < SAME_PERSON


def test_face_that_leaves_and_comes_back_is_swapped_again() -> None:
    """Also where it comes back elsewhere; frames without the face stay as they are."""
    shown = moving(portrait(), 12)
    given = clip([*[GREY] * 2, *shown[:3], *[GREY] * 3, *[np.roll(picture, 60, axis=1) for picture in shown[3:6]]])
    before, (after, meta) = watched(given), swap(given)

    assert meta == {"frames": 11, "frames_swapped": 6}
    changed = [difference(old, new) > 1.5 for old, new in zip(before.pictures, after.pictures, strict=True)]
    assert changed == [False] * 2 + [True] * 3 + [False] * 3 + [True] * 3


def test_swapped_face_does_not_tremble() -> None:
    """The noise of a camera moves the points of a still face; the new face hardly follows that."""
    noise = np.random.default_rng(1)
    still = [np.clip(portrait() + noise.normal(0, 3, (256, 256, 3)), 0, 255).astype(np.uint8) for _ in range(10)]
    given = clip(still)
    before, (after, _) = watched(given), swap(given)

    def unrest(video: Watched) -> float:
        faces = [picture[70:180, 80:180] for picture in video.pictures[4:]]
        return float(np.mean([difference(one, other) for one, other in pairwise(faces)]))

    assert unrest(after) < 0.1 * unrest(before)  # 0.16 without the filter


def test_one_euro_filter_steadies_what_is_still_and_follows_what_moves() -> None:
    """Jitter of a still point shrinks to less than half; a point that crosses half a face a second is hardly late."""
    jitter = np.random.default_rng(1).normal(0, 1, (60, 1, 2)).astype(np.float32)
    way = np.linspace(0, 100, 50, dtype=np.float32)[:, None, None].repeat(2, axis=2)
    still, follow = OneEuro(25), OneEuro(25)
    steadied = np.array([still(100 + points, 100) for points in jitter])
    followed = np.array([follow(points, 100) for points in way])

    assert steadied[10:].std() < jitter[10:].std() / 2
    assert np.abs(followed - way)[10:].max() < 6  # pixels; it moves by 2 a frame


# The enlargement.


def test_enlarged_video_is_twice_as_large_and_sharper_than_a_bilinear_one() -> None:
    """Of a video that was made half as large, more comes back than by the plainest way."""
    large = moving(portrait(), 10)
    given = clip([np.asarray(cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA)) for picture in large])
    after = enlarge(given)
    plain = [cv2.resize(picture, (256, 256), interpolation=cv2.INTER_LINEAR) for picture in watched(given).pictures]

    assert len(after.pictures) == 10
    for wanted, made, bilinear in zip(large, after.pictures, plain, strict=True):
        assert cv2.PSNR(wanted, made) > cv2.PSNR(wanted, np.asarray(bilinear, np.uint8)) + 0.5


# What is refused.


@cache
def broken(kind: str) -> bytes:
    tiny = np.zeros((16, 16, 3), np.uint8)
    match kind:
        case "long":
            return clip([tiny] * 601)
        case "long-to-enlarge":
            return clip([tiny] * 241)
        case "short-to-enlarge":
            return clip([tiny] * 9)
        case "large":
            return clip([np.zeros((722, 1280, 3), np.uint8)])
        case "faceless":
            return clip([GREY] * 2)
        case "playlist":
            return b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
        case "cut-off":
            return moving_clip()[: len(moving_clip()) // 2]
        case _:
            return moving_clip()


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("playlist", {}, "failed to get valid video (target_video): not a readable MP4"),
        ("cut-off", {}, "failed to get valid video (target_video): not a readable MP4"),
        ("long", {}, "the video has more than 600 frames (target_video): give one of 1 to 600"),
        ("large", {}, "video resolution 1280x722 is too large (max 720x1280) (target_video)"),
        ("faceless", {}, "no face found in the video (target_video)"),
        ("good", {"swap_image": png(GREY)}, "no face found in the image (swap_image)"),
        ("good", {"swap_image": b"no picture"}, "failed to get valid image (swap_image)"),
        ("good", {"swap_faces_index": "1"}, "no face found in the image (swap_image) with the index 1"),
        ("good", {"target_faces_index": "1"}, "no face found in the video (target_video) with the index 1"),
        ("good", {"target_faces_index": "right"}, "target_faces_index 'right': give the numbers of faces"),
    ],
)
def test_swap_that_cannot_be_done_fails_in_words(kind: str, changes: dict[str, Any], words: str) -> None:
    """Whatever is wrong, the failure says which field, and in the provider's words where they are known."""
    with pytest.raises(TaskFailure) as caught:
        run(video_face_swap, {"target_video": broken(kind), "swap_image": HOPPER, **changes})

    assert caught.value.raw_message.startswith(words)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("playlist", "failed to get valid video (video): not a readable MP4"),
        ("long-to-enlarge", "the video has more than 240 frames (video): give one of 10 to 240"),
        ("short-to-enlarge", "the video has 9 frames (video): give one of 10 to 240"),
    ],
)
def test_enlargement_that_cannot_be_done_fails_in_words(kind: str, words: str) -> None:
    """The limits are the documented ones."""
    with pytest.raises(TaskFailure) as caught:
        run(video_upscale, {"video": broken(kind)})

    assert caught.value.raw_message.startswith(words)


# The whole way.


def test_task_makes_a_video(sandbox_with: SandboxWith) -> None:
    """Through the provider and its worker process: accepted, done, and kept as an MP4."""
    sandbox = sandbox_with(engine_process=True)
    video = clip(moving(portrait(), 3))
    given = {"target_video": base64_of(video), "swap_image": base64_of(HOPPER)}
    body = {"model": "Qubico/video-toolkit", "task_type": "face-swap", "input": given}
    task_id = sandbox.accept("sandbox", encoded(body)).task_id
    sandbox.advance()
    task = sandbox.get("sandbox", task_id)

    assert task.status == "completed", task.error
    assert task.output is not None
    assert task.meta == {"frames": 3, "frames_swapped": 3}
    assert watched(sandbox.file(task.output["video_url"]["$file"]).read_bytes()).sound == watched(video).sound
