"""Every documented and recorded body: the wrapper sends it or reads it, and finds the files in it."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from generator.bundle import at, task_of
from unitask import Output, OutputFile, Task, errors, tasks
from unitask._core import envelope
from unitask.inputs import request_body

from .support import answer, bundle, examples, perform


@pytest.mark.filterwarnings("ignore::unitask.inputs.AdvisoryWarning")  # what one page shows, another may advise against
def test_wrapper_sends_the_documented_requests() -> None:
    for name, example in examples("request", of_tasks=True).items():
        files = dict.fromkeys(example.get("x-placeholder", []), "https://me.test/file.png")
        body = {key: value for key, value in example["value"].items() if key != "config"}
        body["input"] = {**body["input"], **files}
        entry = task_of(bundle(), body)
        given = {key: value for key, value in body["input"].items() if entry and key not in entry.get("match", {})}
        kind = getattr(tasks, entry["name"]) if entry else tasks.Raw
        unknown = {key: given.pop(key) for key in given.keys() - {one.name for one in fields(kind)}} if entry else {}
        task = kind(**given, extra=unknown) if entry else tasks.Raw(**body)
        assert request_body(task, uploads=True) == body, name


def test_documented_refusal_is_a_typed_error_with_the_task_id() -> None:
    for name, example in examples("default", of_tasks=True).items():
        body = example["value"]
        trace = perform(
            "sync", lambda client: client.submit(tasks.Raw("m", "t")), submissions=[answer(body.get("code", 400), body)]
        )
        task = body.get("data") or {}

        assert isinstance(trace.error, errors.InsufficientCredit if "no-credit" in name else errors.ApiError), name
        assert trace.error.task_id == task.get("task_id"), name
        assert trace.error.code == task.get("error", {}).get("code", body.get("code")), name
        assert trace.submissions() == 1, name


@pytest.mark.parametrize("shell", ["sync", "async"])
def test_answers_from_outside_the_pages_are_read_without_a_warning(shell: str) -> None:
    seen = {
        name: example["value"]
        for name, example in examples("200", of_tasks=True).items()
        if example["x-evidence"] in ("recorded", "client")
    }
    for name, body in seen.items():
        task_id = body["data"]["task_id"]
        trace = perform(shell, lambda client, task_id=task_id: client.get(task_id), polls=[answer(200, body)])

        assert trace.error is None, name
        assert (trace.result.id, trace.result.raw.get("output")) == (task_id, body["data"].get("output")), name
        assert trace.result.state == body["data"]["status"], name
    assert len(seen) >= 7


EXPECTED = yaml.safe_load(Path(__file__).with_name("documented_files.yaml").read_text("utf-8"))
# Answers whose task does not say what reads it: Suno's page echoes another model, legacy ones echo none.
READ_BY: dict[str, type[Output]] = {
    "suno.generate_music.completed.200": tasks.SunoMusicOutput,
    "legacy.face-swap.fetch.200": tasks.LegacyFaceSwapOutput,
    "legacy.face-swap.fetch.failed.200": tasks.LegacyFaceSwapOutput,
    "legacy.luma.200": tasks.LegacyLumaOutput,
}


def test_files_of_the_documented_answers_are_found() -> None:
    found: dict[str, list[str]] = {}
    for name, example in examples("200").items():
        kind = READ_BY.get(name, Output)
        data = (envelope.unified(example["value"], kind.PROTOCOL, created=False) or {}).get("data")
        if not isinstance(data, dict) or not {"task_id", "status"} <= data.keys():
            continue
        task = Task(data, kind)
        found[name] = [described(file) for file in task.output.files]
        for number, file in enumerate(task.output.files, start=1):
            assert (file.task_id, file.number, file.documented) == (task.id, number, True), name
            steps = file.place.replace("[", ".").replace("]", "").split(".")
            assert file.url == at(task.output.raw, "/" + "/".join(steps)), name

    assert {name: files for name, files in found.items() if files} == EXPECTED


def described(found: OutputFile) -> str:
    size = [f"{found.width}x{found.height}"] if found.width or found.height else []
    length = [f"{found.duration_s}s"] if found.duration_s else []
    mark = [] if found.watermark is None else ["marked" if found.watermark else "clean"]
    return " ".join([found.place, str(found.kind), str(found.role), *size, *length, *mark])
