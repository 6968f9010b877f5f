"""The face engine: which faces it takes, which pictures it refuses, and what it may change."""

import pickle
import runpy
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Never, get_args

import cv2
import numpy as np
import pytest
import unitask_sandbox
from numpy.typing import NDArray
from unitask_sandbox import faces, samples
from unitask_sandbox.faces import detect, light
from unitask_sandbox.faces.headers import picture_size

from .recogniser import judge

PACKAGE = Path(unitask_sandbox.__file__).parent
ASTRONAUT = samples.ASTRONAUT.read_bytes()
HOPPER = samples.GRACE_HOPPER.read_bytes()
VENDOR = runpy.run_path(str(PACKAGE.parent / "vendor.py"))

Picture = NDArray[np.uint8]


def pixels(data: bytes) -> Picture:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def encoded(picture: Picture, kind: str = ".png", *options: int) -> bytes:
    return cv2.imencode(kind, picture, options)[1].tobytes()


def resized(data: bytes, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(pixels(data), (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def montage(left: Picture, right: Picture) -> Picture:
    """Two pictures side by side, on grey."""
    canvas = np.full((512, 1024, 3), 128, np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = left
    canvas[: right.shape[0], 512 : 512 + right.shape[1]] = right
    return canvas


def swapped_pixels(target: Picture, source: bytes = HOPPER) -> tuple[Picture, Picture]:
    giver = pixels(source)
    return faces.swap_face(target, faces.find_faces(target)[0], faces.SourceFace(giver, faces.find_faces(giver)[0]))


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def jpeg_header(width: int, height: int) -> bytes:
    comment = b"\xff\xfe" + struct.pack(">H", 6) + b"\xff\xc0\xff\xc0"  # markers inside a segment are data
    return b"\xff\xd8\xff" + comment + b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3)


def webp_header(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def webp_lossy_header(width: int, height: int) -> bytes:
    return webp_header(b"VP8 ", b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height))


def webp_lossless_header(width: int, height: int) -> bytes:
    return webp_header(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14))


def webp_extended_header(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp_header(b"VP8X", b"\x00\x00\x00\x00" + sides)


HEADERS = [png_header, jpeg_header, webp_lossy_header, webp_lossless_header, webp_extended_header]
any_header = pytest.mark.parametrize("header", HEADERS)
either_role = pytest.mark.parametrize("role", get_args(faces.Role))


def swap_with(role: faces.Role, data: bytes) -> bytes:
    """Swap with the given bytes in one role and a good picture in the other."""
    return faces.swap_largest(*((data, HOPPER) if role == "target_image" else (ASTRONAUT, data)))


# What comes out


def test_swap_gives_the_same_bytes_for_the_same_input() -> None:
    """Nothing depends on time, on earlier pictures or on chance."""
    first = faces.swap_largest(ASTRONAUT, HOPPER)
    faces.swap_largest(HOPPER, ASTRONAUT)

    assert faces.swap_largest(ASTRONAUT, HOPPER) == first


def test_swap_gives_the_same_grain_for_the_same_input() -> None:
    """The noise that a smooth source gets on a grainy target is the same each time."""
    noise = np.random.default_rng(1).normal(0, 12, pixels(ASTRONAUT).shape)
    grainy = np.clip(pixels(ASTRONAUT) + noise, 0, 255).astype(np.uint8)
    smooth = encoded(np.asarray(cv2.GaussianBlur(pixels(HOPPER), (0, 0), 4), np.uint8))

    (first, mask), (second, _) = swapped_pixels(grainy, smooth), swapped_pixels(grainy, smooth)

    middle = cv2.erode(mask, np.ones((31, 31))) > 0
    detail = first.astype(np.float32) - cv2.GaussianBlur(first.astype(np.float32), (0, 0), 1.2)
    assert np.array_equal(first, second)
    assert detail[middle].std() > 8  # 6.8 without the grain


def fine_detail(picture: Any, where: Any) -> float:
    """The deviation of what a slight blur takes away."""
    floats = picture.astype(np.float32)
    return float((floats - cv2.GaussianBlur(floats, (0, 0), 1.2))[where].std())


@pytest.mark.parametrize("height", [0.18, 0.3], ids=["eyes", "brows-to-nose"])
@pytest.mark.parametrize(("striped", "most"), [(False, 1.3), (True, 1.5)], ids=["black", "striped"])
@pytest.mark.parametrize(("target", "source"), [(ASTRONAUT, HOPPER), (HOPPER, ASTRONAUT)], ids=["astronaut", "hopper"])
def test_bar_over_the_eyes_is_not_taken_for_grain(
    target: bytes, source: bytes, height: float, striped: bool, most: float
) -> None:
    """The edges of a bar over the target's eyes put no noise on the new face below it."""
    picture = pixels(target)[..., :3].copy()
    points = faces.find_faces(picture)[0].landmarks[:468]
    (left, top), (right, bottom) = points[:, :2].min(0).astype(int), points[:, :2].max(0).astype(int)
    eyes, half = int(points[[33, 263], 1].mean()), int(height * (bottom - top) / 2)
    picture[eyes - half : eyes + half, left - 10 : right + 10] = 0
    if striped:
        picture[eyes - half : eyes + half : 6, left - 10 : right + 10] = 255
    (barred, mask), (plain, _) = swapped_pixels(picture, source), swapped_pixels(pixels(target), source)
    below = cv2.erode(mask, np.ones((9, 9))) > 0
    below[: eyes + half + 5] = False

    assert fine_detail(barred, below) < most * fine_detail(plain, below)


def test_grain_is_limited() -> None:
    """A target of nothing but noise leaves the new face visible."""
    smooth = np.full((64, 64, 3), 128, np.float32)
    noise = np.random.default_rng(1).choice([0.0, 255.0], smooth.shape).astype(np.float32)
    grainy = light.match_grain(smooth, noise, np.ones((64, 64), bool), 64)

    assert float((grainy - smooth).std()) < 25


def test_find_faces_gives_the_same_faces_in_threads() -> None:
    """Threads share the models, but never a computation."""
    pictures = [resized(ASTRONAUT, 170, 170), resized(HOPPER, 160, 187)] * 20
    alone = [faces.find_faces(picture)[0].landmarks for picture in pictures[:2]]

    with ThreadPoolExecutor(4) as pool:
        together = [found[0].landmarks for found in pool.map(faces.find_faces, pictures)]

    assert all(np.array_equal(found, alone[number % 2]) for number, found in enumerate(together))


@pytest.mark.parametrize(
    ("target", "source", "changed", "mean"),
    [(ASTRONAUT, HOPPER, 8319, (127.0, 154.9, 187.3)), (HOPPER, ASTRONAUT, 29981, (97.8, 128.8, 201.8))],
    ids=["astronaut", "hopper"],
)
def test_swap_looks_as_recorded(target: bytes, source: bytes, changed: int, mean: tuple[float, float, float]) -> None:
    """Size and mean colour of the changed part stay as recorded; other OpenCV builds move them by a little."""
    result, mask = swapped_pixels(pixels(target), source)

    assert np.count_nonzero(mask) == pytest.approx(changed, rel=0.02)
    assert result[mask > 0].mean(0).tolist() == pytest.approx(mean, abs=1.5)


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Name, content and whether the checksum is right, of each chunk of a PNG."""
    at = 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        body, checksum = png[at + 4 : at + 8 + length], png[at + 8 + length : at + 12 + length]
        yield body[:4], body[4:], zlib.crc32(body) == int.from_bytes(checksum)
        at += 12 + length


def test_swap_result_is_marked_as_synthetic() -> None:
    """The PNG says in a comment that it was made by a face swap, and is a sound PNG with it."""
    result = list(chunks(faces.swap_largest(ASTRONAUT, HOPPER)))

    assert (b"tEXt", b"Comment\x00synthetic: face swapped by the unitask sandbox", True) in result
    assert all(sound for _, _, sound in result)
    assert (result[0][0], result[-1][0]) == (b"IHDR", b"IEND")


# What may change


@pytest.mark.parametrize("data", [ASTRONAUT, HOPPER], ids=["astronaut", "hopper"])
def test_swap_changes_only_the_face(data: bytes) -> None:
    """Outside the mask every pixel is the target's, and the mask is inside the face's outline."""
    target = pixels(data)
    outline = cv2.convexHull(faces.find_faces(target)[0].landmarks[:468, :2].astype(np.int32))
    face = cv2.dilate(cv2.fillConvexPoly(np.zeros(target.shape[:2], np.uint8), outline, 255), np.ones((7, 7)))

    result, mask = swapped_pixels(target)

    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(result[mask == 0], target[mask == 0])
    assert np.any(result[mask > 0] != target[mask > 0])
    assert not np.any(mask[face == 0])


def test_swap_face_leaves_its_arguments_alone() -> None:
    """The engine returns a new picture; the target's array is as it was."""
    target = pixels(ASTRONAUT)

    result, _ = swapped_pixels(target)

    assert np.array_equal(target, pixels(ASTRONAUT))
    assert not np.shares_memory(result, target)


def test_swap_of_a_grey_target_is_grey() -> None:
    """The source's face takes the target's light, here one without colour."""
    grey = np.asarray(cv2.cvtColor(pixels(ASTRONAUT), cv2.COLOR_BGR2GRAY), np.uint8)

    result = pixels(faces.swap_largest(encoded(grey), HOPPER))

    colour = result.max(2).astype(int) - result.min(2)
    assert colour.mean() < 0.1
    assert np.any(result[..., 0] != grey)


# Which face


@pytest.mark.parametrize("big_side", ["left", "right"])
def test_find_faces_gives_the_largest_first(big_side: str) -> None:
    """Faces are ordered by the area they take in the picture."""
    big, small = resized(HOPPER, 437, 512), resized(ASTRONAUT, 256, 256)
    found = faces.find_faces(montage(big, small) if big_side == "left" else montage(small, big))

    assert len(found) == 2
    assert found[0].area > found[1].area
    assert (found[0].box[0] < 512) == (big_side == "left")


@pytest.mark.parametrize("big_side", ["left", "right"])
def test_swap_replaces_the_largest_face_of_the_target(big_side: str) -> None:
    """Only the largest face of several is replaced."""
    big, small = resized(HOPPER, 437, 512), resized(ASTRONAUT, 256, 256)
    target = montage(big, small) if big_side == "left" else montage(small, big)

    result = pixels(faces.swap_largest(encoded(target), ASTRONAUT))

    changed = np.any(result != target, axis=2)
    assert changed[:, :512].any() == (big_side == "left")
    assert changed[:, 512:].any() == (big_side == "right")


@pytest.mark.parametrize("big_side", ["left", "right"])
def test_swap_takes_the_largest_face_of_the_source(big_side: str) -> None:
    """The largest face of the source's several is the one that appears in the target."""
    big, small = resized(HOPPER, 437, 512), resized(ASTRONAUT, 128, 128)
    source = encoded(montage(big, small) if big_side == "left" else montage(small, big))

    result = faces.swap_largest(ASTRONAUT, source)

    assert judge(ASTRONAUT, result, HOPPER, exact=True).accepted


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_find_faces_turns_pictures_that_lie_on_their_side(turns: int) -> None:
    """A face is found in a turned picture where the turn has put it."""
    picture = pixels(ASTRONAUT)
    upright, turned = faces.find_faces(picture)[0], faces.find_faces(np.rot90(picture, turns).copy())[0]
    # rot90 turns about the middle of the square picture, by quarter turns against the clock.
    back = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), turns)

    expected = (upright.landmarks[:, :2] - 255.5) @ back.T + 255.5

    assert np.abs(turned.landmarks[:, :2] - expected).max() < 0.01
    assert np.abs(turned.points - ((upright.points - 255.5) @ back.T + 255.5)).max() < 0.01
    assert np.all(turned.landmarks[:468, :2] >= turned.box[:2] - 0.01)
    assert np.all(turned.landmarks[:468, :2] <= turned.box[:2] + turned.box[2:] + 0.01)


def test_swap_of_a_turned_picture_is_the_turned_swap() -> None:
    """A picture on its side gets the same face as the upright one."""
    upright, _ = swapped_pixels(pixels(ASTRONAUT))

    turned, _ = swapped_pixels(np.rot90(pixels(ASTRONAUT)).copy())

    assert np.abs(np.rot90(turned, -1).astype(int) - upright).mean() < 0.05


@pytest.mark.parametrize(
    ("part", "scale", "share"),
    [(np.s_[:, :], 0.14, 0.1), (np.s_[110:355, 160:365], 3.7, 0.6)],
    ids=["tiny", "close-up"],
)
def test_swap_works_on_faces_of_all_sizes(part: Any, scale: float, share: float) -> None:
    """A face of two dozen pixels, and one that fills the picture, are found and replaced."""
    filter_ = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    target = np.asarray(cv2.resize(pixels(HOPPER)[part], None, fx=scale, fy=scale, interpolation=filter_), np.uint8)

    result, mask = swapped_pixels(target, ASTRONAUT)

    assert (mask > 0).mean() == pytest.approx(share, abs=0.05)
    assert np.array_equal(result[mask == 0], target[mask == 0])


@pytest.mark.parametrize(
    "part",
    [np.s_[:, 215:], np.s_[:, :235], np.s_[95:], np.s_[:150]],
    ids=["left", "right", "top", "bottom"],
)
def test_swap_works_on_a_face_cut_off_by_the_picture(part: Any) -> None:
    """A face that leaves the picture on any side is replaced up to the border."""
    target = pixels(ASTRONAUT)[part].copy()

    result, mask = swapped_pixels(target)

    assert result.shape == target.shape
    assert mask.any()
    assert np.array_equal(result[mask == 0], target[mask == 0])


class Detector:
    """Stands in for YuNet and notes the sizes of what it is shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802 - OpenCV's name
        self.shown.append(size)

    def detect(self, _picture: Picture) -> tuple[int, None]:
        return 1, None


@pytest.mark.parametrize("shape", [(32, 239), (239, 32), (92, 525), (20, 20), (1, 1), (1, 2047)], ids=str)
def test_detector_is_not_shown_narrow_pictures(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    """OpenCV's detector makes up faces, other ones each time, where a side is 32 pixels or less."""
    detector = Detector()
    monkeypatch.setattr(detect._detector(), "_networks", [detector, detector])

    assert faces.find_faces(np.zeros((*shape, 3), np.uint8)) == []
    assert all(min(size) > 32 for size in detector.shown)


# What is refused


@either_role
def test_swap_without_a_face_is_refused(role: faces.Role) -> None:
    """A picture without a face is named in the error."""
    landscape = np.linspace(0, 255, 200 * 300 * 3).reshape(200, 300, 3).astype(np.uint8)

    with pytest.raises(faces.NoFaceFound, match="no face found in the image") as caught:
        swap_with(role, encoded(landscape))

    assert caught.value.role == role
    assert role in str(caught.value)


@either_role
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>404</html>",
        b"GIF89a\x10\x00\x10\x00\x80\x00\x00",
        b"\x89PNG\r\n\x1a\n",
        png_header(10, 10),
        png_header(0, 10) + ASTRONAUT[33:],
        b"\xff\xd8",
        b"\xff\xd8\xff\xda\x00\x02",
        jpeg_header(10, 10),
        b"RIFF\x00\x00\x00\x00WEBPVP8 ",
        webp_lossless_header(10, 10),
        webp_extended_header(10, 10),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_swap_of_unreadable_bytes_is_refused(role: faces.Role, data: bytes) -> None:
    """Bytes that are no whole picture are named in the error, whatever kind they pretend to be."""
    with pytest.raises(faces.UnreadablePicture, match="failed to get valid image") as caught:
        swap_with(role, data)

    assert caught.value.role == role
    assert role in str(caught.value)


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test when a picture's pixels are decoded."""

    def decode(*_arguments: object) -> Never:
        pytest.fail("the picture was decoded")

    monkeypatch.setattr(cv2, "imdecode", decode)


@any_header
@pytest.mark.usefixtures("undecoded")
def test_swap_of_a_huge_picture_is_refused_before_decoding(header: Any) -> None:
    """A picture is measured by its header: one that would fill the memory is never decoded."""
    with pytest.raises(faces.PictureTooLarge, match=r"image size too large .*: 16000x9000,") as caught:
        faces.swap_largest(header(16000, 9000), HOPPER)

    assert caught.value.role == "target_image"
    assert (caught.value.width, caught.value.height) == (16000, 9000)


@pytest.mark.usefixtures("undecoded")
def test_swap_of_a_png_bomb_is_refused() -> None:
    """The largest sides of a PNG do not fit into any memory."""
    with pytest.raises(faces.PictureTooLarge, match="30000x30000"):
        faces.swap_largest(png_header(30000, 30000), HOPPER)


@either_role
@pytest.mark.parametrize(("width", "height"), [(2048, 8), (8, 2048)])
def test_picture_of_the_limit_is_refused(role: faces.Role, width: int, height: int) -> None:
    """A side of ``MAX_SIDE`` pixels is one too many, in either direction and for either picture."""
    with pytest.raises(faces.PictureTooLarge, match=f"{width}x{height}.*under 2048") as caught:
        swap_with(role, encoded(np.zeros((height, width, 3), np.uint8)))

    assert caught.value.role == role


@pytest.mark.parametrize(("width", "height"), [(2047, 8), (8, 2047)])
def test_picture_below_the_limit_is_decoded(width: int, height: int) -> None:
    """A side of one pixel less than ``MAX_SIDE`` is taken."""
    assert faces.decode(encoded(np.zeros((height, width, 3), np.uint8)), "target_image").shape[:2] == (
        height,
        width,
    )


@pytest.mark.parametrize(
    "error",
    [
        faces.NoFaceFound("swap_image"),
        faces.UnreadablePicture("target_image"),
        faces.PictureTooLarge("swap_image", 4000, 3000, 2048),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_survives_the_way_out_of_a_worker_process(error: faces.PictureError) -> None:
    """Process pools pickle errors: message and attributes stay."""
    copy = pickle.loads(pickle.dumps(error))

    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert isinstance(copy, ValueError)


# How pictures are read


@any_header
def test_picture_size_is_read_from_a_header(header: Any) -> None:
    """The size is found in each format's header, the wider side first."""
    assert picture_size(header(640, 480)) == (640, 480)


@any_header
def test_picture_size_of_a_header_cut_short_is_none(header: Any) -> None:
    """A file that ends before its header says the size has none, and no error escapes."""
    whole: bytes = header(640, 480)

    sizes = [picture_size(whole[:end]) for end in range(len(whole) + 1)]

    assert sizes == sorted(sizes, key=bool)
    assert set(sizes) == {None, (640, 480)}
    assert set(sizes[:16]) == {None}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (".png", ()),
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 0)),
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 80)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),
    ],
    ids=["png", "jpeg", "progressive-jpeg", "webp", "lossless-webp"],
)
def test_picture_size_of_written_files_is_right(kind: str, options: tuple[int, ...]) -> None:
    """Files of every kind, as a library writes them, are measured and decoded."""
    data = encoded(np.full((37, 53, 3), 90, np.uint8), kind, *options)

    assert picture_size(data) == (53, 37)
    assert faces.decode(data, "target_image").shape == (37, 53, 3)


def test_decode_drops_transparency() -> None:
    """A PNG with an alpha channel is the picture without it."""
    opaque = pixels(ASTRONAUT)
    alpha = np.full(opaque.shape[:2], 77, np.uint8)

    picture = faces.decode(encoded(np.dstack([opaque, alpha])), "target_image")

    assert np.array_equal(picture, opaque)


def test_decode_reduces_sixteen_bits() -> None:
    """A PNG of sixteen bits a channel becomes one of eight."""
    deep = pixels(ASTRONAUT).astype(np.uint16) * 256 + 77
    data = cv2.imencode(".png", deep)[1].tobytes()

    assert np.array_equal(faces.decode(data, "target_image"), pixels(ASTRONAUT))


def test_decode_applies_the_orientation_of_a_camera() -> None:
    """A JPEG that says it must be turned by 90 degrees is turned."""
    orientation = struct.pack("<HHII", 0x0112, 3, 1, 6)  # tag, type short, one value, "turn right"
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00" + orientation + b"\x00\x00\x00\x00"
    jpeg = encoded(np.zeros((30, 50, 3), np.uint8), ".jpg")
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]

    assert picture_size(data) == (50, 30)
    assert faces.decode(data, "target_image").shape == (50, 30, 3)


# The package


def test_import_of_the_package_does_not_import_opencv() -> None:
    """OpenCV is loaded when the first swap needs it, not by whoever imports the package."""
    program = "import sys, unitask_sandbox.faces; sys.exit('cv2' in sys.modules or 'numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_public_names_are_all_defined() -> None:
    """Every name of ``__all__`` can be had, and no other name is made up."""
    assert all(getattr(faces, name) is not None for name in faces.__all__)
    assert dir(faces) == sorted(faces.__all__)
    with pytest.raises(AttributeError, match="'swap_everything'"):
        _ = faces.swap_everything  # type: ignore[attr-defined]


def test_warm_up_sets_the_threads_of_opencv() -> None:
    """A worker says how many threads OpenCV may use; None leaves them as they are."""
    before = cv2.getNumThreads()

    faces.warm_up(threads=1)
    faces.warm_up()
    during = cv2.getNumThreads()
    cv2.setNumThreads(before)

    assert during == 1


def test_vendored_files_are_those_of_the_table() -> None:
    """Weights and samples are the published bytes, by their checksums."""
    assert list(VENDOR["problems"]()) == []


def test_vendored_file_that_is_missing_or_changed_is_reported(tmp_path: Path) -> None:
    """The check names every file that is not the table's."""
    changed = tmp_path / "samples/astronaut.png"
    changed.parent.mkdir()
    changed.write_bytes(ASTRONAUT + b"\x00")

    found = list(VENDOR["problems"](tmp_path))

    assert len(found) == len(VENDOR["TABLE"])
    assert "samples/astronaut.png: other bytes than those of scikit-image==0.26.0" in found
    assert "samples/grace_hopper.jpg: missing" in found


def test_vendored_files_are_all_in_the_table() -> None:
    """No binary without a known origin is in the package."""
    folders = [PACKAGE / "faces/weights", PACKAGE / "pictures/weights", PACKAGE / "samples"]
    there = {path.relative_to(PACKAGE).as_posix() for folder in folders for path in folder.glob("*.*")}

    assert {path for path in there if not path.endswith(".py")} == {item.destination for item in VENDOR["TABLE"]}
