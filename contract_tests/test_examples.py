"""Every documented and recorded body: it fits the spec, and the generated client and the wrapper read and write it."""

from __future__ import annotations

from typing import Any

import pytest
from unitask import errors, tasks
from unitask.inputs import request_body
from unitask_api import models

from .support import answer, bundle, component_of, examples, perform, validator

pytestmark = pytest.mark.contract("examples")


def model_of(example: dict[str, Any]) -> Any:
    """The generated model of the component that an example is one of."""
    return getattr(models, component_of(example))


@pytest.mark.parametrize("name", examples())
def test_example_fits_the_spec(name: str) -> None:
    """The body is valid under the schema of the request or answer that it is an example of."""
    example = examples()[name]

    assert list(validator(component_of(example)).iter_errors(example["value"])) == []


@pytest.mark.parametrize("name", examples())
def test_example_goes_round_through_the_generated_client(name: str) -> None:
    """Decoding and encoding gives the same body: no field is lost, none is added."""
    example = examples()[name]

    assert model_of(example).from_dict(example["value"]).to_dict() == example["value"]


@pytest.mark.parametrize("name", examples("request", of_tasks=True))
def test_example_request_is_what_the_wrapper_sends(name: str) -> None:
    """The wrapper's own request for the same task is the documented body, apart from an empty config."""
    documented = examples("request")[name]["value"]
    known = {(entry["model"], entry["task_type"]): entry["name"] for entry in bundle()["x-tasks"]}
    kind = known.get((documented["model"], documented["task_type"]))
    task = getattr(tasks, kind)(**documented["input"]) if kind else tasks.Raw(**_without_config(documented))

    assert request_body(task) == _without_config(documented)


@pytest.mark.parametrize("shell", ["sync", "async"])
@pytest.mark.parametrize("name", examples("200", of_tasks=True))
def test_example_answer_is_what_the_wrapper_returns(shell: str, name: str) -> None:
    """A look at a task gives the documented body whole; a cancel is acknowledged."""
    example = examples("200")[name]
    body = example["value"]
    if example["x-operation"] == "cancel_task":
        trace = perform(shell, lambda client: client.cancel("t"), looks=[answer(200, body)])
        expected: Any = None
    else:
        trace = perform(shell, lambda client: client.get(body["data"]["task_id"]), looks=[answer(200, body)])
        expected = body["data"]

    assert trace.error is None
    assert getattr(trace.result, "raw", None) == expected


@pytest.mark.parametrize("shell", ["sync", "async"])
@pytest.mark.parametrize("name", examples("default", of_tasks=True))
def test_example_refusal_is_a_typed_error_with_the_task_id(shell: str, name: str) -> None:
    """A recorded refusal of a create is decided: one request, an error of its kind, the id of the failed task."""
    body = examples("default")[name]["value"]
    trace = perform(shell, lambda client: client.submit(tasks.Raw("m", "t")), creates=[answer(body["code"], body)])

    assert type(trace.error) is errors.InsufficientCredit
    assert trace.error.task_id == body["data"]["task_id"]
    assert trace.error.code == body["data"]["error"]["code"]
    assert trace.creates() == 1


def _without_config(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "config"}
