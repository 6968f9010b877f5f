"""The face engine: which faces it takes, which pictures it refuses, and what it may change, judged independently."""

import io
import re
import runpy
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import unitask_sandbox
from PIL import Image
from unitask_sandbox.faces.detect import Face, find_faces
from unitask_sandbox.faces.pictures import decode, picture_size
from unitask_sandbox.faces.swap import SourceFace, in_order, pairs, swap_face, swap_largest
from unitask_sandbox.failures import IMAGE_TOO_LARGE, TaskFailure

from . import hostile
from .local import Http
from .media import ASTRONAUT, HOPPER, Picture, pixels, png, resized
from .recogniser import judge

PACKAGE = Path(unitask_sandbox.__file__).parent
BLANK = png(np.full((64, 64, 3), 200, np.uint8))
SIDE = 512


def swapped(target: Picture, source: bytes = HOPPER) -> tuple[Picture, Picture]:
    giver = pixels(source)
    return swap_face(target, find_faces(target)[0], SourceFace(giver, find_faces(giver)[0]))


# What comes out.


@cache
def swap(target: bytes = ASTRONAUT, source: bytes = HOPPER) -> bytes:
    return swap_largest(target, source)


@pytest.mark.parametrize(
    ("target", "source", "distance", "changed", "mean"),
    [
        (ASTRONAUT, HOPPER, 0.405, 8319, (127.0, 154.9, 187.3)),
        (HOPPER, ASTRONAUT, 0.306, 29981, (97.8, 128.8, 201.8)),
    ],
    ids=["astronaut", "hopper"],
)
def test_swap_is_as_good_as_recorded_and_changes_the_face_only(
    target: bytes, source: bytes, distance: float, changed: int, mean: tuple[float, float, float]
) -> None:
    before = pixels(target)
    outline = cv2.convexHull(find_faces(before)[0].vertices[:, :2].astype(np.int32))
    face = cv2.dilate(cv2.fillConvexPoly(np.zeros(before.shape[:2], np.uint8), outline, 255), np.ones((7, 7)))
    result, mask = swapped(before, source)

    # other OpenCV builds move it
    assert judge(target, swap(target, source), source, exact=True) == pytest.approx(distance, abs=0.05)
    assert np.count_nonzero(mask) == pytest.approx(changed, rel=0.02)
    assert result[mask > 0].mean(0).tolist() == pytest.approx(mean, abs=1.5)
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(result[mask == 0], before[mask == 0])
    assert not np.any(mask[face == 0])
    assert np.array_equal(before, pixels(target))


def test_same_input_gives_the_same_bytes_with_a_mark() -> None:
    swap(HOPPER, ASTRONAUT)

    assert swap_largest(ASTRONAUT, HOPPER) == swap()
    assert b"synthetic: face swapped by the unitask sandbox" in swap()


def test_open_mouth_stays_the_targets() -> None:
    result, _ = swapped(pixels(ASTRONAUT))

    assert cv2.absdiff(result, pixels(ASTRONAUT))[143:149, 212:232].mean() < 60  # the teeth; 94 with closed lips


def test_bar_over_the_eyes_is_not_taken_for_grain() -> None:
    barred = pixels(ASTRONAUT)
    barred[88:112, 165:280] = 0
    barred[88:112:6, 165:280] = 255
    details: list[float] = []
    for target in (pixels(ASTRONAUT), barred):
        result, mask = swapped(target)
        below = result[117:].astype(np.float32)
        detail = below - cv2.GaussianBlur(below, (0, 0), 1.2)
        details.append(float(detail[cv2.erode(mask, np.ones((9, 9)))[117:] > 0].std()))

    assert details[1] < 1.5 * details[0]


# Which face.


def test_threads_share_the_models_but_no_computation() -> None:
    pictures = [resized(pixels(ASTRONAUT), 170, 170), resized(pixels(HOPPER), 160, 187)] * 5
    alone = [find_faces(picture)[0].landmarks for picture in pictures[:2]]
    with ThreadPoolExecutor(4) as pool:
        together = [found[0].landmarks for found in pool.map(find_faces, pictures)]

    assert all(np.array_equal(found, alone[number % 2]) for number, found in enumerate(together))


def test_largest_face_is_replaced() -> None:
    target = np.full((SIDE, 2 * SIDE, 3), 128, np.uint8)
    target[:, 38:475] = resized(pixels(HOPPER), 437, 512)
    target[:256, 512:768] = resized(pixels(ASTRONAUT), 256, 256)
    for one, shown in ((target, [True, False]), (np.roll(target, SIDE, axis=1), [False, True])):
        changed = np.any(pixels(swap_largest(png(one), ASTRONAUT)) != one, axis=2)
        assert [changed[:, :SIDE].any(), changed[:, SIDE:].any()] == shown
        assert len(find_faces(np.ascontiguousarray(one))) == 2


def test_faces_of_all_sizes_are_replaced() -> None:
    for picture, scale, source, share in (
        (pixels(HOPPER), 0.14, ASTRONAUT, 0.1),
        (pixels(HOPPER)[110:355, 160:365], 3.7, ASTRONAUT, 0.6),
        (pixels(ASTRONAUT)[:, 215:], 1, HOPPER, 0.033),  # cut off at the left
    ):
        target = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
        result, mask = swapped(target, source)
        assert (mask > 0).mean() == pytest.approx(share, rel=0.5)
        assert np.array_equal(result[mask == 0], target[mask == 0])


# Several faces.

TWO = png(np.hstack([pixels(portrait)[:SIDE, :SIDE] for portrait in (ASTRONAUT, HOPPER)]))  # numbers 0 and 1


@pytest.mark.parametrize(
    ("source", "indexes", "shown"),
    [
        pytest.param(TWO, ("0,1", "1,0"), (HOPPER, ASTRONAUT), id="both-change-places"),
        pytest.param(TWO, ("0", "1"), (None, ASTRONAUT), id="left-on-right"),
        pytest.param(HOPPER, None, (HOPPER, None), id="as-many-as-both-have"),
    ],
)
def test_indexes_say_which_face_goes_where_and_others_keep_every_pixel(
    http: Http, source: bytes, indexes: tuple[str, str] | None, shown: tuple[bytes | None, ...]
) -> None:
    given = dict(zip(("swap_faces_index", "target_faces_index"), indexes or (), strict=False))
    task = http.done("Qubico/image-toolkit", "multi-face-swap", target_image=TWO, swap_image=source, **given)
    result = http.file(task)

    for place, face in enumerate(shown):
        before, after = (png(pixels(picture)[:, place * SIDE : (place + 1) * SIDE]) for picture in (TWO, result))
        if face is None:
            assert after == before
        else:
            judge(before, after, face, exact=True)
    assert b"synthetic" in result


def test_faces_are_numbered_by_rows_from_the_lowest() -> None:
    corners = [np.array([x, y, 0], np.float32) for x, y in ((0, 300), (200, 290), (100, 0), (300, 10))]
    faces = [Face(np.stack([corner, corner + 100])) for corner in corners]

    assert in_order(faces[::-1]) == faces


@pytest.mark.parametrize(
    ("swap", "target", "expected"),
    [
        ("0 1", " 1, 0 ", [(0, 1), (1, 0)]),
        ("1", "", [(1, 0)]),
        ("", "1", [(0, 1)]),
        ("9" * 5000, "0", f"swap_faces_index '{'9' * 40}'"),
        ("0", "²", "target_faces_index '²'"),
        ("0,1", "0", "swap_faces_index '0,1' names 2 faces and target_faces_index '0' 1"),
        ("0,1", "0,0", "target_faces_index '0,0' names a face twice"),
        ("0", "3", "no face found in the image (target_image) with the index 3"),
    ],
)
def test_indexes_are_paired_or_named(swap: str, target: str, expected: Any) -> None:
    if isinstance(expected, list):
        assert pairs(swap, target, givers=2, takers=3) == expected
        return
    with pytest.raises(TaskFailure) as caught:
        pairs(swap, target, givers=2, takers=3)
    assert caught.value.raw_message.startswith(expected)
    assert len(caught.value.raw_message) < 150


# What is refused, and how pictures are read.


@pytest.mark.parametrize(
    ("picture", "code", "words"),
    [
        (BLANK, 10000, "no face found in the image ({})"),
        (b"", 10000, "failed to get valid image ({})"),
        (png(pixels(HOPPER), ".bmp"), 10000, "failed to get valid image ({})"),
        (hostile.PICTURES["jpeg-of-100000-scans"], 10000, "failed to get valid image ({})"),
        (hostile.png(40, 40, data=b""), 10000, "failed to get valid image ({})"),
        (hostile.png(8, 2048), IMAGE_TOO_LARGE, "image size too large ({}): 8x2048, each side"),
    ],
    ids=range(6),
)
def test_picture_that_cannot_be_used_is_named(picture: bytes, code: int, words: str) -> None:
    for field, given in (("target_image", (picture, HOPPER)), ("swap_image", (ASTRONAUT, picture))):
        with pytest.raises(TaskFailure, match=re.escape(words.format(field))) as caught:
            swap_largest(*given)
        assert caught.value.code == code


SMALL = np.full((37, 53, 3), 90, np.uint8)
LOSSLESS_WEBP = png(SMALL, ".webp", cv2.IMWRITE_WEBP_QUALITY, 101)


def test_huge_picture_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    broad = np.zeros((2, 16000, 3), np.uint8)
    enormous = LOSSLESS_WEBP[:21] + struct.pack("<I", 16_382 | 16_382 << 14) + LOSSLESS_WEBP[25:]
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("the picture was decoded"))

    for data in (hostile.png(30_000, 30_000), png(broad, ".jpg"), png(broad, ".webp"), enormous):
        with pytest.raises(TaskFailure, match=r"image size too large \(image\): (30000x30000|16000x2|16383x16383),"):
            decode(data, "image")


def test_every_kind_of_picture_is_measured_and_read() -> None:
    progressive = png(SMALL, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    for data in (png(SMALL), progressive, png(SMALL, ".webp", cv2.IMWRITE_WEBP_QUALITY, 80), LOSSLESS_WEBP):
        assert picture_size(data) == (53, 37)
        assert decode(data, "image").shape == SMALL.shape
        assert {picture_size(data[:end]) for end in range(24)} == {None}


def test_decode_drops_transparency_reduces_sixteen_bits_and_turns() -> None:
    opaque = pixels(ASTRONAUT)
    with_alpha = np.dstack([opaque, np.full(opaque.shape[:2], 77, np.uint8)])
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn right"
    Image.new("RGB", (50, 30)).save(turned := io.BytesIO(), "JPEG", exif=exif)

    assert np.array_equal(decode(png(with_alpha), "image"), opaque)
    assert np.array_equal(decode(png(opaque.astype(np.uint16) * 256 + 77), "image"), opaque)
    assert decode(turned.getvalue(), "image").shape == (50, 30, 3)
    assert decode(png(np.zeros((2047, 8, 3), np.uint8)), "image").shape == (2047, 8, 3)


def test_vendored_files_are_those_of_the_table_and_no_others() -> None:
    vendor = runpy.run_path(str(PACKAGE.parents[1] / "scripts/vendor.py"))
    patterns = ("faces/weights/*.*", "pictures/weights/*.*", "samples/*.*", "page/*.standalone.*")
    found = {path.relative_to(PACKAGE).as_posix() for pattern in patterns for path in PACKAGE.glob(pattern)}

    assert list(vendor["problems"]()) == []
    assert {path for path in found if not path.endswith(".py")} == set(vendor["TABLE"])
