"""The command line: results on stdout, reports on stderr, exit codes, and the id of every task that may be paid."""

import contextlib
import io
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import httpx
import pytest
from unitask import __version__, cli, errors, tasks
from unitask._base_client import Defaults
from unitask.cli import main
from unitask.testing import UnitaskProvider
from unitask.testing.provider import use

from .pictures import encoded
from .script import OUTPUT_URL, TASK_ID, answer, history_page, refused, seen, task_data
from .shells import BASE_URL, KEY, provider

DONE = seen("completed", output={"image_url": OUTPUT_URL})
MANY = seen("completed", output={"image_urls": [OUTPUT_URL, "https://out.test/b.png"]})
PICTURE = httpx.Response(200, content=encoded())
RUN = ["run", "FaceSwap", "target_image=https://me.test/a.png", "swap_image=https://me.test/b.png"]
SEVERAL = ["run", "flux-schnell-txt2img", "prompt=a", "batch-size=3"]
STOP = KeyboardInterrupt
PYTHON = r"\b(client|error|task|errors)\.\w|api_key|base_url\b|=True|=False|\bNone\b|\bPIL\b|numpy|Traceback"
NASTY = "\x1b]0;t\x07\x9b31m\u202e\u2066\u200f\x7f\r\n"

Scripted = Callable[..., UnitaskProvider]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Give the client of the command line a scripted provider and its clock."""

    def make(*script: Any, run: bool = True) -> UnitaskProvider:
        script = (history_page(), *script) if run else script  # `run` reads the provider's time first
        replies = provider(*(reply() if isinstance(reply, type) else reply for reply in script))
        clock = replies.clock
        use(monkeypatch, BASE_URL, KEY, Defaults(replies.transport, clock, clock.sleep, clock.sleep_async))
        for name in ("", "unitask"):  # as in a program that has not configured logging
            monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        return replies

    return make


def exit_code(*arguments: str) -> object:
    """Run the command line, which may end by SystemExit as wrong use does."""
    try:
        return main(list(arguments))
    except SystemExit as end:
        return end.code


def test_commands_are_listed_without_a_word(capsys: Captured) -> None:
    assert exit_code() == 0
    assert "\n  run  " in capsys.readouterr().out


def test_version_is_printed(capsys: Captured) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"unitask {__version__}\n"


@pytest.mark.parametrize("command", ["run", "wait"])
def test_output_is_fetched_and_its_path_printed(
    command: str, scripted: Scripted, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    picture, output = tmp_path / "a=b.png", tmp_path / f"{TASK_ID}.png"
    picture.write_bytes(encoded())
    output.write_bytes(b"mine")
    replies = scripted(seen("pending"), DONE, PICTURE, run=command == "run")
    words = ["FaceSwap", f"target_image={picture}", "--to=~/", f"swap_image={picture}"]

    options = ["--overwrite", "--base-url", "https://given.test"]
    assert exit_code(command, *options, *(words if command == "run" else [TASK_ID, "--to=~/"])) == 0
    assert capsys.readouterr() == (f"{output}\n", f"task {TASK_ID}: pending\ntask {TASK_ID}: completed\n")
    assert output.read_bytes() == encoded()
    assert replies.requests[-2].url.startswith("https://given.test/api/v1/task")


def test_task_is_printed_as_json(scripted: Scripted, capsys: Captured) -> None:
    scripted(seen("completed", output={"x": float("nan"), "y": float("inf")}))  # as Python's json reads it

    assert exit_code(*RUN) == 0
    assert json.loads(capsys.readouterr().out)["output"] == {"x": "NaN", "y": "Infinity"}


def test_value_is_read_by_the_type_of_its_field(unitask_provider: UnitaskProvider) -> None:
    seedance = ["prompt=true", "image_urls=https://me.test/a", "image_urls=https://me.test/b", "duration=5"]
    kling = ["prompt=a=b:=c", "enable_audio=true", "cfg_scale=0.5", 'camera_control:={"type": "simple"}']

    assert [exit_code("run", "Seedance2", *seedance), exit_code("run", "KlingVideo", *kling)] == [0, 0]
    first, second = (task.input for task in unitask_provider.tasks)
    urls = ["https://me.test/a", "https://me.test/b"]
    assert first.items() >= {"prompt": "true", "image_urls": urls, "duration": 5}.items()
    values = {"prompt": "a=b:=c", "enable_audio": True, "cfg_scale": 0.5, "camera_control": {"type": "simple"}}
    assert second.items() >= values.items()


WRONG_INPUT: list[tuple[list[str], str]] = [
    (["run", "FaceSwop"], "'FaceSwop': did you mean face-swap?"),
    (["run", "Nothing"], "'Nothing': `unitask tasks` lists them"),
    (["run", "flux", "prompt=a"], "flux is a family of task types: `unitask tasks flux` lists them"),
    (
        ["run", "FaceSwap"],
        "face-swap needs target-image=...; face-swap needs swap-image=...\nunitask: `unitask run face-swap --help`",
    ),
    ([*RUN, "target=x"], "'target=x': face-swap has no such field: did you mean target-image?"),
    ([*RUN, "swap_image"], "'swap-image': this is not FIELD=VALUE"),
    ([*RUN, "swap_image=x.png"], "given twice"),
    (["run", "Seedance2", "image_urls:=5", "image_urls=x.png"], "image-urls is 'x.png': the field is given twice"),
    (["run", "Seedance2", "duration=six"], "duration is 'six': a whole number is expected"),
    (["run", "KlingVideo", "enable-audio=yes"], "enable-audio is 'yes': true or false is expected"),
    (["run", "KlingVideo", "cfg_scale:=NaN"], "cfg-scale is 'NaN'"),
    (["run", "KlingVideo", "elements=[[["], "JSON is expected"),
    ([*RUN, "--timeout", "-1"], "'--timeout': -1.0"),
    ([*RUN, "--base-url", "provider.test"], "--base-url is 'provider.test'"),
    ([*RUN, "--to", __file__], "exists: name another file"),
    ([*RUN, "--to", ""], "--to is empty"),
    (
        [*SEVERAL, "--to", "no/fox.png"],
        "batch-size=3 makes 3 files, and --to no/fox.png takes one: name a folder, as in --to no/fox/",
    ),
    ([*SEVERAL, "--to", "-"], "takes one: name a folder, as in --to DIR/"),
    ([*RUN, "--to", "-", "--json"], "--to - and --json both write to stdout"),
    (["wait", " "], "the task id is empty"),
    (["sandbox", "--concurrency", "0"], "concurrency"),
    (["sandbox", "--faults", "nothing.json"], "No such file or directory: 'nothing.json'"),
    (["sandbox", "--port", "0", "--data", "/dev/null"], "the sandbox cannot start"),
]
WRONG_USE: list[tuple[list[str], str]] = [
    (["run", "face-swop", "--help"], "'face-swop': did you mean face-swap?"),
    (["run", "LegacyFaceSwap", *RUN[2:], "--webhook-url", "https://me.test"], "takes no --webhook-url"),
    (["wait"], "'ID'"),
    (["wait", "id", "--to"], "unitask: `unitask wait --help` shows how it is used"),
    ([*RUN, "--target-image", "x.png"], "--target-image is a field of the task, and no option: write it as target-ima"),
    (["face-swap", "target-image=x.png"], "'face-swap' is a task type, not a command: `unitask run face-swap`"),
    ([*RUN, "--timeout", "soon"], "'soon' is not a number"),
    (["list", "--limit", "all"], "'all' is not a whole number"),
    (["sandbox", "--speed", "fast"], "'fast' is not instant, real or a number"),
    (["sandbox", "--key", "mine=much"], "'much' is not a number of dollars"),
]


@pytest.mark.parametrize(("arguments", "reason"), WRONG_INPUT + WRONG_USE, ids=str)
def test_wrong_input_and_wrong_use_end_with_exit_code_2_and_nothing_is_sent(
    arguments: list[str], reason: str, scripted: Scripted, capsys: Captured
) -> None:
    replies = scripted()

    assert exit_code(*arguments) == 2
    out, err = capsys.readouterr()
    assert (out, replies.requests) == ("", [])
    assert reason in err
    assert not re.search(PYTHON, err)


def test_timeout_ends_a_command(scripted: Scripted) -> None:
    for words in (RUN, ["wait", TASK_ID]):
        for timeout in (5.0, 0.0):
            replies = scripted(*[seen("processing")] * 99, run=words is RUN)

            assert exit_code(*words, "--timeout", str(timeout)) == 7
            assert replies.clock.passed == pytest.approx(timeout)


def test_provider_that_is_gone_is_named_when_the_time_is_up(scripted: Scripted, capsys: Captured) -> None:
    for last, is_gone in ((httpx.ConnectError("refused"), True), (seen("pending"), False)):
        scripted(seen("pending"), *[httpx.ConnectError("refused")] * 2, *[last] * 9, run=False)

        assert exit_code("wait", TASK_ID, "--timeout", "5") == 7
        err = capsys.readouterr().err
        assert ("the last poll failed: no answer to a poll of task" in err) == is_gone
        assert f"`unitask wait {TASK_ID}` continues with it" in err


PAID = seen("pending", meta={"usage": {"consume": 100_000}})
GONE = [httpx.Response(403)] * 9
TO_FILE = ["--to", "{}/o.png"]


@pytest.mark.parametrize(
    ("script", "options", "code"),
    [
        ([PAID, *[httpx.Response(502)] * 99], TO_FILE, 8),
        ([PAID, *[refused(404)] * 99], TO_FILE, 6),
        ([seen("processing")] * 99, ["--timeout", "5"], 7),
        ([PAID, DONE, *GONE], TO_FILE, 10),
        ([PAID, MANY, PICTURE, *GONE], ["--to", "{}/"], 10),
        ([PAID, MANY, PICTURE, *GONE], TO_FILE, 10),
        ([PAID, MANY, PICTURE, PICTURE], ["--to", "-"], 10),  # a folder takes several files
        ([PAID, DONE, STOP], TO_FILE, 130),
        ([PAID, STOP], [], 130),
        ([PAID, NotImplementedError], ["--base-url", BASE_URL], 8),
        ([seen("pending", task_id="--to"), STOP], TO_FILE, 130),
    ],
)
def test_command_that_continues_with_an_accepted_task_is_reported(
    script: list[Any], options: list[str], code: int, scripted: Scripted, capsys: Captured, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    scripted(*script)
    assert exit_code(*RUN, *(word.format(tmp_path) for word in options)) == code
    err = capsys.readouterr().err
    assert "nothing was sent" not in err
    assert not re.search(PYTHON, err)
    assert ("paid: $0.01" in err) == (PAID in script and DONE not in script and MANY not in script)

    (command,) = re.findall(r"`unitask (wait .*?)`", err)
    task_id = "--to" if "--to" in str(script[0].body) else TASK_ID
    done = seen("completed", task_id=task_id, output={"image_url": OUTPUT_URL})
    replies = scripted(MANY if MANY in script else done, *[PICTURE] * 2, run=False)
    assert exit_code(*shlex.split(command)) == 0
    assert replies.lines[0] == f"GET /api/v1/task/{task_id}"
    assert bool(list(tmp_path.iterdir())) == ("--to" in options)


def test_legacy_task_is_continued_by_the_command_that_is_reported(
    unitask_provider: UnitaskProvider, capsys: Captured, tmp_path: Path
) -> None:
    unitask_provider.completes(tasks.LegacyFaceSwap, statuses=["pending", httpx.ReadTimeout(""), "completed"])

    assert exit_code("run", "LegacyFaceSwap", *RUN[2:], "--to", str(tmp_path / "o.png"), "--timeout", "0") == 7
    (command,) = re.findall(r"`unitask (wait .*?)`", capsys.readouterr().err)
    assert exit_code(*shlex.split(command)) == 0
    assert (tmp_path / "o.png").exists()


@pytest.mark.parametrize(
    ("script", "code", "facts"),
    [
        ([STOP], 130, ["may have been accepted", "`unitask find`"]),
        (
            [refused(429, retry_after="99")] * 8,
            8,
            ["was not accepted, and nothing is paid; the provider asks to wait 99 s"],
        ),
        ([answer(502, b"<html>")], 9, ["face-swap may have been accepted", "`unitask find`", "2023-11-14 22:13:20"]),
        ([answer(520, {"code": 520, "data": task_data()})], 9, ["may have been accepted", TASK_ID]),
        ([PAID, seen("failed", error={"message": "no face found"})], 3, [TASK_ID, "no face found"]),
        ([PAID, seen("completed", output={})], 10, [TASK_ID, "no output file"]),
        ([PAID, seen("completed", output=[1])], 8, [TASK_ID, "output is [1], not an object"]),
    ],
)
def test_what_is_known_of_a_submission_is_reported(
    script: list[Any], code: int, facts: list[str], scripted: Scripted, capsys: Captured, tmp_path: Path
) -> None:
    scripted(*script)

    assert exit_code(*RUN, "--to", f"{tmp_path}/o.png") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert [fact for fact in facts if fact not in err] == []
    assert "nothing was sent" not in err
    assert not re.search(PYTHON, err)
    assert all(line.startswith(("unitask: ", "task ")) for line in err.splitlines())  # the log is not shown


def test_interruption_before_the_first_report_names_the_task(
    scripted: Scripted, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unitask.cli._output._Line.note", interrupted)
    scripted(PAID)

    assert exit_code(*RUN, "--to", "o.png") == 130
    assert f"`unitask wait {TASK_ID} --to o.png`" in capsys.readouterr().err


@pytest.mark.parametrize("end", [KeyboardInterrupt(), errors.Unreachable("lost", task_id=TASK_ID)])
def test_stopped_demo_names_no_command_since_its_provider_is_gone(
    end: BaseException, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        end.add_note(f"unitask: task {TASK_ID} goes on; client.wait({TASK_ID!r}) waits for it again")
        raise end

    monkeypatch.setattr("unitask.demo.demo", stopped)

    assert exit_code("demo") == (130 if isinstance(end, KeyboardInterrupt) else 8)
    assert "unitask wait" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([seen(NASTY), seen("failed", error={"message": f"{NASTY}\ud800"})], 3),
        ([seen(output={"image_url": OUTPUT_URL, NASTY: f"{NASTY}\ud800"}, status="completed")], 0),
        ([seen("pending", task_id=NASTY), NotImplementedError(NASTY)], 8),
    ],
)
def test_text_of_the_provider_is_escaped(script: list[Any], code: int, scripted: Scripted, capsys: Captured) -> None:
    scripted(*script)

    assert exit_code(*RUN) == code
    out, err = capsys.readouterr()
    assert out.isascii()
    assert all(char.isprintable() or char == "\n" for char in out + err)
    assert not any(line.startswith("]0;t") for line in err.splitlines())


def test_narrow_encoding_loses_no_result(scripted: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scripted(seen("進行中"), DONE, PICTURE)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    assert exit_code(*RUN, "--to", str(tmp_path / "結果.png")) == 0
    assert (tmp_path / "結果.png").read_bytes() == encoded()
    assert out.buffer.getvalue() == f"{tmp_path}/\\u7d50\\u679c.png\n".encode()  # type: ignore[attr-defined]  # the stdout of the test


@pytest.fixture
def unread() -> Iterator[IO[str]]:
    """A pipe whose reader is closed."""
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "w") as stream:
        yield stream


def test_unwritable_stdout_ends_a_command_without_a_traceback(unread: IO[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)

    def ended(stdout: Any, *arguments: str) -> tuple[int, bytes]:
        command = [sys.executable, "-m", "unitask", *arguments]
        process = subprocess.run(command, check=False, timeout=60, stdout=stdout, stderr=subprocess.PIPE)
        return process.returncode, process.stderr

    assert ended(unread, "tasks") == (cli.CLOSED_PIPE, b"")
    assert ended(unread, "sandbox", "--port", "0") == (cli.CLOSED_PIPE, b"")
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb") as full:
            assert ended(full, "tasks") == (10, b"unitask: stdout cannot be written: No space left on device\n")


def test_closed_stderr_stops_nothing(unread: IO[str], unitask_provider: UnitaskProvider, tmp_path: Path) -> None:
    with contextlib.redirect_stderr(unread):
        assert exit_code(*RUN, "--to", str(tmp_path / "o.png")) == 0

    assert len(unitask_provider.tasks) == 1
    assert (tmp_path / "o.png").exists()


def test_sandbox_is_started_with_its_options(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}

    def serve(settings: dict[str, Any], host: str, port: int, on_ready: Callable[[str], None]) -> None:
        found.update(settings, host=host, port=port)
        on_ready(f"http://127.0.0.1:{port}")

    sandbox: Any = ModuleType("unitask_sandbox")
    sandbox.Settings, sandbox.serve, sandbox.read_faults = dict, serve, "the faults in {}".format
    monkeypatch.setitem(sys.modules, "unitask_sandbox", sandbox)

    words = "--port 7 --speed 2.5 --data kept --key mine=0.5 --key other --concurrency 9 --rate 2.5 --faults f.json"
    words += " --host 192.0.2.1 --allow-host b --private-addresses all --accept-unknown --seed 3"
    words += " --allow-origin https://a.test --allow-origin * --public-url https://box.example"
    assert exit_code("sandbox", *words.split()) == 0
    assert found == {
        "keys": {"sandbox": 10.0, "mine": 0.5, "other": 10.0},
        "host": "192.0.2.1",
        "port": 7,
        "allowed_hosts": ("b",),
        "allowed_origins": ("https://a.test", "*"),
        "public_url": "https://box.example",
        "accept_unknown": True,
        "seed": 3,
        "private_addresses": "all",
        "data": Path("kept"),
        "speed": 2.5,
        "concurrency": 9,
        "rate": 2.5,
        "faults": "the faults in f.json",
    }
    out, err = capsys.readouterr()
    assert "export UNITASK_BASE_URL=https://box.example UNITASK_API_KEY=sandbox\n" in out
    assert "is at https://box.example, and listens at http://127.0.0.1:7." in out
    assert "have the consent of the persons shown" in out
    assert "192.0.2.1 can use this sandbox" in err
    assert exit_code("sandbox") == 0
    assert (found["host"], found["port"], found["speed"]) == ("127.0.0.1", 8042, "instant")
