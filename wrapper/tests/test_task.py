"""A task as a value, whatever the body holds."""

from __future__ import annotations

import copy
import math
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, ProviderBroken, Task
from unitask._model._json import broken_field
from unitask.tasks import FaceSwapOutput

from .script import MODEL, TASK_ID, TASK_TYPE, task_data


def task(**fields: Any) -> Task[FaceSwapOutput]:
    return Task({**task_data(), **fields}, FaceSwapOutput)


@pytest.mark.parametrize(
    ("word", "moment"),
    [
        ("2025-07-25T22:41:18.465048+08:00", datetime(2025, 7, 25, 14, 41, 18, 465048, UTC)),
        ("2025-08-25T08:08:51.833705018Z", datetime(2025, 8, 25, 8, 8, 51, 833705, UTC)),
        ("2025-08-25T08:08:51-07:30", datetime(2025, 8, 25, 15, 38, 51, 0, UTC)),
        ("2025-08-25T08:08:51", datetime(2025, 8, 25, 8, 8, 51, 0, UTC)),
        ("0001-01-01T00:00:00+08:00", None),
        ("1970-01-01T00:00:00.000000001Z", None),
        ("1969-12-31T16:00:00-08:00", None),
        ("9999-12-31T23:59:59-08:00", None),
        ("2025-13-01T00:00:00Z", None),
        (None, None),
        (["2025-08-25T08:08:51Z"], None),
    ],
    ids=repr,
)
def test_time_is_read_in_utc_and_a_zero_time_is_absent(word: Any, moment: datetime | None) -> None:
    found = task(meta={"created_at": word}).created_at

    assert found == task(meta={"started_at": word}).started_at == task(meta={"ended_at": word}).ended_at == moment
    assert found is None or found.utcoffset() == timedelta(0)


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


@pytest.mark.parametrize("output", ["text", ["a"], 0, "", []], ids=repr)
def test_output_that_is_no_object_is_broken(output: Any) -> None:
    with pytest.raises(ProviderBroken, match=r"output is .*, not an object") as caught:
        _ = task(output=output).output

    assert caught.value.task_id == TASK_ID
    assert repr(output) in str(caught.value)


class Everything(Output):
    """A field of each kind that the catalogue knows."""

    @property
    def text(self) -> str | None:
        return self._text("field")

    @property
    def whole(self) -> int | None:
        return self._int("field")

    @property
    def number(self) -> float | None:
        return self._float("field")

    @property
    def flag(self) -> bool | None:
        return self._bool("field")

    @property
    def texts(self) -> list[str]:
        return self._texts("field")

    @property
    def item(self) -> Everything | None:
        return self._reader("field", Everything)

    @property
    def items(self) -> list[Everything]:
        return self._readers("field", Everything)


def read(kind: str, *value: Any) -> Any:
    """Read a field of an output, which is absent without a value."""
    return getattr(Everything({"field": value[0]} if value else {}, TASK_ID, error=broken_field), kind)


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        ("text", "a", "a"),
        ("whole", 7.0, 7),
        ("whole", 10**400, 10**400),
        ("number", 7, 7.0),
        ("flag", False, False),
        ("texts", ["a", ""], ["a", ""]),
    ],
)
def test_output_field_is_read_by_its_kind(kind: str, value: Any, result: Any) -> None:
    assert read(kind, value) == result
    assert type(read(kind, value)) is type(result)


@pytest.mark.parametrize("kind", ["text", "whole", "number", "flag", "item", "texts", "items"])
def test_absent_output_field_is_empty(kind: str) -> None:
    nothing = [] if kind in ("texts", "items") else None

    assert read(kind) == read(kind, None) == nothing
    assert read("item", {"field": "a"}).text == "a"
    assert [item.text for item in read("items", [{"field": "a"}, {}])] == ["a", None]
    assert task(output=None).output.image_url is None


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", 7, "text"),
        ("text", ["x" * 5_000_000], "text"),
        ("whole", 7.5, "a whole number"),
        ("whole", math.inf, "a whole number"),
        ("whole", True, "a number"),
        ("number", 10**400, "a number that fits"),
        ("number", "7.5", "a number"),
        ("flag", 1, "true or false"),
        ("texts", ["a", None], "text"),
        ("item", [], "an object"),
        ("items", {}, "a list"),
        ("items", [{}, "a"], "an object"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_output_field_of_another_kind_is_broken_when_it_is_read(kind: str, value: Any, expected: str) -> None:
    with pytest.raises(ProviderBroken, match=f"not {expected};") as caught:
        read(kind, value)

    assert caught.value.task_id == TASK_ID
    assert len(str(caught.value)) < 600


def test_task_found_by_its_id_has_the_output_of_its_type() -> None:
    known = Task(task_data("completed", output={"image_url": "u"}), Output)
    unknown = Task(task_data("completed", model="new", output={"image_url": "u"}), Output)

    assert isinstance(known.output, FaceSwapOutput)
    assert known.output.image_url == "u"
    assert type(unknown.output) is Output
    assert unknown.output.raw == {"image_url": "u"}


@pytest.mark.parametrize(
    ("error", "failure", "code"),
    [
        ({"code": 10000, "message": "failed", "raw_message": "no face"}, "failed; no face", 10000),
        ({"code": True, "message": "failed", "raw_message": "failed"}, "failed", None),
        ({"code": "7", "message": "", "raw_message": "no face found"}, "no face found", None),
        (None, "", None),
        ("failed", "failed", None),
        ([], "", None),
    ],
    ids=repr,
)
def test_failure_is_in_the_words_of_the_provider(error: Any, failure: str, code: int | None) -> None:
    assert (task(error=error).failure, task(error=error).failure_code) == (failure, code)


@pytest.mark.parametrize(("status", "done"), [("Completed", True), ("failed", True), ("staged", False), (None, False)])
def test_status_word_is_kept(status: Any, done: bool) -> None:
    assert (task(status=status).status, task(status=status).done) == (status, done)


@pytest.mark.parametrize(("percent", "progress"), [(42, 42.0), ("7", 7.0), (150, 100.0), (True, None), ("soon", None)])
def test_progress_is_a_percentage(percent: Any, progress: float | None) -> None:
    assert task(output={"progress": percent}).progress == progress


def test_task_is_a_value_with_a_hash() -> None:
    made = task(output={"image_url": "u"})

    for twin in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert twin == made
        assert twin.output.image_url == "u"
    assert made != task()
    assert len({made, copy.deepcopy(made), task()}) == 2
    assert len({hash(task(task_id=name)) for name in "abcdef"}) > 1
    with pytest.raises(AttributeError):
        made.raw = {}  # type: ignore[misc]


def test_repr_shows_id_and_status_but_no_secret() -> None:
    made = task(config={"webhook_config": {"secret": "s3cret"}}, output={"image_url": "u"}, status="pending")

    assert (task(model=None).model, task(task_type=7).task_type) == ("", "")
    assert repr(made) == f"Task({TASK_ID!r}, {MODEL!r}, {TASK_TYPE!r}, status='pending')"
    assert repr(made.output) == "FaceSwapOutput({'image_url': 'u'})"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["usage", "consume", "created_at"]), inner)
    ),
    max_leaves=5,
)
FIELDS = ("status", "model", "task_type", "meta", "error", "config", "input", "progress")


@given(fields=st.dictionaries(st.sampled_from(FIELDS), json_values), moment=st.text(max_size=30))
def test_task_answers_whatever_the_body_holds(fields: dict[str, Any], moment: str) -> None:
    made = task(**{"meta": {"created_at": moment}, **fields})

    assert made.id == TASK_ID
    assert isinstance(made.failure, str)
    assert made.created_at is None or made.created_at.tzinfo is UTC
    assert made.cost_usd is None or math.isfinite(made.cost_usd)
    assert made.progress is None or 0 <= made.progress <= 100
    assert repr(made)
