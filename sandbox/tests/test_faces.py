"""The face engine: which faces it takes, which pictures it refuses, and what it may change."""

import io
import runpy
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import unitask_sandbox
from PIL import Image
from unitask_sandbox.faces import detect, light
from unitask_sandbox.faces.detect import find_faces
from unitask_sandbox.faces.pictures import decode, picture_size
from unitask_sandbox.faces.swap import SourceFace, swap_face, swap_largest
from unitask_sandbox.failures import IMAGE_TOO_LARGE, TaskFailure

from .portraits import ASTRONAUT, HOPPER, Picture, encoded, pixels, png_of_size, resized

PACKAGE = Path(unitask_sandbox.__file__).parent
VENDOR = runpy.run_path(str(PACKAGE.parents[1] / "scripts/vendor.py"))
BLANK = encoded(np.full((64, 64, 3), 200, np.uint8))


def montage(left: Picture, right: Picture) -> Picture:
    """Two pictures side by side, on grey."""
    canvas = np.full((512, 1024, 3), 128, np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = left
    canvas[: right.shape[0], 512 : 512 + right.shape[1]] = right
    return canvas


def swapped(target: Picture, source: bytes = HOPPER) -> tuple[Picture, Picture]:
    giver = pixels(source)
    return swap_face(target, find_faces(target)[0], SourceFace(giver, find_faces(giver)[0]))


def fine_detail(picture: Any, where: Any) -> float:
    """The deviation of what a slight blur takes away."""
    floats = picture.astype(np.float32)
    return float((floats - cv2.GaussianBlur(floats, (0, 0), 1.2))[where].std())


# What comes out.


def test_swap_gives_the_same_marked_bytes_for_the_same_input(tmp_path: Path) -> None:
    first = swap_largest(ASTRONAUT, HOPPER)
    swap_largest(HOPPER, ASTRONAUT)
    (tmp_path / "a.png").write_bytes(first)

    assert swap_largest(ASTRONAUT, HOPPER) == first
    with Image.open(tmp_path / "a.png") as read:
        assert read.info["Comment"] == "synthetic: face swapped by the unitask sandbox"
        read.verify()


def test_smooth_source_gets_the_grain_of_the_target_the_same_each_time() -> None:
    noise = np.random.default_rng(1).normal(0, 12, pixels(ASTRONAUT).shape)
    grainy = np.clip(pixels(ASTRONAUT) + noise, 0, 255).astype(np.uint8)
    smooth = encoded(np.asarray(cv2.GaussianBlur(pixels(HOPPER), (0, 0), 4), np.uint8))

    (first, mask), (second, _) = swapped(grainy, smooth), swapped(grainy, smooth)

    assert np.array_equal(first, second)
    assert fine_detail(first, cv2.erode(mask, np.ones((31, 31))) > 0) > 8  # 6.8 without the grain


def test_bar_over_the_eyes_is_not_taken_for_grain() -> None:
    picture = pixels(ASTRONAUT)
    points = find_faces(picture)[0].landmarks[:468]
    (left, top), (right, bottom) = points[:, :2].min(0).astype(int), points[:, :2].max(0).astype(int)
    eyes, half = int(points[[33, 263], 1].mean()), int(0.18 * (bottom - top) / 2)
    picture[eyes - half : eyes + half, left - 10 : right + 10] = 0
    picture[eyes - half : eyes + half : 6, left - 10 : right + 10] = 255
    (barred, mask), (plain, _) = swapped(picture), swapped(pixels(ASTRONAUT))
    below = cv2.erode(mask, np.ones((9, 9))) > 0
    below[: eyes + half + 5] = False

    assert fine_detail(barred, below) < 1.5 * fine_detail(plain, below)


def test_grain_is_limited() -> None:
    smooth = np.full((64, 64, 3), 128, np.float32)
    noise = np.random.default_rng(1).choice([0.0, 255.0], smooth.shape).astype(np.float32)

    assert float((light.match_grain(smooth, noise, np.ones((64, 64), bool), 64) - smooth).std()) < 25


def test_threads_share_the_models_but_no_computation() -> None:
    pictures = [resized(ASTRONAUT, 170, 170), resized(HOPPER, 160, 187)] * 5
    alone = [find_faces(picture)[0].landmarks for picture in pictures[:2]]
    with ThreadPoolExecutor(4) as pool:
        together = [found[0].landmarks for found in pool.map(find_faces, pictures)]

    assert all(np.array_equal(found, alone[number % 2]) for number, found in enumerate(together))


@pytest.mark.parametrize(
    ("target", "source", "changed", "mean"),
    [(ASTRONAUT, HOPPER, 8319, (127.0, 154.9, 187.3)), (HOPPER, ASTRONAUT, 29981, (97.8, 128.8, 201.8))],
    ids=["astronaut", "hopper"],
)
def test_swap_looks_as_recorded_and_changes_only_the_face(
    target: bytes, source: bytes, changed: int, mean: tuple[float, float, float]
) -> None:
    before = pixels(target)
    outline = cv2.convexHull(find_faces(before)[0].landmarks[:468, :2].astype(np.int32))
    face = cv2.dilate(cv2.fillConvexPoly(np.zeros(before.shape[:2], np.uint8), outline, 255), np.ones((7, 7)))

    result, mask = swapped(before, source)

    assert np.count_nonzero(mask) == pytest.approx(changed, rel=0.02)
    assert result[mask > 0].mean(0).tolist() == pytest.approx(mean, abs=1.5)
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(result[mask == 0], before[mask == 0])
    assert not np.any(mask[face == 0])
    assert np.array_equal(before, pixels(target))


def test_swap_of_a_grey_target_is_grey() -> None:
    grey = np.asarray(cv2.cvtColor(pixels(ASTRONAUT), cv2.COLOR_BGR2GRAY), np.uint8)

    result = pixels(swap_largest(encoded(grey), HOPPER))

    assert (result.max(2).astype(int) - result.min(2)).mean() < 0.1
    assert np.any(result[..., 0] != grey)


# Which face.


@pytest.mark.parametrize("big_side", ["left", "right"])
def test_largest_face_is_first_and_is_the_one_replaced(big_side: str) -> None:
    big, small = resized(HOPPER, 437, 512), resized(ASTRONAUT, 256, 256)
    target = montage(big, small) if big_side == "left" else montage(small, big)
    found = find_faces(target)

    changed = np.any(pixels(swap_largest(encoded(target), ASTRONAUT)) != target, axis=2)

    assert len(found) == 2
    assert found[0].area > found[1].area
    assert (found[0].box[0] < 512) == (big_side == "left")
    assert [changed[:, :512].any(), changed[:, 512:].any()] == [big_side == "left", big_side == "right"]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_face_of_a_turned_picture_is_found_where_the_turn_has_put_it(turns: int) -> None:
    picture = pixels(ASTRONAUT)
    upright, turned = find_faces(picture)[0], find_faces(np.rot90(picture, turns).copy())[0]
    # rot90 turns about the middle of the square picture, by quarter turns against the clock.
    back = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), turns)

    assert np.abs(turned.landmarks[:, :2] - ((upright.landmarks[:, :2] - 255.5) @ back.T + 255.5)).max() < 0.01
    assert np.abs(turned.points - ((upright.points - 255.5) @ back.T + 255.5)).max() < 0.01
    assert np.all(turned.landmarks[:468, :2] >= turned.box[:2] - 0.01)
    assert np.all(turned.landmarks[:468, :2] <= turned.box[:2] + turned.box[2:] + 0.01)


@pytest.mark.parametrize(
    ("target", "scale", "share"),
    [
        pytest.param(pixels(HOPPER), 0.14, 0.1, id="tiny"),
        pytest.param(pixels(HOPPER)[110:355, 160:365], 3.7, 0.6, id="close-up"),
        pytest.param(pixels(ASTRONAUT)[:, 215:], 1, 0.033, id="cut-off-at-the-left"),
        pytest.param(pixels(ASTRONAUT)[:150], 1, 0.07, id="cut-off-at-the-bottom"),
    ],
)
def test_faces_of_all_sizes_are_replaced_up_to_the_border_of_the_picture(
    target: Picture, scale: float, share: float
) -> None:
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    target = np.asarray(cv2.resize(target, None, fx=scale, fy=scale, interpolation=way), np.uint8)

    result, mask = swapped(target, ASTRONAUT if scale != 1 else HOPPER)

    assert (mask > 0).mean() == pytest.approx(share, rel=0.5)
    assert np.array_equal(result[mask == 0], target[mask == 0])


@pytest.mark.parametrize("shape", [(32, 239), (92, 525), (1, 2047)], ids=str)
def test_detector_is_not_shown_narrow_pictures(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    shown: list[tuple[int, int]] = []

    class Network:
        setInputSize = shown.append  # noqa: N815 - OpenCV's name

        def detect(self, _picture: Picture) -> tuple[int, None]:
            return 1, None

    monkeypatch.setattr(detect._detector(), "_networks", [Network(), Network()])

    assert find_faces(np.zeros((*shape, 3), np.uint8)) == []
    assert all(min(size) > 32 for size in shown)


# What is refused, and how pictures are read.


@pytest.mark.parametrize(
    ("picture", "code", "words"),
    [
        (BLANK, 10000, "no face found in the image ({})"),
        (b"", 10000, "failed to get valid image ({})"),
        (encoded(pixels(HOPPER), ".bmp"), 10000, "failed to get valid image ({})"),
        (HOPPER[:200], 10000, "failed to get valid image ({})"),
        (HOPPER + b"\xff\xda" * 100, 10000, "failed to get valid image ({})"),  # too many scans
        (png_of_size(40, 40), 10000, "failed to get valid image ({})"),  # without pixels
        (png_of_size(8, 2048), IMAGE_TOO_LARGE, "image size too large ({}): 8x2048, each side"),
    ],
    ids=range(7),
)
def test_picture_that_cannot_be_used_is_named(picture: bytes, code: int, words: str) -> None:
    for field, given in (("target_image", (picture, HOPPER)), ("swap_image", (ASTRONAUT, picture))):
        with pytest.raises(TaskFailure) as caught:
            swap_largest(*given)

        assert caught.value.raw_message.startswith(words.format(field))
        assert caught.value.code == code


def test_huge_picture_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        png_of_size(30000, 30000),
        *(encoded(np.zeros((2, 16000, 3), np.uint8), kind) for kind in (".jpg", ".webp")),
    ]
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("the picture was decoded"))

    for data in files:
        with pytest.raises(TaskFailure, match=r"image size too large \(image\): (30000x30000|16000x2),"):
            decode(data, "image")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (".png", ()),
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 80)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),
    ],
    ids=["png", "progressive-jpeg", "webp", "lossless-webp"],
)
def test_size_of_every_kind_is_read(kind: str, options: tuple[int, ...]) -> None:
    data = encoded(np.full((37, 53, 3), 90, np.uint8), kind, *options)

    assert picture_size(data) == (53, 37)
    assert decode(data, "image").shape == (37, 53, 3)
    assert {picture_size(data[:end]) for end in range(24)} == {None}


def test_webp_that_pillow_refuses_to_measure_is_too_large() -> None:
    data = encoded(np.zeros((2, 2, 3), np.uint8), ".webp", cv2.IMWRITE_WEBP_QUALITY, 101)
    enormous = data[:21] + struct.pack("<I", 16_382 | 16_382 << 14) + data[25:]

    assert picture_size(enormous) == (16_383, 16_383)


def test_decode_drops_transparency_reduces_sixteen_bits_and_turns() -> None:
    opaque = pixels(ASTRONAUT)
    with_alpha = np.dstack([opaque, np.full(opaque.shape[:2], 77, np.uint8)])
    deep: Any = opaque.astype(np.uint16) * 256 + 77
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn right"
    turned = io.BytesIO()
    Image.new("RGB", (50, 30)).save(turned, "JPEG", exif=exif)

    assert np.array_equal(decode(encoded(with_alpha), "image"), opaque)
    assert np.array_equal(decode(encoded(deep), "image"), opaque)
    assert decode(turned.getvalue(), "image").shape == (50, 30, 3)
    assert decode(encoded(np.zeros((2047, 8, 3), np.uint8)), "image").shape == (2047, 8, 3)


# The vendored files.


def test_vendored_files_are_those_of_the_table_and_no_others() -> None:
    folders = [PACKAGE / "faces/weights", PACKAGE / "pictures/weights", PACKAGE / "samples"]
    there = {path.relative_to(PACKAGE).as_posix() for folder in folders for path in folder.glob("*.*")}

    assert list(VENDOR["problems"]()) == []
    assert {path for path in there if not path.endswith(".py")} == {item.destination for item in VENDOR["TABLE"]}
