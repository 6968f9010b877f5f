"""Every documented and recorded body: it fits the spec, and the generated client and the wrapper read and write it."""

from __future__ import annotations

from typing import Any

import pytest
from generator.bundle import task_of
from unitask import errors, tasks
from unitask._model.task import CREDITS_PER_USD as CREDITS_OF_THE_WRAPPER
from unitask._model.task import Output
from unitask.inputs import request_body
from unitask_api import models
from unitask_api.errors import MalformedField
from unitask_contract.mutation import read
from unitask_sandbox.bundle import CREDITS_PER_USD

from .support import answer, bundle, component_of, examples, perform, rows, validator

pytestmark = pytest.mark.contract("examples")


def entry_of(example: dict[str, Any]) -> dict[str, Any] | None:
    """The entry of the catalogue for the task that an answer carries, if it carries one."""
    data = example["value"].get("data")
    return task_of(bundle(), data) if isinstance(data, dict) else None


@pytest.mark.parametrize("name", examples())
def test_example_fits_the_spec(name: str) -> None:
    """The body is valid under the schema of the request or answer that it is an example of."""
    example = examples()[name]

    assert list(validator(component_of(example)).iter_errors(example["value"])) == []


@pytest.mark.parametrize("name", [*examples("200"), *examples("default")])
def test_example_answer_is_read_by_the_generated_client(name: str) -> None:
    example = examples()[name]

    read(getattr(models, component_of(example))(example["value"]))


@pytest.mark.filterwarnings("ignore::unitask.inputs.AdvisoryWarning")  # what one page shows, another may advise against
@pytest.mark.parametrize("name", examples("request", of_tasks=True))
def test_example_request_is_what_the_wrapper_sends(name: str) -> None:
    """The wrapper's own request for the same task is the documented body, apart from config and stand-ins for files."""
    example = examples("request")[name]
    files = dict.fromkeys(example.get("x-placeholder", []), "https://me.test/file.png")
    documented = {**example["value"], "input": {**example["value"]["input"], **files}}
    entry = task_of(bundle(), documented)
    given = {key: value for key, value in documented["input"].items() if entry and key not in entry.get("match", {})}
    task = getattr(tasks, entry["name"])(**given) if entry else tasks.Raw(**_without_config(documented))

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
        expected = _without_secret(body["data"])

    assert trace.error is None
    assert getattr(trace.result, "raw", None) == expected


@pytest.mark.parametrize(
    "name", [name for name, example in examples("200", of_tasks=True).items() if entry_of(example)]
)
def test_example_output_is_read_by_its_class(name: str) -> None:
    """Each field of the body is one that the catalogue names, nested ones too, and can be read."""
    example = examples("200")[name]
    entry = entry_of(example)
    assert entry

    def read(output: Output) -> int:
        fields = [key for key, value in vars(type(output)).items() if isinstance(value, property)]
        values = [getattr(output, key) for key in fields]
        assert set(output.raw) <= set(fields)
        nested = [item for value in values for item in (value if isinstance(value, list) else [value])]
        return sum(read(item) for item in nested if isinstance(item, Output)) + 1

    assert read(getattr(tasks, entry["output"])(example["value"]["data"]["output"] or {}, "t"))


def test_map_in_an_output_is_read_by_its_class() -> None:
    """Suno's songs, by their ids; one of them is empty. What is no object is told as such."""
    output = examples()["suno.generate_music.completed.200"]["value"]["data"]["output"]
    clips = tasks.SunoMusicOutput(output, "t").clips

    assert {key: clip.audio_url for key, clip in clips.items()} == {
        key: clip.get("audio_url") for key, clip in output["clips"].items()
    }
    assert tasks.SunoMusicOutput({"clips": None}, "t").clips == {}
    for broken in ([], {"a": 1}):
        with pytest.raises(MalformedField, match=r"SunoMusicOutput\.clips is"):
            _ = tasks.SunoMusicOutput({"clips": broken}, "t").clips


@pytest.mark.parametrize("shell", ["sync", "async"])
def test_example_answers_about_the_account_are_read(shell: str) -> None:
    """Account, active tasks, a page of the history, an upload: each documented body, whole but for the key."""
    info, active, history, upload = (
        examples("200")[name]["value"]
        for name in ("account.info.200", "account.active-tasks.200", "account.history.200", "upload.upload.200")
    )
    account = perform(shell, lambda client: client.account(), looks=[answer(200, info)]).result
    groups = perform(shell, lambda client: client.active_tasks(), looks=[answer(200, active)]).result
    (row,) = perform(shell, lambda client: rows(client.history()), looks=[answer(200, history)]).result
    stored = perform(shell, lambda client: client.upload(b"ID3"), creates=[answer(200, upload)]).result

    assert account.raw == {**info["data"], "api_key": "***"}
    assert {group: counts.raw for group, counts in groups.items()} == active["data"]
    assert row.raw == history["data"]["data"][0]
    assert stored.url == upload["data"]["url"]


@pytest.mark.parametrize("shell", ["sync", "async"])
@pytest.mark.parametrize("name", examples("default", of_tasks=True))
def test_example_refusal_is_a_typed_error_with_the_task_id(shell: str, name: str) -> None:
    """A recorded refusal of a create is decided: one request, an error of its kind, the id of the failed task."""
    body = examples("default")[name]["value"]
    refused = [answer(body.get("code", 400), body)]
    trace = perform(shell, lambda client: client.submit(tasks.Raw("m", "t")), creates=refused)
    task = body.get("data") or {}

    assert isinstance(trace.error, errors.InsufficientCredit if "no-credit" in name else errors.ApiError)
    assert trace.error.task_id == task.get("task_id")
    assert trace.error.code == task.get("error", {}).get("code", body.get("code"))
    assert trace.creates() == 1


def _without_secret(task: dict[str, Any]) -> dict[str, Any]:
    """The task as the wrapper keeps it: a webhook secret that is not empty is masked."""
    config = task.get("config") or {}
    webhook = config.get("webhook_config") or {}
    if not webhook.get("secret"):
        return task
    return {**task, "config": {**config, "webhook_config": {**webhook, "secret": "***"}}}


def _without_config(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "config"}


def test_credit_is_worth_what_the_spec_says() -> None:
    """The wrapper and the sandbox count in the spec's unit."""
    worth = bundle()["x-resources"]["credit_usd"]["value"]

    assert pytest.approx(worth) == 1 / CREDITS_OF_THE_WRAPPER == 1 / CREDITS_PER_USD
