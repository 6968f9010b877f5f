"""Compare our judgement with tools that share no code with us: `make cross-check`; not part of `make test`.

A mock server driven by the bundle (mock_server.py) judges every request of both clients, and both clients read every
documented answer that it serves. jsonschema judges every body that the harness knows. A difference fails, unless
this file lists it with a reason.

Exit codes: 0 they agree, 1 they do not, 2 a tool could not run. make says 2 for both.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from jsonschema import Draft202012Validator
from unitask import AsyncClient, Client, Task, errors, tasks
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.mutation import CALLS as ASKS
from unitask_contract.mutation import mutants, read
from unitask_contract.scenario_runner import KEY, SHELLS
from unitask_contract.scenarios import scenarios

from contract_tests.support import component_of, examples, make, rows
from contract_tests.test_limits import cases
from contract_tests.test_requests import CALLS

from . import mock_server

Call = Callable[[Any], Any]
Body = tuple[str, str, Any]  # its name, the component that it is held to, and itself

NOT_OURS = {  # operations that no call of the client makes
    "legacy_create_image_toolkit": "no call makes it; the classes of today make the same tasks",
    "legacy_fetch_image_toolkit": "no call makes it, since none makes such a task",
}
INT64 = "it is no int64: to steady a format is a note, and its numbers are JavaScript's"
NO_JSON = "it cannot be read as JSON, so there is nothing to judge"
CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say one word."}]}


@dataclass
class Line:
    """A line of the table: what a witness was asked about, how often, and where it sees it otherwise.

    Attributes:
        otherwise: Differences that have a reason, counted by it.
        failures: The others, each in words.
    """

    title: str
    count: int = 0
    otherwise: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


# The mock server.


def through_openai(ask: Call) -> Call:
    """A call of the openai library, as either client sets it up."""

    def call(client: Any) -> Any:
        library = client.openai()
        asked = ask(library)
        if not inspect.isawaitable(asked):
            library.close()
            return asked

        async def finish() -> Any:
            async with library:
                return await asked

        return finish()

    return call


LLM: Mapping[str, Call] = {
    "create_chat_completion": through_openai(lambda library: library.chat.completions.create(**CHAT)),
    "create_image": through_openai(lambda library: library.images.generate(model="gpt-image-1", prompt="a fox")),
    "edit_image": through_openai(
        lambda library: library.images.edit(model="gpt-image-1", prompt="a fox", image=("a.png", b"\x89PNG"))
    ),
}


def submitting(name: str, **options: str) -> Call:
    """The create of a task type with the least that it needs."""
    return lambda client: client.submit(make(name), **options)


def looking(protocol: str, task_id: str) -> Call:
    """A look at a legacy task."""
    entry = next(one for one in bundle.entries().values() if one["protocol"] == protocol)
    named = {"task_id": task_id, "model": entry["model"], "task_type": entry["task_type"]}
    return lambda client: client.get(Task(named, getattr(tasks, entry["output"])))


def asking(example: Mapping[str, Any]) -> Call:
    """The call that a documented answer answers."""
    operation, value = example["x-operation"], example["value"]
    task_id = (value.get("data") or {}).get("task_id") or "an-id"
    protocols = {said["look"]: name for name, said in bundle.document()["x-protocols"].items()}
    creates = {entry["create"]: name for name, entry in bundle.entries().items() if "create" in entry}
    if operation in protocols:
        return looking(protocols[operation], task_id)
    if operation in creates:
        return submitting(creates[operation])
    if operation == "list_task_history":
        return lambda client: rows(client.history())
    return LLM.get(operation) or (lambda client: ASKS[operation](client, task_id))


def perform(shell: str, base_url: str, call: Call) -> Any:
    """Make a call with a client of either kind, over a connection."""
    if shell == "sync":
        with Client(KEY, base_url, poll_patience=0.001) as client:
            return call(client)

    async def main() -> Any:
        async with AsyncClient(KEY, base_url, poll_patience=0.001) as client:
            return await call(client)

    return asyncio.run(main())


def right_requests() -> Iterator[tuple[str, Call]]:
    """Where and what: every task type with the least that it needs, and every call of the client."""
    for name in bundle.entries():
        yield f"{mock_server.TYPED}/{name}/least", submitting(name)
    options = {"webhook_url": "https://me.test/hook", "webhook_secret": "s", "service_mode": "private"}
    yield f"{mock_server.TYPED}/FaceSwap/options", submitting("FaceSwap", **options)
    yield from (("", call) for call in (*CALLS.values(), *LLM.values()))
    yield from (("", looking(protocol, "an-id")) for protocol in bundle.document()["x-protocols"])


def wrong_requests() -> Iterator[tuple[str, Call]]:
    """Every limit of every task type, broken: what the client refuses unless it is told not to look."""
    for name, key, rule, value in cases(advised=False):
        task = make(name, **{key: value})
        yield f"{mock_server.TYPED}/{name}/{key}.{rule}", lambda client, task=task: client.submit(task, validate=False)


def sent(shell: str, base_url: str, call: Call) -> str:
    """Why a call was not sent, or ended in no error of ours; empty: it was, whatever came back."""
    try:
        perform(shell, base_url, call)
    except (errors.ApiError, errors.SubmissionUncertain):
        return ""
    except Exception as error:
        return f"{shell}, {base_url}: {type(error).__name__}: {error}"
    return ""


def misread(shell: str, base_url: str, name: str) -> str:
    """What is wrong with how a client reads a documented answer; empty: nothing."""
    example = examples()[name]
    refused = example["x-part"] == "default"
    try:
        result = perform(shell, f"{base_url}{mock_server.ANSWERED}/{name}", asking(example))
        read(result)
    except errors.ApiError as error:
        return "" if refused else f"{name}, {shell}: {type(error).__name__}: {error}"
    except Exception as error:
        return f"{name}, {shell}: {type(error).__name__}: {error}"
    return f"{name}, {shell}: a refusal was read as {result!r}" if refused else ""


def heard_by_steady() -> tuple[list[Line], list[mock_server.Seen]]:
    """What the mock server says of our requests, and the requests as it saw them.

    Raises:
        Missing: It cannot be had, or does not run.
    """
    right, answers, wrong = Line("requests of both clients"), Line("documented answers, read"), Line("limits, broken")
    served = [
        name
        for name, example in examples().items()
        if example["x-part"] != "request" and example["x-operation"] not in NOT_OURS
    ]
    with mock_server.running(mock_server.install()) as server:
        for shell in SHELLS:
            calls = list(right_requests())
            right.failures += filter(None, (sent(shell, server.base_url + place, call) for place, call in calls))
            answers.failures += filter(None, (misread(shell, server.base_url, name) for name in served))
            answers.count += len(served)
        for place, call in wrong_requests():
            wrong.failures += filter(None, [sent("sync", server.base_url + place, call)])
            wrong.count += 1
    seen = server.seen()
    judged_right(right, [one for one in seen if not one.is_wrong])
    judged_wrong(wrong, [one for one in seen if one.is_wrong])
    return [right, asked_for([one for one in seen if not one.is_wrong]), wrong, answers], seen


def judged_right(line: Line, seen: list[mock_server.Seen]) -> None:
    """What the server finds wrong with requests that are right."""
    line.count = len(seen)
    line.failures += [f"{one.method} {one.path}: {fault}" for one in seen for fault in one.faults]


def judged_wrong(line: Line, seen: list[mock_server.Seen]) -> None:
    """Where the server finds nothing wrong with a request that breaks a limit."""
    if len(seen) != line.count:
        line.failures.append(f"{line.count} were sent, and {len(seen)} arrived")
    for one in seen:
        if not one.faults and one.case.endswith(".format"):
            line.otherwise[INT64] += 1
        elif not one.faults:
            line.failures.append(f"{one.path} is right to steady: {json.dumps(one.body)[:300]}")


def asked_for(seen: list[mock_server.Seen]) -> Line:
    """Which operations of the bundle were asked for: all but those that are not ours."""
    made = {one.operation for one in seen} - {""}
    absent = bundle.routes().keys() - made
    line = Line("operations asked for", len(made))
    line.otherwise.update(f"{name}: {NOT_OURS[name]}" for name in sorted(absent & NOT_OURS.keys()))
    line.failures += [f"{name} was never asked for" for name in sorted(absent - NOT_OURS.keys())]
    line.failures += [f"{name} was asked for, and is listed as not ours" for name in sorted(made & NOT_OURS.keys())]
    return line


# The validator.


def compared(title: str, bodies: Iterable[Body]) -> Line:
    """Our verdict on each body beside that of jsonschema."""
    line = Line(title)
    for name, component, body in bodies:
        line.count += 1
        try:
            value = json.loads(body) if isinstance(body, bytes) else body
        except (ValueError, RecursionError):
            line.otherwise[NO_JSON] += 1
            continue
        for part, its in ((component, value), *typed(component, value)):
            _compare(line, f"{name}, as {part}", part, its)
    return line


def _compare(line: Line, name: str, component: str, value: Any) -> None:
    ours = bundle.allows(component, value)
    theirs = bool(_validator(component).is_valid(value))
    if ours != theirs:
        words = {True: "allowed", False: "refused"}
        line.failures.append(f"{name}: {words[ours]} by jsonschema-rs, {words[theirs]} by jsonschema")


@cache
def _validator(component: str) -> Any:
    """The other validator for a component."""
    schema = {"$ref": f"#/components/schemas/{component}", "components": bundle.document()["components"]}
    return Draft202012Validator(schema)


def typed(component: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a body that the catalogue types: the input of a create, the output of a task."""
    task, part = fields(value), "input"
    if component != "TaskRequest":
        task, part = fields(task.get("data")), "output"
    if task.get(part) is not None:
        for entry in bundle.entries_of(task.get("model"), task.get("task_type")):
            yield entry[part], task[part]


def of_examples() -> Iterator[Body]:
    """Every documented body."""
    yield from ((name, component_of(example), example["value"]) for name, example in examples().items())


def of_scenarios() -> Iterator[Body]:
    """Every answer that a scenario gives."""
    for scenario in scenarios():
        for answer in scenario.answers:
            if not answer.fails:
                part = "200" if answer.status == 200 else "default"
                yield scenario.name, bundle.component_of(answer.operation, part), answer.content


def of_mutants() -> Iterator[Body]:
    """Every wrong answer."""
    for mutant in mutants():
        part = bundle.examples()[mutant.example]["x-part"]
        yield str(mutant), bundle.component_of(mutant.operation, part), mutant.content


def of_requests(seen: list[mock_server.Seen]) -> Iterator[Body]:
    """Every body that the mock server got, but for forms."""
    for one in seen:
        if one.body is not None and one.operation != "edit_image":
            yield f"{one.method} {one.path}", bundle.component_of(one.operation, "request"), one.body


def main() -> int:
    """Hear the witnesses, and print what they say."""
    logging.disable()
    warnings.simplefilter("ignore")
    lines, seen, silent = list[Line](), list[mock_server.Seen](), ""
    try:
        lines, seen = heard_by_steady()
    except mock_server.Missing as missing:
        silent = str(missing)
    print(f"steady {mock_server.VERSION}, a mock server{': NOT RUN' if silent else ''}")
    report(lines)
    print(f"jsonschema {version('jsonschema')}, a validator, beside jsonschema-rs {version('jsonschema-rs')}")
    judged = [compared("examples", of_examples()), compared("answers of scenarios", of_scenarios())]
    judged += [compared("mutants", of_mutants()), compared("requests", of_requests(seen))]
    report(judged)
    if any(line.failures for line in (*lines, *judged)):
        return 1
    if silent:
        print(f"THE MOCK SERVER WAS NOT HEARD, so this proves only half: {silent}", file=sys.stderr)
        return 2
    return 0


def report(lines: list[Line]) -> None:
    """A line each, then what was otherwise, and each failure."""
    for line in lines:
        print(f"  {line.title:<26}{line.count:>7}{len(line.failures):>5} failed")
        for reason, number in line.otherwise.items():
            print(f"  {'':<26}{number:>7} otherwise: {reason}")
        for failure in line.failures[:50]:
            print(f"      FAILED {failure}")


if __name__ == "__main__":
    sys.exit(main())
