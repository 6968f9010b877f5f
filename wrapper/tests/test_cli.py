"""The command line: what was asked for goes to stdout, everything else to stderr, and the exit code tells."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from unitask import cli, tasks
from unitask._core.effects import Response
from unitask._terminal import dollars
from unitask.cli import main
from unitask.testing import UnitaskProvider
from unitask.testing.patching import use_transport

from .pictures import encoded
from .script import TASK_ID, answer, seen
from .shells import BASE_URL, KEY, provider

OUTPUT_URL = "https://out.test/a.png"
DONE = seen("completed", output={"image_url": OUTPUT_URL})
RUN = ["run", "FaceSwap", "target_image=https://me.test/a.png", "swap_image=https://me.test/b.png"]

Scripted = Callable[..., UnitaskProvider]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Gives the client of the command line a scripted provider and a clock of its own."""

    def make(*script: Any) -> UnitaskProvider:
        replies = provider(*script)
        monkeypatch.setenv("UNITASK_API_KEY", KEY)
        monkeypatch.setenv("UNITASK_BASE_URL", BASE_URL)
        use_transport(monkeypatch, replies.transport, replies.clock)
        return replies

    return make


def test_catalogue_is_printed_as_json_and_for_people(capsys: Captured) -> None:
    assert (main(["tasks", "--json"]), main(["tasks"])) == (0, 0)

    listed, lines = capsys.readouterr().out.split("\n]\n")
    face_swap = next(entry for entry in json.loads(f"{listed}]") if entry["name"] == "FaceSwap")
    expected = {"family": "faceswap", "model": "Qubico/image-toolkit", "price_usd": 0.01}
    assert face_swap.items() >= {**expected, "docs": 'piapi.ai, Faceswap, "Image Faceswap" (2025-04-03)'}.items()
    for start, end in (
        ("FaceSwap ", ", $0.01 per generation."),
        ("MmaudioVideo2Audio ", ", $0.00005 per second of video."),
        ("KlingVideo ", ", from $0.2 per 5 seconds."),
        ("VideoFaceSwap ", ", price unknown."),
    ):
        assert any(line.startswith(start) and end in line for line in lines.splitlines())
    assert [dollars(usd) for usd in (None, 0.0, 1e-7, 20)] == [None, "$0", "$0.0000001", "$20"]


@pytest.mark.parametrize("command", ["run", "wait"])
def test_output_is_fetched_and_its_path_printed(
    command: str, scripted: Scripted, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    picture, output = tmp_path / "a=b.png", tmp_path / f"{TASK_ID}.png"
    picture.write_bytes(encoded())
    output.write_bytes(b"mine")
    words = ["FaceSwap", f"target_image={picture}", "--to=~/", f"swap_image={picture}"]
    replies = scripted(seen("pending"), DONE, httpx.Response(200, content=encoded()))

    options = ["--overwrite", "--base-url", "https://given.test"]
    assert main([command, *options, *(words if command == "run" else [TASK_ID, "--to=~/"])]) == 0
    assert capsys.readouterr() == (f"{output}\n", f"task {TASK_ID}: pending\ntask {TASK_ID}: completed\n")
    assert output.read_bytes() == encoded()
    assert replies.requests[0].url.startswith("https://given.test/api/v1/task")


@pytest.mark.parametrize(("timeout", "limit"), [("5", 5.0), ("0", 0.0)])
@pytest.mark.parametrize("words", [RUN, ["wait", TASK_ID]], ids=["run", "wait"])
def test_timeout_ends_a_command(words: list[str], timeout: str, limit: float, scripted: Scripted) -> None:
    replies = scripted(*[seen("processing")] * 99)

    assert main([*words, "--timeout", timeout]) == 1
    assert replies.clock.passed == pytest.approx(limit)


WRONG: list[tuple[list[str], str]] = [
    (["run", "FaceSwop"], "there is no task type 'FaceSwop': `unitask tasks` lists them"),
    (["run", "FaceSwap"], "FaceSwap needs target_image=...; FaceSwap needs swap_image=..."),
    ([*RUN, "target=x"], "'target=x' is not FIELD=VALUE: the fields of FaceSwap are target_image, swap_image"),
    ([*RUN, "--timeout", "-1"], "timeout is -1.0"),
    ([*RUN, "--base-url", "provider.test"], "base_url is 'provider.test'"),
    (["wait", " "], "the task id is empty"),
    ([*RUN, "--to", __file__], "exists: name another file"),
    ([*RUN, "--to", ""], "--to is empty"),
    ([*RUN, "swap_image"], "'swap_image' is not FIELD=VALUE"),
    ([*RUN, "swap_image=x.png"], "swap_image is 'x.png': the field is given twice"),
    (["run", "Seedance2", "duration=six"], "duration is 'six': JSON is expected, such as 6 or true"),
    (["run", "KlingVideo", "enable_audio=3", "prompt=a"], "input.enable_audio: 3 is not"),
    (["run", "KlingVideo", f"elements={'[' * 9999}"], "JSON is expected"),
    (["run", "KlingVideo", "elements:=3", "elements=3"], "elements is '3': the field is given twice"),
    (["run", "KlingVideo", "camera_control:={"], "camera_control is '{': JSON is expected"),
    (["run", "KlingVideo", "cfg_scale:=NaN"], "cfg_scale is 'NaN': JSON is expected"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_input_is_told_and_nothing_is_sent(
    arguments: list[str], said: str, scripted: Scripted, capsys: Captured
) -> None:
    scripted()

    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("unitask: ")
    assert said in err


@pytest.mark.parametrize(
    "arguments",
    [[], ["wait"], [*RUN, "--timeout", "soon"], ["sandbox", "--speed", "fast"], ["sandbox", "--key", "a=much"]],
    ids=" ".join,
)
def test_wrong_use_is_exit_code_2(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--speed -1", "speed -1.0: give"),
        ("--key a=-1", "the balance -1.0 of a key"),
        ("--key =1", "an API key must not be empty"),
        ("--concurrency 0", "concurrency 0: give an integer from 1"),
        ("--faults nothing.json", "nothing.json cannot be read: No such file or directory"),
        ("--port 99999", "port 99999: give a number from 0 to 65535"),
        ("--port 0 --data /dev/null", "the sandbox cannot start: "),
        ("--port {taken}", "port {taken} is taken: give another one with --port, or 0 for a free one"),
    ],
)
def test_wrong_settings_of_the_sandbox_are_told(arguments: str, said: str, capsys: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert main(["sandbox", *arguments.format(taken=taken).split()]) == 1

    err = capsys.readouterr().err
    assert said.format(taken=taken) in err
    assert err.count("\n") == 1
    assert "sent" not in err


STARTED = {
    "keys": {"sandbox": 10.0}, "speed": "instant", "data": None, "concurrency": None, "rate": None,
    "host": "127.0.0.1", "port": 8042, "allowed_hosts": (), "private_addresses": None, "faults": (),
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "started"),
    [
        ("", {}),
        (
            "--port 7 --speed 2.5 --data kept --key mine=0.5 --key other",
            {"keys": {"sandbox": 10.0, "mine": 0.5, "other": 10.0}, "speed": 2.5, "data": Path("kept"), "port": 7},
        ),
        ("--speed real", {"speed": "real", "concurrency": 5}),
        ("--speed real --concurrency 9 --rate 2.5", {"speed": "real", "concurrency": 9, "rate": 2.5}),
        ("--faults f.json", {"faults": "the faults in f.json"}),
        (
            "--host 192.0.2.1 --allow-host box.test --allow-host b --private-addresses all",
            {"host": "192.0.2.1", "allowed_hosts": ("box.test", "b"), "private_addresses": "all"},
        ),
    ],
)
def test_sandbox_is_started_as_told(
    words: str, started: dict[str, Any], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {}

    def serve(settings: dict[str, Any], host: str, port: int, on_ready: Callable[[str], None]) -> None:
        found.update(settings, host=host, port=port)
        on_ready(f"http://127.0.0.1:{port}")

    sandbox: Any = ModuleType("unitask_sandbox")
    sandbox.Settings, sandbox.serve, sandbox.read_faults = dict, serve, "the faults in {}".format
    monkeypatch.setitem(sys.modules, "unitask_sandbox", sandbox)

    assert main(["sandbox", *words.split()]) == 0
    assert found == {**STARTED, **started}
    out, err = capsys.readouterr()
    assert f"export UNITASK_BASE_URL=http://127.0.0.1:{found['port']} UNITASK_API_KEY=sandbox\n" in out
    assert "have the consent of the persons shown" in out
    assert ("warning: everyone who can reach 192.0.2.1 can use this sandbox" in err) == ("--host" in words)


@pytest.mark.parametrize("command", ["sandbox", "demo"])
def test_missing_sandbox_says_what_to_install(command: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unitask_sandbox", None)
    monkeypatch.delitem(sys.modules, "unitask.demo", raising=False)

    assert main([command]) == 1
    assert cli.SANDBOX_MISSING in capsys.readouterr().err


IMAGES = ["https://me.test/a.png", "https://me.test/b.png"]


@pytest.mark.parametrize(
    ("kind", "words", "field", "value"),
    [
        ("Seedance2", ["prompt=true"], "prompt", "true"),
        ("Seedance2", ["prompt=a=b:=c"], "prompt", "a=b:=c"),
        ("Seedance2", [f"image_urls={image}" for image in IMAGES], "image_urls", IMAGES),
        ("Seedance2", [f"image_urls:={json.dumps(IMAGES)}"], "image_urls", IMAGES),
        ("KlingVideo", ["enable_audio=true"], "enable_audio", True),
        ("KlingVideo", ["enable_audio:=false"], "enable_audio", False),
        ("Seedance2", ["duration=5"], "duration", 5),
        ("KlingVideo", ["cfg_scale=0.5"], "cfg_scale", 0.5),
        ("KlingVideo", ["cfg_scale=1"], "cfg_scale", 1),
        ("KlingVideo", ['camera_control={"type": "simple"}'], "camera_control", {"type": "simple"}),
        ("KlingVideo", ['camera_control:={"type": "simple"}'], "camera_control", {"type": "simple"}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_value_is_read_by_the_type_of_its_field(
    kind: str, words: list[str], field: str, value: Any, unitask_provider: UnitaskProvider
) -> None:
    rest = [] if field == "prompt" else ["prompt=a fox"]

    assert main(["run", kind, *words, *rest]) == 0
    sent = unitask_provider.tasks[0].input[field]
    assert (sent, type(sent)) == (value, type(value))


@pytest.mark.usefixtures("unitask_provider")
def test_advice_about_an_input_is_told(capsys: Captured) -> None:
    assert main(["run", "TrellisTextTo3d", "prompt=a bear", "ss_sampling_steps=7"]) == 0
    assert "unitask: warning: input.ss_sampling_steps: 7 is less than the minimum of 10" in capsys.readouterr().err


LOST = answer(502, b"<html>")
PAID = seen("pending", meta={"usage": {"consume": 100_000}})
FREE = seen("processing", meta={"usage": {"consume": 0}})
MANY = seen("completed", output={"image_urls": [OUTPUT_URL, "https://out.test/b.png"]})
GONE = [httpx.Response(403)] * 9


STOP = KeyboardInterrupt()
TO = ["--to", "{}/o.png"]
ENDS: list[tuple[list[Any], list[str], list[str]]] = [  # script, options, lines
    ([PAID, *[httpx.Response(502)] * 99], TO, ["is pending; paid: $0.01", "{} --to {}/o.png` continues"]),
    ([FREE] * 99, ["--timeout", "5"], ["is processing; paid: unknown", "{}` continues"]),
    ([seen(), seen("failed")], [], ["is failed; paid: unknown"]),
    ([PAID, DONE, *GONE], TO, ["is completed; paid: unknown", "{} --to {}/o.png` continues"]),
    ([PAID, seen("completed", output={})], TO, ["has no output file"]),
    ([PAID, seen("completed", output=[1])], TO, ["output is [1], not an object"]),
    ([PAID, MANY, httpx.Response(200, content=encoded()), *GONE], ["--to", "{}/"], ["{} --to {}/ --overwrite`"]),
    ([PAID, DONE, STOP], TO, ["interrupted", "is completed", "{}/o.png` continues"]),
    ([PAID, STOP], ["--overwrite"], ["interrupted", "is pending; paid: $0.01", "{} --overwrite` continues"]),
    ([PAID, NotImplementedError()], ["--base-url", "https://b.test"], ["{} --base-url https://b.test` continues"]),
    ([STOP], [], ["may have been accepted", "search the task history on the provider's"]),
    ([LOST], [], ["sent between 2023-11-14 22:13:20 and", "`unitask wait ID` fetches the result"]),
    (
        [httpx.ReadTimeout("")],
        TO,
        ["of Qubico/image-toolkit face-swap may have been accepted", "search the task history"],
    ),
]


@pytest.mark.parametrize(("script", "options", "lines"), ENDS)
def test_what_ends_a_paid_task_is_told_with_what_goes_on(
    script: list[Any], options: list[str], lines: list[str], scripted: Scripted, capsys: Captured, tmp_path: Path
) -> None:
    STOP.__dict__.pop("__notes__", None)
    scripted(*script)

    assert main([*RUN, *(word.format(tmp_path) for word in options)]) == (130 if STOP in script else 1)
    err = capsys.readouterr().err
    for line in lines:
        assert line.replace("{}/", f"{tmp_path}/").replace("{}", f"`unitask wait {TASK_ID}") in err
    assert "nothing was sent" not in err
    parser, _ = cli._parser()
    for command in re.findall(r"`unitask (.*?)`", err):
        assert parser.parse_args(shlex.split(command))


@pytest.mark.parametrize("script", [[PAID, STOP], [STOP], [httpx.ReadTimeout("")]], ids=["wait", "create", "lost"])
def test_what_the_library_logs_does_not_reach_the_terminal(
    script: list[Any], scripted: Scripted, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("", "unitask"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    scripted(*script)

    assert main(RUN) in (1, 130)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith(("unitask: ", "task ")) for line in lines)


def test_interruption_before_the_task_is_told_names_it(
    scripted: Scripted, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_progress", lambda _: interrupted)
    scripted(PAID)

    assert main([*RUN, "--to", "o.png"]) == 130
    assert capsys.readouterr().err.splitlines() == [
        "unitask: interrupted",
        f"unitask: task {TASK_ID} is accepted; paid: unknown",
        f"unitask: `unitask wait {TASK_ID} --to o.png` continues with it",
    ]


def test_legacy_task_is_fetched_by_the_command_that_is_named(
    unitask_provider: UnitaskProvider, capsys: Captured, tmp_path: Path
) -> None:
    unitask_provider.completes(tasks.LegacyFaceSwap, statuses=["pending", httpx.ReadTimeout(""), "completed"])

    assert main(["run", "LegacyFaceSwap", *RUN[2:], "--to", str(tmp_path / "o.png"), "--timeout", "0"]) == 1
    (command,) = re.findall(r"`unitask (wait .*?)`", capsys.readouterr().err)
    assert main(shlex.split(command)) == 0
    assert (tmp_path / "o.png").exists()


def named(task_id: str, status: str, **fields: Any) -> Response:
    """An answer about the task with this id."""
    return answer(200, {"code": 200, "data": {"task_id": task_id, "status": status, **fields}, "message": ""})


def test_task_whose_id_looks_like_an_option_is_fetched_by_the_command_that_is_named(
    scripted: Scripted, capsys: Captured
) -> None:
    replies = scripted(named("--to", "pending"), STOP, named("--to", "completed"))

    assert main([*RUN, "--base-url", BASE_URL]) == 130
    (command,) = re.findall(r"`unitask (wait .*?)`", capsys.readouterr().err)
    assert main(shlex.split(command)) == 0
    assert replies.lines[-1] == "GET /api/v1/task/--to"


NASTY = "\x1b]0;t\x07\x9b31m\u202e\u2066\u200f\x7f\r\n"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([seen(NASTY), seen("failed", error={"message": f"{NASTY}\ud800"})], 1),
        ([seen(output={"image_url": OUTPUT_URL, NASTY: f"{NASTY}\ud800"}, status="completed")], 0),
        ([named(NASTY, "completed")], 0),
        ([named(NASTY, "failed")], 1),
        ([named(NASTY, "pending"), NotImplementedError(NASTY)], 1),
    ],
)
def test_nothing_of_the_provider_reaches_the_terminal_unescaped(
    script: list[Any], code: int, scripted: Scripted, capsys: Captured
) -> None:
    scripted(*script)

    assert main(RUN) == code
    out, err = capsys.readouterr()
    assert out.isascii()
    assert all(char.isprintable() or char == "\n" for char in out + err)
    assert not any(line.startswith("]0;t") for line in err.splitlines())
    assert not out or json.dumps(NASTY)[1:-1] in out


def test_narrow_encoding_loses_nothing_that_was_paid(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scripted(seen("進行中"), DONE, httpx.Response(200, content=encoded()))
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    assert main([*RUN, "--to", str(tmp_path / "結果.png")]) == 0
    assert (tmp_path / "結果.png").read_bytes() == encoded()
    assert out.buffer.getvalue() == f"{tmp_path}/\\u7d50\\u679c.png\n".encode()  # type: ignore[attr-defined]
    assert b"\\u9032\\u884c\\u4e2d" in err.buffer.getvalue()  # type: ignore[attr-defined]


def command_line(*arguments: str, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    """Run it in a process of its own; streams that are not given are kept."""
    command = [sys.executable, "-m", "unitask", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(command, check=False, env=environment, timeout=60, **streams)


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader is closed."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("arguments", [["tasks"], ["sandbox", "--port", "0"]], ids=" ".join)
def test_pipe_that_nobody_reads_ends_it_quietly(arguments: list[str], unread: int) -> None:
    done = command_line(*arguments, stdout=unread)

    assert (done.returncode, done.stderr) == (cli.CLOSED_PIPE, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_cannot_be_written_is_told() -> None:
    with Path("/dev/full").open("wb") as full:
        done = command_line("tasks", stdout=full)

    assert (done.returncode, done.stderr) == (1, b"unitask: stdout cannot be written: No space left on device\n")


def test_closed_stderr_stops_nothing(unread: int, unitask_provider: UnitaskProvider, tmp_path: Path) -> None:
    with os.fdopen(os.dup(unread), "w") as stderr, contextlib.redirect_stderr(stderr):
        assert main([*RUN, "--to", str(tmp_path / "o.png")]) == 0

    assert len(unitask_provider.tasks) == 1
    assert (tmp_path / "o.png").exists()


def test_number_that_json_does_not_have_is_printed_as_text(scripted: Scripted, capsys: Captured) -> None:
    scripted(named("a", "completed", output={"x": float("nan"), "y": float("inf")}))

    assert main(RUN) == 0
    assert json.loads(capsys.readouterr().out)["output"] == {"x": "NaN", "y": "Infinity"}
