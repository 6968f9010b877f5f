"""One attempt to fetch a file: which answers continue it, how slow they may be, and how they are unpacked."""

import gzip
import itertools
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask._core.effects import Response
from unitask._core.range_download import DownloadAttemptError, Pace, Part, Unpacking

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
    *((BEGUN, part(odd)) for odd in ("bytes 4-9/10", "bytes 5-10/10", "bytes 5-9/11", "bytes 5-4/10", "5-9/10", "")),
    (BEGUN, answer(206)),
    (BEGUN, part(content_encoding="gzip")),
    (BEGUN, part(etag='"v2"')),
    (BEGUN, part(etag='W/"v1"')),
    (DATED, part(last_modified="Fri, 21 Nov 2025 08:00:01 GMT")),
    (DATED, part(last_modified="Sat", etag='"v1"')),
]


def test_part_of_another_place_or_version_is_discarded() -> None:
    for begun, head in OTHER_PARTS:
        with pytest.raises(DownloadAttemptError, match=r"came|changed") as caught:
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


@pytest.mark.parametrize(("size", "ends"), [(1, True), (0, True), (10_000, False)])
def test_transfer_that_drips_ends(size: int, ends: bool) -> None:
    pace = Pace(30.0, since=100.0)
    seen = (pace.see(size, 100.0 + 0.5 * number) for number in range(1, 600))
    if not ends:
        assert len(list(seen)) == 599
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
def test_compressed_answer_is_unpacked_in_small_pieces(
    content: bytes, coding: str, cuts: list[int], padding: bytes
) -> None:
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
