"""The swap of several faces: which number means which face, judged by the independent recogniser."""

from __future__ import annotations

import numpy as np
import pytest
from unitask_sandbox.faces import Face, FaceIndexError, NoSuchFace, PictureError
from unitask_sandbox.faces.numbering import in_order, pairs

from .local import HttpWith
from .portraits import ASTRONAUT, HOPPER, done, encoded, part, resized, result, side_by_side
from .recogniser import judge

TWO = side_by_side(ASTRONAUT, HOPPER)  # 0 is the astronaut, 1 is Grace Hopper
SMALL = encoded(resized(TWO, 512, 256))


# Through the API.


def test_faces_go_where_the_indexes_say(http_with: HttpWith) -> None:
    """With "0,1" on "1,0" the two faces change places, and nothing else changes."""
    http = http_with()
    given = {"target_image": TWO, "swap_image": TWO, "swap_faces_index": "0,1", "target_faces_index": "1,0"}
    swapped = result(http, done(http, "multi-face-swap", **given))

    for place, source in ((0, HOPPER), (1, ASTRONAUT)):
        verdict = judge(part(TWO, place), part(swapped, place), source, exact=True)
        assert verdict.accepted, verdict.reason


@pytest.mark.parametrize(
    ("swap", "target", "source"),
    [pytest.param(1, 0, HOPPER, id="right-on-left"), pytest.param(0, 1, ASTRONAUT, id="left-on-right")],
)
def test_face_that_is_not_named_stays(http_with: HttpWith, swap: int, target: int, source: bytes) -> None:
    """One index on one index: numbers count from the left, and the other face of the target keeps every pixel."""
    http = http_with()
    given = {"swap_faces_index": str(swap), "target_faces_index": str(target)}
    swapped = result(http, done(http, "multi-face-swap", target_image=TWO, swap_image=TWO, **given))

    assert judge(part(TWO, target), part(swapped, target), source, exact=True).accepted
    assert part(swapped, 1 - target) == part(TWO, 1 - target)


def test_faces_are_paired_in_order_when_no_index_is_given(http_with: HttpWith) -> None:
    """Without indexes the first face goes onto the first one, as far as both pictures have faces."""
    http = http_with()
    swapped = result(http, done(http, "multi-face-swap", target_image=TWO, swap_image=HOPPER))

    assert judge(part(TWO, 0), part(swapped, 0), HOPPER, exact=True).accepted
    assert part(swapped, 1) == part(TWO, 1)
    assert b"synthetic" in swapped


@pytest.mark.parametrize(
    ("indexes", "words"),
    [
        pytest.param(("2", "0"), "no face found in the image (swap_image) with the index 2: it shows 2", id="source"),
        pytest.param(("0", "7"), "no face found in the image (target_image) with the index 7: it shows 2", id="target"),
        pytest.param(("0,1", "0"), "names 2 faces and target_faces_index '0' 1", id="lengths"),
        pytest.param(("0", "left"), "target_faces_index 'left': give the numbers", id="no-number"),
    ],
)
def test_index_that_cannot_be_followed_fails_the_task(
    http_with: HttpWith, indexes: tuple[str, str], words: str
) -> None:
    """The failure names the list and the value, and the task is paid back."""
    http = http_with()
    given = dict(zip(("swap_faces_index", "target_faces_index"), indexes, strict=True))
    task = done(http, "multi-face-swap", target_image=SMALL, swap_image=SMALL, **given)

    assert task["status"] == "failed"
    assert words in task["error"]["raw_message"]
    assert http.sandbox.balance("sandbox") == 10.0


def test_picture_without_a_face_fails_the_task(http_with: HttpWith) -> None:
    """In the same words as the swap of one face."""
    blank = encoded(np.full((64, 64, 3), 200, np.uint8))
    task = done(http_with(), "multi-face-swap", target_image=SMALL, swap_image=blank, swap_faces_index="0")

    assert task["error"]["raw_message"] == "no face found in the image (swap_image)"


# The order of faces.


def face(x: float, y: float) -> Face:
    box = np.array([x, y, 100, 100], np.float32)
    return Face(box, np.zeros((5, 2), np.float32), np.zeros((478, 3), np.float32), 1.0)


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([(0, 0), (200, 0), (400, 0)], id="left-to-right"),
        pytest.param([(0, 90), (200, 0), (400, 60)], id="left-to-right-at-different-heights"),
        pytest.param([(300, 300), (0, 0)], id="lower-right-before-upper-left"),
        pytest.param([(0, 300), (300, 0)], id="lower-left-before-upper-right"),
        pytest.param([(0, 0), (200, 40), (400, 80)], id="a-row-that-falls-off"),
        pytest.param([(0, 300), (200, 290), (100, 0), (300, 10)], id="two-rows"),
    ],
)
def test_faces_are_numbered_as_the_page_says(places: list[tuple[float, float]]) -> None:
    """From left to right; of two on a diagonal the lower one first; whichever order they are found in."""
    faces = [face(x, y) for x, y in places]

    assert in_order(faces) == faces
    assert in_order(faces[::-1]) == faces


@pytest.mark.parametrize(
    ("swap", "target", "expected"),
    [
        pytest.param("0,1", "1,0", [(0, 1), (1, 0)], id="commas"),
        pytest.param("0 1", " 1, 0 ", [(0, 1), (1, 0)], id="spaces-as-in-the-table-of-the-video-page"),
        pytest.param("1,1", "0,1", [(1, 0), (1, 1)], id="one-face-twice"),
        pytest.param("1", "", [(1, 0)], id="no-target"),
        pytest.param("", "1", [(0, 1)], id="no-source"),
        pytest.param("", "", [(0, 0), (1, 1)], id="neither"),
    ],
)
def test_indexes_are_paired(swap: str, target: str, expected: list[tuple[int, int]]) -> None:
    """The first of one list goes with the first of the other; an absent list counts from 0."""
    assert pairs(swap, target, givers=2, takers=3) == expected


@pytest.mark.parametrize("index", ["-1", "0;1", "1.0", "²", "9" * 5000], ids=lambda text: repr(text[:5]))
def test_index_that_is_no_number_is_refused(index: str) -> None:
    """Whatever it is, the error is short and names the field."""
    with pytest.raises(FaceIndexError, match=r"^swap_faces_index") as caught:
        pairs(index, "0", 2, 2)

    assert len(str(caught.value)) < 150


def test_target_named_twice_is_refused() -> None:
    """Which of two faces it should get cannot be known."""
    with pytest.raises(FaceIndexError, match="'0,0' names a face twice"):
        pairs("0,1", "0,0", 2, 2)


def test_missing_face_is_an_error_of_the_picture() -> None:
    """Callers that handle a picture without a face handle this one, too."""
    with pytest.raises(PictureError) as caught:
        pairs("0", "3", 2, 2)

    assert isinstance(caught.value, NoSuchFace)
    assert (caught.value.role, caught.value.number, caught.value.count) == ("target_image", 3, 2)
