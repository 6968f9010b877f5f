"""The swap of several faces: which number means which face, judged by the independent recogniser."""

import numpy as np
import pytest
from unitask_sandbox.faces.detect import Face
from unitask_sandbox.faces.numbering import in_order, pairs
from unitask_sandbox.failures import TaskFailure

from .local import Http
from .portraits import ASTRONAUT, HOPPER, done, part, pixels, result, side_by_side
from .recogniser import judge

TWO = side_by_side(ASTRONAUT, HOPPER)  # 0 is the astronaut, 1 is Grace Hopper


@pytest.mark.parametrize(
    ("source", "indexes", "shown"),
    [
        pytest.param(TWO, ("0,1", "1,0"), (HOPPER, ASTRONAUT), id="both-change-places"),
        pytest.param(TWO, ("0", "1"), (None, ASTRONAUT), id="left-on-right"),
        pytest.param(HOPPER, None, (HOPPER, None), id="as-many-as-both-have"),
    ],
)
def test_faces_go_where_the_indexes_say_and_others_keep_every_pixel(
    http: Http, source: bytes, indexes: tuple[str, str] | None, shown: tuple[bytes | None, ...]
) -> None:
    given = dict(zip(("swap_faces_index", "target_faces_index"), indexes or (), strict=False))
    swapped = result(http, done(http, "multi-face-swap", target_image=TWO, swap_image=source, **given))

    for place, face in enumerate(shown):
        if face is None:
            assert np.array_equal(pixels(part(swapped, place)), pixels(part(TWO, place)))
        else:
            assert judge(part(TWO, place), part(swapped, place), face, exact=True).accepted
    assert b"synthetic" in swapped


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([(0, 90), (200, 0), (400, 60)], id="left-to-right-at-different-heights"),
        pytest.param([(300, 300), (0, 0)], id="lower-right-before-upper-left"),
        pytest.param([(0, 0), (200, 40), (400, 80)], id="a-row-that-falls-off"),
        pytest.param([(0, 300), (200, 290), (100, 0), (300, 10)], id="two-rows"),
    ],
)
def test_faces_are_numbered_as_the_page_says(places: list[tuple[float, float]]) -> None:
    boxes = [np.array([x, y, 100, 100], np.float32) for x, y in places]
    faces = [Face(box, np.zeros((5, 2), np.float32), np.zeros((478, 3), np.float32), 1.0) for box in boxes]

    assert in_order(faces) == faces
    assert in_order(faces[::-1]) == faces


@pytest.mark.parametrize(
    ("swap", "target", "expected"),
    [
        pytest.param("0,1", "1,0", [(0, 1), (1, 0)], id="commas"),
        pytest.param("0 1", " 1, 0 ", [(0, 1), (1, 0)], id="spaces-as-in-the-table-of-the-video-page"),
        pytest.param("1,1", "0,2", [(1, 0), (1, 2)], id="one-face-twice"),
        pytest.param("1", "", [(1, 0)], id="no-target"),
        pytest.param("", "1", [(0, 1)], id="no-source"),
        pytest.param("", "", [(0, 0), (1, 1)], id="neither"),
    ],
)
def test_indexes_are_paired(swap: str, target: str, expected: list[tuple[int, int]]) -> None:
    assert pairs(swap, target, givers=2, takers=3) == expected


@pytest.mark.parametrize(
    ("swap", "target", "words"),
    [
        ("-1", "0", "swap_faces_index '-1': give the numbers of faces"),
        ("1.0", "0", "swap_faces_index '1.0': give"),
        ("²", "0", "swap_faces_index '²': give"),
        ("9" * 5000, "0", f"swap_faces_index '{'9' * 40}': give"),
        ("0", "left", "target_faces_index 'left': give"),
        ("0,1", "0", "swap_faces_index '0,1' names 2 faces and target_faces_index '0' 1: give as many"),
        ("0,1", "0,0", "target_faces_index '0,0' names a face twice"),
        ("0", "3", "no face found in the image (target_image) with the index 3: it shows 2"),
        ("2", "0", "no face found in the image (swap_image) with the index 2: it shows 2"),
    ],
)
def test_index_that_cannot_be_followed_is_named(swap: str, target: str, words: str) -> None:
    with pytest.raises(TaskFailure) as caught:
        pairs(swap, target, 2, 2)

    assert caught.value.raw_message.startswith(words)
    assert len(caught.value.raw_message) < 150
