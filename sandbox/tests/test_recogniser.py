"""The judge of face swaps, shown what it must accept and what it must refuse.

Two people may be shown here, both on public-domain pictures. A third, who exists nowhere, is made of the two.
"""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from unitask_sandbox.faces.swap import swap_largest

from .portraits import ASTRONAUT, HOPPER, encoded, pixels, resized
from .recogniser import SAME_PERSON, face_distance, judge


@cache
def swapped(target: bytes = ASTRONAUT, source: bytes = HOPPER) -> bytes:
    return swap_largest(target, source)


@cache
def third_person() -> bytes:
    """The mean of the two people, with the middle of the face shrunk as by a lens."""
    mean = cv2.addWeighted(pixels(ASTRONAUT), 0.5, pixels(swapped()), 0.5, 0)
    y, x = np.mgrid[: mean.shape[0], : mean.shape[1]].astype(np.float32)
    from_nose_x, from_nose_y = x - 223, y - 119
    radius = np.clip(np.hypot(from_nose_x, from_nose_y) / 114, 1e-3, 1)  # 114 pixels: the height of the face
    zoom = radius**-0.35
    warped = cv2.remap(mean, 223 + from_nose_x * zoom, 119 + from_nose_y * zoom, cv2.INTER_CUBIC)
    return encoded(np.asarray(warped, np.uint8))


def painted_over() -> bytes:
    covered = pixels(swapped())
    covered[np.any(covered != pixels(ASTRONAUT), axis=2)] = 128
    return encoded(covered)


def one_pixel_changed() -> bytes:
    result = pixels(swapped())
    result[-1, 0] ^= 1
    return encoded(result)


@pytest.mark.parametrize(
    ("target", "source", "distance"),
    [(ASTRONAUT, HOPPER, 0.405), (HOPPER, ASTRONAUT, 0.306)],
    ids=["hopper", "astronaut"],
)
def test_swap_of_the_engine_is_accepted_and_as_good_as_recorded(target: bytes, source: bytes, distance: float) -> None:
    verdict = judge(target, swapped(target, source), source, exact=True)

    assert verdict.accepted, verdict.reason
    assert verdict.distance_before == pytest.approx(0.819, abs=0.03)
    assert verdict.distance_to_source == pytest.approx(distance, abs=0.05)


def test_swap_that_was_compressed_is_accepted_but_not_exact() -> None:
    result = encoded(pixels(swapped()), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 90)

    assert judge(ASTRONAUT, result, HOPPER).accepted
    assert judge(ASTRONAUT, result, HOPPER, exact=True).reason == "pixels outside the face changed"


@pytest.mark.parametrize(
    ("make", "source", "words"),
    [
        pytest.param(lambda: ASTRONAUT, HOPPER, "not the source's", id="unchanged"),
        pytest.param(lambda: encoded(resized(HOPPER, 512, 512)), HOPPER, "outside the face changed by", id="resized"),
        pytest.param(lambda: HOPPER, HOPPER, "another size", id="source"),
        pytest.param(lambda: swapped(ASTRONAUT, third_person()), HOPPER, "not the source's", id="third-person"),
        pytest.param(painted_over, HOPPER, "no face", id="painted-over"),
        pytest.param(one_pixel_changed, HOPPER, "pixels outside the face changed", id="one-pixel"),
        pytest.param(lambda: swapped(ASTRONAUT, ASTRONAUT), ASTRONAUT, "hardly nearer", id="near-before"),
    ],
)
def test_anything_but_the_swap_is_refused(make: Callable[[], bytes], source: bytes, words: str) -> None:
    assert words in judge(ASTRONAUT, make(), source, exact=words.startswith("pixels")).reason


def test_third_person_is_neither_of_the_two() -> None:
    assert min(face_distance(third_person(), other) for other in (ASTRONAUT, HOPPER)) > SAME_PERSON
    assert face_distance(third_person(), swapped(ASTRONAUT, third_person())) < SAME_PERSON
