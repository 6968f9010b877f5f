"""Which answers continue a file, how slow they may be, how they are unpacked, and what the bytes of a file show."""

import gzip
import io
import itertools
import struct
import wave
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unitask._core import range_download
from unitask._core.contents import check
from unitask._core.effects import Response
from unitask._core.range_download import DownloadAttemptError, Pace, Part, Unpacking

from .pictures import box, encoded
from .script import answer

BEGUN = Part(5, 10, '"v1"')
OF_UNKNOWN_LENGTH = Part(5, None, '"v1"')
DATED = Part(5, 10, "Fri, 21 Nov 2025 08:00:00 GMT")


def part(written: str = "bytes 5-9/10", **headers: str) -> Response:
    """HTTP 206 with this Content-Range."""
    return answer(206, content_range=written, **headers)


def test_part_that_continues_the_file_is_taken() -> None:
    for begun, written, total in (
        (BEGUN, "bytes 5-9/10", 10),
        (BEGUN, "bytes 5-9/*", 10),
        (OF_UNKNOWN_LENGTH, "bytes 5-9/10", 10),
        (OF_UNKNOWN_LENGTH, "bytes 5-9/*", None),
        (replace(BEGUN, size=9), "bytes 9-9/10", 10),
    ):
        assert begun.answered(part(written)) == replace(begun, total=total)


OTHER_PARTS: list[tuple[Part, Response]] = [
    *((BEGUN, part(f"bytes {odd}")) for odd in ("4-9/10", "6-9/10", "5-10/10", "5-9/11", "5-4/10")),
    *((BEGUN, part(odd)) for odd in ("5-9/10", "")),
    (BEGUN, answer(206)),
    (BEGUN, part(content_encoding="gzip")),
    (BEGUN, part(etag='"v2"')),
    (BEGUN, part(etag='W/"v1"')),
    (DATED, part(last_modified="Fri, 21 Nov 2025 08:00:01 GMT")),
    (DATED, part(last_modified="Sat", etag='"v1"')),
    (BEGUN, answer(416)),
]
DISCARDED = r"^(bytes from 5 on were requested, '(bytes )?[0-9/-]*' came|the file was changed .+ fetched|HTTP 416)$"


def test_part_of_another_place_or_version_is_discarded() -> None:
    for begun, head in OTHER_PARTS:
        with pytest.raises(DownloadAttemptError, match=DISCARDED) as caught:
            begun.answered(head)
        assert (caught.value.retryable, caught.value.discard) == (True, True)


def test_part_that_names_its_version_again_is_taken() -> None:
    named = {"etag": '"v1"', "last_modified": "Fri"}
    begun = Part().answered(answer(200, content_length="10", **named))

    assert begun == Part().answered(part("bytes 0-9/10", **named)) == Part(0, 10, '"v1"')
    assert replace(begun, size=5).answered(part(**named)).size == 5
    assert Part().answered(answer(200, etag='W/"v1"')).validator is None  # a weak one names several versions
    assert Part(5, 10, "Fri").answered(part(**named)).size == 5


def test_part_that_cannot_be_continued_gives_way_to_the_whole_file() -> None:
    for stored in (Part(5, 10), Part(5, is_packed=True)):
        head = part("bytes 0-19/20", etag='"v2"', content_type="text/html")
        assert stored.answered(head, ".html") == Part(0, 20, '"v2"')


def test_page_instead_of_a_file_is_refused() -> None:
    with pytest.raises(DownloadAttemptError, match="text/html"):
        BEGUN.answered(part(content_type="text/html"))
    for media_type, ending in (("text/html", ".html"), ("application/json", ".gltf")):
        assert Part().answered(answer(200, content_type=media_type), ending) == Part()
        with pytest.raises(DownloadAttemptError):
            Part().answered(answer(200, content_type=media_type), ".mp4")


@pytest.mark.parametrize(("size", "ends"), [(1, True), (0, True), (2048, False)])
def test_transfer_that_drips_ends(size: int, ends: bool) -> None:
    pace = Pace(30.0, since=100.0)
    seen = (pace.see(size, 100.0 + 0.5 * number) for number in range(1, 600))
    if not ends:
        assert len(list(seen)) == 599
        with pytest.raises(DownloadAttemptError, match=" 122879 bytes in 30 s"):
            pace.see(2047, 400.0)
        return
    with pytest.raises(DownloadAttemptError, match=rf" {60 * size} bytes in 30 s") as caught:
        list(seen)
    assert caught.value.retryable


def packed(coding: str, content: bytes) -> bytes:
    """The content in this coding; as gzip in two members."""
    if coding == "deflate":
        return zlib.compress(content)
    return gzip.compress(content[: len(content) // 2]) + gzip.compress(content[len(content) // 2 :])


@given(
    content=st.binary(max_size=3000) | st.builds(bytes, st.integers(0, 700_000)),
    coding=st.sampled_from(["gzip", "deflate"]),
    cuts=st.lists(st.integers(0, 3000), max_size=5),
    padding=st.sampled_from([b"", b"\0\0"]),
)
def test_answer_is_unpacked_in_small_pieces(content: bytes, coding: str, cuts: list[int], padding: bytes) -> None:
    unpacking, pieces = Unpacking(), list[bytes]()
    stream = packed(coding, content)
    places = sorted({0, len(stream) - 1, *(min(cut, len(stream) - 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        pieces += unpacking.feed(stream[start:end])
    assert not unpacking.is_whole
    pieces += unpacking.feed(stream[-1:] + padding)

    assert unpacking.is_whole
    assert b"".join(pieces) == content
    assert max(map(len, pieces), default=0) <= 1 << 18


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_answer_that_unpacks_to_far_too_much_is_refused(coding: str) -> None:
    pieces = Unpacking().feed(packed(coding, bytes(64 << 20)))

    assert sum(len(next(pieces)) for _ in range(128)) == 32 << 20
    with pytest.raises(DownloadAttemptError, match="33554432") as caught:
        next(pieces)
    assert not caught.value.retryable


def test_limit_counts_every_compressed_byte_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_download, "UNPACKED_FREELY", 0)
    unpacking, content = Unpacking(), bytes(range(256))
    pieces = [piece for byte in zlib.compress(content) for piece in unpacking.feed(bytes([byte]))]

    assert b"".join(pieces) == content


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
    "film without a type and pictures": ("video", MOOV + box(b"mdat")),
    "WAV": ("audio", WAV),
    "M4A with a newline in a length": ("audio", box(b"ftyp", b"M4A ", bytes(254)) + MOOV + MDAT),
    "GLB": ("model", GLB),
}
# Their end is unknown, or is known to be wrong in practice.
ACCEPTED: dict[str, tuple[str | None, str, bytes]] = {
    "SVG": ("image", ".svg", b'<?xml version="1.0"?><!-- <html> --><svg xmlns="http://www.w3.org/2000/svg"></svg>'),
    "ZIP": ("file", ".zip", ZIP),
    "MP3": ("audio", ".mp3", b"ID3\3\0\0\0\0\0\0" + b"\xff\xfb\x90\0" + bytes(413)),
    "MP3 of few control characters": ("audio", ".mp3", b"\xff\xfbabcdefgh"),
    "WAV from a pipe": ("audio", ".wav", WAV[:4] + b"\xff\xff\xff\xff" + WAV[8:]),
    "WAV from another pipe": ("audio", ".wav", WAV[:4] + b"\x00\xf0\xff\x7f" + WAV[8:]),
    "WAV of odd length": ("audio", ".wav", WAV[:4] + struct.pack("<I", len(WAV) - 7) + WAV[8:]),
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
    "page": b"\xef\xbb\xbf\xef\xbb\xbf\r\n<!DOCTYPE HTML PUBLIC '-//IETF'><svg></svg>",
    "page after a comment": b"<!-- [if IE] --><html><svg></svg></html>",
    "document type with entities": b'<!DOCTYPE Error [<!ENTITY a "<svg>">]><Error/>',
    "open comment": b"<!-- <svg></svg>",
    "JSON": b'{"code": 404, "message": "not ready"}',
    "plain": b"Not Found",
    "plain with a tag in it": b"X <svg>",
    "comment in a tag": b"<<!-- -->svg></svg>",
    "long": b"Attention Required! | Cloudflare\n" * 400,
    "long in Latin-1": "Das Bild ist noch nicht verf\xfcgbar. ".encode("latin-1") * 400,
    "long in UTF-8": "画像はまだありません。".encode() * 400,
    "UTF-16": "Not Found".encode("utf-16"),
    "UTF-16, big end first": "\ufeffNot Found".encode("utf-16-be"),
}


@pytest.mark.parametrize(("kind", "content"), WHOLE.values(), ids=WHOLE.keys())
def test_cut_off_file_is_distinguished_from_a_whole_one(kind: str, content: bytes) -> None:
    check(content, kind, "")
    for size in {*range(16, len(content), 17), *range(max(16, len(content) - 20), len(content))}:
        if content[:size].rstrip() != content.rstrip():
            with pytest.raises(DownloadAttemptError, match=r"^it is an? \w+ that is cut off$|^it is not a ") as caught:
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
    with pytest.raises(DownloadAttemptError, match=r"^it is not a ") as caught:
        check(content, kind, ending)

    assert str(caught.value) == f"it is not a {name}: it starts with {content[:40]!r}"
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
