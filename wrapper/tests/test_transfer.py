"""Fetching one file: what is asked for, and what an answer brings of it."""

from __future__ import annotations

import pytest
from unitask._core.messages import Answer
from unitask._core.transfer import Part, Trouble

from .script import answer

BEGUN = Part(5, 10, '"v1"')


def part(written: str | None = None, **headers: str) -> Answer:
    """HTTP 206 with this Content-Range."""
    return answer(206, **({} if written is None else {"content_range": written}), **headers)


@pytest.mark.parametrize(
    ("begun", "written", "total"),
    [
        (BEGUN, "bytes 5-9/10", 10),
        (BEGUN, " bytes 5-7/10", 10),
        (BEGUN, "bytes 5-9/*", 10),
        (Part(9, 10, '"v1"'), "bytes 9-9/10", 10),
        (Part(5, None, '"v1"'), "bytes 5-9/10", 10),
        (Part(5, None, '"v1"'), "bytes 5-9/*", None),
    ],
)
def test_part_that_goes_on_where_we_stopped_is_taken(begun: Part, written: str, total: int | None) -> None:
    """Down to the last byte; how long the whole is may be learned from it."""
    assert begun.answered(part(written)) == Part(begun.size, total, '"v1"')


@pytest.mark.parametrize("written", ["bytes 4-9/10", "bytes 5-10/10", "bytes 5-9/11", "bytes 5-4/10", "5-9/10", ""])
def test_part_that_is_another_is_refused_with_what_came(written: str) -> None:
    """It may be right the next time, but what is there is of no use."""
    with pytest.raises(Trouble, match=r"^bytes from 5 on were asked for, ") as caught:
        BEGUN.answered(part(written))

    assert str(caught.value).endswith(f", {written!r} came")
    assert (caught.value.passes, caught.value.spoils) == (True, True)


def test_part_that_does_not_say_which_it_is_is_refused() -> None:
    """Or that is compressed, so that its place in the file cannot be told."""
    with pytest.raises(Trouble, match="were asked for, '' came"):
        BEGUN.answered(part())
    with pytest.raises(Trouble, match="were asked for, 'bytes 5-9/10' came"):
        BEGUN.answered(part("bytes 5-9/10", content_encoding="gzip"))
