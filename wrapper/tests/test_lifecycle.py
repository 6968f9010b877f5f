"""Status words: the table that says which of them ends a wait."""

from __future__ import annotations

from typing import Any

import pytest
from unitask._model import spec
from unitask._model.state import STATES, TERMINAL, State, state_of

STATUS = spec.bundle()["components"]["schemas"]["TaskStatus"]
ENUM: list[str] = next(part["enum"] for part in STATUS["anyOf"] if "enum" in part)


@pytest.mark.parametrize("word", ENUM)
def test_word_of_the_spec_is_classified(word: str) -> None:
    """Every documented word has a row of its own, under its own name."""
    assert STATES[word] == word
    assert state_of(word) is State(word)


def test_table_holds_folded_words_of_known_states() -> None:
    """A row that is not folded could never be found, and no row means "unknown"."""
    assert [word for word in STATES if word != word.strip().casefold()] == []
    assert State.UNKNOWN not in STATES.values()


def test_every_state_can_be_reached() -> None:
    """No state is left that no word stands for."""
    assert set(STATES.values()) == set(State) - {State.UNKNOWN}


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Completed", State.COMPLETED),
        ("COMPLETED", State.COMPLETED),
        (" completed\n", State.COMPLETED),
        ("Pending", State.PENDING),
        ("canceled", State.CANCELLED),
        ("cancelled", State.CANCELLED),
        ("success", State.COMPLETED),
        ("finished", State.COMPLETED),
        ("running", State.PROCESSING),
        ("in_progress", State.PROCESSING),
        ("starting", State.PROCESSING),
    ],
)
def test_word_is_read_without_regard_to_case_and_space(word: str, state: State) -> None:
    """The page lists the words capitalised, the wire has them in lower case, and clients know a few more."""
    assert state_of(word) is state


@pytest.mark.parametrize(
    "word",
    ["", " ", "done", "error", "queued", "complete d", "unknown", None, 0, 1, True, 2.5, ["completed"], {}, b"failed"],
    ids=repr,
)
def test_anything_else_is_unknown_and_ends_nothing(word: Any) -> None:
    """An unknown word never ends a wait: the task may be running, and it is paid for."""
    assert state_of(word) is State.UNKNOWN
    assert state_of(word) not in TERMINAL


def test_three_states_are_terminal() -> None:
    """Nothing more happens to a task that is completed, failed or cancelled, and to no other."""
    assert {State.COMPLETED, State.FAILED, State.CANCELLED} == TERMINAL
