"""What the validator does with values of Python, and what its messages say."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from unitask import AdvisoryWarning, InvalidInput, inputs, tasks
from unitask._core.validation import problems
from unitask.inputs import request_body


class Seed(enum.IntEnum):
    ONE = 1


class Word(str):
    """A text of another class."""


def flux(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = request_body(tasks.FluxDevTxt2Img(**{"prompt": "a", **fields}))["input"]
    return body


def refused(**fields: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        flux(**fields)
    return caught.value.problems


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 512.0},
        {"extra": {"seed": Seed.ONE}},
        {"extra": {"seed": 2**63 - 1}},
        {"extra": {"seed": -(2**63)}},
        {"extra": {"new": (1, {2: None})}},
        {"prompt": "\0 \U0001f600"},
    ],
    ids=ascii,
)
def test_value_that_json_can_write_is_taken(fields: dict[str, Any]) -> None:
    assert flux(**fields)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"width": 512.5}, "input.width: 512.5 is not of type 'integer'"),
        ({"prompt": 7}, "input.prompt: 7 is not of type 'string'"),
        ({"extra": {"seed": 2**63}}, "input.seed: 9223372036854775808 is not a 64-bit integer"),
        ({"extra": {"seed": 10**400}}, f"input.seed: {'1' + '0' * 59}... (401 characters) is not a 64-bit integer"),
        ({"prompt": {3: Word("a")}}, "input.prompt: {3: 'a'} is not of type 'string'"),
    ],
    ids=ascii,
)
def test_message_names_path_value_and_limit(fields: dict[str, Any], problem: str) -> None:
    assert problem in refused(**fields)


def test_message_about_a_value_below_a_key_that_is_no_text_does_not_show_it() -> None:
    assert inputs._shown({3: {"a": 4}}, ["3", "a"]) == "the value"


def test_every_word_of_an_enum_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        request_body(tasks.KlingVideo(prompt="a", mode="fast"))  # type: ignore[arg-type]

    assert "input.mode: 'fast' is not one of ['std', 'pro']" in caught.value.problems


def test_value_too_deep_to_be_checked_is_refused() -> None:
    deep: Any = "a"
    for _ in range(500):
        deep = [deep]

    assert refused(prompt=deep) == ("input: it cannot be checked: Recursion limit reached",)


def test_advice_names_the_value_at_its_own_place() -> None:
    with pytest.warns(AdvisoryWarning, match=r"width: 100 is less than the minimum of \d+ \(one source says so"):
        flux(width=100, height=512)


def test_reference_in_a_list_is_followed() -> None:
    found = list(problems("Kling3VideoInput", {"multi_shots": [{"prompt": 1}]}))

    assert ("multi_shots", 0, "prompt") in [problem.path for problem in found]
