"""A task as a value, whatever the body holds."""

from __future__ import annotations

import copy
import math
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, ProviderBroken, Task
from unitask.tasks import FaceSwapOutput

from .script import MODEL, TASK_ID, TASK_TYPE, task_data


def task(**fields: Any) -> Task[FaceSwapOutput]:
    return Task({**task_data(), **fields}, FaceSwapOutput)


@pytest.mark.parametrize("name", ["created_at", "started_at", "ended_at"])
def test_time_is_in_utc_and_a_zero_time_is_absent(name: str) -> None:
    moment = datetime(2025, 7, 25, 14, 41, 18, 465048, UTC)

    assert getattr(task(meta={name: "2025-07-25T22:41:18.465048+08:00"}), name) == moment
    assert getattr(task(meta={name: "1970-01-01T00:00:00Z"}), name) is None


@pytest.mark.parametrize(
    ("consume", "usd"),
    [(0, 0.0), (5000.5, 0.00050005), *((odd, None) for odd in (None, True, "100000", [], 10**400, math.nan, math.inf))],
    ids=lambda value: repr(value)[:20],
)
def test_cost_is_in_usd_or_absent(consume: Any, usd: float | None) -> None:
    assert task(meta={"usage": {"consume": consume}}).cost_usd == usd


@given(consume=st.integers(0, 10**13))
def test_cost_is_the_float_next_to_the_amount(consume: int) -> None:
    usd = float(Decimal(consume) / 10_000_000)

    assert task(meta={"usage": {"consume": consume}}).cost_usd == usd
    assert task(meta={"usage": {"consume": float(consume)}}).cost_usd == usd


@pytest.mark.parametrize("output", ["text", ["a"], 0, "", [], {"image_url": 7}], ids=repr)
def test_output_of_another_type_is_broken_when_it_is_read(output: Any) -> None:
    with pytest.raises(ProviderBroken) as caught:
        _ = task(output=output).output.image_url

    assert caught.value.task_id == TASK_ID
    assert repr(output if output != {"image_url": 7} else 7) in str(caught.value)


def test_output_is_that_of_the_task_type() -> None:
    known = Task(task_data("completed", output={"image_url": "u"}), Output)
    unknown = Task(task_data("completed", model="new", output={"image_url": "u"}), Output)

    assert isinstance(known.output, FaceSwapOutput)
    assert known.output.image_url == "u"
    assert type(unknown.output) is Output
    assert unknown.output.raw == {"image_url": "u"}
    assert task(output=None).output.image_url is None


@pytest.mark.parametrize(
    ("error", "failure", "code"),
    [
        ({"code": 10000, "message": "failed", "raw_message": "no face"}, "failed; no face", 10000),
        ({"code": True, "message": "failed", "raw_message": "failed"}, "failed", None),
        ({"code": "7", "message": "", "raw_message": "no face found"}, "no face found", None),
        ({"code": 0, "message": ""}, "", None),
        ("failed", "failed", None),
        ([], "", None),
    ],
    ids=repr,
)
def test_failure_is_in_the_words_of_the_provider(error: Any, failure: str, code: int | None) -> None:
    assert (task(error=error).failure, task(error=error).failure_code) == (failure, code)


def test_status_word_is_kept() -> None:
    ends = {"Completed": True, "failed": True, "cancelled": True, "staged": False, "odd": False, None: False}

    assert {word: task(status=word).done for word in ends} == ends
    assert [task(status=word).status for word in ends] == list(ends)


def test_task_is_a_value_with_a_hash() -> None:
    made = task(output={"image_url": "u"})

    for twin in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert twin == made
        assert twin.output.image_url == "u"
    assert len({made, copy.deepcopy(made), task()}) == 2
    assert len({hash(task(task_id=name)) for name in "abcdef"}) > 1
    with pytest.raises(AttributeError):
        made.raw = {}  # type: ignore[misc]


def test_repr_shows_id_and_status_but_no_secret() -> None:
    made = task(config={"webhook_config": {"secret": "s3cret"}}, output={"image_url": "u"}, status="pending")

    assert repr(made) == f"Task({TASK_ID!r}, {MODEL!r}, {TASK_TYPE!r}, status='pending')"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["usage", "consume", "created_at"]), inner)
    ),
    max_leaves=5,
)
FIELDS = ("status", "model", "task_type", "meta", "error", "config", "input", "progress")


@given(fields=st.dictionaries(st.sampled_from(FIELDS), json_values), moment=st.text(max_size=30))
def test_every_field_can_be_read_whatever_the_body_holds(fields: dict[str, Any], moment: str) -> None:
    made = task(**{"meta": {"created_at": moment}, **fields})

    assert made.id == TASK_ID
    assert isinstance(made.failure, str)
    assert made.created_at is None or made.created_at.tzinfo is UTC
    assert made.cost_usd is None or math.isfinite(made.cost_usd)
    assert made.progress is None or 0 <= made.progress <= 100
    assert repr(made)
