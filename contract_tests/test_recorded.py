"""`unitask contract --body`: what it makes of recorded bodies, and of files that do not hold one."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from unitask.cli import main
from unitask_contract import recorded

from .support import envelope, examples

CONTRADICTION = envelope("completed", output={"image_url": 17})
TASK = '{"data": {"task_id": "a", "status": "pending"}}'
Checked = Callable[..., tuple[int, str]]


@pytest.fixture
def body(tmp_path: Path) -> Path:
    return tmp_path / "body.json"


@pytest.fixture
def checked(body: Path, capsys: pytest.CaptureFixture[str]) -> Checked:
    def check(content: Any, *arguments: object) -> tuple[int, str]:
        """Check a body with these arguments before it; return the exit code, and what is printed."""
        body.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        code = main(["contract", *map(str, arguments), "--body", str(body)])
        said = capsys.readouterr()
        assert said.err == ""
        return code, said.out

    return check


def test_documented_bodies_fit(tmp_path: Path) -> None:
    bodies = {name: one["value"] for name, one in examples("200").items() if one["x-operation"] == "get_task"}
    bodies |= {"task": {"timestamp": 1, "data": envelope("completed")["data"]}}
    bodies |= {"account": examples()["webhook.account.request"]["value"]}
    for name, value in bodies.items():
        (tmp_path / name).write_text(json.dumps(value))

    assert main(["contract", "--body", *map(str, tmp_path.iterdir())]) == 0


def test_contradiction_is_1_and_a_change_is_proposed(checked: Checked, body: Path, tmp_path: Path) -> None:
    patch = tmp_path / "out.patch"
    code, said = checked(CONTRADICTION, "--report", patch)

    assert (code, f"in {body}\n" in said, "get_task 200 /data/output/image_url" in said) == (1, True, True)
    assert "+++ b/spec/observed.yaml" in patch.read_text()


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"data": {"task_id": "a", "status": 7}}, "get_task 200 /data/status"),
        ({"code": 403, "message": 7}, "get_task default /message"),
        ({"error": {"message": "no"}, "message": 7}, "create_chat_completion default /message"),
        ({"timestamp": "soon", "data": {"task_id": "a", "status": "pending"}}, "receive_task request /timestamp"),
        ({"type": 7, "time": 1, "message": "Test"}, "receive_account_notification request /type"),
    ],
)
def test_operation_is_guessed_where_one_is_possible(value: Any, place: str, checked: Checked) -> None:
    code, said = checked(value)

    assert (code, place in said) == (1, True)


@pytest.mark.parametrize("name", ["legacy.luma.200", "upload.upload.200", "account.active-tasks.200"])
def test_operation_must_be_given_where_several_are_possible(name: str, checked: Checked) -> None:
    example = examples()[name]
    code, said = checked(example["value"])

    assert (code, "--operation" in said) == (2, True)
    assert checked(example["value"], "--operation", example["x-operation"])[0] == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" \n", "''"),
        (b"<html>Bad gateway</html>", "'<html>Bad gateway</html>'"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "HTTP/1.1 200 OK"),
        (f"{TASK}\n{TASK}\n".encode(), "one JSON value"),
        (b"null", "null"),
        (b'{"model": "kling", "task_type": "effects", "input": {}}', "request"),
        (b'{"code": NaN}', "NaN"),
        (b"[" * 99_999, "deep"),
        (b"{", "JSON"),
        (b"{}", "--operation"),
    ],
)
def test_file_without_a_body_is_2(content: bytes, words: str, checked: Checked, body: Path) -> None:
    code, said = checked(content)
    (line,) = [line for line in said.splitlines() if str(body) in line and "not read" in line]

    assert (code, words in line) == (2, True)


@pytest.mark.parametrize("more", [(), ("--operation", "get_task"), ("--operation", "create_task")])
def test_task_without_its_envelope_is_read_as_the_data_of_an_answer(
    more: tuple[str, ...], checked: Checked, body: Path, tmp_path: Path
) -> None:
    bare = envelope("completed", input={"target_image": "a"}, output={"image_url": "https://a.test/x.png"})["data"]
    document = tmp_path / "out.json"
    assert checked(bare, *more, "--report", document)[0] == 0
    assert '"data"' in json.loads(document.read_text())["files"][str(body)]["read_as"]

    code, said = checked({**bare, "output": {"image_url": 17}}, *more)
    assert (code, f"{more[1] if more else 'get_task'} 200 /data/output/image_url" in said) == (1, True)


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


def test_hostile_file_is_bounded_and_keeps_no_other_from_being_checked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "LARGEST", 500_000)
    monkeypatch.setattr(recorded, "MOST_VALUES", 12_000)
    find = recorded.differences

    def differences(exchanges: Any, notifications: Any = ()) -> Any:
        if any(b"break-the-checker" in exchange.content for exchange in exchanges):
            raise ZeroDivisionError
        return find(exchanges, notifications)

    monkeypatch.setattr(recorded, "differences", differences)
    bodies = {
        "deep": envelope("completed", input=nested(900)),
        "many": envelope("completed", logs=[1] * 15_000),
        "large": envelope("completed", input={"x": "x" * 500_000}),
        "bug": envelope("break-the-checker"),
        "wide": envelope("completed", **{f"field_{number}": number for number in range(5_000)}),
        "wrong": envelope("completed", logs=[nested(3)] * 1_000, error=[17] * 2_500),
        "good": envelope("completed"),
    }
    for name, value in bodies.items():
        (tmp_path / name).write_text(json.dumps(value))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    unread = {"deep": "deep", "many": "15,009", "large": "bytes", "bug": "ZeroDivisionError"}
    unread |= {"pipe": "pipe", "folder": "folder", "nowhere": "No such file"}
    document, junit = tmp_path / "out.json", tmp_path / "out.xml"
    paths = [str(tmp_path / name) for name in (*unread, "wide", "wrong", "good")]

    assert main(["contract", f"--report={document}", f"--report={junit}", "--body", *paths]) == 1
    files = {Path(name).name: result for name, result in json.loads(document.read_text())["files"].items()}
    assert {name for name, result in files.items() if "not_read" in result} == unread.keys()
    assert all(words in files[name]["not_read"] for name, words in unread.items())
    assert files["good"] == {"read_as": None, "differences": []}
    assert len(files["wide"]["differences"]) == 100
    cases = {str(case.get("name")): [part.tag for part in case] for case in Xml.parse(junit).iter("testcase")}
    assert [cases[paths[at]] for at in (0, -2, -1)] == [["error"], ["failure"], []]
    said = capsys.readouterr()
    assert len(said.out.splitlines()) < 120
    assert said.err == ""


def test_report_does_not_overwrite_a_body(body: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body.write_text("{}")

    assert main(["contract", "--body", str(body), "--report", str(tmp_path / "." / "body.json")]) == 2
    assert str(body) in capsys.readouterr().err
    assert body.read_text() == "{}"
