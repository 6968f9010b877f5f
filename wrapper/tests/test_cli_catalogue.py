"""`unitask tasks`, `show`, `estimate`, `account` and `list`."""

import contextlib
import json
import shlex
import subprocess
import sys
import time
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from unitask import Client, errors, inputs, tasks
from unitask.cli import catalogue, main
from unitask.cli._fields import task_from
from unitask.testing import UnitaskProvider
from unitask_api import contract

Captured = pytest.CaptureFixture[str]


def printed(capsys: Captured, *arguments: str) -> str:
    """Run a command that succeeds; return what it prints."""
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stdout be a terminal for the commands."""
    for module in ("account", "catalogue"):
        monkeypatch.setattr(f"unitask.cli.{module}.is_terminal", lambda _: True, raising=False)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["SEVERAL", "faces", "multi"], {"multi-face-swap"}),
        (["qubico/image-toolkit", "face-swap"], {"face-swap", "multi-face-swap"}),
        (["--family", "Hug"], {"hug"}),
        (["sound", "--family", "mmaudio"], {"mmaudio-video2audio"}),
    ],
)
def test_task_types_are_searched_by_words_and_family(arguments: list[str], names: set[str], capsys: Captured) -> None:
    lines = printed(capsys, "tasks", *arguments).splitlines()
    assert {line.split()[0] for line in lines} == names
    listed = json.loads(printed(capsys, "tasks", *arguments, "--json"))
    assert {entry["command"] for entry in listed} == names
    assert all(entry["summary"] for entry in listed)


def test_each_task_type_is_listed_with_price_and_summary(capsys: Captured) -> None:
    lines = printed(capsys, "tasks").splitlines()
    assert len(lines) == len(contract.task_types())
    (face_swap,) = (line for line in lines if line.startswith("face-swap "))
    assert "$0.01 per generation" in face_swap
    assert face_swap.endswith("Put the face of one picture onto the person in another.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tasks", "--family", "klign"], "did you mean kling?"),
        (["tasks", "nothing-like-this"], "`unitask tasks` lists all"),
        (["show", "face-swop"], "did you mean face-swap?"),
        (["list", "--since", "yesterday"], "'yesterday' is not a time"),
        (["list", "--state", "done"], "'done' is not one of"),
        (["list", "--task", "face-swop"], "did you mean face-swap?"),
    ],
)
def test_unknown_words_are_named(
    arguments: list[str], words: str, unitask_provider: UnitaskProvider, capsys: Captured
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert unitask_provider.requests == []


def test_task_type_is_shown_in_the_words_of_the_command_line(capsys: Captured) -> None:
    shown = printed(capsys, "show", "KlingVideo")
    for words in (
        "kling-video: Make a short video",
        "from $0.2 per 5 seconds",
        "negative-prompt",
        "text; at most 2,500 characters",
        "whole number; one of 5, 10",
        "advised: one of std, pro, turbo",
        "image: file or URL",
        "JSON object: type, config",
        "unitask run kling-video prompt=",
    ):
        assert words in shown
    (field,) = (line for line in printed(capsys, "show", "face-swap").splitlines() if "  target-image" in line)
    assert field.split(maxsplit=1)[1] == (
        "image: file or URL; required; jpeg or png or webp; both sides under 2048 pixels"
    )


@pytest.mark.parametrize("name", contract.task_types())
@pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")
def test_example_of_each_task_type_is_a_command_whose_input_is_valid(name: str) -> None:
    program, command, task, *fields = shlex.split(catalogue.example(contract.task_types()[name]))
    assert (program, command, fields[-2:]) == ("unitask", "run", ["--to", "out/"])
    given = task_from(task, fields[:-2])
    assert type(given) is getattr(tasks, name)
    inputs.request_body(given, uploads=True)


def test_catalogue_needs_no_http_library() -> None:
    code = "import sys; from unitask.cli import main; main(['tasks']); main(['show', 'hug']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    modules = set(done.stdout.splitlines()[-1].split())
    assert modules.isdisjoint({"httpx", "jsonschema_rs", "unitask.client", "rich", "asyncio"})


def test_estimate_is_the_published_price_and_sends_nothing(
    unitask_provider: UnitaskProvider, capsys: Captured, terminal: None
) -> None:
    words = ["estimate", "kling-video", "prompt=x", "version=1.6", "mode=std", "duration=5"]
    assert json.loads(printed(capsys, *words, "--json")) == {
        "task": "kling-video",
        "usd": 0.26,
        "published": "from $0.2 per 5 seconds",
    }
    assert printed(capsys, *words) == "$0.26 (from $0.2 per 5 seconds)\n"
    assert printed(capsys, "estimate", "kling-extend", "origin_task_id=x") == "unknown; price unknown\n"
    assert unitask_provider.requests == []


ACCOUNT = {
    "name": "me\x1b[31m",
    "plan": "Creator",
    "equivalent_in_usd": 3.5,
    "max_concurrent_task_count": 5,
    "max_kling_concurrency": 2,
    "max_concurrency\x1b": 1,
}


def test_account_is_json_in_a_pipe_and_a_summary_on_a_terminal(
    unitask_provider: UnitaskProvider, capsys: Captured, request: pytest.FixtureRequest
) -> None:
    unitask_provider.answers(*[{"code": 200, "data": {**ACCOUNT, "api_key": "the key"}}] * 2)
    assert json.loads(printed(capsys, "account")) == {**ACCOUNT, "api_key": "***"}
    request.getfixturevalue("terminal")
    summary = printed(capsys, "account")
    assert "\x1b" not in summary
    facts = {tuple(line.rsplit(maxsplit=1)) for line in summary.splitlines()}
    assert {(name.strip(), value) for name, value in facts} >= {
        ("balance", "$3.5"),
        ("plan", "Creator"),
        ("kling concurrency", "2"),
    }


SWAP = tasks.FaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.jpg")
KLING = tasks.KlingVideo(prompt="x")


@pytest.fixture
def past(unitask_provider: UnitaskProvider) -> list[str]:
    """The ids of a face swap, a failed one two days later, and a Kling video at that time."""
    with Client() as client:
        unitask_provider.completes(statuses=["completed"])
        first = client.submit(SWAP)
        unitask_provider.clock.advance(48 * 3600)
        unitask_provider.fails("no face found", statuses=["failed"], times=1)
        with contextlib.suppress(errors.TaskFailed):
            client.submit(SWAP)
        client.submit(KLING)
    return [task.id for task in unitask_provider.tasks] if first else []


@pytest.mark.parametrize(
    ("arguments", "indexes", "more"),
    [
        ([], [2, 1, 0], False),
        (["--limit", "2"], [2, 1], True),
        (["--limit", "3"], [2, 1, 0], False),
        (["--limit", "0"], [2, 1, 0], False),
        (["--state", "failed"], [1], False),
        (["--state", "failed", "--state", "completed", "--task", "FaceSwap"], [1, 0], False),
        (["--task", "kling-video"], [2], False),
        (["--until", "{day}"], [0], False),
        (["--since", "{day}", "--task", "face-swap"], [1], False),
        (["--state", "pending"], [], False),
    ],
)
@pytest.mark.parametrize("command", ["list", "history"])
def test_past_tasks_are_listed_by_state_task_and_time(
    command: str, arguments: list[str], indexes: list[int], more: bool, past: list[str], capsys: Captured
) -> None:
    day = f"{datetime.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"  # noqa: DTZ005 - local time
    assert main([command, *(word.format(day=day) for word in arguments)]) == 0
    captured = capsys.readouterr()
    assert [row["task_id"] for row in json.loads(captured.out)] == [past[index] for index in indexes]
    assert ("--limit 0" in captured.err) == more


def test_list_on_a_terminal_has_a_line_for_each_task(past: list[str], capsys: Captured, terminal: None) -> None:
    last, failed, _ = printed(capsys, "list").splitlines()
    assert last.split()[2:] == ["completed", past[2], "kling", "video_generation"]
    assert failed.split()[2:] == ["failed", past[1], "face-swap"]


def test_time_is_given_as_a_span_before_now(unitask_provider: UnitaskProvider) -> None:
    assert main(["list", "--since", "2h"]) == 0
    query = parse_qs(urlsplit(unitask_provider.requests[0].url).query)
    assert time.time() - 7200 == pytest.approx(int(query["start_time"][0]), abs=60)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(shell: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("_UNITASK_COMPLETE", f"source_{shell}")
    assert main([]) == 0
    assert "unitask" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("unitask lo", ["login", "logout"]),
        ("unitask show multi", ["multi-face-swap"]),
        ("unitask run multi", ["multi-face-swap"]),
        ("unitask run face-swap ", ["target-image=", "swap-image="]),
        ("unitask estimate face-swap target-image = a.jpg sw", ["swap-image="]),
        ("unitask run nothing ", []),
        ("unitask list --st", ["--state"]),
        ("unitask contract --x", []),
        ("unitask bulk re", ["resume"]),
        ("unitask bulk a.csv --we", ["--webhook-url"]),
    ],
)
def test_shell_completes_tasks_and_fields(
    line: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("_UNITASK_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - (not line.endswith(" "))))
    assert main([]) == 0
    assert capsys.readouterr().out.split() == expected
