"""The errors: one tree, as drawn, that survives every queue."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import unitask
from unitask import Output, Task, errors

from .script import TASK_ID, task_data

TASK = Task(task_data("failed", error={"message": "no face found"}), Output)
API_FACTS = {
    "status": 418,
    "code": 10000,
    "retry_after": 1.5,
    "headers": {"cf-ray": "1"},
    "body": "{}",
    "task_id": TASK_ID,
}
API_ERRORS = [
    errors.ApiError,
    errors.AuthenticationFailed,
    errors.InsufficientCredit,
    errors.InvalidRequest,
    errors.NotFound,
    errors.ProviderBroken,
    errors.RateLimited,
]
EXAMPLES: list[errors.UnitaskError] = [
    errors.UnitaskError("it went wrong", task_id=TASK_ID),
    errors.InvalidInput("a: too large", "b: missing"),
    errors.SubmissionUncertain(
        "no answer",
        model="m",
        task_type="t",
        sent_between=(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
        fingerprint="f" * 64,
        attempts=2,
    ),
    errors.Unreachable("no answer", task_id=TASK_ID, attempts=3),
    errors.TaskFailed(TASK),
    errors.WaitTimeout(TASK_ID, task=TASK, waited=600.04, looks=7),
    errors.DownloadFailed("cut off", url="https://out.test/a.png", task_id=TASK_ID),
    *(kind("refused", **API_FACTS) for kind in API_ERRORS),  # type: ignore[arg-type]
]


def drawn() -> Iterator[tuple[str, str]]:
    """Each class of the tree in the module's docstring, with the one above it."""
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│├└─ ]*)([A-Z]\w+) {2,}", line):
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            yield found[2], above[depth - 1] if depth else "Exception"


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("twin", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_error_survives_a_queue(error: errors.UnitaskError, twin: object) -> None:
    """Type, message, arguments, attributes and notes."""
    error = copy.copy(error)
    error.add_note("on the way")
    other = twin(error)  # type: ignore[operator]

    assert type(other) is type(error)
    assert str(other) == str(error) != ""
    assert other.args == error.args
    assert vars(other) == vars(error)


def test_every_class_has_an_example() -> None:
    """So that the test above is about all of them."""
    assert {type(error).__name__ for error in EXAMPLES} == set(errors.__all__)


def test_tree_is_as_drawn() -> None:
    """The first base of each class is the one above it in the docstring, and all are public."""
    tree = dict(drawn())
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }

    assert tree == {name: kind.__bases__[0].__name__ for name, kind in classes.items()}
    assert sorted(tree) == errors.__all__


@pytest.mark.parametrize(
    ("kind", "base"),
    [(errors.InvalidInput, ValueError), (errors.WaitTimeout, builtins.TimeoutError)],
)
def test_error_is_also_what_python_calls_it(kind: type[Exception], base: type[Exception]) -> None:
    """Code that knows nothing of unitask catches it."""
    assert issubclass(kind, base)


def test_all_errors_can_be_imported_from_the_package() -> None:
    """Under the same names."""
    assert all(getattr(unitask, name) is getattr(errors, name) for name in errors.__all__)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EXAMPLES[1], "nothing was sent: a: too large; b: missing"),
        (
            EXAMPLES[2],
            "the create of m t may have been accepted, and is not sent again: no answer. Look for it in the task "
            "history between 2026-01-01 00:00:00 and 2026-01-02 00:00:00 UTC before you create it again",
        ),
        (EXAMPLES[4], f"task {TASK_ID} failed: no face found"),
        (
            EXAMPLES[5],
            f"task {TASK_ID} is not done after 600.0 s and 7 looks (status 'failed'). It goes on: "
            f"client.wait({TASK_ID!r}) waits for it again",
        ),
    ],
    ids=["InvalidInput", "SubmissionUncertain", "TaskFailed", "WaitTimeout"],
)
def test_message_says_what_happened_and_what_to_do(error: errors.UnitaskError, message: str) -> None:
    """A message is all that many readers see."""
    assert str(error) == message


def test_failure_without_a_reason_says_so() -> None:
    """The provider does not always give one."""
    assert str(errors.TaskFailed(Task(task_data("canceled"), Output))).endswith(
        "cancelled: the provider gives no reason"
    )


def test_facts_are_attributes() -> None:
    """Never only words in a message."""
    invalid, uncertain, timeout = EXAMPLES[1], EXAMPLES[2], EXAMPLES[5]

    assert isinstance(invalid, errors.InvalidInput)
    assert invalid.problems == ("a: too large", "b: missing")
    assert isinstance(uncertain, errors.SubmissionUncertain)
    assert (uncertain.model, uncertain.task_type, uncertain.attempts) == ("m", "t", 2)
    assert isinstance(timeout, errors.WaitTimeout)
    assert (timeout.task, timeout.waited, timeout.looks, timeout.task_id) == (TASK, 600.04, 7, TASK_ID)
    assert all(vars(error) == API_FACTS for error in EXAMPLES if isinstance(error, errors.ApiError))
    assert [error.task_id for error in EXAMPLES].count(TASK_ID) == len(EXAMPLES) - 2


def test_facts_that_are_not_known_are_none() -> None:
    """An answer need not say more than its status."""
    error = errors.ApiError("refused", status=400)

    assert vars(error) == {
        "status": 400,
        "code": None,
        "retry_after": None,
        "headers": {},
        "body": "",
        "task_id": None,
    }
