"""Bodies for tests: the documented ones, and a hypothesis strategy of all that the spec allows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from unitask_api import contract
from unitask_api.states import STATES, State, state_of

from ..inputs import TaskInput

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

TESTING_MISSING = "task_bodies needs hypothesis and schemathesis: pip install 'unitask[testing]'"


def documented_example(name: str) -> Any:
    """Return a documented or recorded body by its name, such as faceswap.face-swap.completed.200.

    Names are family, task type and part. They are the `components.examples` of `unitask_api`'s openapi.json.

    Raises:
        LookupError: There is none of that name; the message lists similar ones.
    """
    examples: dict[str, Any] = contract.document()["components"]["examples"]
    if name not in examples:
        close = ", ".join(get_close_matches(name, examples, n=5, cutoff=0.0))
        raise LookupError(f"there is no documented example {name!r}; similar ones are {close}")
    return copy.deepcopy(examples[name]["value"])


def task_bodies(kind: type[TaskInput[Any]] | None = None) -> SearchStrategy[dict[str, Any]]:
    """Return a hypothesis strategy of answers to a poll that the spec allows.

    Statuses are the known words in several spellings, and unknown ones. A completed task has an output.

    Args:
        kind: A class of `unitask.tasks`, whose model, task type and output the bodies have; None for any.

    Raises:
        ModuleNotFoundError: The extra [testing] is not installed.
    """
    try:
        from hypothesis import strategies as st
        from schemathesis.openapi import from_dict
    except ImportError as error:
        raise ModuleNotFoundError(f"{TESTING_MISSING} ({error})") from error

    of_a_state = [[word for word in STATES if STATES[word] is state] for state in dict.fromkeys(STATES.values())]
    words = st.sampled_from(of_a_state).flatmap(st.sampled_from)
    statuses = words | words.map(str.upper) | words.map(str.capitalize) | st.text(max_size=12)
    entries = [contract.task_types()[kind.__name__]] if kind else list(contract.task_types().values())
    unified = [entry for entry in entries if entry.protocol == "unified"]
    if not unified:
        raise ValueError(f"{entries[0].name} is a legacy task type: its answers have another form")

    def body(entry: contract.TaskType) -> SearchStrategy[dict[str, Any]]:
        output = _component(from_dict, entry.output)
        names = {"task_id": st.uuids().map(str), "model": st.just(entry.model), "task_type": st.just(entry.task_type)}

        def shown(status: str) -> SearchStrategy[dict[str, Any]]:
            made = output if state_of(status) is State.COMPLETED else st.none() | output
            return st.fixed_dictionaries({**names, "status": st.just(status), "output": made})

        return st.builds(_envelope, _component(from_dict, "Task"), statuses.flatmap(shown))

    return st.sampled_from(unified).flatmap(body)


def _envelope(task: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    return {"code": 200, "data": {**task, **shown}, "message": "success"}


@cache
def _component(from_dict: Callable[[dict[str, Any]], Any], name: str) -> SearchStrategy[Any]:
    """Return a strategy of the values that a component schema allows."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    described = {"requestBody": {"required": True, "content": content}, "responses": {"200": {"description": ""}}}
    # a document of one operation, so that the public interface of schemathesis gives the strategy of its body
    document: dict[str, Any] = {**contract.document(), "paths": {"/": {"post": described}}, "x-tasks": []}
    schema = from_dict(document)
    cases: SearchStrategy[Any] = schema["/"]["POST"].as_strategy()
    return cases.map(lambda case: case.body)
