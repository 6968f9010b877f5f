"""The judge of face swaps, shown what it must accept and what it must refuse."""

from collections.abc import Callable
from functools import cache

import pytest
from unitask_sandbox.faces.swap import swap_largest

from .portraits import ASTRONAUT, HOPPER, Picture, encoded, pixels
from .recogniser import judge


@cache
def swapped(target: bytes = ASTRONAUT, source: bytes = HOPPER) -> bytes:
    return swap_largest(target, source)


@pytest.mark.parametrize(("target", "source", "distance"), [(ASTRONAUT, HOPPER, 0.405), (HOPPER, ASTRONAUT, 0.306)])
def test_swap_of_the_engine_is_accepted_and_as_good_as_recorded(target: bytes, source: bytes, distance: float) -> None:
    verdict = judge(target, swapped(target, source), source, exact=True)

    assert verdict.accepted, verdict.reason
    assert verdict.distance_before == pytest.approx(0.819, abs=0.03)
    assert verdict.distance_to_source == pytest.approx(distance, abs=0.05)  # other OpenCV builds move it


def painted_over(picture: Picture) -> None:
    picture[(picture != pixels(ASTRONAUT)).any(axis=2)] = 128


def one_pixel(picture: Picture) -> None:
    picture[-1, 0] ^= 1


def frame(picture: Picture) -> None:
    picture[:100] ^= 64


@pytest.mark.parametrize(
    ("make", "source", "words"),
    [
        (lambda: ASTRONAUT, HOPPER, "not the source's"),
        (lambda: HOPPER, HOPPER, "another size"),
        (lambda: spoiled(painted_over), HOPPER, "no face"),
        (lambda: spoiled(one_pixel), HOPPER, "pixels outside the face changed"),
        (lambda: spoiled(frame), HOPPER, "outside the face changed by"),
        (lambda: swapped(ASTRONAUT, ASTRONAUT), ASTRONAUT, "hardly nearer"),
    ],
)
def test_anything_but_the_swap_is_refused(make: Callable[[], bytes], source: bytes, words: str) -> None:
    assert words in judge(ASTRONAUT, make(), source, exact=words.startswith("pixels")).reason


def spoiled(change: Callable[[Picture], None]) -> bytes:
    picture = pixels(swapped())
    change(picture)
    return encoded(picture)
