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


def entry_of(example: dict[str, Any]) -> dict[str, Any] | None:
    data = example["value"].get("data")
    return task_of(bundle(), data) if isinstance(data, dict) else None


def test_examples_are_valid() -> None:
    wrong = {name for name, one in examples().items() if not validator(component_of(one)).is_valid(one["value"])}
    assert wrong == set()


def test_example_answers_are_read_by_the_generated_client() -> None:
    for example in {**examples("200"), **examples("default")}.values():
        read(getattr(models, component_of(example))(example["value"]))


@pytest.mark.filterwarnings("ignore::unitask.inputs.AdvisoryWarning")  # what one page shows, another may advise against
def test_wrapper_sends_the_documented_requests() -> None:
    for name, example in examples("request", of_tasks=True).items():
        files = dict.fromkeys(example.get("x-placeholder", []), "https://me.test/file.png")
        documented = {**example["value"], "input": {**example["value"]["input"], **files}}
        entry = task_of(bundle(), documented)
        given = {
            key: value for key, value in documented["input"].items() if entry and key not in entry.get("match", {})
        }
        task = getattr(tasks, entry["name"])(**given) if entry else tasks.Raw(**_without_config(documented))
        assert request_body(task) == _without_config(documented), name


def test_wrapper_returns_the_documented_answers() -> None:
    for name, example in examples("200", of_tasks=True).items():
        body = example["value"]
        if example["x-operation"] == "cancel_task":
            trace = perform("sync", lambda client: client.cancel("t"), looks=[answer(200, body)])
            expected: Any = None
        else:
            task_id = body["data"]["task_id"]
            trace = perform("sync", lambda client, one=task_id: client.get(one), looks=[answer(200, body)])
            expected = _without_secret(body["data"])
        assert (trace.error, getattr(trace.result, "raw", None)) == (None, expected), name


def test_output_class_reads_every_field_of_an_example() -> None:
    def read(output: Output) -> int:
        fields = [key for key, value in vars(type(output)).items() if isinstance(value, property)]
        values = [getattr(output, key) for key in fields]
        assert set(output.raw) <= set(fields)
        nested = [item for value in values for item in (value if isinstance(value, list) else [value])]
        return sum(read(item) for item in nested if isinstance(item, Output)) + 1

    for name, example in examples("200", of_tasks=True).items():
        if entry := entry_of(example):
            assert read(getattr(tasks, entry["output"])(example["value"]["data"]["output"] or {}, "t")), name


def test_map_in_an_output_is_read_by_its_class() -> None:
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


def test_documented_refusal_is_a_typed_error_with_the_task_id() -> None:
    for name, example in examples("default", of_tasks=True).items():
        body = example["value"]
        refused = [answer(body.get("code", 400), body)]
        trace = perform("sync", lambda client: client.submit(tasks.Raw("m", "t")), creates=refused)
        task = body.get("data") or {}

        assert isinstance(trace.error, errors.InsufficientCredit if "no-credit" in name else errors.ApiError), name
        assert trace.error.task_id == task.get("task_id"), name
        assert trace.error.code == task.get("error", {}).get("code", body.get("code")), name
        assert trace.creates() == 1, name


def _without_secret(task: dict[str, Any]) -> dict[str, Any]:
    config = task.get("config") or {}
    webhook = config.get("webhook_config") or {}
    if not webhook.get("secret"):
        return task
    return {**task, "config": {**config, "webhook_config": {**webhook, "secret": "***"}}}


def _without_config(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "config"}


def test_credit_is_worth_what_the_spec_says() -> None:
    worth = bundle()["x-resources"]["credit_usd"]["value"]

    assert pytest.approx(worth) == 1 / CREDITS_OF_THE_WRAPPER == 1 / CREDITS_PER_USD
