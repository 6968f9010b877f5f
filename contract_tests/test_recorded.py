"""`unitask contract --body`: what it makes of recorded bodies, and of files that are none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from unitask.cli import main
from unitask_contract import recorded

from .support import bundle, envelope, examples

Captured = pytest.CaptureFixture[str]
CONTRADICTION = envelope("completed", output={"image_url": 17})
TASK = '{"data": {"task_id": "a", "status": "pending"}}'


def test_recorded_bodies_that_fit_are_0(tmp_path: Path) -> None:
    examples = bundle()["components"]["examples"]
    names = [name for name, one in examples.items() if (one["x-operation"], one["x-part"]) == ("get_task", "200")]
    bodies = {name: examples[name]["value"] for name in names}
    bodies["notification"] = {"timestamp": 1, "data": envelope("completed")["data"]}
    for name, body in bodies.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(body))

    assert main(["contract", "--body", *map(str, tmp_path.iterdir())]) == 0


def test_report_in_the_place_of_a_body_is_2(capsys: Captured, tmp_path: Path) -> None:
    """What was recorded is not overwritten."""
    place = tmp_path / "body.json"
    place.write_text("{}", encoding="utf-8")

    assert main(["contract", "--body", str(place), "--report", str(tmp_path / "." / "body.json")]) == 2
    assert "is one of the bodies" in capsys.readouterr().err
    assert place.read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize("named", ["no_such_operation", 5, ["get_task"]])
def test_example_of_an_operation_that_is_none_is_not_read(named: Any, capsys: Captured, tmp_path: Path) -> None:
    place = tmp_path / "example.json"
    place.write_text(json.dumps({"x-operation": named, "value": {"code": 200}}), encoding="utf-8")

    assert main(["contract", "--body", str(place)]) == 2
    assert "is not an operation of the contract" in capsys.readouterr().out


def test_recorded_body_that_contradicts_the_spec_is_1(capsys: Captured, tmp_path: Path) -> None:
    """It is said where, in which file, and the change of the spec that would allow it goes to a file."""
    body, fits, patch = (tmp_path / name for name in ("body.json", "fits.json", "out.patch"))
    body.write_text(json.dumps(CONTRADICTION))
    fits.write_text(json.dumps(envelope("completed")))

    assert main(["contract", f"--report={patch}", "--body", str(body), str(fits)]) == 1
    said = capsys.readouterr().out
    assert f"in {body}\n" in said
    assert "get_task 200 /data/output/image_url" in said
    assert "a change of the spec is proposed: " in said
    assert "+++ b/spec/tasks/faceswap.yaml" in patch.read_text()


def test_body_of_another_operation_is_named(capsys: Captured, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps(bundle()["components"]["examples"]["account.info.200"]["value"]))

    assert main(["contract", "--body", str(body)]) == 2
    assert "--operation" in capsys.readouterr().out
    assert main(["contract", "--body", str(body), "--operation", "get_account_info"]) == 0
    assert main(["contract", "--body", str(body), "--operation", "get_acount"]) == 2


def test_every_answer_and_notification_of_the_spec_can_be_checked(capsys: Captured) -> None:
    spec = Path(__file__).resolve().parents[1] / "spec"
    paths = [path for path in spec.glob("examples/*/*.json") if not path.name.endswith(".request.json")]
    told = spec / "examples/webhook/account.request.json"

    assert main(["contract", "--body", *map(str, [*paths, told])]) == 0
    assert f"{len(paths) + 1} recorded bodies" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "operation"),
    [
        ({"data": {"task_id": "a", "status": 7}}, "get_task 200 /data/status"),
        ({"code": 403, "message": 7}, "get_task default /message"),
        ({"error": {"message": "no"}, "message": 7}, "create_chat_completion default /message"),
        ({"timestamp": "soon", "data": {"task_id": "a", "status": "pending"}}, "receive_task request /timestamp"),
        ({"type": 7, "time": 1, "message": "Test"}, "receive_account_notification request /type"),
    ],
    ids=["task", "refusal", "refused-chat", "notification", "notification-of-the-account"],
)
def test_what_a_body_answers_is_guessed(body: Any, operation: str, capsys: Captured, tmp_path: Path) -> None:
    place = tmp_path / "body.json"
    place.write_text(json.dumps(body))

    assert main(["contract", "--body", str(place)]) == 1
    assert f"differs from the spec: {operation}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    [
        "legacy.face-swap.create.200",
        "legacy.face-swap.fetch.200",
        "legacy.luma.200",
        "legacy.toolkit-upscale.200",
        "upload.upload.200",
        "account.active-tasks.200",
    ],
)
def test_what_could_answer_several_operations_is_asked_for(name: str, capsys: Captured, tmp_path: Path) -> None:
    example, place = examples()[name], tmp_path / "body.json"
    place.write_text(json.dumps(example["value"]))

    assert main(["contract", "--body", str(place)]) == 2
    assert example["x-operation"] in capsys.readouterr().out
    assert main(["contract", "--operation", example["x-operation"], "--body", str(place)]) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"<html>Bad gateway</html>", "it is a page"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "headers of an answer"),
        (b"data: {}\n\ndata: [DONE]\n", "server-sent events"),
        (f"{TASK}\n{TASK}\n".encode(), "several JSON values"),
        (f"[{TASK}]".encode(), "of type array"),
        (b'"oops"', "of type string"),
        (b"null", "of type null"),
        (b'{"log": {"entries": [{"response": {}}]}}', "HAR export"),
        (b'{"model": "kling", "task_type": "effects", "input": {}}', "it is a request"),
        (b'{"code": NaN}', "NaN is not JSON"),
        (b"[" * 99_999, "nested too deep"),
        (b'{"code": \xff}', "it is not JSON"),
        (b"{", "it is not JSON"),
        (b"{}", "--operation"),
    ],
    ids=range(16),
)
def test_what_is_no_body_is_2_and_said(content: bytes, words: str, capsys: Captured, tmp_path: Path) -> None:
    place = tmp_path / "body.json"
    place.write_bytes(content)

    assert main(["contract", "--body", str(place)]) == 2
    said = capsys.readouterr()
    assert f"not read: {place}: " in said.out
    assert words in said.out
    assert said.err == ""


BARE = envelope("completed", input={"target_image": "a"}, output={"image_url": "https://a.test/x.png"})["data"]


@pytest.mark.parametrize("more", [(), ("--operation", "get_task"), ("--operation", "create_task")])
def test_task_without_its_envelope_is_read_as_the_data_of_an_answer(
    more: tuple[str, ...], capsys: Captured, tmp_path: Path
) -> None:
    fits, broken = tmp_path / "fits.json", tmp_path / "broken.json"
    fits.write_text(json.dumps(BARE))
    broken.write_text(json.dumps({**BARE, "output": {"image_url": 17}}))
    document, page = tmp_path / "out.json", tmp_path / "out.html"
    words = 'read as the "data" of an answer'

    assert main(["contract", *more, "--body", str(fits)]) == 0
    assert f"{fits}: {words}" in capsys.readouterr().out
    reports = (f"--report={document}", f"--report={page}")
    assert main(["contract", *more, *reports, "--body", str(broken)]) == 1
    assert f"{more[1] if more else 'get_task'} 200 /data/output/image_url" in capsys.readouterr().out
    assert json.loads(document.read_text())["files"][str(broken)]["read_as"].startswith(words)
    assert words.replace('"', "&quot;") in page.read_text()


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_file_that_is_hostile_is_bounded_and_keeps_no_other_from_being_checked(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "LARGEST", 2_000_000)
    monkeypatch.setattr(recorded, "MOST_VALUES", 50_000)
    found = recorded.differences

    def differences(exchanges: Any, notifications: Any = ()) -> Any:
        if any(b"break-the-checker" in exchange.content for exchange in exchanges):
            raise ZeroDivisionError
        return found(exchanges, notifications)

    monkeypatch.setattr(recorded, "differences", differences)
    bodies = {
        "good": envelope("completed"),
        "deep": envelope("completed", input=nested(900)),
        "wide": envelope("completed", **{f"field_{number}": number for number in range(20_000)}),
        "wrong": envelope("completed", logs=[nested(3)] * 5_000, error=[17] * 10_000),
        "many": envelope("completed", logs=[1] * 60_000),
        "large": envelope("completed", input={"x": "x" * 2_000_000}),
        "fault": envelope("break-the-checker"),
    }
    for name, body in bodies.items():
        (tmp_path / name).write_text(json.dumps(body))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    names = ["deep", "pipe", "folder", "many", "large", "fault", "wide", "wrong", "good"]
    document = tmp_path / "out.json"

    assert main(["contract", f"--report={document}", "--body", *(str(tmp_path / name) for name in names)]) == 1
    files = {Path(name).name: told for name, told in json.loads(document.read_text())["files"].items()}
    assert {name: told.get("not_read") for name, told in files.items() if "not_read" in told} == {
        "deep": "it is nested too deep: at most 100 levels are read",
        "pipe": "it is a pipe or a device; write the body to a file first",
        "folder": "it is a folder; give the files in it",
        "many": "it holds 60,009 values; at most 50,000 are checked",
        "large": f"it has {(tmp_path / 'large').stat().st_size:,} bytes; at most 2,000,000 are read",
        "fault": "a bug of unitask, not of the body: ZeroDivisionError: ",
    }
    assert files["good"] == {"read_as": None, "differences": []}
    assert len(files["wide"]["differences"]) == 100
    said = capsys.readouterr()
    assert len(said.out.splitlines()) < 120
    assert said.err == ""


def test_file_that_cannot_be_read_keeps_no_other_from_being_checked(capsys: Captured, tmp_path: Path) -> None:
    broken, fits, nowhere = (tmp_path / f"{name}.json" for name in ("broken", "fits", "nowhere"))
    broken.write_text(json.dumps(CONTRADICTION))
    fits.write_text(TASK)
    places = [tmp_path / f"out{ending}" for ending in (".html", ".xml", ".json")]
    reports = [f"--report={place}" for place in places]

    assert main(["contract", *reports, "--body", *map(str, [nowhere, broken, fits])]) == 1
    said, (page, junit, document) = capsys.readouterr().out, (place.read_text() for place in places)
    assert said.splitlines()[-1] == "contract broken: 1 not read, differs from the spec in 1"
    assert f"not read: {nowhere}: No such file or directory" in said
    assert "No such file or directory" in page
    assert str(broken) in page
    cases = {case.get("name"): [part.tag for part in case] for case in Xml.fromstring(junit).iter("testcase")}
    assert [cases[str(one)] for one in (nowhere, broken, fits)] == [["error"], ["failure"], []]
    assert json.loads(document)["files"][str(nowhere)] == {"not_read": "No such file or directory"}
