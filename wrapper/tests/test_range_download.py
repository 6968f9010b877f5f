"""Fetching one file: what is asked for, and what an answer brings of it."""

from __future__ import annotations

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


def part(written: str | None = None, **headers: str) -> Response:
    """HTTP 206 with this Content-Range."""
    return answer(206, **({} if written is None else {"content_range": written}), **headers)


@pytest.mark.parametrize(
    ("begun", "written", "total"),
    [
        (BEGUN, "bytes 5-9/10", 10),
        (BEGUN, "bytes 5-9/*", 10),
        (Part(5, None, '"v1"'), "bytes 5-9/10", 10),
        (Part(5, None, '"v1"'), "bytes 5-9/*", None),
    ],
)
def test_part_that_goes_on_where_we_stopped_is_taken(begun: Part, written: str, total: int | None) -> None:
    assert begun.answered(part(written)) == Part(begun.size, total, '"v1"')


@pytest.mark.parametrize("written", ["bytes 4-9/10", "bytes 5-10/10", "bytes 5-9/11", "bytes 5-4/10", "5-9/10", ""])
def test_part_that_is_another_is_refused_with_what_came(written: str) -> None:
    with pytest.raises(DownloadAttemptError, match=r"^bytes from 5 on were requested, ") as caught:
        BEGUN.answered(part(written))

    assert str(caught.value).endswith(f", {written!r} came")
    assert (caught.value.retryable, caught.value.discard) == (True, True)


def test_part_that_does_not_say_which_it_is_is_refused() -> None:
    with pytest.raises(DownloadAttemptError, match="were requested, '' came"):
        BEGUN.answered(part())
    with pytest.raises(DownloadAttemptError, match="were requested, 'bytes 5-9/10' came"):
        BEGUN.answered(part("bytes 5-9/10", content_encoding="gzip"))


@pytest.mark.parametrize(
    ("begun", "headers"),
    [
        (BEGUN, {"etag": '"v2"'}),
        (BEGUN, {"etag": 'W/"v1"'}),
        (Part(5, 10, '"v1"', "Fri, 21 Nov 2025 08:00:00 GMT"), {"last_modified": "Fri, 21 Nov 2025 08:00:01 GMT"}),
        (Part(5, None, "Fri", "Fri"), {"last_modified": "Sat", "etag": '"v1"'}),
    ],
)
def test_part_of_another_version_is_refused(begun: Part, headers: dict[str, str]) -> None:
    with pytest.raises(DownloadAttemptError, match="was changed while it was fetched") as caught:
        begun.answered(part("bytes 5-9/10", **headers))

    assert (caught.value.retryable, caught.value.discard) == (True, True)


def test_part_that_names_its_version_again_is_taken() -> None:
    named = {"etag": '"v1"', "last_modified": "Fri"}
    begun = Part().answered(answer(200, content_length="10", **named))

    assert replace(begun, size=5).answered(part("bytes 5-9/10", **named)).size == 5
    assert Part(5, 10, "Fri", "Fri").answered(part("bytes 5-9/10", **named)).size == 5


def test_page_instead_of_a_part_is_refused() -> None:
    with pytest.raises(DownloadAttemptError, match="a page of type text/html came instead"):
        BEGUN.answered(part("bytes 5-9/10", content_type="text/html"))
    for media_type, ending in (("text/html", ".html"), ("application/json", ".gltf")):
        assert Part().answered(answer(200, content_type=media_type), ending) == Part()
        with pytest.raises(DownloadAttemptError):
            Part().answered(answer(200, content_type=media_type), ".mp4")


# ---- how fast


@pytest.mark.parametrize(("size", "pause", "ends"), [(1, 0.5, True), (0, 0.5, True), (10_000, 0.5, False)])
def test_transfer_that_drips_ends(size: int, pause: float, ends: bool) -> None:
    pace = Pace(30.0, since=100.0)
    seen = (pace.see(size, 100.0 + pause * number) for number in range(1, 600))
    if not ends:
        assert len(list(seen)) == 599
        return
    with pytest.raises(DownloadAttemptError, match=rf"^it comes too slowly: {60 * size} bytes in 30 s$") as caught:
        list(seen)
    assert caught.value.retryable


def test_burst_does_not_pay_for_later() -> None:
    pace = Pace(30.0, since=0.0)
    pace.see(1 << 30, 31.0)
    with pytest.raises(DownloadAttemptError, match="1 bytes in 30 s"):
        pace.see(1, 61.0)


# ---- compression


def packed(coding: str, content: bytes) -> bytes:
    """The content in this coding."""
    return gzip.compress(content) if coding == "gzip" else zlib.compress(content)


@given(
    content=st.binary(max_size=3000) | st.builds(lambda n: bytes(n), st.integers(0, 700_000)),
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
    with pytest.raises(DownloadAttemptError, match="its compression is cut off"):
        unpacking.check_whole()
    pieces += unpacking.feed(stream[-1:] + padding)
    unpacking.check_whole()

    assert b"".join(pieces) == content
    assert max(map(len, pieces), default=0) <= 1 << 18


def test_gzip_of_several_members_is_one_file() -> None:
    unpacking = Unpacking()

    assert b"".join(unpacking.feed(gzip.compress(b"one") + gzip.compress(b" two"))) == b"one two"
    unpacking.check_whole()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_answer_that_unpacks_to_far_too_much_is_given_up(coding: str) -> None:
    bomb = packed(coding, bytes(64 << 20))
    pieces = Unpacking().feed(bomb)
    sizes = [len(next(pieces)) for _ in range(128)]

    assert sum(sizes) == 32 << 20
    with pytest.raises(
        DownloadAttemptError, match=r"compressed bytes unpack to more than 33554432, which no file"
    ) as caught:
        next(pieces)
    assert not caught.value.retryable
