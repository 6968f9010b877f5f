"""The commands for one task, against the local provider and against scripted answers."""

import base64
import errno
import io
import json
import os
import re
import shlex
import stat
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from unitask import Output, Task, errors, tasks
from unitask._base_client import BaseClient, Defaults
from unitask._terminal import kebab, reason
from unitask.cli import main
from unitask.cli._client import connect
from unitask.cli._fields import in_words_of, task_from
from unitask.cli._output import live_line, preview
from unitask.cli._report import ExitCode, exit_code
from unitask.cli._state import state_file, submissions
from unitask.cli.catalogue import example
from unitask.inputs import request_body
from unitask.testing import UnitaskProvider
from unitask.testing.provider import use
from unitask_api import contract
from unitask_sandbox import Settings, running
from unitask_sandbox.engines import ENGINES
from unitask_sandbox.engines.simulated.files import film, sound

from .pictures import encoded
from .script import TASK_ID, task_data
from .shells import BASE_URL, KEY
from .test_cli import PYTHON

ROOT = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]
ORIGINS = {"kling": "KlingVideo", "midjourney": "MidjourneyImagine", "legacy": "LegacyMidjourneyImagine"}
PICTURES = ["target-image=https://me.test/a.png", "swap-image=https://me.test/b.png"]
SWAP = ["run", "face-swap", *PICTURES]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    """The local provider, where every task is simulated and takes no time."""
    small, tone = film(1, "", (64, 64), 0.2), cache(lambda ending: sound(1, "", 0.2, ending))
    with pytest.MonkeyPatch.context() as patch, running(Settings(keys={"sandbox": 1e9}, engine_process=False)) as url:
        for name in list(ENGINES):
            patch.delitem(ENGINES, name)
        patch.setattr("unitask_sandbox.engines.simulated.outputs.film", lambda *_, **__: small)
        patch.setattr("unitask_sandbox.engines.simulated.outputs.sound", lambda *given: tone(given[-1]))
        patch.setattr(BaseClient, "defaults", Defaults(sleep=lambda seconds: time.sleep(min(seconds, 0.01))))
        yield url


@pytest.fixture
def to_sandbox(sandbox: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("UNITASK_BASE_URL", sandbox)
    monkeypatch.setenv("UNITASK_API_KEY", "sandbox")
    return sandbox


@cache
def origin(_: str, name: str) -> str:
    """Return a task from which others of its family can be derived."""
    with connect(None) as client:
        given = {"prompt": "a cat"}
        return client.run(getattr(tasks, name)(**given)).id


@pytest.mark.parametrize("entry", contract.task_types().values(), ids=lambda entry: entry.name)
def test_task_type_runs_with_its_documented_example(
    entry: contract.TaskType, to_sandbox: str, capsys: Captured
) -> None:
    words = shlex.split(example(entry))[1:-2]
    if any(word.startswith("origin-task-id=") for word in words):
        known = f"origin-task-id={origin(to_sandbox, ORIGINS[entry.family])}"
        words = [known if word.startswith("origin-task-id=") else word for word in words]
    words = ["image-urls=https://me.test/a.png" if "asset://" in word else word for word in words]

    code, (out, err) = main(words), capsys.readouterr()
    assert code == 0, err
    assert json.loads(out)["status"] in ("completed", "success", "finished", "Completed"), err


@pytest.mark.filterwarnings("ignore::unitask.inputs.AdvisoryWarning")
def test_field_that_cannot_be_used_is_named_as_it_is_written_in_a_command() -> None:
    for entry in contract.task_types().values():
        documented = shlex.split(example(entry))[3:-2]
        for field, rule in contract.component(entry.input)["properties"].items():
            if "const" in rule or field in entry.match:
                continue
            name = kebab(field)
            words = [word for word in documented if not word.startswith((f"{name}=", f"{name}:="))]
            with pytest.raises(errors.InvalidInput) as caught, in_words_of(entry):
                request_body(task_from(kebab(entry.name), [*words, f'{name}:=[[{{"x": 1}}]]']), uploads=True)
            assert any(problem.startswith((name, f"'{name}'")) for problem in caught.value.problems), entry.name
            assert not re.search(PYTHON, reason(caught.value)), reason(caught.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["flux-dev-txt2img", "prompt=@{}/prompt.txt"], {"prompt": "two\nlines"}),
        (["FluxDevTxt2Img", "prompt=-"], {"prompt": "from stdin"}),
        (["flux_dev_txt2img", 'prompt:="@me"', "width=512"], {"prompt": "@me", "width": 512}),
        (
            ["kling-video", "--json", "prompt=a", "camera-control:=@{}/camera.json"],
            {"camera_control": {"type": "simple"}},
        ),
        (["seedance2", "prompt=a", 'image-urls:=["https://me.test/a.png"]'], {"image_urls": ["https://me.test/a.png"]}),
    ],
)
def test_value_is_read_from_a_file_from_stdin_and_as_json(
    words: list[str], expected: dict[str, Any], unitask_provider: UnitaskProvider, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "prompt.txt").write_text("two\nlines\n")
    (tmp_path / "camera.json").write_text('{"type": "simple"}')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from stdin\n")))

    assert main(["run", *(word.replace("{}", str(tmp_path)) for word in words)]) == 0
    assert unitask_provider.tasks[0].input.items() >= expected.items()


def test_file_of_a_task_is_read_from_a_path_and_from_stdin(
    unitask_provider: UnitaskProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(encoded())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encoded())))

    assert main(["run", "face-swap", f"target-image=@{picture}", "swap-image=-"]) == 0
    assert set(unitask_provider.tasks[0].input.values()) == {base64.b64encode(encoded()).decode()}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["prompt=@missing.txt"], "'missing.txt' cannot be read: No such file or directory. Write a text that begins"),
        (["prompt=-", "negative-prompt=-"], "stdin is read by another field"),
        (["prompt=@{}/picture.png"], "is not text in UTF-8"),
        (["promt=a"], "did you mean prompt?"),
        (["prompt=a", "width=wide"], "width is 'wide': a whole number is expected"),
    ],
)
def test_field_that_cannot_be_read_is_explained_and_nothing_is_sent(
    words: list[str], why: str, unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "picture.png").write_bytes(encoded())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text")))

    assert main(["run", "flux-dev-txt2img", *(word.replace("{}", str(tmp_path)) for word in words)]) == 2
    assert why in capsys.readouterr().err
    assert unitask_provider.requests == []


def test_dry_run_prints_the_request_and_sends_nothing(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNITASK_API_KEY")
    (tmp_path / "a.png").write_bytes(encoded())
    words = [f"target-image={tmp_path}/a.png", PICTURES[1], "--webhook-url", "https://me.test/hook"]

    assert main(["run", "face-swap", "--dry-run", *words]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["method"], printed["estimate_usd"]) == ("POST", 0.01)
    assert printed["url"].endswith("/api/v1/task")
    assert printed["json"]["input"]["target_image"] == f"<file of {len(encoded())} bytes>"
    assert printed["json"]["config"]["webhook_config"]["endpoint"] == "https://me.test/hook"
    assert unitask_provider.requests == []


def test_task_that_may_cost_more_than_the_limit_is_not_sent(
    unitask_provider: UnitaskProvider, capsys: Captured
) -> None:
    assert main([*SWAP, "--max-usd", "0.009"]) == ExitCode.MONEY
    assert "may cost $0.01, and --max-usd is $0.009" in capsys.readouterr().err
    assert main(["run", "kling-extend", f"origin-task-id={TASK_ID}", "--max-usd", "9"]) == ExitCode.MONEY
    assert "its price is not known, so it is sent only without --max-usd" in capsys.readouterr().err
    assert unitask_provider.tasks == []

    assert main([*SWAP, "--max-usd", "0.01", "--webhook-url", "https://me.test/hook"]) == 0
    (sent,) = [request.body for request in unitask_provider.requests if request.method == "POST"]
    assert sent["config"]["webhook_config"]["endpoint"].startswith("https://me.test/hook")


def test_task_that_is_not_waited_for_is_fetched_by_the_commands_that_are_printed(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured
) -> None:
    assert main([*SWAP, "--no-wait", "--to", f"{tmp_path}/o.png"]) == 0
    out, err = capsys.readouterr()
    (command,) = re.findall(r"`unitask (wait .*?)`", err)
    assert shlex.split(command) == ["wait", out.strip(), "--to", f"{tmp_path}/o.png"]
    assert main(shlex.split(command)) == 0
    assert (tmp_path / "o.png").exists()

    assert main(["submit", *SWAP[1:], "--quiet"]) == 0
    task_id, err = capsys.readouterr()[0].splitlines()[-1], capsys.readouterr()[1]
    assert err == ""
    assert main(["download", task_id, "--to", f"{tmp_path}/"]) == 0
    assert main(["get", task_id]) == 0
    path, _, shown = capsys.readouterr().out.partition("\n")
    assert (Path(path).exists(), json.loads(shown)["task_id"]) == (True, task_id)


def test_files_are_in_the_json_and_quiet_reports_nothing(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured
) -> None:
    assert main([*SWAP, "--to", f"{tmp_path}/a.png", "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["files"], json.loads(out)["status"], err) == ([f"{tmp_path}/a.png"], "completed", "")


def test_advice_is_in_words_of_a_command_and_not_shown_in_quiet(
    unitask_provider: UnitaskProvider, capsys: Captured
) -> None:
    words = ["run", "diffrhythm-txt2audio-base", "style-prompt=a"]
    assert main(words) == 0
    assert (
        "unitask: warning: lyrics=... is needed (one source says so; it is sent all the same)\n"
        in capsys.readouterr().err
    )
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_output_goes_to_stdout_unless_that_is_a_terminal(
    unitask_provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    assert main([*SWAP, "--to", "-"]) == 0
    assert sys.stdout.buffer.getvalue()[:4] == b"\x89PNG"  # type: ignore[attr-defined]  # the stdout of the test

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main([*SWAP, "--to", "-"]) == 2
    assert "stdout, which is a terminal" in capsys.readouterr().err
    assert len(unitask_provider.tasks) == 1


@pytest.mark.parametrize(("number", "code"), [(errno.EPIPE, ExitCode.CLOSED), (errno.ENOSPC, ExitCode.FILE)])
@pytest.mark.parametrize("words", [["--to", "-"], []])
def test_stdout_that_cannot_be_written_leaves_the_id_of_a_paid_task(
    words: list[str], number: int, code: ExitCode, unitask_provider: UnitaskProvider, capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, content: Any) -> int:
            if sys.stdout is stdout:
                raise OSError(number, os.strerror(number))
            return len(content)  # at its end

    stdout = io.TextIOWrapper(io.BufferedWriter(Full()), write_through=True)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main([*SWAP, "--quiet", *words]) == code
    (command,) = re.findall(r"`unitask (wait .*?)`", capsys.readouterr().err)
    monkeypatch.undo()
    assert shlex.split(command)[1] in str(unitask_provider.tasks)


@pytest.mark.parametrize("words", [["--to", "-"], [], ["--no-wait"]])
def test_closed_stdout_leaves_a_paid_task_open(
    words: list[str], unitask_provider: UnitaskProvider, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main([*SWAP, "--quiet", *words]) == ExitCode.CLOSED
    monkeypatch.undo()
    (task,) = unitask_provider.tasks
    assert f"`unitask wait {task.id}" in capsys.readouterr().err


def test_id_and_url_of_a_provider_are_escaped(
    unitask_provider: UnitaskProvider, capsys: Captured, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    unitask_provider.answers(httpx.Response(200), {"code": 200, "data": task_data(task_id="a\x1b[2J")})
    assert main(["submit", *SWAP[1:]]) == 0
    unitask_provider.answers({"code": 200, "data": {"url": "https://x.test/\x1b[2J"}})
    assert main(["upload", f"{tmp_path}/a.png"]) == 0
    assert capsys.readouterr().out == "a\\x1b[2J\nhttps://x.test/\\x1b[2J\n"


def test_several_files_with_one_name_get_numbers(to_sandbox: str, tmp_path: Path, capsys: Captured) -> None:
    assert main(["run", "midjourney-imagine", "prompt=a", "--to", f"{tmp_path}/fox.png"]) == 0
    out, err = capsys.readouterr()
    assert [Path(line).name.split(".")[0] for line in out.splitlines()] == [f"fox-{number}" for number in range(1, 6)]
    assert all(Path(line).exists() for line in out.splitlines())
    assert "unitask: there are 5 output files, so their names have numbers\n" in err


def test_file_named_like_another_format_is_reported(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured
) -> None:
    assert main([*SWAP, "--to", f"{tmp_path}/o.jpg"]) == 0
    assert "warning: o.jpg is png by its content: name it o.png\n" in capsys.readouterr().err
    assert main([*SWAP, "--to", f"{tmp_path}/out"]) == 0
    assert (
        "warning: out is png by its content: name it out.png, or write out/ for a folder\n" in capsys.readouterr().err
    )


def test_terminal_shows_a_live_line_and_a_summary(
    unitask_provider: UnitaskProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unitask_provider.completes(statuses=["pending", "processing", "completed"])
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(stream, "isatty", lambda: True)
        monkeypatch.setattr(sys, name, stream)

    assert main([*SWAP, "--to", f"{tmp_path}/o.png"]) == 0
    out, err = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    assert f"{tmp_path}/o.png" in out
    assert re.search(r"face-swap: completed in \d+\.\d s, .*, task [0-9a-f-]{36}", out)
    assert "\x1b" not in out
    assert not re.search(r"^task ", err, re.MULTILINE)


def test_live_line_has_no_colour_where_that_is_not_wanted(
    unitask_provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = []
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
        monkeypatch.setattr(stream, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(SWAP) == 0
        shown.append(re.findall(rb"\x1b\[[\d;]*[1-9]m", stream.buffer.getvalue()))  # type: ignore[attr-defined]
    assert shown == [[], []]


def test_terminal_without_control_sequences_shows_each_change(
    unitask_provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(SWAP) == 0
    (task,) = unitask_provider.tasks
    assert f"task {task.id}: completed\n" in capsys.readouterr().err


def test_pending_task_is_cancelled(unitask_provider: UnitaskProvider, capsys: Captured) -> None:
    unitask_provider.completes(statuses=["pending"])
    assert main(["submit", *SWAP[1:]]) == 0
    task_id = capsys.readouterr().out.strip()

    assert main(["cancel", task_id]) == 0
    assert capsys.readouterr().err == f"task {task_id} is cancelled\n"
    assert main(["wait", task_id]) == ExitCode.FAILED
    assert main(["cancel", "unknown"]) == ExitCode.MISSING
    capsys.readouterr()
    refusal = {"code": 400, "message": "it is completed", "data": task_data("completed")}
    unitask_provider.answers(httpx.Response(400, json=refusal))
    assert main(["cancel", TASK_ID]) == ExitCode.FAILED
    assert "the refused task" not in capsys.readouterr().err  # it is not about a submission


@pytest.mark.parametrize("command", ["get", "wait", "download", "cancel"])
def test_task_that_does_not_exist_is_not_reported_as_a_task(
    command: str, unitask_provider: UnitaskProvider, capsys: Captured
) -> None:
    assert main([command, "unknown"]) == ExitCode.MISSING
    err = capsys.readouterr().err
    assert "`unitask list` lists the tasks of the account" in err
    assert "unitask wait unknown" not in err
    assert "refused task" not in err


def test_simulated_result_is_called_so(to_sandbox: str, capsys: Captured) -> None:
    assert main(["run", "flux-dev-txt2img", "prompt=a boat"]) == 0
    assert "unitask: SIMULATED: " in capsys.readouterr().err


def test_uploaded_file_is_named_by_its_url(unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    assert main(["upload", str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().out.startswith("https://")


def test_live_line_has_state_progress_time_and_cost() -> None:
    task = Task(task_data("processing", progress=40, meta={"usage": {"consume": 100_000}}), Output)

    assert live_line(None, 0.4) == "sending  0 s"
    assert live_line(task, 3.0) == f"task {TASK_ID}  processing 40 %  3 s of about 8 s  $0.01"
    assert live_line(task, 60.0) == f"task {TASK_ID}  processing 40 %  60 s, longer than usual  $0.01"


@pytest.mark.parametrize(
    ("name", "kind", "ci", "is_shown"),
    [
        ("a.png", "SixelImage", "", True),
        ("a.png", "TGPImage", "", True),
        ("a.png", "HalfcellImage", "", False),
        ("a.png", "SixelImage", "true", False),
        ("a.txt", "SixelImage", "", False),
    ],
)
def test_picture_is_shown_where_the_terminal_can(
    name: str, kind: str, ci: str, is_shown: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(300, 300))
    (tmp_path / "a.txt").write_text("text")
    kinds = {one: type(one, (str,), {}) for one in ("SixelImage", "TGPImage", "HalfcellImage")}
    shown = type("Shown", (kinds[kind],), {"__new__": lambda cls, path, width: str.__new__(cls, f"{path} {width}")})
    kinds[kind] = shown
    monkeypatch.setitem(sys.modules, "textual_image", SimpleNamespace(renderable=SimpleNamespace(Image=shown, **kinds)))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("CI", ci)

    preview(tmp_path / name)
    assert ("a.png 40" in capsys.readouterr().out.replace("\n", "")) == is_shown


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the state of one test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return state_file()


def test_submission_is_recorded_before_it_is_sent_without_input_and_key(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[str] = []

    def lost(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200)
        before.append(state.read_text())
        raise httpx.ReadTimeout("")

    use(monkeypatch, BASE_URL, KEY, Defaults(httpx.MockTransport(lost)))
    assert main(SWAP) == ExitCode.UNCERTAIN

    (line,) = before[0].strip().splitlines()
    assert json.loads(line)["name"] == "FaceSwap"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert "me.test" not in state.read_text()
    assert KEY not in state.read_text()
    (row,) = submissions()
    assert (row.outcome, row.model, row.task_id) == ("uncertain", "Qubico/image-toolkit", None)


def test_outcome_of_each_submission_is_recorded(
    unitask_provider: UnitaskProvider, state: Path, capsys: Captured
) -> None:
    unitask_provider.answers(httpx.Response(200), httpx.Response(401))
    assert main(SWAP) == ExitCode.KEY
    assert "refused the key, which is from UNITASK_API_KEY" in capsys.readouterr().err
    assert main(["submit", *SWAP[1:]]) == 0
    state.write_text(f"{state.read_text()}{{cut off")
    assert main(["run", "LegacyFaceSwap", *PICTURES]) == 0
    assert main([*SWAP, "--max-usd", "0"]) == ExitCode.MONEY  # it was not sent

    rows = submissions()
    assert [row.outcome for row in rows] == ["refused", "settled", "settled"]
    assert rows[1].handle == rows[1].task_id
    assert str(rows[2].handle).startswith("ut1.")


def test_nothing_is_sent_if_it_cannot_be_recorded(
    unitask_provider: UnitaskProvider, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))

    assert main(SWAP) == ExitCode.FILE
    assert "Set XDG_STATE_HOME to a folder that can be written" in capsys.readouterr().err
    assert unitask_provider.tasks == []


def test_record_that_cannot_be_read_does_not_hide_what_became_of_a_task(
    unitask_provider: UnitaskProvider, state: Path, capsys: Captured
) -> None:
    unitask_provider.completes(statuses=["pending", "completed"], times=1)
    unitask_provider.fails("no face found", statuses=["pending", "failed"])
    ids = [main(["submit", *SWAP[1:]]) or capsys.readouterr().out.strip() for _ in range(2)]
    state.unlink()
    state.mkdir()
    assert [main(["wait", task_id]) for task_id in ids] == [ExitCode.DONE, ExitCode.FAILED]
    assert capsys.readouterr().err.count("warning: ") == 2


def test_user_without_a_home_folder_sets_one(
    unitask_provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def homeless(_: object) -> Path:
        raise RuntimeError

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(homeless))
    assert [main(SWAP), main(["config"])] == [ExitCode.USAGE] * 2
    err = capsys.readouterr().err
    assert ("XDG_STATE_HOME" in err, "XDG_CONFIG_HOME" in err, unitask_provider.tasks) == (True, True, [])


def test_each_kind_of_error_has_an_exit_code_of_its_own() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "UnitaskError"]
    table = {kind.__name__: exit_code(kind.__new__(kind)) for kind in kinds}

    assert table == {
        "AuthenticationFailed": ExitCode.KEY,
        "PermissionDenied": ExitCode.KEY,
        "InsufficientCredit": ExitCode.MONEY,
        "BudgetExceeded": ExitCode.MONEY,
        "InvalidInput": ExitCode.USAGE,
        "NotFound": ExitCode.MISSING,
        "WaitTimeout": ExitCode.TIME,
        "SubmissionUncertain": ExitCode.UNCERTAIN,
        **dict.fromkeys(("Unreachable", "ProviderBroken", "RateLimited", "QueueFull"), ExitCode.PROVIDER),
        **dict.fromkeys(("DownloadFailed", "JournalError", "WebhookRejected"), ExitCode.FILE),
        **dict.fromkeys(("ApiError", "InvalidRequest", "TaskFailed"), ExitCode.FAILED),
        **dict.fromkeys(("ContentRejected", "NoFaceFound", "BadInputMedia"), ExitCode.FAILED),
    }
    manual = (ROOT / "docs/command-line.md").read_text()
    assert [code for code in ExitCode if f"| {code.value} | {code.about} |" not in manual] == []


def test_page_names_tests_that_exist_for_each_feature() -> None:
    rows = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs/command-line.md").read_text())

    assert len(rows) > 25
    assert [row for row in rows if f"def {row[1]}(" not in (ROOT / "wrapper/tests" / row[0]).read_text()] == []


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    for name in [name for name in sys.modules if name.startswith("unitask.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)

    assert main(["tasks"]) == 1
    assert capsys.readouterr().err == "unitask: the command line is not installed: pip install 'unitask[cli]'\n"
