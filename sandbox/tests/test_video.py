"""The video toolkit: what a swapped and an enlarged video must keep, and which videos are refused."""

from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from unitask_sandbox.engines import run
from unitask_sandbox.engines.real import video_face_swap, video_upscale
from unitask_sandbox.faces.detect import Face
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.video import swap as video_swap

from .media import ASTRONAUT, HOPPER, SECOND, Picture, clip, moving, png, portrait, recorded, resized, watched
from .recogniser import SAME_PERSON, face_distance, judge

HOPPER_MIDDLE = (283, 190)
GREY = np.full((256, 256, 3), 128, np.uint8)
TINY, LARGE = (np.zeros((height, width, 3), np.uint8) for height, width in ((16, 16), (722, 1280)))
SOUND = recorded(np.zeros(2400, np.float32), "mp4", "aac")


@cache
def moving_clip() -> bytes:
    return clip(moving(portrait(), 16))


def swap(video: bytes, picture: bytes = HOPPER, **indexes: str) -> tuple[Any, dict[str, Any]]:
    made = run(video_face_swap, {"target_video": video, "swap_image": picture, **indexes})
    data, extension = made.output["video_url"]
    assert extension == "mp4"
    return watched(data), dict(made.meta)


def enlarge(video: bytes) -> Any:
    return watched(run(video_upscale, {"video": video}).output["video_url"][0])


def difference(one: Picture, other: Picture) -> float:
    """In grey levels, on average."""
    return float(cv2.absdiff(one, other).mean())


# The swap.


def test_swapped_video_shows_the_source() -> None:
    before, (after, meta) = watched(moving_clip()), swap(moving_clip())

    assert meta == {"frames": 16, "frames_swapped": 16}
    for number in (0, 4, 9, 15):
        judge(png(before.pictures[number]), png(after.pictures[number]), HOPPER)


@pytest.mark.parametrize(
    ("make", "mark"), [(lambda video: swap(video)[0], "face swapped"), (enlarge, "enlarged")], ids=["swap", "upscale"]
)
def test_times_durations_and_both_tracks_of_sound_are_kept(make: Any, mark: str) -> None:
    uneven = clip(moving(portrait(), 12), times=[number * number * SECOND // 100 for number in range(13)])
    before, after = watched(uneven), make(uneven)

    assert after.times == before.times
    assert after.times[-1][1] == pytest.approx(0.23, abs=0.001)
    assert after.sound == before.sound
    assert {track for track, _, _ in after.sound} == {1, 2}
    assert after.facts == before.facts
    assert after.comment == f"synthetic: {mark} by the unitask sandbox"


def test_video_that_is_stored_turned_comes_back_upright() -> None:
    upright = moving(portrait()[:, 20:236], 2)
    lying = [np.ascontiguousarray(np.rot90(picture, -1)) for picture in upright]
    after, _ = swap(clip(lying, shape=lambda stream: stream.set_display_rotation(90)))

    assert difference(upright[0][:40], after.pictures[0][:40]) < 4
    assert face_distance(png(after.pictures[0]), HOPPER) < SAME_PERSON


@pytest.mark.parametrize("colours", [1, 5], ids=["BT.709", "BT.601"])
def test_colours_are_kept(colours: int) -> None:
    given = clip(moving(portrait(), 2), colours=colours)
    before, (after, _) = watched(given), swap(given)
    orange = [video.pictures[0][226:].mean((0, 1)) for video in (before, after)]

    assert after.facts[-1] == before.facts[-1] == colours
    assert orange[1] == pytest.approx(orange[0], abs=0.8)


def test_indexes_say_which_face_goes_where() -> None:
    both = np.hstack([portrait(), portrait(HOPPER, HOPPER_MIDDLE)])
    given = clip([both] * 2)
    after, _ = swap(given, png(both), swap_faces_index="0,1", target_faces_index="1 0")

    for place, face in ((np.s_[:, :256], HOPPER), (np.s_[:, 256:], ASTRONAUT)):
        assert face_distance(png(after.pictures[1][place]), face) < SAME_PERSON


def test_face_that_leaves_and_comes_back_is_swapped_again() -> None:
    shown = portrait()
    first, then = ([np.roll(shown, by, axis=1) for by in shifts] for shifts in ((-55, -55, -55), (0, 30, 55)))
    given = clip([*[GREY] * 2, *first, *[GREY] * 3, *then])
    before, (after, meta) = watched(given), swap(given)
    changed = [difference(old, new) > 1.5 for old, new in zip(before.pictures, after.pictures, strict=True)]

    assert meta == {"frames": 11, "frames_swapped": 6}
    assert changed == [False] * 2 + [True] * 3 + [False] * 3 + [True] * 3


def test_points_that_hardly_move_are_smoothed_and_moving_ones_do_not_lag() -> None:
    points = np.arange(1404, dtype=np.float32).reshape(468, 3) % 70
    still, moving = (video_swap.smoothed(points, Face(points + by)) - points for by in (0.1, 50))

    assert 0.02 < still.min() <= still.max() < 0.04
    assert moving.min() == 50
    assert np.array_equal(video_swap.smoothed(None, Face(points)), points)


def test_enlarged_video_is_twice_as_large_and_sharper_than_a_bilinear_one() -> None:
    large = moving(portrait(), 10)
    given = clip([resized(picture, 128, 128) for picture in large])
    after = enlarge(given)
    plain = [cv2.resize(picture, (256, 256), interpolation=cv2.INTER_LINEAR) for picture in watched(given).pictures]

    assert len(after.pictures) == 10
    for wanted, made, bilinear in zip(large, after.pictures, plain, strict=True):
        assert cv2.PSNR(wanted, made) > cv2.PSNR(wanted, np.asarray(bilinear, np.uint8)) + 0.5


# What is refused.

GOOD = moving_clip


@pytest.mark.parametrize(
    ("make", "changes", "words"),
    [
        (lambda: b"#EXTM3U\nfile:///etc/passwd\n", {}, "failed to get valid video (target_video): not a readable MP4"),
        (lambda: SOUND, {}, "failed to get valid video (target_video): there are no pictures in it"),
        (lambda: GOOD()[: len(GOOD()) // 2], {}, "failed to get valid video (target_video): not a readable MP4"),
        (lambda: clip([TINY] * 601), {}, "the video has more than 600 frames (target_video)"),
        (lambda: clip([TINY] * 241), None, "the video has more than 240 frames (video)"),
        (lambda: clip([TINY] * 9), None, "the video has 9 frames (video)"),
        (lambda: clip([LARGE]), {}, "video resolution 1280x722 is too large (max 720x1280) (target_video)"),
        (lambda: clip([GREY] * 2), {}, "no face found in the video (target_video)"),
        (GOOD, {"swap_image": png(GREY)}, "no face found in the image (swap_image)"),
        (GOOD, {"swap_faces_index": "1"}, "no face found in the image (swap_image) with the index 1"),
        (GOOD, {"target_faces_index": "1"}, "no face found in the video (target_video) with the index 1"),
    ],
    ids=range(11),
)
def test_video_that_cannot_be_used_is_named(make: Any, changes: dict[str, Any] | None, words: str) -> None:
    given = {"video": make()} if changes is None else {"target_video": make(), "swap_image": HOPPER, **changes}
    with pytest.raises(TaskFailure) as caught:
        run(video_upscale if changes is None else video_face_swap, given)

    assert caught.value.raw_message.startswith(words)
