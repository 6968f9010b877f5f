"""The judge of face swaps, shown what it must accept and what it must refuse.

Two people may be shown here, both on public-domain pictures: a NASA astronaut and Rear Admiral Grace Hopper. A third
person, who exists nowhere, is made of the two.
"""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from unitask_sandbox import samples
from unitask_sandbox.faces import swap_largest

from .recogniser import LEAST_GAIN, SAME_PERSON, face_distance, judge

ASTRONAUT = samples.ASTRONAUT.read_bytes()
HOPPER = samples.GRACE_HOPPER.read_bytes()

both_ways = pytest.mark.parametrize(
    ("target", "source"),
    [
        pytest.param(ASTRONAUT, HOPPER, id="hopper-on-astronaut"),
        pytest.param(HOPPER, ASTRONAUT, id="astronaut-on-hopper"),
    ],
)


def pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def encoded(picture: NDArray[np.uint8], kind: str = ".png", *options: int) -> bytes:
    return cv2.imencode(kind, picture, options)[1].tobytes()


@cache
def swapped(target: bytes, source: bytes) -> bytes:
    return swap_largest(target, source)


@cache
def third_person() -> bytes:
    """The mean of the two people, with the middle of the face shrunk as by a lens."""
    mean = cv2.addWeighted(pixels(ASTRONAUT), 0.5, pixels(swapped(ASTRONAUT, HOPPER)), 0.5, 0)
    y, x = np.mgrid[: mean.shape[0], : mean.shape[1]].astype(np.float32)
    from_nose_x, from_nose_y = x - 223, y - 119
    radius = np.clip(np.hypot(from_nose_x, from_nose_y) / 114, 1e-3, 1)  # 114 pixels: the height of the face
    zoom = radius**-0.35
    return encoded(cv2.remap(mean, 223 + from_nose_x * zoom, 119 + from_nose_y * zoom, cv2.INTER_CUBIC))


@both_ways
def test_judge_accepts_swap_of_the_engine(target: bytes, source: bytes) -> None:
    """A swap shows the source's face and leaves every pixel beside the face alone."""
    verdict = judge(target, swapped(target, source), source, exact=True)

    assert verdict.accepted, verdict.reason
    assert verdict.identical_outside
    assert verdict.change_outside == 0


@pytest.mark.parametrize(
    ("target", "source", "distance"),
    [(ASTRONAUT, HOPPER, 0.405), (HOPPER, ASTRONAUT, 0.306)],
    ids=["hopper", "astronaut"],
)
def test_swap_is_as_good_as_recorded(target: bytes, source: bytes, distance: float) -> None:
    """The likeness stays what it was when it was recorded; other OpenCV builds move it by some hundredths."""
    verdict = judge(target, swapped(target, source), source)

    assert verdict.distance_before == pytest.approx(0.819, abs=0.03)
    assert verdict.distance_to_source == pytest.approx(distance, abs=0.05)


@both_ways
@pytest.mark.parametrize(("kind", "quality"), [(".jpg", cv2.IMWRITE_JPEG_QUALITY), (".webp", cv2.IMWRITE_WEBP_QUALITY)])
def test_judge_accepts_swap_that_was_compressed(target: bytes, source: bytes, kind: str, quality: int) -> None:
    """A lossy result is accepted, as its change beside the face is small, but it is not an exact one."""
    result = encoded(pixels(swapped(target, source)), kind, quality, 90)

    assert judge(target, result, source).accepted
    assert judge(target, result, source, exact=True).reason == "pixels outside the face changed"


@both_ways
def test_judge_refuses_unchanged_target(target: bytes, source: bytes) -> None:
    """Returning the target is no swap."""
    verdict = judge(target, target, source)

    assert not verdict.accepted
    assert "not the source's" in verdict.reason
    assert verdict.distance_to_source == verdict.distance_before


@both_ways
def test_judge_refuses_source_resized_over_the_target(target: bytes, source: bytes) -> None:
    """The source's picture in the target's size has the right face and the wrong picture."""
    height, width = pixels(target).shape[:2]
    result = encoded(np.asarray(cv2.resize(pixels(source), (width, height)), np.uint8))

    verdict = judge(target, result, source)

    assert not verdict.accepted
    assert "outside the face changed by" in verdict.reason


@both_ways
def test_judge_refuses_source_itself(target: bytes, source: bytes) -> None:
    """The source's picture as it is has not even the target's size."""
    verdict = judge(target, source, source)

    assert not verdict.accepted
    assert "another size" in verdict.reason


@both_ways
def test_judge_refuses_third_person(target: bytes, source: bytes) -> None:
    """A clean swap of somebody else's face is refused: the face must be the source's."""
    result = swapped(target, third_person())

    verdict = judge(target, result, source, exact=True)

    assert face_distance(third_person(), target) > SAME_PERSON
    assert face_distance(third_person(), source) > SAME_PERSON
    assert face_distance(third_person(), result) < SAME_PERSON
    assert verdict.identical_outside
    assert not verdict.accepted
    assert "not the source's" in verdict.reason


@both_ways
def test_judge_refuses_face_painted_over(target: bytes, source: bytes) -> None:
    """A result without a face where the target's was is refused."""
    covered = pixels(swapped(target, source))
    changed = np.any(covered != pixels(target), axis=2)
    covered[changed] = 128

    verdict = judge(target, encoded(covered), source)

    assert not verdict.accepted
    assert "no face" in verdict.reason


def test_judge_looks_at_the_largest_face() -> None:
    """Of several faces in the target, the largest is the one that must have been replaced."""
    small, big = cv2.resize(pixels(ASTRONAUT), (200, 200)), pixels(HOPPER)
    target = encoded(np.hstack([big, np.pad(small, ((400, 0), (0, 0), (0, 0)))]))

    verdict = judge(target, swapped(target, ASTRONAUT), ASTRONAUT, exact=True)

    assert verdict.accepted, verdict.reason


def test_judge_refuses_face_that_was_near_before() -> None:
    """A face that was the source's before has gained nothing."""
    verdict = judge(ASTRONAUT, swapped(ASTRONAUT, ASTRONAUT), ASTRONAUT)

    assert verdict.distance_to_source < SAME_PERSON
    assert verdict.distance_before - verdict.distance_to_source < LEAST_GAIN
    assert not verdict.accepted
    assert "hardly nearer" in verdict.reason


@pytest.mark.parametrize("damage", [lambda row: row[:2], lambda row: row[-2:]], ids=["top", "bottom"])
def test_judge_sees_one_pixel_outside_the_face(
    damage: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> None:
    """An exact result may not differ from the target in any pixel beside the face."""
    result = pixels(swapped(ASTRONAUT, HOPPER))
    damage(result)[0, 0] ^= 1

    assert judge(ASTRONAUT, encoded(result), HOPPER).accepted
    assert not judge(ASTRONAUT, encoded(result), HOPPER, exact=True).accepted
