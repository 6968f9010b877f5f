"""A task as a value: what it says of itself, however odd the body is."""

from __future__ import annotations

import copy
import math
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import Output, ProviderBroken, Task
from unitask._model.exceptions import broken_field
from unitask.tasks import FaceSwapOutput

from .script import MODEL, TASK_ID, TASK_TYPE, task_data


def task(**fields: Any) -> Task[FaceSwapOutput]:
    """A face swap with these fields."""
    return Task({**task_data(), **fields}, FaceSwapOutput)


def created(value: Any) -> datetime | None:
    """The time that is read from a word of the provider's."""
    return task(meta={"created_at": value}).created_at


@pytest.mark.parametrize(
    ("word", "moment"),
    [
        ("2025-07-25T22:41:18.465048+08:00", datetime(2025, 7, 25, 14, 41, 18, 465048, UTC)),
        ("2025-06-11T11:44:05.72226+08:00", datetime(2025, 6, 11, 3, 44, 5, 722260, UTC)),
        ("2025-08-25T08:08:51.833705018Z", datetime(2025, 8, 25, 8, 8, 51, 833705, UTC)),
        ("2025-08-25T08:08:51.1234567Z", datetime(2025, 8, 25, 8, 8, 51, 123456, UTC)),
        ("2025-08-25T08:08:51Z", datetime(2025, 8, 25, 8, 8, 51, 0, UTC)),
        ("2025-08-25T08:08:51-07:30", datetime(2025, 8, 25, 15, 38, 51, 0, UTC)),
        ("2025-08-25T08:08:51", datetime(2025, 8, 25, 8, 8, 51, 0, UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+08:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00.000000001Z", None),
        ("1970-01-01T08:00:00.25+08:00", None),
        ("1969-12-31T16:00:00-08:00", None),
        ("1900-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-08:00", None),
        ("2025-13-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1_700_000_000, None),
        (["2025-08-25T08:08:51Z"], None),
    ],
    ids=repr,
)
def test_time_is_read_in_every_form_that_was_seen(word: Any, moment: datetime | None) -> None:
    """Five to nine digits, an offset or Z; year 1 and other zero values mean "not yet"; anything else is no time."""
    assert created(word) == moment


def test_time_is_in_utc() -> None:
    """Whatever offset it came with."""
    moment = created("2025-07-25T22:41:18.465048+08:00")

    assert moment is not None
    assert moment.utcoffset() == timedelta(0)


def test_each_time_is_its_own() -> None:
    """Created, started, ended."""
    made = task(meta={f"{name}_at": f"2025-01-0{day}T00:00:00Z" for day, name in enumerate(("created", "started"), 1)})

    assert made.created_at == datetime(2025, 1, 1, tzinfo=UTC)
    assert made.started_at == datetime(2025, 1, 2, tzinfo=UTC)
    assert made.ended_at is None
    assert task(meta={"ended_at": "2025-01-03T00:00:00Z"}).ended_at == datetime(2025, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("consume", "usd"),
    [
        (100_000, 0.01),
        (0, 0.0),
        (5000.5, 0.00050005),
        (None, None),
        (True, None),
        ("100000", None),
        ([], None),
        (10**400, None),
        (math.nan, None),
        (math.inf, None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_cost_is_in_usd_or_not_said(consume: Any, usd: float | None) -> None:
    """A face swap, $0.01, is 100,000 credits."""
    assert task(meta={"usage": {"consume": consume}}).cost_usd == usd


@settings(max_examples=300, deadline=None)
@given(consume=st.integers(0, 10**13))
def test_cost_is_the_float_next_to_the_amount(consume: int) -> None:
    """1,000,000 credits are 0.1, not 0.09999999999999999, whether they are written as 1000000 or as 1000000.0."""
    usd = float(Decimal(consume) / 10_000_000)

    assert task(meta={"usage": {"consume": consume}}).cost_usd == usd
    assert task(meta={"usage": {"consume": float(consume)}}).cost_usd == usd


def test_tasks_can_be_in_a_set() -> None:
    """Equal tasks count once; a task that has changed is another value."""
    pending, again, done = task(status="pending"), task(status="pending"), task(status="completed")

    assert {pending, again, done} == {pending, done}
    assert len({pending, again, done}) == 2


@pytest.mark.parametrize("meta", [None, [], "x", {}, {"usage": None}, {"usage": 7}, {"usage": {}}], ids=repr)
def test_meta_of_any_shape_says_nothing(meta: Any) -> None:
    """It is an empty object in the face-swap samples."""
    made = task(meta=meta)

    assert (made.cost_usd, made.created_at, made.started_at, made.ended_at) == (None, None, None, None)


def test_output_is_typed() -> None:
    """The fields that are known have names; all of them are in raw."""
    output = task(output={"image_url": "https://out.test/a.png", "more": 1}).output

    assert type(output) is FaceSwapOutput
    assert output.image_url == "https://out.test/a.png"
    assert output.raw == {"image_url": "https://out.test/a.png", "more": 1}


@pytest.mark.parametrize("fields", [{}, {"output": None}, {"output": {}}, {"output": {"image_url": None}}], ids=repr)
def test_output_is_empty_before_the_end(fields: dict[str, Any]) -> None:
    """Its fields are None."""
    assert task(**fields).output.image_url is None


@pytest.mark.parametrize("output", ["text", ["a"], 7, True, 0, "", []], ids=repr)
def test_output_that_is_no_object_is_broken(output: Any) -> None:
    """The error shows the value, and the task is not lost."""
    with pytest.raises(ProviderBroken, match=r"output is .*, not an object") as caught:
        _ = task(output=output).output

    assert caught.value.task_id == TASK_ID
    assert repr(output) in str(caught.value)


@pytest.mark.parametrize("value", [7, ["https://out.test/a.png"], {"url": "x"}, False], ids=repr)
def test_output_field_of_another_type_is_broken(value: Any) -> None:
    """Reading it raises, with the value and the id; raw still has it."""
    output = task(output={"image_url": value}).output

    with pytest.raises(ProviderBroken, match=r"FaceSwapOutput\.image_url is .*, not text") as caught:
        _ = output.image_url
    assert caught.value.task_id == TASK_ID
    assert repr(value) in str(caught.value)
    assert output.raw["image_url"] == value


def test_broken_output_is_told_in_a_short_sentence() -> None:
    """It may be megabytes."""
    with pytest.raises(ProviderBroken) as caught:
        _ = task(output={"image_url": ["x" * 5_000_000]}).output.image_url

    assert len(str(caught.value)) < 400


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
    """A field of an output, which is absent without a value."""
    return getattr(Everything({"field": value[0]} if value else {}, TASK_ID, error=broken_field), kind)


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        ("text", "a", "a"),
        ("whole", 7, 7),
        ("whole", 7.0, 7),
        ("whole", 10**400, 10**400),
        ("number", 7, 7.0),
        ("number", 7.5, 7.5),
        ("flag", False, False),
        ("texts", ["a", ""], ["a", ""]),
        ("texts", [], []),
    ],
)
def test_output_field_is_read_by_its_kind(kind: str, value: Any, result: Any) -> None:
    """With the type that the catalogue promises."""
    assert read(kind, value) == result
    assert type(read(kind, value)) is type(result)


def test_output_field_may_hold_objects() -> None:
    """They are read in the same way."""
    assert read("item", {"field": "a"}).text == "a"
    assert [item.text for item in read("items", [{"field": "a"}, {}])] == ["a", None]


@pytest.mark.parametrize(
    ("kind", "nothing"),
    [("text", None), ("whole", None), ("number", None), ("flag", None), ("texts", []), ("item", None), ("items", [])],
)
def test_output_field_that_is_not_there_is_empty(kind: str, nothing: Any) -> None:
    """Absent and null are the same."""
    assert read(kind) == nothing
    assert read(kind, None) == nothing


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", 7, "text"),
        ("whole", 7.5, "a whole number"),
        ("whole", math.nan, "a whole number"),
        ("whole", math.inf, "a whole number"),
        ("whole", "7", "a number"),
        ("whole", True, "a number"),
        ("number", 10**400, "a number that fits"),
        ("number", "7.5", "a number"),
        ("flag", 1, "true or false"),
        ("texts", "a", "a list"),
        ("texts", ["a", None], "text"),
        ("item", [], "an object"),
        ("items", {}, "a list"),
        ("items", [{}, "a"], "an object"),
    ],
)
def test_output_field_of_another_kind_is_broken(kind: str, value: Any, expected: str) -> None:
    """Never another exception, and always with the id."""
    with pytest.raises(ProviderBroken, match=f"not {expected};") as caught:
        read(kind, value)

    assert caught.value.task_id == TASK_ID


def test_task_found_by_its_id_has_the_output_of_its_type() -> None:
    """The answer names the type; an unknown one has an output without names."""
    known = Task(task_data("completed", output={"image_url": "u"}), Output)
    unknown = Task(task_data("completed", model="new", output={"image_url": "u"}), Output)

    assert isinstance(known.output, FaceSwapOutput)
    assert known.output.image_url == "u"
    assert type(unknown.output) is Output
    assert unknown.output.raw == {"image_url": "u"}


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"code": 10000, "message": "failed", "raw_message": "no face found"}, "failed; no face found"),
        ({"message": "failed", "raw_message": "failed"}, "failed"),
        ({"message": "", "raw_message": "no face found"}, "no face found"),
        ({"code": 0, "message": "", "raw_message": "", "detail": None}, ""),
        ({"message": 7}, "7"),
        (None, ""),
        ("failed", "failed"),
        ([], ""),
        ({}, ""),
    ],
    ids=repr,
)
def test_failure_is_in_the_providers_words(error: Any, failure: str) -> None:
    """`error` is an object on success too, and a text in webhooks of an older form."""
    assert task(error=error).failure == failure


def test_echoes_are_text_or_empty() -> None:
    """Model and type are echoed, mostly."""
    assert (task().model, task().task_type) == (MODEL, TASK_TYPE)
    assert (task(model=None).model, task(task_type=7).task_type) == ("", "")


@pytest.mark.parametrize(("status", "done"), [("Completed", True), ("failed", True), ("staged", False), (None, False)])
def test_status_is_kept_and_its_state_is_told(status: Any, done: bool) -> None:
    """The raw word stays as it came."""
    made = task(status=status)

    assert made.status == status
    assert made.done is done


def test_task_is_a_plain_value() -> None:
    """It can be pickled, copied and compared, and its output reads the same afterwards."""
    made = task(output={"image_url": "u"})

    for twin in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert twin == made
        assert twin.output.image_url == "u"
    assert made != task()
    with pytest.raises(AttributeError):
        made.raw = {}  # type: ignore[misc]


def test_task_shows_its_id_and_status_alone() -> None:
    """The rest may be private, or long."""
    made = task(config={"webhook_config": {"secret": "s3cret"}}, input={"target_image": "x" * 1000}, status="pending")

    assert repr(made) == f"Task({TASK_ID!r}, {MODEL!r}, {TASK_TYPE!r}, status='pending')"


def test_output_shows_its_fields() -> None:
    """Under the name of its class."""
    assert repr(task(output={"image_url": "u"}).output) == "FaceSwapOutput({'image_url': 'u'})"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["usage", "consume"]), inner),
    max_leaves=5,
)
FIELDS = ("status", "model", "task_type", "meta", "error", "config", "input")


@settings(max_examples=200, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), json_values), moment=st.text(max_size=30))
def test_task_answers_whatever_the_body_holds(fields: dict[str, Any], moment: str) -> None:
    """No value of any field makes reading another one fail."""
    made = task(**{"meta": {"created_at": moment}, **fields})

    assert made.id == TASK_ID
    assert isinstance(made.failure, str)
    assert made.created_at is None or made.created_at.tzinfo is UTC
    assert made.cost_usd is None or math.isfinite(made.cost_usd)
    assert repr(made)
