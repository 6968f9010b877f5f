"""Pictures and other files: what is sent for each kind of object, what is read from it, and what is refused."""

import base64
import inspect
import io
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin
from starlette.datastructures import UploadFile
from unitask import media
from unitask._core.contents import PictureInfo, inspect_picture
from unitask.media import wire_form

from .pictures import decoded, encoded, picture

PNG = encoded()
SHORT = encoded(2, 2)
RULE = {"kind": "image", "formats": ["jpeg", "png", "webp"], "exclusive_max_side": 2048}


def sent_content(given_picture: Any) -> bytes:
    """Return the file that is sent for a picture; it is also the one that is checked."""
    sent, content = wire_form(given_picture)

    assert content == base64.b64decode(sent, validate=True)
    return content


def problems(sent: str, content: bytes | None = None, rule: Any = RULE, **options: Any) -> list[str]:
    return list(media.problems(sent, content, rule, **options))


def as_path(folder: Path) -> Path:
    path = folder / "picture.png"
    path.write_bytes(PNG)
    return path


def at_position(start: int = 5) -> io.BytesIO:
    file = io.BytesIO(b"front" + PNG)
    file.seek(start)
    return file


async def read_async(size: int = -1) -> bytes:
    return PNG


def flask_upload() -> Any:
    """The parts of werkzeug's FileStorage that are read; it has `save` and `mode`, as a PIL image has."""
    stream = io.BytesIO(PNG)
    parts = {name: getattr(stream, name) for name in ("read", "seek", "seekable", "tell")}
    return SimpleNamespace(mode="rb", save=None, **parts)


KINDS: dict[str, Callable[[Path], Any]] = {
    "path as text": lambda folder: str(as_path(folder)),
    "pasted path": lambda folder: f' "{as_path(folder)}"\n',
    "path with a space at its end": lambda folder: str(as_path(folder).rename(folder / "picture.png ")),
    "path in typographic quotes": lambda folder: f"\u201c{as_path(folder)}\u201d",
    "long path as text": lambda folder: str(as_path(folder)).replace("picture.png", "./" * 150 + "picture.png"),
    "file URL with a host": lambda folder: f"FILE://localhost{as_path(folder)}",
    "file URL": lambda folder: as_path(folder).as_uri(),
    "bytearray": lambda _: bytearray(PNG),
    "memoryview with gaps": lambda _: memoryview(bytes(byte for byte in PNG for _ in range(2)))[::2],
    "file object at a position": lambda _: at_position(),
    "Flask": lambda _: flask_upload(),
    "FastAPI": lambda _: UploadFile(io.BytesIO(PNG), filename="a.png"),
    "only read": lambda _: SimpleNamespace(read=lambda: PNG),
}


@pytest.mark.parametrize("kind", KINDS)
def test_encoded_picture_is_sent_unchanged_and_can_be_read_again(kind: str, tmp_path: Path) -> None:
    file = KINDS[kind](tmp_path)

    # an estimate does not read a stream that can be read once only
    assert media.measured("pixels", file) == (None if kind == "only read" else 96)
    assert [sent_content(file), sent_content(file)] == [PNG, PNG]


def test_base64_is_sent_without_line_breaks() -> None:
    content = encoded(64, 64)
    text = base64.b64encode(content).decode()
    lines = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))

    for head in ("", "data:image/png;base64,", "DATA:image/png;BASE64,", "data:;base64,"):
        assert wire_form(head + text) == wire_form(head + lines) == (head + text, content)
    for short in (SHORT, encoded(1, 1, "GIF"), b"RIFF\x24\0\0\0WAVEfmt ", b"ID3\x04\0\0\0\0\0\0"):
        text = base64.b64encode(short).decode()
        assert wire_form(text) == (text, short)
    assert wire_form("A" * 256) == ("A" * 256, bytes(192))  # a shorter one is a path, unless it has a known format
    assert wire_form("") == ("", b"")


def test_address_is_sent_as_given() -> None:
    for url in ("HTTP://me.test/a.png", "asset://asset-2026-abc", "ASSET://a"):
        assert wire_form(url) == (url, None)
        assert problems(url) == []
        assert media.measured("seconds", url) is None


def test_pil_image_is_sent_upright() -> None:
    for form, orientation in (("JPEG", 6), ("PNG", 3)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.open(io.BytesIO(encoded(30, 20, form, exif=exif.tobytes())))
        sent = decoded(sent_content(image))
        assert sent.tobytes() == ImageOps.exif_transpose(image).convert(sent.mode).tobytes()
        assert sent.getexif().get(0x0112, 1) == 1
        image.info["exif"] = b"Exif\0\0II*\0\xff\xff\xff\x7f"  # broken
        assert decoded(sent_content(image)).size == (30, 20)


SENT_AS = {mode: mode for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
SENT_AS |= {"La": "LA", "PA": "RGBA", "RGBa": "RGBA", **dict.fromkeys(("CMYK", "HSV", "LAB", "RGBX", "YCbCr"), "RGB")}


@pytest.mark.parametrize(("mode", "sent_as"), SENT_AS.items())
def test_image_of_any_mode_keeps_colours_and_transparency(mode: str, sent_as: str) -> None:
    image = picture(mode=sent_as).convert(mode)
    if mode == "P":
        image.info["transparency"] = image.getpixel((0, 0))
    before = (image.mode, image.size, image.tobytes())
    sent = decoded(sent_content(image))

    assert sent.mode == sent_as
    assert sent.convert("RGBA").tobytes() == image.convert(sent_as).convert("RGBA").tobytes()
    assert (image.mode, image.size, image.tobytes()) == before


rows, columns = np.mgrid[0:7, 0:5]
colours = np.stack([rows * 30, columns * 40, rows * columns, 255 - rows], axis=-1).astype(np.uint8)


def test_array_keeps_its_pixels() -> None:
    for array in (colours[..., 0].T, colours, np.asfortranarray(colours[..., :3])):
        assert np.array_equal(np.asarray(decoded(sent_content(array))), array)


NO_PICTURES: list[Any] = [
    *(colours.astype(np.float32), colours.astype(np.int8), colours[..., :2], colours[0, 0], colours[None], colours[:0]),
    SimpleNamespace(__array_interface__=colours.__array_interface__),  # without the bytes
    *(picture(mode="L").convert(mode) for mode in ("F", "I", "I;16", "I;16B")),  # the level of white is not known
]


def test_pixels_that_are_not_a_picture_are_refused() -> None:
    for pixels in NO_PICTURES:
        with pytest.raises(ValueError, match=r"an array of shape|no known white"):
            wire_form(pixels)


CLOSED = io.BytesIO(PNG)
CLOSED.close()
NO_DATA_URI = "the data URI is not of the form data:image/png;base64,..."
UNREADABLE: list[tuple[Any, str]] = [
    (7, "an object of type int is not a picture: give a path, bytes, a file object, a PIL image, a numpy array"),
    ("missing.png", "'missing.png' cannot be read"),
    ("missing", "'missing' cannot be read"),  # its characters are those of base64
    (".", "'.' cannot be read: Is a directory"),
    ('""', "'\"\"' cannot be read"),
    ('"-"', "'-' cannot be read"),
    ("a\0b", r"'a\x00b' cannot be read"),
    ("~/missing.png", f"'{Path.home()}/missing.png' cannot be read"),
    ("/dev/zero", "'/dev/zero' is a pipe or a device"),
    ("data:image/png,raw", NO_DATA_URI),
    ("data:image/\npng;base64,AAAA", NO_DATA_URI),
    ("data:image/png;base64,AA_-AA==", "its base64 is broken"),
    ("data:image/png;base64,AA,AA", "its base64 is broken"),
    ("A" * 257, "its base64 is broken"),
    ("!" * 5_000_000, f"'{'!' * 199} cannot be read: File name too long"),
    ("file://server/share/a.png", "'file://server/share/a.png' is not a file URL of this computer"),
    ("Gs://bucket/a.png", "'Gs://bucket/a.png' is a Gs address, which is not taken"),
    (SimpleNamespace(read=lambda: None), "read() of the SimpleNamespace gives NoneType, not bytes"),
    (SimpleNamespace(read=read_async, file="a.png"), "read() of the SimpleNamespace is async"),
    (SimpleNamespace(read=read_async), "read() of the SimpleNamespace is async"),
    (at_position(5 + len(PNG)), f"the file object is at its end, after {5 + len(PNG)} bytes: seek(0) first"),
    (CLOSED, "I/O operation on closed file"),
    (Image.open(io.BytesIO(encoded(200, 200)[:5000])), "the PngImageFile cannot be read: OSError: "),
]


@pytest.mark.parametrize(("unreadable", "reason"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_cannot_be_read_is_refused_in_a_short_sentence(unreadable: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        wire_form(unreadable)

    assert str(caught.value).startswith(reason)
    assert len(str(caught.value)) < 400


def test_file_object_that_gives_no_bytes_is_refused_and_leaves_no_coroutine() -> None:
    coroutine = read_async()
    with pytest.raises(ValueError, match="gives coroutine, not bytes"):
        wire_form(SimpleNamespace(read=lambda: coroutine))
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED  # else Python warns
    with pytest.raises(ValueError, match=r"^the file object gives text; open it in binary mode \('rb'\)$"):
        wire_form(io.StringIO("text"))  # type: ignore[arg-type]


def test_pipe_and_large_file_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MOST_READ", 10 * 2**20)  # else a file of 256 MiB is read
    os.mkfifo(tmp_path / "pipe.png")
    for name, size in (("disk.png", 1 << 40), ("sound", 10 * 2**20)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    content = sent_content(tmp_path / "sound")

    with pytest.raises(ValueError, match="a pipe"):
        wire_form(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"disk\.png' has 1099511\.6 MB; at most 10 MB"):
        wire_form(str(tmp_path / "disk.png"))
    assert problems("", content, {"kind": "audio"}) == []
    assert "10.5 MB" in problems("", content + b"x", {"kind": "audio"})[0]


TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("Comment", "IEND" * 100)
EXIF = Image.Exif()
EXIF[0x010E] = "before \xff\xc0"  # then a thumbnail with a frame header and an end of its own
VARIANTS: dict[str, bytes] = {
    "PNG": PNG,
    "PNG with text": encoded(31, 17, pnginfo=TEXT),
    "JPEG": encoded(30, 20, "JPEG"),
    "JPEG, progressive": encoded(300, 200, "JPEG", progressive=True),
    "JPEG with a fill byte": b"\xff\xd8\xff" + encoded(30, 20, "JPEG")[2:],
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
        with pytest.raises(ValueError, match=r"is cut off|picture"):
            inspect_picture(content[: int(len(content) * share)])


def test_pixels_of_a_picture_that_states_no_width_are_not_known() -> None:
    for content in (PNG[:16] + bytes(4) + PNG[20:], PNG.replace(b"IHDR", b"CgBI")):
        assert media.measured("pixels", content) is None


def test_size_of_a_jpeg_is_read_from_any_frame_header() -> None:
    jpeg = encoded(30, 20, "JPEG")
    sizes = [media.measured("pixels", jpeg.replace(b"\xff\xc0", bytes([0xFF, odd]), 1)) for odd in range(0xC0, 0xD1)]

    assert [0xC0 + place for place, size in enumerate(sizes) if size is None] == [0xC4, 0xC8, 0xCC, 0xD0]


def test_format_that_is_not_taken_is_named() -> None:
    others = {form: encoded(form=form) for form in ("gif", "bmp", "tiff")} | {"heif": b"\0\0\0\x1cftypavif\0\0\0\0"}

    assert "cut off" in problems("", PNG[:50])[0]
    assert problems("", b"no picture at all") == ["it is not a picture: it starts with b'no picture a'"]
    for name, content in others.items():
        assert inspect_picture(content) == PictureInfo(name)
        assert problems("", content) == [
            f"it is a {name} picture by its content; jpeg, png, webp are taken: convert it"
        ]


def test_both_sides_must_be_under_2048_pixels() -> None:
    sizes = [(2047, 2047), (2048, 1), (1, 2048), (2049, 9)]

    assert [len(problems("", encoded(*size, mode="L"))) for size in sizes] == [0, 1, 1, 1]


URL_PROBLEMS: dict[str, str] = {
    "https://me.test/a.gif": "must end in .jpg, .jpeg, .png, .webp",
    "https://me.test/?file=a.png": "must end in",
    "https:///a.png": "host",
    "https://[::1/a.png": "is malformed",
    "https://me.test:99999/a.png": "is malformed",
    "https://me.test/" + "a" * 5_000_000: "must end in",
}
for odd in ("\n", " ", "\x7f", "\xa0", "\u200b", "\\", '"', "<"):  # parsers drop or change them
    for where in ("https://me.test/x{}.png", "https://me{}.test/x.png", "asset://a{}b"):
        URL_PROBLEMS[where.format(odd)] = f"{odd!r} in it"


def test_url_must_name_a_host_and_end_like_a_picture() -> None:
    for url, problem in URL_PROBLEMS.items():
        (found,) = problems(*wire_form(url))
        assert problem in found
        assert len(found) < 400
    for url in ("https://me.test/X.JPEG", "https://me.test/a.webp?size=1#top"):
        assert problems(url) == []


def test_file_is_checked_by_the_kind_of_its_field() -> None:
    assert problems("", encoded(3000, 2, "GIF"), {"kind": "image"}) == []
    assert problems("https://me.test/a", None, {"kind": "audio"}) == []
    assert problems("", b"", {"kind": "audio"}) == ["it is empty (0 bytes)"]
    by_url = {"kind": "audio", "accepts": ["url"]}
    assert problems("", PNG, by_url) == ["only a URL is taken here: upload the file first"]
    assert problems("", b"OggS and so on", by_url, uploads=True) == [
        "only a URL is taken here, and an upload takes png, jpg, webp, wav, mp4, mp3; it starts with b'OggS and so '"
    ]
