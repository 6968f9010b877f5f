"""Every documented and recorded body: it fits the spec, and the generated client and the wrapper read and write it."""

from __future__ import annotations

from typing import Any

import pytest
from unitask import errors, tasks
from unitask.inputs import request_body
from unitask_api.models import Acknowledgement, ErrorEnvelope, TaskEnvelope, TaskRequest

from .support import answer, bundle, examples, perform, validator

pytestmark = pytest.mark.contract("examples")

MODELS: dict[tuple[str, str], Any] = {
    ("create_task", "request"): TaskRequest,
    ("create_task", "200"): TaskEnvelope,
    ("create_task", "default"): ErrorEnvelope,
    ("get_task", "200"): TaskEnvelope,
    ("cancel_task", "200"): Acknowledgement,
}


@pytest.mark.parametrize("name", examples())
def test_example_fits_the_spec(name: str) -> None:
    """The body is valid under the schema of the request or answer that it is an example of."""
    example = examples()[name]
    model = MODELS[example["x-operation"], example["x-part"]]

    assert list(validator(model.__name__).iter_errors(example["value"])) == []


@pytest.mark.parametrize("name", examples())
def test_example_goes_round_through_the_generated_client(name: str) -> None:
    """Decoding and encoding gives the same body: no field is lost, none is added."""
    example = examples()[name]
    model = MODELS[example["x-operation"], example["x-part"]]

    assert model.from_dict(example["value"]).to_dict() == example["value"]


@pytest.mark.filterwarnings("ignore::unitask.inputs.AdvisoryWarning")  # what one page shows, another may advise against
@pytest.mark.parametrize("name", examples("request"))
def test_example_request_is_what_the_wrapper_sends(name: str) -> None:
    """The wrapper's own request for the same task is the documented body, apart from config and stand-ins for files."""
    example = examples("request")[name]
    files = dict.fromkeys(example.get("x-placeholder", []), "https://me.test/file")
    documented = {**example["value"], "input": {**example["value"]["input"], **files}}
    known = {(entry["model"], entry["task_type"]): entry["name"] for entry in bundle()["x-tasks"]}
    kind = known.get((documented["model"], documented["task_type"]))
    task = getattr(tasks, kind)(**documented["input"]) if kind else tasks.Raw(**_without_config(documented))

    assert request_body(task) == _without_config(documented)


@pytest.mark.parametrize("shell", ["sync", "async"])
@pytest.mark.parametrize("name", examples("200"))
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
@pytest.mark.parametrize("name", examples("default"))
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
