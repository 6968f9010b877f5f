"""The check of the bytes of a file: whole files of every kind pass, cut-off files and texts do not."""

import io
import struct
import wave
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unitask._core.contents import check
from unitask._core.range_download import DownloadAttemptError

from .pictures import encoded


def box(name: bytes, content: bytes = b"", *, wide: bool = False) -> bytes:
    """A box of an MP4; a wide one has its length behind its name."""
    size = len(content) + (16 if wide else 8)
    return (struct.pack(">I4sQ", 1, name, size) if wide else struct.pack(">I4s", size, name)) + content


def sound() -> bytes:
    """Make a WAV of a few samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, 8000, 0, "NONE", ""))
        wav.writeframes(bytes(range(200)))
    return file.getvalue()


ZIP = b"PK\x03\x04" + bytes(40) + b"PK\x05\x06" + bytes(18)
FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2")
MOOV, MDAT = box(b"moov", box(b"mvhd", bytes(100))), box(b"mdat", bytes(99))
WAV, GLB = sound(), struct.pack("<4sIII4s", b"glTF", 2, 120, 100, b"JSON") + b" " * 100
EBML = b"\x1a\x45\xdf\xa3\x84\x42\x82\x81w" + b"\x18\x53\x80\x67"
WHOLE: dict[str, tuple[str, bytes]] = {
    "PNG": ("image", encoded()),
    "JPEG": ("image", encoded(form="JPEG")),
    "JPEG with a thumbnail": ("image", encoded(form="JPEG", exif=b"Exif\0\0" + encoded(4, 4, "JPEG"))),
    "WebP": ("image", encoded(form="WEBP")),
    "GIF": ("image", encoded(form="GIF", mode="P")),
    "AVIF": ("image", box(b"ftyp", b"avif\0\0\0\0avif") + box(b"meta", bytes(40)) + box(b"mdat", bytes(40))),
    "film with its index first": ("video", FTYP + MOOV + box(b"free") + MDAT),
    "film with its index last": ("video", FTYP + box(b"mdat", bytes(99), wide=True) + MOOV),
    "WAV": ("audio", WAV),
    "M4A": ("audio", box(b"ftyp", b"M4A \0\0\0\0") + MOOV + MDAT),
    "GLB": ("model", GLB),
}
# Their end is unknown, or is known to be wrong in practice.
ACCEPTED: dict[str, tuple[str | None, str, bytes]] = {
    "SVG": ("image", ".svg", b'<?xml version="1.0"?><!-- <html> --><svg xmlns="http://www.w3.org/2000/svg"></svg>'),
    "ZIP": ("file", ".zip", ZIP),
    "MP3": ("audio", ".mp3", b"ID3\3\0\0\0\0\0\0" + b"\xff\xfb\x90\0" + bytes(413)),
    "WAV from a pipe": ("audio", ".wav", WAV[:4] + b"\xff\xff\xff\xff" + WAV[8:]),
    "live WebM": ("video", ".webm", EBML + b"\xff" + b"\x80" * 9),
    "film up to the end": ("video", ".mp4", FTYP + MOOV + struct.pack(">I4s", 0, b"mdat") + bytes(99)),
    "film with something behind it": ("video", ".mp4", FTYP + MOOV + MDAT + b"\x7f\1\2\3\4\5\6\7\x08"),
    "WebP called PNG": ("image", ".png", encoded(form="WEBP")),
    "video where a picture is due": ("image", ".png", FTYP + MOOV + MDAT),
    "TIFF": ("image", ".tif", encoded(form="TIFF")),
    "OBJ": ("model", ".obj", b"# made by hand\nv 0 0 0\n"),
    "STL": ("model", ".stl", b"solid thing\nfacet normal 0 0 1\n"),
    "glTF": ("model", ".gltf", b'{"asset": {"version": "2.0"}}'),
    "large glTF": ("model", ".gltf", b'{"accessors": [' + b"0, " * 2000 + b'0], "asset": {}}'),
    "COLLADA": ("model", ".dae", b'<?xml version="1.0"?><COLLADA version="1.4.1"></COLLADA>'),
    "HLS": ("video", ".m3u8", b"#EXTM3U\n#EXT-X-VERSION:3\n"),
    "subtitles": ("file", ".srt", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n"),
    "JSON": (None, ".json", b'{"faces": []}'),
    "page that is wanted": ("file", ".html", b"<!doctype html><p>"),
    "text of unknown kind": (None, "", "Übermorgen".encode()),
    "noise": ("video", ".mp4", bytes(range(256))),
}
TEXTS: dict[str, bytes] = {
    "S3": b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
    "page": b"\xef\xbb\xbf\r\n<!DOCTYPE HTML PUBLIC '-//IETF'><svg></svg>",
    "page after a comment": b"<!-- [if IE] --><html><svg></svg></html>",
    "document type with entities": b'<!DOCTYPE Error [<!ENTITY a "<svg>">]><Error/>',
    "open comment": b"<!-- <svg></svg>",
    "JSON": b'{"code": 404, "message": "not ready"}',
    "plain": b"Not Found",
    "long": b"Attention Required! | Cloudflare\n" * 400,
    "long in Latin-1": "Das Bild ist noch nicht verf\xfcgbar. ".encode("latin-1") * 400,
    "long in UTF-8": "画像はまだありません。".encode() * 400,
    "UTF-16": "Not Found".encode("utf-16"),
}


@pytest.mark.parametrize(("kind", "content"), WHOLE.values(), ids=WHOLE.keys())
def test_cut_off_file_is_distinguished_from_a_whole_one(kind: str, content: bytes) -> None:
    check(content, kind, "")
    for size in {*range(16, len(content), 17), *range(max(16, len(content) - 20), len(content))}:
        if content[:size].rstrip() != content.rstrip():
            with pytest.raises(
                DownloadAttemptError, match=r"^it is (a|an) \w+ that is cut off$|^it is not a "
            ) as caught:
                check(content[:size], kind, "")
            assert (caught.value.retryable, caught.value.discard, caught.value.late) == (True, True, True)


@pytest.mark.parametrize(("kind", "ending", "content"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_file_that_may_be_right_is_accepted(kind: str | None, ending: str, content: bytes) -> None:
    check(content, kind, ending)


PAGES = [TEXTS["S3"], TEXTS["page"], TEXTS["page after a comment"]]
REFUSED: list[tuple[Any, str, bytes, bool]] = [  # kind, ending, content, and whether it may be right the next time
    *((kind, "", text, True) for kind in ("image", "video", "audio", "model") for text in TEXTS.values()),
    *((None, ending, page, True) for ending in ("", ".bin", ".srt") for page in PAGES),
    *((kind, "", b"%PDF-1.7\n\xff", False) for kind in ("image", "video", "audio")),
    *(("image", "", content, False) for content in (ZIP, b"\x1f\x8b\x08\0")),
]


@pytest.mark.parametrize(("kind", "ending", "content", "retryable"), REFUSED, ids=range(len(REFUSED)))
def test_text_page_or_file_of_another_kind_is_refused(kind: Any, ending: str, content: bytes, retryable: bool) -> None:
    name = {"image": "picture", "audio": "sound", "model": "3D model", None: "file"}.get(kind, kind)
    with pytest.raises(DownloadAttemptError, match=rf"^it is not a {name}: it starts with b") as caught:
        check(content, kind, ending)

    assert (caught.value.retryable, caught.value.discard, caught.value.late) == (retryable, retryable, retryable)


beginnings = st.sampled_from([content[:40] for _, content in WHOLE.values()] + [*TEXTS.values(), b"", b"<!", b"<?"])


@given(begin=beginnings, rest=st.binary(max_size=60), kind=st.sampled_from([None, "image", "video", "audio", "model"]))
@example(begin=b"\xff\xd8\xff", rest=b"\xff\0\0", kind="image")
@example(begin=EBML[:4], rest=b"", kind="video")
@example(begin=EBML[:4], rest=b"\0", kind="video")
def test_no_content_raises_anything_else(begin: bytes, rest: bytes, kind: Any) -> None:
    try:
        check(begin + rest, kind, ".png")
    except DownloadAttemptError as trouble:
        assert str(trouble).startswith("it is ")  # noqa: PT017 - either is right
