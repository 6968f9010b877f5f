"""Pictures: every kind that is taken goes out with its pixels whole, and is looked into without being decoded."""

from __future__ import annotations

import base64
import io
import os
import tempfile
from collections.abc import Callable, Iterator
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
from unitask.media import PictureInfo, inspect_picture, wire_form

from .pictures import MIME, decoded, encoded, picture

PNG = encoded()
RULE = {"kind": "image", "formats": ["jpeg", "png", "webp"], "exclusive_max_side": 2048}


def sent_content(given_picture: Any) -> bytes:
    """The file that goes out for a picture, which is also the one that is checked."""
    sent, content = wire_form(given_picture)

    assert content == base64.b64decode(sent, validate=True)
    return content


# ---- what is sent


def as_path(folder: Path) -> Path:
    path = folder / "picture.png"
    path.write_bytes(PNG)
    return path


KINDS: dict[str, Callable[[Path], Any]] = {
    "path": as_path,
    "path as text": lambda folder: str(as_path(folder)),
    "long path as text": lambda folder: str(as_path(folder)).replace("picture.png", "./" * 150 + "picture.png"),
    "bytes": lambda _: PNG,
    "bytearray": lambda _: bytearray(PNG),
    "memoryview": lambda _: memoryview(PNG),
    "memoryview with gaps": lambda _: memoryview(bytes(byte for byte in PNG for _ in range(2)))[::2],
    "file object": lambda _: io.BytesIO(PNG),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_encoded_picture_is_sent_as_it_is(kind: Callable[[Path], Any], tmp_path: Path) -> None:
    """A file in whatever form goes out byte for byte, as base64."""
    assert sent_content(kind(tmp_path)) == PNG


def test_file_object_is_read_from_its_place_and_left_there() -> None:
    """The caller may read it again."""
    file = io.BytesIO(b"front" + PNG)
    file.seek(5)

    assert sent_content(file) == PNG
    assert file.tell() == 5


def test_file_object_that_cannot_seek_is_read() -> None:
    """A pipe has no place to go back to."""

    class Pipe(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            return PNG

    assert sent_content(Pipe()) == PNG


def test_file_object_needs_nothing_but_read() -> None:
    """The smallest thing that is a file."""

    class Source:
        def read(self, size: int = -1, /) -> bytes:
            return PNG

    assert sent_content(Source()) == PNG


@pytest.mark.parametrize("head", ["data:image/png;base64,", "DATA:image/png;BASE64,", "data:;base64,"])
def test_data_uri_is_sent_as_given(head: str) -> None:
    """Its content is looked into all the same."""
    text = head + base64.b64encode(PNG).decode()

    assert wire_form(text) == (text, PNG)


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_base64_is_sent_without_line_breaks(head: str) -> None:
    """Tools put them into it, and what is sent is what was checked; not every decoder ignores them."""
    content = encoded(64, 64)
    text = base64.b64encode(content).decode()
    lines = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))

    assert wire_form(head + text) == wire_form(head + lines) == (head + text, content)


@pytest.mark.parametrize("url", ["https://me.test/a.png", "HTTP://me.test/a.png", f"https://me.test/{'a' * 300}.png"])
def test_url_is_sent_as_given_and_not_fetched(url: str) -> None:
    """Its content is not here."""
    assert wire_form(url) == (url, None)


def test_file_whose_name_looks_like_base64_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is a path; a text is base64 only when no such file exists."""
    monkeypatch.chdir(tmp_path)
    name = "/".join(["a" * 100] * 3)
    Path(name).parent.mkdir(parents=True)
    Path(name).write_bytes(PNG)

    assert sent_content(name) == PNG


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_pil_image_keeps_its_pixels_and_mode(mode: str) -> None:
    """What a PNG can hold goes out without any change."""
    image = picture(mode=mode)
    result = decoded(sent_content(image))

    assert result.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "I", "F"])
def test_pil_image_of_another_mode_is_sent_in_rgb(mode: str) -> None:
    """As Pillow converts it."""
    image = picture(mode="L" if mode in "IF" else "RGB").convert(mode)
    result = decoded(sent_content(image))

    assert result.mode == "RGB"
    assert result.tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pil_image_is_sent_upright(form: str, orientation: int) -> None:
    """As a viewer shows the file that it was opened from; the PNG does not say once more how it lies."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.open(io.BytesIO(encoded(30, 20, form, exif=exif.tobytes())))
    result = decoded(sent_content(image))

    assert result.size == ((30, 20) if orientation < 5 else (20, 30))
    assert result.tobytes() == ImageOps.exif_transpose(image).convert(result.mode).tobytes()
    assert result.getexif().get(0x0112, 1) == 1


def test_broken_exif_data_are_ignored() -> None:
    """As viewers do."""
    image = Image.open(io.BytesIO(encoded(30, 20, "JPEG")))
    image.info["exif"] = b"Exif\0\0II*\0\xff\xff\xff\x7f"

    assert decoded(sent_content(image)).size == (30, 20)


LEVELS = np.linspace(0, 1, 256).reshape(16, 16)
DEEP: dict[str, tuple[Any, Any]] = {
    "16 bits": ((LEVELS * 65535).astype("<u2"), lambda a: a >> 8),
    "16 bits, big-endian": ((LEVELS * 65535).astype(">u2"), lambda a: a >> 8),
    "16 bits, dark": ((LEVELS * 4095).astype("<u2"), lambda a: a >> 8),
    "8 bits in 16": ((LEVELS * 255).astype("<u2"), lambda a: a),
    "16 bits in 32": ((LEVELS * 65535).astype("<i4"), lambda a: a >> 8),
    "8 bits in 32": ((LEVELS * 255).astype("<i4"), lambda a: a),
    "shares of white": (LEVELS.astype("<f4"), lambda a: (a * 255 + 0.5).astype("u1")),
    "levels as floats": ((LEVELS * 255).astype("<f4"), lambda a: (a + 0.5).astype("u1")),
}


@pytest.mark.parametrize(("levels", "expected"), DEEP.values(), ids=DEEP.keys())
def test_deep_grey_is_scaled_to_eight_bits(levels: Any, expected: Any) -> None:
    """Neither white nor black: each level keeps its share of the range."""
    image = Image.fromarray(levels)
    result = np.asarray(decoded(sent_content(image), "L"))

    assert np.array_equal(result, expected(levels).astype("u1"))


@pytest.mark.parametrize(
    "levels",
    [LEVELS * 1000, LEVELS - 0.5, LEVELS * np.nan, np.where(LEVELS > 0.5, np.nan, LEVELS), LEVELS + np.inf],
    ids=["above 255", "below 0", "nan", "some nan", "infinite"],
)
def test_floats_of_no_known_range_are_refused(levels: Any) -> None:
    """What is white in them would be a guess."""
    with pytest.raises(ValueError, match="scale it to 0 to 1 or 0 to 255, or convert it to mode L"):
        wire_form(Image.fromarray(levels.astype("<f4")))


@pytest.mark.parametrize("levels", [LEVELS * 70_000, LEVELS * -5], ids=["above 65535", "below 0"])
def test_integers_of_no_known_range_are_refused(levels: Any) -> None:
    """What is white in them would be a guess."""
    with pytest.raises(ValueError, match="scale it to 0 to 255 or 0 to 65535, or convert it to mode L"):
        wire_form(Image.fromarray(levels.astype("<i4")))


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_mode_of_pillow_is_sent_as_it_looks_or_refused(mode: str) -> None:
    """Never another picture: transparency stays, and colours are those that Pillow shows."""
    grey = picture(mode="L")
    if mode in ("F", "I") or mode.startswith("I;"):
        image, expected = grey.convert(mode), grey
    else:
        image = (grey.convert("LA") if mode == "La" else picture()).convert(mode)
        expected = image.convert({"La": "LA", "RGBa": "RGBA", "PA": "RGBA", "LAB": "RGB"}.get(mode, mode))

    assert decoded(sent_content(image), "RGBA").tobytes() == expected.convert("RGBA").tobytes()


def test_colour_profile_of_another_mode_is_not_sent_along() -> None:
    """A profile of CMYK in an RGB picture would change every colour; that of an RGB picture stays."""
    for mode, kept in (("CMYK", None), ("RGB", b"a profile")):
        image = picture(mode=mode)
        image.info["icc_profile"] = b"a profile"

        assert decoded(sent_content(image)).info.get("icc_profile") == kept


def test_transparent_palette_stays_transparent() -> None:
    """A palette entry may be the transparent one."""
    image = picture(mode="P")
    image.info["transparency"] = image.getpixel((0, 0))

    assert decoded(sent_content(image), "RGBA").tobytes() == image.convert("RGBA").tobytes()


def test_pil_image_is_not_changed() -> None:
    """Nothing that is given is changed."""
    image = picture(mode="CMYK")
    before = (image.mode, image.size, image.tobytes())
    wire_form(image)

    assert (image.mode, image.size, image.tobytes()) == before


rows, columns = np.mgrid[0:7, 0:5]
colours = np.stack([rows * 30, columns * 40, rows * columns, 255 - rows], axis=-1).astype(np.uint8)
ARRAYS: dict[str, tuple[Any, str]] = {
    "grey": (colours[..., 0], "L"),
    "grey with an axis": (colours[..., :1], "L"),
    "RGB": (colours[..., :3], "RGB"),
    "RGBA": (colours, "RGBA"),
    "mirrored": (colours[:, ::-1, :3], "RGB"),
    "every other row": (colours[::2, :, :3], "RGB"),
    "transposed": (colours[..., 1].T, "L"),
    "Fortran order": (np.asfortranarray(colours[..., :3]), "RGB"),
    "one pixel": (colours[:1, :1], "RGBA"),
}


@pytest.mark.parametrize(("array", "mode"), ARRAYS.values(), ids=ARRAYS.keys())
def test_array_keeps_its_pixels(array: Any, mode: str) -> None:
    """Whatever its layout in memory, it goes out as a PNG that holds the same numbers."""
    before = array.copy()
    result = decoded(sent_content(array))

    assert result.mode == mode
    assert np.array_equal(np.asarray(result), array.squeeze(-1) if array.shape[2:] == (1,) else array)
    assert np.array_equal(array, before)


@pytest.mark.parametrize(
    "array",
    [
        colours.astype(np.float32),
        colours.astype(np.int8),
        colours.astype(np.uint16),
        colours > 7,
        colours[..., :2],
        colours[0, 0],
        colours[None],
        colours[:0],
        np.uint8(7),
    ],
    ids=["float", "signed", "16 bits", "bool", "2 channels", "1 axis", "4 axes", "no rows", "a number"],
)
def test_array_that_is_no_picture_is_refused(array: Any) -> None:
    """Values that would have to be guessed at are not."""
    with pytest.raises(ValueError, match=r"is no picture: give \(height, width"):
        wire_form(array)


class OnlyInterface:
    """An array that has nothing but `__array_interface__`."""

    def __init__(self, array: Any, **changes: Any) -> None:
        self.array = array
        self.changes = changes

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {**self.array.__array_interface__, **self.changes}


@pytest.mark.parametrize("array", [array for array, _ in ARRAYS.values()], ids=ARRAYS.keys())
def test_array_needs_nothing_but_its_interface(array: Any) -> None:
    """Its memory is read by way of numpy, or from a buffer that stands in the interface."""
    plain = np.ascontiguousarray(array)
    buffer = OnlyInterface(plain, data=plain.tobytes(), strides=None)

    assert sent_content(OnlyInterface(array)) == sent_content(array) == sent_content(buffer)


@pytest.mark.parametrize("data", [b"", b"123", memoryview(bytes(10_000))], ids=["empty", "short", "long"])
def test_array_of_another_length_than_its_shape_is_refused(data: Any) -> None:
    """It would be another picture."""
    with pytest.raises(ValueError, match="bytes, not"):
        wire_form(OnlyInterface(colours, data=data, strides=None))


# ---- uploads of web frameworks


class DjangoUpload:
    """What django.core.files.uploadedfile.UploadedFile is, as far as it is read: proxies of a file, and chunks."""

    def __init__(self, content: bytes) -> None:
        self.file, self.mode, self.name, self.size = io.BytesIO(content), "rb", "a.png", len(content)
        for name in ("read", "seek", "seekable", "tell"):
            setattr(self, name, getattr(self.file, name))

    def chunks(self) -> Iterator[bytes]:
        yield self.read()  # type: ignore[attr-defined]


class FlaskUpload:
    """What werkzeug.datastructures.FileStorage is, as far as it is read: everything else is its stream's."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def save(self, target: Any, buffer_size: int = 16384) -> None:
        raise AssertionError("this is not the save of a PIL image")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def spooled(content: bytes, size: int = 0) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=size)  # noqa: SIM115 - the test reads it
    file.write(content)
    file.seek(0)
    return file


UPLOADS: dict[str, Callable[[], Any]] = {
    "Flask": lambda: FlaskUpload(io.BytesIO(PNG)),
    "Flask, on disk": lambda: FlaskUpload(spooled(PNG, 1)),
    "FastAPI": lambda: UploadFile(spooled(PNG, 10**6), filename="a.png"),
    "FastAPI, on disk": lambda: UploadFile(spooled(PNG, 1), filename="a.png"),
    "Django": lambda: DjangoUpload(PNG),
    "temporary file": lambda: spooled(PNG),
}


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS.keys())
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_upload_of_a_web_framework_is_a_file(upload: Callable[[], Any]) -> None:
    """Sent as it came, and measured for an estimate; it may be read again."""
    file = upload()

    assert media.measured("pixels", file) == 96
    assert [sent_content(file), sent_content(file)] == [PNG, PNG]


def test_upload_that_was_read_to_its_end_is_refused_as_such() -> None:
    """A handler that checked it before has to go back to its beginning."""
    file = FlaskUpload(io.BytesIO(PNG))
    file.read()

    with pytest.raises(ValueError, match=rf"at its end, after {len(PNG)} bytes: seek\(0\) first"):
        wire_form(file)


class AsyncFile:
    async def read(self, size: int = -1) -> bytes:
        return PNG


class AsyncOnlyWhenCalled:
    def read(self) -> Any:
        return AsyncFile().read()


@pytest.mark.parametrize("file", [AsyncFile(), AsyncOnlyWhenCalled()], ids=["async def", "a coroutine"])
def test_file_that_is_only_read_with_await_is_refused(file: Any) -> None:
    """Nothing here can wait for it."""
    with pytest.raises(ValueError, match=r"read\(\) of the Async\w+ is async: await it, and give the bytes"):
        wire_form(file)


# ---- texts


SHORT = encoded(2, 2)


@pytest.mark.parametrize("content", [SHORT, encoded(1, 1, "GIF"), b"RIFF\x24\0\0\0WAVEfmt ", b"ID3\x04\0\0\0\0\0\0"])
def test_short_base64_of_a_known_kind_is_content(content: bytes) -> None:
    """However small the file."""
    text = base64.b64encode(content).decode()

    assert len(text) < 256
    assert wire_form(text) == (text, content)


@pytest.mark.parametrize("name", ["missing", "picture1", "//uploads/pic1", "some/folder/photo1", "R0lG/x", "aGVsbG8="])
def test_short_text_of_no_known_kind_is_a_path(name: str) -> None:
    """Though its letters are those of base64."""
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        wire_form(name)


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "FILE://{}", "file:{}"])
def test_file_url_is_read(form: str, tmp_path: Path) -> None:
    """Percent forms are what they stand for."""
    path = tmp_path / "a picture é.png"
    path.write_bytes(PNG)

    assert sent_content(path.as_uri()) == PNG
    assert sent_content(form.format(path)) == PNG


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///missing.png", "'/missing.png' cannot be read: No such file"),
        ("file://server/share/a.png", "names a file on the computer 'server': give its path"),
        ("file:a.png", "is no absolute file URL"),
        ("file://", "is no absolute file URL"),
        ("file:///a%00b", "null byte"),
        ("s3://bucket/a.png", "is a s3 address, which is not taken"),
        ("ftp://me.test/a.png", "is a ftp address, which is not taken"),
    ],
)
def test_url_of_another_kind_is_refused_as_such(url: str, reason: str) -> None:
    """And not as a path that is missing."""
    with pytest.raises(ValueError, match=r".") as caught:
        wire_form(url)

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "pasted", ['"{}"', "'{}'", "\u201c{}\u201d", "\u2018{}\u2019", "{} ", "{}\n", ' "{}"\n'], ids=ascii
)
def test_path_is_read_as_it_was_pasted(pasted: str, tmp_path: Path) -> None:
    """File managers put quotes around a path, terminals a space behind it; a file of that very name comes first."""
    path = as_path(tmp_path)
    url = "https://me.test/a.png"
    odd = tmp_path / pasted.format("b.png")
    odd.write_bytes(SHORT)
    with pytest.raises(ValueError, match=r"'/missing.png' cannot be read"):
        wire_form(pasted.format("/missing.png"))

    assert sent_content(pasted.format(path)) == PNG
    assert wire_form(pasted.format(url)) == (url, None)
    assert sent_content(str(odd)) == SHORT


@pytest.mark.parametrize("url", ["asset://asset-20260825223231-abcde", "ASSET://a"])
def test_asset_of_the_provider_is_sent_as_given(url: str) -> None:
    """Its id has no ending, and is no path."""
    assert wire_form(url) == (url, None)
    assert list(media.problems(url, None, RULE)) == []
    assert media.measured("seconds", url) is media.measured_as_sent("seconds", url) is None


@pytest.mark.parametrize(
    "odd", ["\n", "\r", "\t", " ", "\0", "\x1f", "\x7f", "\x85", "\xa0", "\u2028", "\u200b", "\\", '"', "<"]
)
@pytest.mark.parametrize("url", ["https://me.test/x{}.png", "https://me{}.test/x.png", "asset://a{}b"])
def test_url_is_judged_by_what_is_sent(url: str, odd: str) -> None:
    """Parsers drop line breaks and tabs, so what is checked would be another URL than what is sent."""
    sent, content = wire_form(url.format(odd))
    found = list(media.problems(sent, content, RULE))

    assert found == [f"the URL {sent!r} has {odd!r} in it: take it out, or write it in percent form"]


# ---- what cannot be read


@pytest.mark.parametrize(
    ("given_picture", "reason"),
    [
        (7, "a int is no picture"),
        (2.5, "a float is no picture"),
        ([PNG], "a list is no picture"),
        ({"path": "a.png"}, "a dict is no picture"),
        (object(), "a object is no picture"),
        ("", None),
        ("missing.png", "'missing.png' cannot be read: No such file or directory"),
        (Path("missing.png"), "'missing.png' cannot be read: No such file or directory"),
        (".", "'.' cannot be read: Is a directory"),
        ("a\0b", "'a\\x00b' cannot be read: embedded null byte"),
        ("~/missing.png", f"'{Path.home()}/missing.png' cannot be read: No such file or directory"),
        ("~nobody-of-this-name/a.png", "'~nobody-of-this-name/a.png' cannot be read: No such file or directory"),
        ("/dev/zero", "'/dev/zero' is a pipe or a device, no regular file: read it, and give its bytes"),
        (Path("/dev/zero"), "'/dev/zero' is a pipe or a device, no regular file: read it, and give its bytes"),
        ("data:image/png,raw", "not of the form data:image/png;base64,..."),
        ("data:image/png;base64", "not of the form data:image/png;base64,..."),
        ("data:image/\npng;base64,AAAA", "not of the form data:image/png;base64,..."),
        ("data:image/png;base64,A", "its base64 is broken"),
        ("data:image/png;base64,A_-=", "its base64 is broken"),
        ("data:image/png;base64,ä", "ASCII"),
        ("A" * 257, "its base64 is broken"),
        ("=" * 300, "its base64 is broken"),
        ("!" * 5_000_000, "cannot be read: File name too long"),
        (io.StringIO("text"), "the file object gives text; open it in binary mode ('rb')"),
        (SimpleNamespace(read=lambda: None), "read() of the SimpleNamespace gives NoneType, and not bytes"),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0][:30],  # an address is another in each run
)
def test_what_cannot_be_read_is_refused_in_a_short_sentence(given_picture: Any, reason: str | None) -> None:
    """The sentence says which and why."""
    if reason is None:
        assert wire_form(given_picture) == ("", b"")
        return
    with pytest.raises(ValueError, match=r".") as caught:
        wire_form(given_picture)

    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody may ever write into it, and a file is read twice when its task is estimated first."""
    os.mkfifo(tmp_path / "pipe.png")

    with pytest.raises(ValueError, match="is a pipe or a device, no regular file"):
        wire_form(tmp_path / "pipe.png")


def test_file_of_a_disk_image_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A wrong name can name a file that fills the memory."""
    with (tmp_path / "disk.png").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(ValueError, match=r"'.*disk\.png' has 1099511\.6 MB; at most 10 MB can be sent"):
        wire_form(str(tmp_path / "disk.png"))


def test_tilde_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some shells leave it alone in target_image=~/me.png; a file that is really called so comes first."""
    monkeypatch.setenv("HOME", str(tmp_path))
    as_path(tmp_path)
    assert sent_content("~/picture.png") == PNG

    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "picture.png").write_bytes(b"another")
    assert sent_content("~/picture.png") == b"another"


def cut_off(form: str) -> Image.Image:
    """A picture of Pillow's that cannot be loaded."""
    content = encoded(200, 200, form)
    return Image.open(io.BytesIO(content[: len(content) // 2]))


def closed(file: Any) -> Any:
    file.close()
    return file


def in_the_middle_of_a_line(folder: Path) -> Any:
    (folder / "text").write_text("a\nb\n")
    file = (folder / "text").open()
    next(file)
    return file


BROKEN_OBJECTS: dict[str, Callable[[Path], Any]] = {
    "PIL image, PNG cut off": lambda _: cut_off("PNG"),
    "PIL image, JPEG cut off": lambda _: cut_off("JPEG"),
    "PIL image without pixels": lambda _: Image.new("RGB", (0, 5)),
    "closed file": lambda _: closed(io.BytesIO(PNG)),
    "file for writing": lambda folder: (folder / "out").open("wb"),
    "text file of another encoding": lambda folder: as_path(folder).open(encoding="utf-8"),
    "text file between lines": in_the_middle_of_a_line,
}


@pytest.mark.parametrize("broken", BROKEN_OBJECTS.values(), ids=BROKEN_OBJECTS.keys())
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_object_that_fails_when_it_is_read_is_refused(broken: Callable[[Path], Any], tmp_path: Path) -> None:
    """Whatever an object raises while it is read, it is the caller's to know, as one kind of error."""
    given_picture = broken(tmp_path)

    with pytest.raises(ValueError, match=r"."):
        wire_form(given_picture)
    if hasattr(given_picture, "close"):
        given_picture.close()


# ---- what a picture is


def with_text() -> bytes:
    """A PNG with text chunks before its pixels."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "IEND" * 100)
    text.add_itxt("Title", "ö" * 50, zip=True)
    return encoded(31, 17, pnginfo=text)


def with_exif() -> bytes:
    """A JPEG with a thumbnail in its EXIF segment, which has a frame header and an end of its own."""
    exif = Image.Exif()
    exif[0x010E] = "before \xff\xc0"
    exif[0x0112] = 6
    return encoded(40, 30, "JPEG", exif=exif.tobytes() + encoded(9, 9, "JPEG"))


VARIANTS: dict[str, bytes] = {
    "PNG": PNG,
    "PNG with text": with_text(),
    "PNG, interlaced or not": encoded(33, 9, mode="1"),
    "PNG, 1 x 1": encoded(1, 1),
    "JPEG": encoded(30, 20, "JPEG"),
    "JPEG, progressive": encoded(300, 200, "JPEG", progressive=True),
    "JPEG, grey": encoded(30, 20, "JPEG", mode="L"),
    "JPEG, CMYK": encoded(30, 20, "JPEG", mode="CMYK"),
    "JPEG with EXIF": with_exif(),
    "JPEG with restart markers": encoded(300, 200, "JPEG", restart_marker_rows=1),
    "WebP, lossy": encoded(31, 21, "WEBP"),
    "WebP, lossless": encoded(31, 21, "WEBP", lossless=True),
    "WebP, lossy with alpha": encoded(31, 21, "WEBP", mode="RGBA"),
    "WebP, lossless with alpha": encoded(31, 21, "WEBP", mode="RGBA", lossless=True),
    "WebP with EXIF": encoded(31, 21, "WEBP", exif=b"Exif\0\0" + Image.Exif().tobytes()),
    "WebP, animated": encoded(31, 21, "WEBP", save_all=True, append_images=[picture(31, 21, "L").convert("RGB")]),
}


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS.keys())
def test_picture_is_known_by_its_structure(content: bytes) -> None:
    """Format and size are what Pillow finds after decoding."""
    image = decoded(content)

    assert inspect_picture(content) == PictureInfo(str(image.format).lower(), *image.size)


def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC, 0xDB, 0xE0, 0xFE], ids=hex)
@pytest.mark.parametrize("frame", [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCF], ids=hex)
def test_size_of_a_jpeg_is_in_its_frame_header(frame: int, marker: int) -> None:
    """And in no other segment: tables may stand before it, and fill bytes too (T.81, B.1.1.2)."""
    header = segment(frame, b"\x08" + (30).to_bytes(2, "big") + (40).to_bytes(2, "big") + b"\x01\x01\x11\0")
    content = b"\xff\xd8" + segment(marker, bytes(range(1, 20))) + b"\xff\xff" + header + b"pixels\xff\xd9"

    assert inspect_picture(content) == PictureInfo("jpeg", 40, 30)


@settings(max_examples=120, deadline=None)
@given(
    width=st.integers(1, 3000),
    height=st.integers(1, 40),
    upright=st.booleans(),
    form=st.sampled_from(["PNG", "JPEG", "WEBP"]),
    lossless=st.booleans(),
)
def test_size_is_read_for_any_size(width: int, height: int, upright: bool, form: str, lossless: bool) -> None:
    """In every format, both sides in their order."""
    sides = (height, width) if upright else (width, height)
    options = {"lossless": lossless, "method": 0} if form == "WEBP" else {}
    file = io.BytesIO()
    Image.new("RGB", sides, (9, 80, 200)).save(file, form, **options)

    assert inspect_picture(file.getvalue()) == PictureInfo(form.lower(), *sides)


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
def test_format_that_is_not_taken_is_called_by_its_name(content: bytes, name: str) -> None:
    """So that the refusal can say what to convert."""
    assert inspect_picture(content) == PictureInfo(name)
    assert list(media.problems("", content, RULE)) == [
        f"it is a {name} picture by its content; jpeg, png, webp are taken: convert it"
    ]


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_picture_that_is_cut_off_is_refused(content: bytes, share: float) -> None:
    """It would be paid for, and fail."""
    with pytest.raises(ValueError, match=r"is cut off|is no picture"):
        inspect_picture(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\xaeB`\x82",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0\x02\xff\xd9",
        b"RIFF\x1a\0\0\0WEBPABCD" + b"\0" * 20,
    ],
    ids=["PNG without a header", "JPEG without a frame", "JPEG of one segment", "WebP of an unknown kind"],
)
def test_picture_without_what_holds_its_size_is_refused(content: bytes) -> None:
    """It begins like a picture, and is none."""
    with pytest.raises(ValueError, match=r"cut off|no WebP picture"):
        inspect_picture(content)


@pytest.mark.parametrize("content", [b"", b"x", b"<html>", b"%PDF-1.7", b"\x89PNG", PNG[1:]], ids=repr)
def test_what_is_no_picture_is_refused_by_how_it_starts(content: bytes) -> None:
    """The first bytes tell the reader what was given."""
    with pytest.raises(ValueError, match=r"it is no picture: it starts with b"):
        inspect_picture(content)


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x10\0\0\0WEBPVP8 ", b"GIF89a", b"BM"]),
    rest=st.binary(max_size=60),
)
def test_any_bytes_are_a_picture_or_a_value_error(start: bytes, rest: bytes) -> None:
    """Nothing that a caller gives makes another exception, or an endless loop."""
    try:
        info = inspect_picture(start + rest)
    except ValueError:
        return

    assert info.format


@settings(max_examples=300, deadline=None)
@given(
    content=st.sampled_from(list(VARIANTS.values())),
    changes=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(0, 2000),
)
def test_damaged_picture_is_a_picture_or_a_value_error(
    content: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    """A file with wrong bytes near its start, where the structure is."""
    damaged = bytearray(content)
    for place, byte in changes:
        damaged[place % len(damaged)] = byte
    try:
        info = inspect_picture(bytes(damaged[:length]))
    except ValueError:
        return

    assert info.format


# ---- what a field takes


@pytest.mark.parametrize(
    ("sides", "taken"),
    [((2047, 2047), True), ((2048, 1), False), ((1, 2048), False), ((2049, 9), False), ((4096, 100), False)],
)
def test_both_sides_must_be_under_the_limit(sides: tuple[int, int], taken: bool) -> None:
    """2048 is refused, 2047 is not (Image Faceswap, 2025-04-03)."""
    file = io.BytesIO()
    Image.new("L", sides).save(file, "PNG")
    found = list(media.problems("", file.getvalue(), RULE))

    width, height = sides
    assert found == ([] if taken else [f"it is {width} x {height} pixels; both sides must be under 2048: shrink it"])


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://me.test/a.jpg", None),
        ("https://me.test/a.JPEG", None),
        ("https://me.test/a.webp?size=1#top", None),
        ("https://me.test/a.gif", "must end in .jpg, .jpeg, .png, .webp; give the content instead"),
        ("https://me.test/a", "must end in"),
        ("https://me.test/?file=a.png", "must end in"),
        ("https:///a.png", "names no host"),
        ("https://[::1/a.png", "is malformed"),
        ("https://me.test:99999/a.png", "is malformed"),
        ("https://me.test/" + "a" * 5_000_000, "must end in"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_url_must_name_a_host_and_a_picture(url: str, problem: str | None) -> None:
    """The page asks for an ending; a long URL is cut in the sentence."""
    found = list(media.problems(url, None, RULE))

    assert (problem is None) == (not found)
    assert (problem or "") in "".join(found)
    assert len("".join(found)) < 400


@pytest.mark.parametrize("form", MIME)
def test_rule_without_limits_takes_any_picture(form: str) -> None:
    """A field that names no format and no size has none."""
    assert list(media.problems("", encoded(3000, 2, form), {"kind": "image"})) == []


def test_other_kinds_of_file_are_not_looked_into() -> None:
    """Sound and film are checked by the provider."""
    assert list(media.problems("", b"sound", {"kind": "audio"})) == []
    assert list(media.problems("https://me.test/a", None, {"kind": "audio"})) == []
    assert list(media.problems("", b"", {"kind": "audio"})) == ["it is empty (0 bytes)"]


def test_file_of_ten_mebibytes_is_taken() -> None:
    """The limit is 10 * 1,048,576 bytes, and not ten million."""
    assert list(media.problems("", bytes(10_485_760), {"kind": "audio"})) == []
    assert list(media.problems("", bytes(10_485_761), {"kind": "audio"})) == [
        "it has 10.5 MB; at most 10 MB can be sent: shrink it, or give a URL"
    ]


def test_field_that_takes_only_urls_refuses_content() -> None:
    """The file has to be somewhere first."""
    assert list(media.problems("", PNG, {**RULE, "accepts": ["url"]})) == [
        "only a URL is taken here: upload the file first"
    ]
