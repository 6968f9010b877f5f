"""Pictures and other files: what is sent for each kind, what is read of it, and what is refused."""

from __future__ import annotations

import base64
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin
from starlette.datastructures import UploadFile
from unitask import media
from unitask._core.formats import PictureInfo, inspect_picture
from unitask.media import wire_form

from .pictures import decoded, encoded, picture

PNG = encoded()
SHORT = encoded(2, 2)
RULE = {"kind": "image", "formats": ["jpeg", "png", "webp"], "exclusive_max_side": 2048}
TEN_MIB = 10 * 2**20


def sent_content(given_picture: Any) -> bytes:
    """Return the file that is sent for a picture; it is also the one that is checked."""
    sent, content = wire_form(given_picture)

    assert content == base64.b64decode(sent, validate=True)
    return content


def as_path(folder: Path) -> Path:
    path = folder / "picture.png"
    path.write_bytes(PNG)
    return path


# ---- what is sent


class OnlyRead:
    def read(self, size: int = -1, /) -> bytes:
        return PNG


class FlaskUpload:
    """The parts of werkzeug's FileStorage that are read: every other attribute is its stream's."""

    mode = "rb"

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def save(self, target: Any, buffer_size: int = 16384) -> None:
        raise AssertionError("this is not the save of a PIL image")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def spooled(size: int) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=size)  # noqa: SIM115 - the test reads it
    file.write(PNG)
    file.seek(0)
    return file


KINDS: dict[str, Callable[[Path], Any]] = {
    "path as text": lambda folder: str(as_path(folder)),
    "long path as text": lambda folder: str(as_path(folder)).replace("picture.png", "./" * 150 + "picture.png"),
    "file URL with a host": lambda folder: f"FILE://localhost{as_path(folder)}",
    "bytearray": lambda _: bytearray(PNG),
    "memoryview with gaps": lambda _: memoryview(bytes(byte for byte in PNG for _ in range(2)))[::2],
    "Flask": lambda _: FlaskUpload(io.BytesIO(PNG)),
    "FastAPI, on disk": lambda _: UploadFile(spooled(1), filename="a.png"),
    "only read": lambda _: OnlyRead(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_encoded_picture_is_sent_unchanged_and_can_be_read_again(kind: str, tmp_path: Path) -> None:
    file = KINDS[kind](tmp_path)

    # an estimate does not read a stream that can be read once only
    assert media.measured("pixels", file) == (None if kind == "only read" else 96)
    assert [sent_content(file), sent_content(file)] == [PNG, PNG]


def test_file_object_is_read_from_its_position_and_left_there() -> None:
    file = io.BytesIO(b"front" + PNG)
    file.seek(5)

    assert sent_content(file) == PNG
    assert file.tell() == 5


@pytest.mark.parametrize("head", ["", "data:image/png;base64,", "DATA:image/png;BASE64,", "data:;base64,"])
def test_base64_is_sent_without_line_breaks(head: str) -> None:
    content = encoded(64, 64)
    text = base64.b64encode(content).decode()
    lines = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))

    assert wire_form(head + text) == wire_form(head + lines) == (head + text, content)


@pytest.mark.parametrize("content", [SHORT, encoded(1, 1, "GIF"), b"RIFF\x24\0\0\0WAVEfmt ", b"ID3\x04\0\0\0\0\0\0"])
def test_short_base64_of_a_known_file_kind_is_content(content: bytes) -> None:
    text = base64.b64encode(content).decode()

    assert len(text) < 256
    assert wire_form(text) == (text, content)


@pytest.mark.parametrize(
    "url", ["https://me.test/a.png", "HTTP://me.test/a.png", "asset://asset-2026-abc", "ASSET://a"]
)
def test_address_is_sent_as_given(url: str) -> None:
    assert wire_form(url) == (url, None)
    assert list(media.problems(url, None, RULE)) == []
    assert media.measured("seconds", url) is media.measured_as_sent("seconds", url) is None


@pytest.mark.parametrize("pasted", ['"{}"', "'{}'", "\u201c{}\u201d", "\u2018{}\u2019", ' "{}"\n'], ids=ascii)
def test_pasted_path_is_read_without_quotes_and_spaces_unless_a_file_has_that_name(pasted: str, tmp_path: Path) -> None:
    odd = tmp_path / pasted.format("b.png")
    odd.write_bytes(SHORT)
    with pytest.raises(ValueError, match=r"'/missing.png' cannot be read"):
        wire_form(pasted.format("/missing.png"))

    assert sent_content(pasted.format(as_path(tmp_path))) == PNG
    assert wire_form(pasted.format("https://me.test/a.png")) == ("https://me.test/a.png", None)
    assert sent_content(str(odd)) == SHORT


def test_tilde_is_the_home_folder_unless_a_folder_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    as_path(tmp_path)
    assert sent_content("~/picture.png") == PNG

    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "picture.png").write_bytes(b"another")
    assert sent_content("~/picture.png") == b"another"


# ---- PIL images and arrays


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_pil_image_is_sent_upright(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.open(io.BytesIO(encoded(30, 20, form, exif=exif.tobytes())))
    result = decoded(sent_content(image))

    assert result.size == ((30, 20) if orientation < 5 else (20, 30))
    assert result.tobytes() == ImageOps.exif_transpose(image).convert(result.mode).tobytes()
    assert result.getexif().get(0x0112, 1) == 1


def test_broken_exif_data_are_ignored() -> None:
    image = Image.open(io.BytesIO(encoded(30, 20, "JPEG")))
    image.info["exif"] = b"Exif\0\0II*\0\xff\xff\xff\x7f"

    assert decoded(sent_content(image)).size == (30, 20)


LEVELS = np.linspace(0, 1, 256).reshape(16, 16)
DEEP: dict[str, tuple[Any, Any]] = {
    "16 bits, big-endian": ((LEVELS * 65535).astype(">u2"), lambda a: a >> 8),
    "8 bits in 16": ((LEVELS * 255).astype("<u2"), lambda a: a),
    "shares of white": (LEVELS.astype("<f4"), lambda a: (a * 255 + 0.5).astype("u1")),
}


@pytest.mark.parametrize(("levels", "expected"), DEEP.values(), ids=DEEP.keys())
def test_deep_grey_is_scaled_to_eight_bits(levels: Any, expected: Any) -> None:
    result = np.asarray(decoded(sent_content(Image.fromarray(levels)), "L"))

    assert np.array_equal(result, expected(levels).astype("u1"))


def test_levels_of_no_known_range_are_refused() -> None:
    floats = [LEVELS * 1000, LEVELS - 0.5, np.where(LEVELS > 0.5, np.nan, LEVELS)]
    integers = [LEVELS * 70_000, LEVELS * -5]
    for levels in (*(each.astype("<f4") for each in floats), *(each.astype("<i4") for each in integers)):
        ranges = "0 to 1 or 0 to 255" if levels.dtype == "<f4" else "0 to 255 or 0 to 65535"
        with pytest.raises(ValueError, match=f"scale it to {ranges}, or convert it to mode L"):
            wire_form(Image.fromarray(levels))


@pytest.mark.parametrize("mode", Image.MODES)
def test_image_of_any_mode_keeps_colours_and_transparency(mode: str) -> None:
    if mode in ("F", "I") or mode.startswith("I;"):
        image, expected = picture(mode="L").convert(mode), picture(mode="L")
    elif mode == "PA":
        image = picture(mode="P").convert("PA")
        image.putalpha(picture(mode="LA").getchannel("A"))
        expected = image.convert("RGBA")
    else:
        image = picture(mode={"La": "LA", "RGBa": "RGBA"}.get(mode, "RGB" if mode == "LAB" else mode)).convert(mode)
        expected = image.convert({"La": "LA", "RGBa": "RGBA", "LAB": "RGB"}.get(mode, mode))
    before = (image.mode, image.size, image.tobytes())
    content = sent_content(image)

    assert decoded(content, "RGBA").tobytes() == expected.convert("RGBA").tobytes()
    assert decoded(content).mode == (mode if mode in ("1", "L", "LA", "P", "RGB", "RGBA") else decoded(content).mode)
    assert (image.mode, image.size, image.tobytes()) == before
    has_alpha = mode in ("LA", "La", "PA", "RGBA", "RGBa")
    assert (decoded(content, "RGBA").getextrema()[3][0] < 255) is has_alpha


def test_transparent_colour_of_a_palette_stays_transparent() -> None:
    image = picture(mode="P")
    image.info["transparency"] = image.getpixel((0, 0))

    assert decoded(sent_content(image), "RGBA").tobytes() == image.convert("RGBA").tobytes()


def test_colour_profile_is_sent_only_with_its_own_mode() -> None:
    for mode, kept in (("CMYK", None), ("RGB", b"a profile")):
        image = picture(mode=mode)
        image.info["icc_profile"] = b"a profile"
        assert decoded(sent_content(image)).info.get("icc_profile") == kept


class OnlyInterface:
    """An array that has nothing but `__array_interface__`."""

    def __init__(self, array: Any, **changes: Any) -> None:
        self.array, self.changes = array, changes

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {**self.array.__array_interface__, **self.changes}


rows, columns = np.mgrid[0:7, 0:5]
colours = np.stack([rows * 30, columns * 40, rows * columns, 255 - rows], axis=-1).astype(np.uint8)
ARRAYS: dict[str, tuple[Any, str]] = {
    "grey": (colours[..., 0].T, "L"),
    "RGBA": (colours, "RGBA"),
    "Fortran order": (np.asfortranarray(colours[..., :3]), "RGB"),
}


@pytest.mark.parametrize(("array", "mode"), ARRAYS.values(), ids=ARRAYS.keys())
def test_array_keeps_its_pixels(array: Any, mode: str) -> None:
    before = array.copy()
    plain = np.ascontiguousarray(array)
    buffer = OnlyInterface(plain, data=b"front" + plain.tobytes(), strides=None, offset=5)
    result = decoded(sent_content(array))

    assert result.mode == mode
    assert np.array_equal(np.asarray(result), array.squeeze(-1) if array.shape[2:] == (1,) else array)
    assert np.array_equal(array, before)
    assert sent_content(OnlyInterface(array)) == sent_content(array) == sent_content(buffer)


NO_PICTURES = [colours.astype(np.float32), colours.astype(np.int8), colours[..., :2], colours[0, 0], colours[None]]


@pytest.mark.parametrize("array", [*NO_PICTURES, colours[:0]], ids=lambda array: f"{array.dtype}{array.shape}")
def test_array_that_is_no_picture_is_refused(array: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a picture: give \(height, width"):
        wire_form(array)


@pytest.mark.parametrize("data", [b"123", memoryview(bytes(10_000))], ids=["short", "long"])
def test_array_of_another_length_than_its_shape_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="bytes, not"):
        wire_form(OnlyInterface(colours, data=data, strides=None))


# ---- what cannot be read


class AsyncFile:
    async def read(self, size: int = -1) -> bytes:
        return PNG


class AsyncOnlyWhenCalled:
    def read(self) -> Any:
        return AsyncFile().read()


def at_its_end() -> Any:
    file = io.BytesIO(PNG)
    file.read()
    return file


def closed(file: Any) -> Any:
    file.close()
    return file


UNREADABLE: list[tuple[Any, str]] = [
    (7, "a int is not a picture"),
    ("missing.png", "'missing.png' cannot be read: No such file or directory"),
    ("R0lG/x", "cannot be read: No such file"),
    (".", "'.' cannot be read: Is a directory"),
    ("a\0b", "'a\\x00b' cannot be read: "),
    ("~/missing.png", f"'{Path.home()}/missing.png' cannot be read: No such file or directory"),
    ("/dev/zero", "'/dev/zero' is a pipe or a device, no regular file: read it, and give its bytes"),
    ("data:image/png,raw", "not of the form data:image/png;base64,..."),
    ("data:image/\npng;base64,AAAA", "not of the form data:image/png;base64,..."),
    ("data:image/png;base64,A_-=", "its base64 is broken"),
    ("A" * 257, "its base64 is broken"),
    ("!" * 5_000_000, "cannot be read: File name too long"),
    ("file://server/share/a.png", "names a file on the computer 'server': give its path"),
    ("file:a.png", "is no absolute file URL"),
    ("s3://bucket/a.png", "is a s3 address, which is not taken"),
    (io.StringIO("text"), "the file object gives text; open it in binary mode ('rb')"),
    (SimpleNamespace(read=lambda: None), "read() of the SimpleNamespace gives NoneType, and not bytes"),
    (AsyncOnlyWhenCalled(), "read() of the AsyncOnlyWhenCalled is async: await it, and give the bytes"),
    (at_its_end(), f"at its end, after {len(PNG)} bytes: seek(0) first"),
    (closed(io.BytesIO(PNG)), "the file object cannot be read"),
    (Image.open(io.BytesIO(encoded(200, 200)[:5000])), "cannot be read: OSError"),
]


@pytest.mark.parametrize(("given_picture", "reason"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_cannot_be_read_is_refused_in_a_short_sentence(given_picture: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        wire_form(given_picture)

    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400


def test_pipe_and_a_disk_image_are_refused_before_they_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "disk.png").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(ValueError, match="is a pipe or a device, no regular file"):
        wire_form(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"'.*disk\.png' has 1099511\.6 MB; at most 10 MB can be sent"):
        wire_form(str(tmp_path / "disk.png"))


def test_file_of_ten_mebibytes_is_taken(tmp_path: Path) -> None:
    with (tmp_path / "sound").open("wb") as file:
        file.truncate(TEN_MIB)

    content = sent_content(tmp_path / "sound")
    assert len(content) == TEN_MIB
    assert list(media.problems("", content, {"kind": "audio"})) == []
    assert list(media.problems("", content + b"x", {"kind": "audio"})) == [
        "it has 10.5 MB; at most 10 MB can be sent: shrink it, or give a URL"
    ]


# ---- format and size of a picture


TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("Comment", "IEND" * 100)
TEXT.add_itxt("Title", "ö" * 50, zip=True)
EXIF = Image.Exif()
EXIF[0x010E] = "before \xff\xc0"  # then a thumbnail with a frame header and an end of its own
VARIANTS: dict[str, bytes] = {
    "PNG": PNG,
    "PNG with text": encoded(31, 17, pnginfo=TEXT),
    "JPEG": encoded(30, 20, "JPEG"),
    "JPEG, progressive": encoded(300, 200, "JPEG", progressive=True),
    "JPEG with EXIF": encoded(40, 30, "JPEG", exif=EXIF.tobytes() + encoded(9, 9, "JPEG")),
    "WebP, lossy": encoded(31, 21, "WEBP"),
    "WebP, lossless": encoded(31, 21, "WEBP", lossless=True),
    "WebP, lossy with alpha": encoded(31, 21, "WEBP", mode="RGBA"),
}


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS.keys())
def test_format_and_size_are_those_that_pillow_decodes(content: bytes) -> None:
    image = decoded(content)

    assert inspect_picture(content) == PictureInfo(str(image.format).lower(), *image.size)
    for share in (0.02, 0.3, 0.7, 0.99):
        with pytest.raises(ValueError, match=r"is cut off|is not a picture"):
            inspect_picture(content[: int(len(content) * share)])


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC], ids=hex)
@pytest.mark.parametrize("frame", [0xC0, 0xC5, 0xCF], ids=hex)
def test_size_of_a_jpeg_is_read_from_its_frame_header(frame: int, marker: int) -> None:
    header = segment(frame, b"\x08" + (30).to_bytes(2, "big") + (40).to_bytes(2, "big") + b"\x01\x01\x11\0")
    content = b"\xff\xd8" + segment(marker, bytes(range(1, 20))) + b"\xff\xff" + header + b"pixels\xff\xd9"

    assert inspect_picture(content) == PictureInfo("jpeg", 40, 30)  # fill bytes may stand before it (T.81, B.1.1.2)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (encoded(form="GIF"), "gif"),
        (encoded(form="BMP"), "bmp"),
        (encoded(form="TIFF"), "tiff"),
        (b"MM\0*\0\0\0\x08", "tiff"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "heif"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "heif"),
    ],
    ids=["gif", "bmp", "tiff", "tiff, big-endian", "heic", "avif"],
)
def test_format_that_is_not_taken_is_named(content: bytes, name: str) -> None:
    assert inspect_picture(content) == PictureInfo(name)
    assert list(media.problems("", content, RULE)) == [
        f"it is a {name} picture by its content; jpeg, png, webp are taken: convert it"
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\xaeB`\x82", "it is a PNG that is cut off"),
        (b"\xff\xd8\xff\xd9", "it is a JPEG that is cut off"),
        (b"\xff\xd8\xff\xe0\0\x02\xff\xd9", "it is a JPEG that is cut off"),
        (b"RIFF\x1a\0\0\0WEBPABCD" + b"\0" * 20, "it is a WebP that is cut off"),
        (b"", "it is not a picture: it starts with b''"),
        (b"<html>", "it is not a picture: it starts with b'<html>'"),
        (PNG[1:], r"it is not a picture: it starts with b'PNG\\r\\n"),
    ],
    ids=["PNG without a header", "JPEG without a frame", "JPEG of one segment", "unknown WebP", "empty", "HTML", "cut"],
)
def test_picture_whose_size_cannot_be_read_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        inspect_picture(content)


heads = st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x10\0\0\0WEBPVP8 ", b"GIF89a", b"BM"])
damaged = st.builds(
    lambda content, place, byte, length: (content[:place] + byte + content[place + 1 :])[:length],
    st.sampled_from(list(VARIANTS.values())),
    st.integers(0, 120),
    st.binary(min_size=1, max_size=4),
    st.integers(0, 2000),
)


@settings(max_examples=300)
@given(st.builds(bytes.__add__, heads, st.binary(max_size=60)) | damaged)
def test_any_bytes_are_a_picture_or_a_value_error(content: bytes) -> None:
    try:
        info = inspect_picture(content)
    except ValueError:
        return

    assert info.format


# ---- what a field takes


def test_both_sides_must_be_under_2048_pixels() -> None:
    def found(width: int, height: int) -> list[str]:
        file = io.BytesIO()
        Image.new("L", (width, height)).save(file, "PNG")
        return list(media.problems("", file.getvalue(), RULE))

    assert found(2047, 2047) == []
    for width, height in ((2048, 1), (1, 2048), (2049, 9)):
        assert found(width, height) == [f"it is {width} x {height} pixels; both sides must be under 2048: shrink it"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://me.test/a.JPEG", None),
        ("https://me.test/a.webp?size=1#top", None),
        ("https://me.test/a.gif", "must end in .jpg, .jpeg, .png, .webp; give the content instead"),
        ("https://me.test/?file=a.png", "must end in"),
        ("https:///a.png", "names no host"),
        ("https://[::1/a.png", "is malformed"),
        ("https://me.test:99999/a.png", "is malformed"),
        ("https://me.test/" + "a" * 5_000_000, "must end in"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_url_must_name_a_host_and_end_like_a_picture(url: str, problem: str | None) -> None:
    found = list(media.problems(url, None, RULE))

    assert (problem is None) == (not found)
    assert (problem or "") in "".join(found)
    assert len("".join(found)) < 400


@pytest.mark.parametrize("odd", ["\n", " ", "\x7f", "\xa0", "\u200b", "\\", '"', "<"])
@pytest.mark.parametrize("url", ["https://me.test/x{}.png", "https://me{}.test/x.png", "asset://a{}b"])
def test_url_with_a_character_that_parsers_drop_or_change_is_refused(url: str, odd: str) -> None:
    sent, content = wire_form(url.format(odd))

    assert list(media.problems(sent, content, RULE)) == [
        f"the URL {sent!r} has {odd!r} in it: take it out, or write it in percent form"
    ]


@pytest.mark.parametrize(
    ("sent", "content", "rule", "found"),
    [
        ("", encoded(3000, 2, "GIF"), {"kind": "image"}, []),
        ("https://me.test/a", None, {"kind": "audio"}, []),
        ("", b"", {"kind": "audio"}, ["it is empty (0 bytes)"]),
        ("", PNG, {**RULE, "accepts": ["url"]}, ["only a URL is taken here: upload the file first"]),
    ],
)
def test_file_is_checked_by_the_kind_of_its_field(sent: str, content: Any, rule: Any, found: list[str]) -> None:
    assert list(media.problems(sent, content, rule)) == found
