"""The command line: what was asked for goes to stdout, everything else to stderr, and the exit code tells."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import unitask
from hypothesis import given
from hypothesis import strategies as st
from unitask import Client, InvalidInput, cli, tasks
from unitask._model import spec
from unitask._terminal import dollars, reworded, shown
from unitask.cli import main
from unitask.inputs import request_body
from unitask.testing import UnitaskProvider

from .pictures import encoded
from .script import TASK_ID, answer, refused, seen
from .shells import BASE_URL, KEY, FakeClock, Provider, provider

OUTPUT_URL = "https://out.test/a.png"
DONE = seen("completed", output={"image_url": OUTPUT_URL})
RUN = ["run", "FaceSwap", "target_image=https://me.test/a.png", "swap_image=https://me.test/b.png"]

Scripted = Callable[..., Provider]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Gives the client of the command line a scripted provider and a clock of its own."""

    def make(*script: Any, clock: Any = None) -> Provider:
        replies, time = provider(*script), clock or FakeClock()
        monkeypatch.setenv("UNITASK_API_KEY", KEY)
        monkeypatch.setenv("UNITASK_BASE_URL", BASE_URL)
        scripted_client = partial(Client, transport=httpx.MockTransport(replies), clock=time, sleep=time.sleep)
        monkeypatch.setattr(cli, "Client", scripted_client)
        return replies

    return make


def test_catalogue_is_printed_as_json(capsys: Captured) -> None:
    """A list of objects that a program can read."""
    assert main(["tasks", "--json"]) == 0

    entries = json.loads(capsys.readouterr().out)
    face_swap = next(entry for entry in entries if entry["name"] == "FaceSwap")
    assert all({"name", "family", "model", "task_type", "price_usd", "docs"} <= entry.keys() for entry in entries)
    assert face_swap["family"] == "faceswap"
    assert (face_swap["model"], face_swap["task_type"]) == ("Qubico/image-toolkit", "face-swap")
    assert face_swap["price_usd"] == 0.01
    assert face_swap["docs"] == 'piapi.ai, Faceswap, "Image Faceswap" (2025-04-03)'


def test_catalogue_is_printed_for_people(capsys: Captured) -> None:
    """A line each, with its price."""
    assert main(["tasks"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("FaceSwap ") and ", $0.01 per generation." in line for line in lines)
    assert any(line.startswith("MmaudioVideo2Audio ") and ", $0.00005 per second of video." in line for line in lines)
    assert any(line.startswith("KlingVideo ") and ", from $0.2 per 5 seconds." in line for line in lines)
    assert any(line.startswith("VideoFaceSwap ") and ", price unknown." in line for line in lines)


@pytest.mark.parametrize(
    ("usd", "said"),
    [(None, None), (0.0, "$0"), (0.01, "$0.01"), (0.0000001, "$0.0000001"), (0.2, "$0.2"), (1.0, "$1"), (20, "$20")],
)
def test_amount_is_written_whole_and_an_unknown_one_is_no_zero(usd: float | None, said: str | None) -> None:
    """Without zeros at its end."""
    assert dollars(usd) == said


def test_run_prints_the_task(scripted: Scripted, capsys: Captured) -> None:
    """The whole of it as JSON; how it goes on is told on stderr."""
    replies = scripted(seen("pending"), DONE)

    assert main(RUN) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["output"] == {"image_url": OUTPUT_URL}
    assert err == f"task {TASK_ID}: pending\ntask {TASK_ID}: completed\n"
    assert replies.body()["input"] == {
        "target_image": "https://me.test/a.png",
        "swap_image": "https://me.test/b.png",
    }


def test_run_fetches_the_output(scripted: Scripted, capsys: Captured, tmp_path: Path) -> None:
    """And prints its path alone."""
    scripted(seen("pending"), DONE, httpx.Response(200, content=encoded()))

    assert main([*RUN, "--to", str(tmp_path / "out.png")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out.png'}\n"
    assert (tmp_path / "out.png").read_bytes() == encoded()


def test_picture_is_given_by_its_path(scripted: Scripted, tmp_path: Path) -> None:
    """An equals sign may stand in it."""
    path = tmp_path / "a=b.png"
    path.write_bytes(encoded())
    replies = scripted(DONE)

    assert main(["run", "FaceSwap", f"target_image={path}", f"swap_image={path}"]) == 0
    assert replies.body()["input"]["target_image"] == replies.body()["input"]["swap_image"]


def test_wait_goes_on_with_a_task(scripted: Scripted, capsys: Captured, tmp_path: Path) -> None:
    """By its id."""
    replies = scripted(seen("pending"), DONE, httpx.Response(200, content=encoded()))

    assert main(["wait", TASK_ID, "--to", f"{tmp_path}/"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / TASK_ID}.png\n"
    assert replies.lines[0] == f"GET /api/v1/task/{TASK_ID}"


def test_base_url_can_be_given(scripted: Scripted) -> None:
    """Before the one of the environment."""
    replies = scripted(DONE)

    assert main(["wait", TASK_ID, "--base-url", "https://given.test"]) == 0
    assert replies.requests[0].url.host == "given.test"


WRONG: dict[str, tuple[list[str], str]] = {
    "no such type": (["run", "FaceSwop"], "there is no task type 'FaceSwop': `unitask tasks` lists them"),
    "no type of the catalogue": (["run", "Raw"], "there is no task type 'Raw'"),
    "no fields": (["run", "FaceSwap"], "FaceSwap needs target_image=...; FaceSwap needs swap_image=..."),
    "unknown field": ([*RUN, "target=x"], "FaceSwap has no field 'target'; it has target_image, swap_image"),
    "no field of the wire": ([*RUN, "extra=x"], "FaceSwap has no field 'extra'"),
    "unreadable file": ([*RUN[:3], "swap_image=missing.png"], "swap_image: 'missing.png' cannot be read"),
    "bad timeout": ([*RUN, "--timeout", "-1"], "timeout is -1.0"),
    "bad provider": (
        [*RUN, "--base-url", "provider.test"],
        "--base-url is 'provider.test'",
    ),
    "blank id": (["wait", " "], "the task id is empty"),
    "empty place": ([*RUN, "--to", ""], "--to is empty"),
    "timeout that is no number": ([*RUN, "--timeout", "nan"], "--timeout is nan: give seconds, 0 to look once"),
    "like a type": (["run", "faceswap"], "`unitask tasks` lists them (did you mean FaceSwap?)"),
    "like a field": (
        [*RUN, "swap_imgae=x"],
        "no field 'swap_imgae'; it has target_image, swap_image (did you mean swap",
    ),
    "no value": ([*RUN, "swap_image"], "'swap_image' is not of the form FIELD=VALUE"),
    "given twice": ([*RUN, "swap_image=x.png"], "swap_image is given 2 times ('https://me.test/b.png', 'x.png')"),
    **{
        f"{kind} {word:.40}": (["run", kind, word], said)
        for kind, word, said in [
            ("Seedance2", "duration=six", "duration is 'six': a whole number is expected"),
            ("Seedance2", "duration=6.5", "duration is '6.5': a whole number is expected"),
            ("Seedance2", "duration=nan", "duration is 'nan': a whole number is expected"),
            ("Seedance2", "duration=", "duration is '': a whole number is expected"),
            ("Seedance2", f"duration={'9' * 5000}", "a whole number is expected"),
            ("KlingVideo", "enable_audio=maybe", "enable_audio is 'maybe': true or false is expected"),
            ("KlingVideo", "cfg_scale=1e999", "cfg_scale is '1e999': a number is expected"),
            ("KlingVideo", "cfg_scale=half", "cfg_scale is 'half': a number is expected"),
            ("KlingVideo", "camera_control=wide", "camera_control is 'wide': an object in JSON is expected"),
            ("KlingVideo", "camera_control=[1]", "camera_control is '[1]': an object in JSON is expected"),
            ("KlingVideo", f"elements={'[' * 9999}", "a list in JSON is expected"),
            ("KlingVideo", "camera_control:={", "camera_control is '{': JSON is expected after :="),
            ("KlingVideo", "cfg_scale:=NaN", "cfg_scale is 'NaN': JSON is expected after :="),
            ("KlingVideo", "elements=[", "elements is '[': a list in JSON is expected"),
            ("MidjourneyImagine", "process_mode=fats", "relax, fast, turbo is expected (did you mean fast?)"),
            ("UdioLyrics", "prompt:=1", "input.prompt: 1 is not of type 'string'"),
        ]
    },
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_told_and_nothing_is_sent(
    arguments: list[str], said: str, scripted: Scripted, capsys: Captured
) -> None:
    """Exit code 1, nothing on stdout, no traceback."""
    scripted()

    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("unitask: nothing was sent: ")
    assert said in err


def test_missing_key_names_the_local_provider(capsys: Captured) -> None:
    """Whoever tries it first has none."""
    assert main(RUN) == 1
    assert "`unitask sandbox`" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [RUN, ["wait", TASK_ID]], ids=["run", "wait"])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("taken.png", "exists: name another file, or pass --overwrite"),
        ("folder.png", "is a folder: name a file, or end it with a slash"),
        ("taken.png/", "is a file, not a folder"),
        ("taken.png/a.png", "is a file, not a folder"),
        ("x" * 300, "cannot be written: File name too long"),
        ("x" * 300 + "/", "cannot be written: File name too long"),
    ],
)
def test_output_that_cannot_be_written_is_told_before_anything_is_sent(
    arguments: list[str], place: str, said: str, scripted: Scripted, capsys: Captured, tmp_path: Path
) -> None:
    """Nothing is paid for that could not be kept."""
    (tmp_path / "taken.png").write_bytes(b"mine")
    (tmp_path / "folder.png").mkdir()
    scripted()

    assert main([*arguments, "--to", f"{tmp_path}/{place}"]) == 1
    assert said in capsys.readouterr().err


def test_existing_output_is_replaced_when_told(scripted: Scripted, tmp_path: Path) -> None:
    """By --overwrite."""
    (tmp_path / "out.png").write_bytes(b"mine")
    scripted(DONE, httpx.Response(200, content=encoded()))

    assert main([*RUN, "--to", str(tmp_path / "out.png"), "--overwrite"]) == 0
    assert (tmp_path / "out.png").read_bytes() == encoded()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ([refused(401, "failed to verify api key")], "unitask: HTTP 401: failed to verify api key. Check the key"),
        ([seen("failed", error={"message": "no face found in the image"})], "failed: no face found in the image"),
        ([answer(502, b"<html>")], "may have been accepted, and is not sent again"),
    ],
    ids=["refused", "failed", "uncertain"],
)
def test_error_is_told_in_a_sentence(script: list[Any], said: str, scripted: Scripted, capsys: Captured) -> None:
    """Exit code 1 and no traceback."""
    scripted(*script)

    assert main(RUN) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_timeout_says_how_to_go_on(scripted: Scripted, capsys: Captured) -> None:
    """With the id."""
    scripted(*[seen("processing")] * 99)

    assert main([*RUN, "--timeout", "5"]) == 1
    assert f"`unitask wait {TASK_ID}`" in capsys.readouterr().err


def test_lost_provider_says_how_to_go_on(scripted: Scripted, capsys: Captured) -> None:
    """A wait that ends because nobody answers any more has not lost the task either."""
    scripted(seen("processing"), *[httpx.Response(502)] * 99)

    assert main(RUN) == 1
    assert f"`unitask wait {TASK_ID}`" in capsys.readouterr().err


def test_interruption_says_which_task_goes_on(scripted: Scripted, capsys: Captured) -> None:
    """Ctrl-C is exit code 130."""

    class Clock(FakeClock):
        def sleep(self, seconds: float) -> None:
            if seconds:
                raise KeyboardInterrupt

    scripted(seen("pending"), clock=Clock())

    assert main(RUN) == 130
    assert f"unitask: interrupted\nunitask: task {TASK_ID} goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["swap"], ["wait"], ["run"], [*RUN, "--timeout", "soon"], ["tasks", "--xml"]], ids=" ".join
)
def test_wrong_use_is_exit_code_2(arguments: list[str], capsys: Captured) -> None:
    """As argparse has it."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sandbox", "--speed", "fast"], "--speed is 'fast': instant, real, or a factor"),
        (["sandbox", "--key", "mine=much"], "--key: 'much' is no balance in USD"),
        (["sandbox", "--speed", "-1"], "speed -1.0: give"),
        (["sandbox", "--concurrency", "0"], "concurrency 0: give a number from 1 on"),
        (["sandbox", "--rate", "0"], "rate 0.0: give a number of requests a second"),
        (["sandbox", "--faults", "nothing.json"], "--faults: nothing.json cannot be read: No such file or directory"),
        (["sandbox", "--faults", "."], "--faults: . cannot be read"),
        (["sandbox", "--speed", "nan"], "speed nan: give"),
        (["sandbox", "--speed", "0"], "speed 0.0: give"),
        (["sandbox", "--rate", "nan"], "--rate nan: give a number of requests a second above 0, or leave it out"),
        (["sandbox", "--port", "99999"], "--port 99999: give a number from 1 to 65535, or 0 for a free one"),
        (["sandbox", "--port", "-1"], "--port -1: give a number"),
        (["sandbox", "--key", "a=nan"], "--key: 'nan' is no balance in USD"),
        (["sandbox", "--key", "a=inf"], "--key: 'inf' is no balance in USD"),
        (["sandbox", "--key", "a=-1"], "--key: '-1' is no balance in USD"),
        (["sandbox", "--key", "=1"], "an API key must not be empty"),
        (["sandbox", "--host", "127.0.0.999"], "the sandbox cannot start: "),
        (["sandbox", "--port", "0", "--data", "/dev/null"], "the sandbox cannot start: "),
    ],
)
def test_wrong_settings_of_the_sandbox_are_told(arguments: list[str], said: str, capsys: Captured) -> None:
    """Before it starts, in one line that says nothing of what was sent."""
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert "sent" not in err


class FakeSandbox(ModuleType):
    """Stands for the local provider, and remembers how it was started."""

    def __init__(self) -> None:
        super().__init__("unitask_sandbox")
        self.started: dict[str, Any] = {}

    def Settings(self, **settings: Any) -> dict[str, Any]:  # noqa: N802 - the sandbox's name
        """What it was told."""
        return settings

    def read_faults(self, path: Path) -> str:
        """What shall go wrong."""
        return f"the faults in {path}"

    def serve(self, settings: dict[str, Any], host: str, port: int, on_ready: Callable[[str], None]) -> None:
        """Start, and be ready at once."""
        self.started = {**settings, "host": host, "port": port}
        on_ready(f"http://127.0.0.1:{port}")


STARTED = {
    "keys": {"sandbox": 10.0},
    "speed": "instant",
    "data": None,
    "concurrency": None,
    "rate": None,
    "host": "127.0.0.1",
    "port": 8042,
    "allowed_hosts": (),
    "private_addresses": None,
}


@pytest.mark.parametrize(
    ("arguments", "started"),
    [
        ([], {}),
        (
            ["--port", "7", "--speed", "2.5", "--data", "kept", "--key", "mine=0.5", "--key", "other"],
            {
                "keys": {"sandbox": 10.0, "mine": 0.5, "other": 10.0},
                "speed": 2.5,
                "data": Path("kept"),
                "port": 7,
            },
        ),
        (["--speed", "real"], {"speed": "real", "concurrency": 5}),
        (["--speed", "real", "--concurrency", "9", "--rate", "2.5"], {"speed": "real", "concurrency": 9, "rate": 2.5}),
        (["--faults", "f.json"], {"faults": "the faults in f.json"}),
        (
            ["--host", "192.0.2.1", "--allow-host", "box.test", "--allow-host", "b", "--private-addresses", "all"],
            {"host": "192.0.2.1", "allowed_hosts": ("box.test", "b"), "private_addresses": "all"},
        ),
    ],
    ids=["as it is", "as told", "real speed", "limits", "with faults", "for others"],
)
def test_sandbox_is_started_as_told(
    arguments: list[str], started: dict[str, Any], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says what to set in order to use it."""
    sandbox = FakeSandbox()
    monkeypatch.setitem(sys.modules, "unitask_sandbox", sandbox)

    assert main(["sandbox", *arguments]) == 0
    assert sandbox.started == {**STARTED, **started}
    url = f"http://127.0.0.1:{started.get('port', 8042)}"
    out, err = capsys.readouterr()
    assert f"export UNITASK_BASE_URL={url} UNITASK_API_KEY=sandbox\n" in out
    assert "have the consent of the persons shown" in out
    assert ("warning: everybody who can reach 192.0.2.1 can use this sandbox" in err) == ("--host" in arguments)


@pytest.mark.parametrize("kind", [OSError, ValueError])
def test_sandbox_that_cannot_start_says_why(
    kind: type[Exception], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is taken, a data folder that another one works with, or one that is damaged."""

    def serve(*_: object, **__: object) -> None:
        raise kind("the data folder is in use")

    sandbox = FakeSandbox()
    monkeypatch.setattr(sandbox, "serve", serve)
    monkeypatch.setitem(sys.modules, "unitask_sandbox", sandbox)

    assert main(["sandbox"]) == 1
    assert "the sandbox cannot start: the data folder is in use" in capsys.readouterr().err


def test_port_that_is_taken_says_what_to_do(capsys: Captured) -> None:
    """As by a local provider that runs in another window."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["sandbox", "--port", str(port)]) == 1

    said = f"the sandbox cannot start: port {port} is taken: give another one with --port, or 0 for a free one"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "folder"), [([], "out/demo"), (["--out", "elsewhere"], "elsewhere")], ids=["default", "as told"]
)
def test_demo_writes_where_it_is_told(
    arguments: list[str], folder: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And tells on stdout what it does."""
    fake: Any = ModuleType("unitask.demo")
    fake.demo = lambda out, say: say(f"to {out}")
    monkeypatch.setitem(sys.modules, "unitask.demo", fake)

    assert main(["demo", *arguments]) == 0
    assert capsys.readouterr().out == f"to {folder}\n"


@pytest.mark.parametrize(("command", "missing"), [("sandbox", "unitask_sandbox"), ("demo", "unitask_sandbox")])
def test_missing_sandbox_says_what_to_install(
    command: str, missing: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "unitask.demo", raising=False)

    assert main([command]) == 1
    assert cli.SANDBOX_MISSING in capsys.readouterr().err


def test_module_is_the_command() -> None:
    """`python -m unitask` is `unitask`."""
    done = subprocess.run(
        [sys.executable, "-m", "unitask", "tasks", "--json"], capture_output=True, check=True, text=True
    )

    assert {entry["name"] for entry in json.loads(done.stdout)} <= set(unitask.tasks.__all__)


def made_up(rule: dict[str, Any], name: str) -> Any:
    """A value that the rule of a field of this name allows; a text looks like a number where it can."""
    rule = spec.resolve(rule)
    if name.endswith("endpoint"):
        return "https://me.test/hook"
    if media := rule.get("x-media"):
        return f"https://me.test/a.{ {'image': 'png', 'video': 'mp4', 'audio': 'mp3'}.get(media['kind'], 'bin') }"
    if "enum" in rule:
        return rule["enum"][-1]
    kinds = rule.get("type", "object")
    match kinds if isinstance(kinds, str) else kinds[-1]:
        case "object":
            return {name: made_up(part, name) for name, part in rule.get("properties", {}).items()}
        case "array":
            return [made_up(rule["items"], name)] * max(1, min(2, rule.get("maxItems", 2)))
        case "integer":
            return rule.get("minimum", rule.get("maximum", 7))
        case "number":
            return rule.get("maximum", rule.get("minimum", 0.5))
        case "boolean":
            return False
        case _:
            return "7" * max(1, rule.get("minLength", 0))


def inputs(entry: spec.TaskType) -> Iterator[dict[str, Any]]:
    """An input with every field of a task type, and the documented ones that the library takes as they are."""
    kind = getattr(tasks, entry.name)
    fields = {field.name for field in dataclasses.fields(kind)} - {"extra"}
    yield {name: made_up(spec.field_rule(entry.input, name), name) for name in sorted(fields)}
    for example in spec.bundle()["components"]["examples"].values():
        body = example["value"]
        if (example["x-operation"], example["x-part"]) != ("create_task", "request"):
            continue
        if (body["model"], body["task_type"]) != (entry.model, entry.task_type) or body["input"].keys() - fields:
            continue
        # "YOUR_IMAGE_URL" is no file; a field may be required now
        with contextlib.suppress(InvalidInput, TypeError), warnings.catch_warnings(action="ignore"):
            request_body(kind(**body["input"]))
            yield body["input"]


def words_for(entry: spec.TaskType, values: dict[str, Any]) -> Iterator[str]:
    """The words of a command line that give these values."""
    for field, value in values.items():
        types = spec.resolve(spec.field_rule(entry.input, field)).get("type", ())
        if not isinstance(value, str) and "string" in types:
            yield f"{field}:={json.dumps(value)}"
            continue
        for item in value if isinstance(value, list) and value else [value]:
            yield f"{field}={item if isinstance(item, str) else json.dumps(item)}"


def test_every_task_type_can_be_run() -> None:
    """What is sent is the input, with every field in the type that the documents give it."""
    wrong: list[str] = []
    for entry in spec.task_types().values():
        for values in inputs(entry):
            with UnitaskProvider() as there, contextlib.redirect_stdout(io.StringIO()):
                code = main(["run", entry.name, *words_for(entry, values)])
            sent = [task.input for task in there.tasks]
            given = {**getattr(tasks, entry.name).FIXED, **values}
            if code or sent != [given] or [*map(repr, sorted(sent[0].items()))] != [*map(repr, sorted(given.items()))]:
                wrong.append(f"{entry.name}: exit code {code}, sent {sent}, not {given}")

    assert len(spec.task_types()) == 120
    assert wrong == []


IMAGES = ["https://me.test/a.png", "https://me.test/b.png"]


@pytest.mark.parametrize(
    ("kind", "words", "field", "value"),
    [
        ("Seedance2", ["duration=6"], "duration", 6),
        ("Seedance2", ["prompt=5"], "prompt", "5"),
        ("Seedance2", ["prompt=true"], "prompt", "true"),
        ("Seedance2", ["prompt=a=b:=c"], "prompt", "a=b:=c"),
        ("Seedance2", [f"image_urls={IMAGES[0]}"], "image_urls", IMAGES[:1]),
        ("Seedance2", [f"image_urls={image}" for image in IMAGES], "image_urls", IMAGES),
        ("Seedance2", [f"image_urls={json.dumps(IMAGES)}"], "image_urls", IMAGES),
        ("Seedance2", [f"image_urls:={json.dumps(IMAGES)}"], "image_urls", IMAGES),
        ("KlingVideo", ["enable_audio=true"], "enable_audio", True),
        ("KlingVideo", ["enable_audio=Yes"], "enable_audio", True),
        ("KlingVideo", ["enable_audio=0"], "enable_audio", False),
        ("KlingVideo", ["enable_audio:=false"], "enable_audio", False),
        ("KlingVideo", ["cfg_scale=.5"], "cfg_scale", 0.5),
        ("KlingVideo", ["cfg_scale=5e-1"], "cfg_scale", 0.5),
        ("KlingVideo", ["cfg_scale=1"], "cfg_scale", 1),
        ("KlingVideo", ['camera_control={"type": "simple"}'], "camera_control", {"type": "simple"}),
        ("KlingVideo", ['camera_control:={"type": "simple"}'], "camera_control", {"type": "simple"}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_value_is_read_by_the_type_of_its_field(
    kind: str, words: list[str], field: str, value: Any, unitask_provider: UnitaskProvider
) -> None:
    """As the documents have it; a text stays one."""
    rest = [] if field == "prompt" else ["prompt=a fox"]

    assert main(["run", kind, *words, *rest]) == 0
    sent = unitask_provider.tasks[0].input[field]
    assert (sent, type(sent)) == (value, type(value))


def test_files_of_a_list_are_given_by_their_paths(unitask_provider: UnitaskProvider, tmp_path: Path) -> None:
    """Each of them is uploaded, or goes along, as one alone would."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded())

    assert main(["run", "Seedance2", "prompt=a fox", f"image_urls={path}", f"image_urls={IMAGES[0]}"]) == 0
    first, second = unitask_provider.tasks[0].input["image_urls"]
    assert (unitask_provider.files[first], second) == (encoded(), IMAGES[0])


@pytest.mark.parametrize("place", range(5))
def test_options_stand_anywhere(place: int, unitask_provider: UnitaskProvider, tmp_path: Path) -> None:
    """Before, between and after the fields."""
    words = RUN[1:]
    options = ["--to", str(tmp_path / "out.png"), "--timeout", "600"]

    assert main(["run", *words[:place], *options, *words[place:]]) == 0
    assert unitask_provider.tasks[0].input.keys() == {"target_image", "swap_image"}
    assert (tmp_path / "out.png").exists()


def test_advice_is_a_line_without_a_place_in_the_code(unitask_provider: UnitaskProvider, capsys: Captured) -> None:
    """It is sent all the same, whatever Python is told to do with warnings."""
    assert main(["run", "MidjourneyOutpaint", "origin_task_id=a", "zoom_ratio=9"]) == 0
    err = capsys.readouterr().err
    assert "unitask: warning: input.zoom_ratio: '9' is not one of ['1.5', '2']" in err
    assert ".py" not in err


LOST = answer(502, b"<html>")
PAID = seen("pending", meta={"usage": {"consume": 100_000}})
FREE = seen("processing", meta={"usage": {"consume": 0}})
MANY = seen("completed", output={"image_urls": [OUTPUT_URL, "https://out.test/b.png"]})
GONE = [httpx.Response(403)] * 9


class Interrupting(FakeClock):
    """Ctrl-C comes at the first pause."""

    def sleep(self, seconds: float) -> None:
        """Be interrupted."""
        if seconds:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("script", "options", "code", "lines"),
    [
        (
            [PAID, *[httpx.Response(502)] * 99],
            ["--to", "{}/o.png"],
            1,
            ["goes on; paid: $0.01", "{} --to {}/o.png` fetches"],
        ),
        ([FREE] * 99, ["--timeout", "5"], 1, ["goes on; paid: unknown", "{}` waits for it"]),
        ([seen(), seen("failed")], [], 1, ["is failed; paid: unknown"]),
        ([PAID, DONE, *GONE], ["--to", "{}/o.png"], 1, ["is completed; paid: unknown", "{} --to {}/o.png` fetches"]),
        ([PAID, seen("completed", output={})], ["--to", "{}/o.png"], 1, ["has no output file", "{}` shows it"]),
        ([PAID, seen("completed", output=[1])], ["--to", "{}/o.png"], 1, ["output is [1], not an object"]),
        ([PAID, MANY], ["--to", "{}/o.png"], 1, ["has 2 output files: name a folder", "{} --to {}/o/` fetches"]),
        ([PAID, MANY, httpx.Response(200, content=encoded()), *GONE], ["--to", "{}/"], 1, ["{} --to {}/ --overwrite`"]),
        (
            [PAID, DONE, KeyboardInterrupt()],
            ["--to", "{}/o.png"],
            130,
            ["interrupted", "is completed", "{}/o.png` fetches"],
        ),
        (
            [PAID, KeyboardInterrupt()],
            ["--overwrite"],
            130,
            ["interrupted", "goes on; paid: $0.01", "{} --overwrite` waits"],
        ),
        ([PAID, NotImplementedError()], ["--base-url", "https://b.test"], 1, ["{} --base-url https://b.test` waits"]),
        (
            [KeyboardInterrupt()],
            [],
            130,
            ["may have been accepted", "look for it in the task history on the provider's"],
        ),
        (
            [LOST],
            [],
            1,
            ["sent between 2023-11-14 22:13:20 and", "and may be paid", "`unitask wait ID` fetches it by its id"],
        ),
        (
            [httpx.ReadTimeout("")],
            ["--to", "{}/o.png"],
            1,
            ["look for a Qubico/image-toolkit face-swap task of that time"],
        ),
    ],
)
def test_what_ends_a_paid_task_is_told_with_what_goes_on(
    script: list[Any],
    options: list[str],
    code: int,
    lines: list[str],
    scripted: Scripted,
    capsys: Captured,
    tmp_path: Path,
) -> None:
    """The id, what was paid, and a command that is there; never a call of Python, and never "nothing was sent"."""
    scripted(*script)

    assert main([*RUN, *(word.format(tmp_path) for word in options)]) == code
    err = capsys.readouterr().err
    for line in lines:
        assert line.replace("{}/", f"{tmp_path}/").replace("{}", f"`unitask wait {TASK_ID}") in err
    assert "nothing was sent" not in err
    assert not re.search(r"client\.\w+\(|error\.\w+|task\.raw|overwrite=|None", err)
    _, commands = cli._parser()
    for command in re.findall(r"`unitask (.*?)`", err):
        name, *rest = shlex.split(command)
        assert commands[name].parse_args(rest)


@pytest.mark.parametrize(
    "script",
    [[PAID, KeyboardInterrupt()], [KeyboardInterrupt()], [httpx.ReadTimeout("")]],
    ids=["wait", "create", "lost"],
)
def test_what_the_library_logs_does_not_reach_the_terminal(
    script: list[Any], scripted: Scripted, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a handler, logging writes warnings to stderr, in the words of Python. pytest has handlers."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger("unitask"), "handlers", [])
    scripted(*script)

    assert main(RUN) in (1, 130)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith(("unitask: ", "task ")) for line in lines)
    assert not any("client." in line or "another process" in line for line in lines)


def test_tilde_is_the_home_of_the_user(
    scripted: Scripted, capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some shells leave it alone in --to=~/x; a folder called ~ is not what was meant."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    scripted(DONE, httpx.Response(200, content=encoded()))

    assert main([*RUN, "--to=~/swapped/"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/home/swapped/{TASK_ID}.png\n"
    assert not (tmp_path / "~").exists()


def test_interruption_before_the_task_is_told_names_it(
    scripted: Scripted, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was accepted, and nothing is known of it but its id."""

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_progress", lambda _: interrupted)
    scripted(PAID)

    assert main([*RUN, "--to", "o.png"]) == 130
    assert capsys.readouterr().err.splitlines() == [
        "unitask: interrupted",
        f"unitask: task {TASK_ID} may go on; paid: unknown",
        f"unitask: `unitask wait {TASK_ID} --to o.png` fetches its result",
    ]


def test_task_that_is_not_there_is_not_waited_for(scripted: Scripted, capsys: Captured) -> None:
    """Nothing says that it goes on, or was paid."""
    scripted(refused(404, "task not found"))

    assert main(["wait", "nope"]) == 1
    assert capsys.readouterr().err == "unitask: HTTP 404: task not found\n"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("it goes on: client.wait('a-1') waits for it again", "it goes on"),
        ("status 'x', never seen to begin; client.cancel('a') would end it", "status 'x', never seen to begin"),
        ("'a' exists: name another file, or pass overwrite=True", "'a' exists: name another file, or pass --overwrite"),
        ("Check the key: UNITASK_API_KEY, or api_key=", "Check the key: UNITASK_API_KEY"),
        (
            "not sent. Check base_url and the network",
            "not sent. Check the base URL (--base-url, or UNITASK_BASE_URL) and the",
        ),
        ("it is lost; error.find(client, timeout=3) says more. So", "it is lost. So"),
        ("(`unitask sandbox --data FOLDER` or Settings(data=...))", "(`unitask sandbox --data FOLDER`)"),
        ("'task.run(1).png' exists", "'task.run(1).png' exists"),
        ("base_url.png and client.py", "base_url.png and client.py"),
    ],
)
def test_message_of_the_library_is_put_into_the_words_of_the_command_line(message: str, said: str) -> None:
    """Calls become commands, arguments options; names of files stay."""
    assert reworded(message).startswith(said)


def test_legacy_task_is_fetched_by_the_command_that_is_named(
    unitask_provider: UnitaskProvider, capsys: Captured, tmp_path: Path
) -> None:
    """Its id alone would be looked for among those of the unified API."""
    unitask_provider.completes(tasks.LegacyFaceSwap, statuses=["pending", httpx.ReadTimeout(""), "completed"])
    run = ["run", "LegacyFaceSwap", "target_image=https://me.test/a.png", "swap_image=https://me.test/b.png"]

    assert main([*run, "--to", str(tmp_path / "o.png"), "--timeout", "0"]) == 1
    (command,) = re.findall(r"`unitask (wait .*?)`", capsys.readouterr().err)
    assert main(shlex.split(command)) == 0
    assert (tmp_path / "o.png").exists()


@pytest.mark.parametrize(("to", "place"), [("o.txt", "o.txt"), ("out/", f"out/{TASK_ID}.txt")])
def test_result_that_is_text_is_written(
    to: str, place: str, scripted: Scripted, capsys: Captured, tmp_path: Path
) -> None:
    """As its words, in a file of its own."""
    pairs = [{"title": "Wind", "text": "La\nla"}, {"title": "結果", "text": "Lo"}]
    lyrics = seen("completed", model="music-u", task_type="generate_lyrics", output={"lyrics_pairs": pairs})
    scripted(PAID, lyrics)

    assert main(["run", "UdioLyrics", "prompt=wind", "--to", f"{tmp_path}/{to}"]) == 0
    assert (tmp_path / place).read_text(encoding="utf-8") == "Wind\n\nLa\nla\n\n結果\n\nLo\n"
    assert capsys.readouterr().out == f"{tmp_path / place}\n"


NASTY = "\x1b]0;t\x07\x9b31m\u202e\u2066\u200f\x7f\r\n"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([seen(NASTY), seen("failed", error={"message": f"{NASTY}\ud800"})], 1),
        ([refused(400, NASTY)], 1),
        ([seen(output={"image_url": OUTPUT_URL, NASTY: f"{NASTY}\ud800"}, status="completed")], 0),
        ([answer(200, {"code": 200, "data": {"task_id": NASTY, "status": "completed"}, "message": ""})], 0),
        ([answer(200, {"code": 200, "data": {"task_id": NASTY, "status": "failed"}, "message": ""})], 1),
        (
            [
                answer(200, {"code": 200, "data": {"task_id": NASTY, "status": "pending"}, "message": ""}),
                NotImplementedError(NASTY),
            ],
            1,
        ),
    ],
)
def test_nothing_of_the_provider_reaches_the_terminal_unescaped(
    script: list[Any], code: int, scripted: Scripted, capsys: Captured
) -> None:
    """No control character, none of C1, no mark of direction, and no line of its own."""
    scripted(*script)

    assert main(RUN) == code
    out, err = capsys.readouterr()
    assert out.isascii()
    assert all(char.isprintable() or char == "\n" for char in out + err)
    assert not any(line.startswith("]0;t") for line in err.splitlines())
    if out:
        assert NASTY in [*json.loads(out)["output"], json.loads(out)["task_id"]] if "output" in out else json.loads(out)


@given(st.text())
def test_shown_text_is_printable(text: str) -> None:
    """What was printable stays as it is."""
    assert shown(text).isprintable()
    assert (shown(text) == text) == text.isprintable()


def test_number_that_json_does_not_have_is_printed_as_text(scripted: Scripted, capsys: Captured) -> None:
    """What is printed is JSON to every program."""
    output = b'{"x": NaN, "y": 1e999}'
    body = b'{"code": 200, "data": {"task_id": "a", "status": "completed", "output": %b}, "message": ""}' % output
    scripted(answer(200, body))

    assert main(RUN) == 0
    assert json.loads(capsys.readouterr().out)["output"] == {"x": "NaN", "y": "Infinity"}


def test_narrow_encoding_loses_nothing_that_was_paid(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the encoding of stdout or stderr lacks is escaped."""
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
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize(
    "arguments", [["tasks"], ["tasks", "--json"], ["--help"], ["sandbox", "--port", "0"]], ids=" ".join
)
def test_pipe_that_nobody_reads_ends_it_quietly(arguments: list[str], unread: int) -> None:
    """As SIGPIPE would."""
    done = command_line(*arguments, stdout=unread)

    assert (done.returncode, done.stderr) == (cli.CLOSED_PIPE, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", [["tasks"], ["--help"]], ids=" ".join)
def test_output_that_cannot_be_written_is_told(arguments: list[str]) -> None:
    """In one line."""
    with Path("/dev/full").open("wb") as full:
        done = command_line(*arguments, stdout=full)

    assert (done.returncode, done.stderr) == (1, b"unitask: stdout cannot be written: No space left on device\n")


def test_stderr_that_nobody_reads_stops_nothing(unread: int, unitask_provider: UnitaskProvider, tmp_path: Path) -> None:
    """A paid task is waited for and fetched without it."""
    with os.fdopen(os.dup(unread), "w") as stderr, contextlib.redirect_stderr(stderr):
        assert main([*RUN, "--to", str(tmp_path / "o.png")]) == 0

    assert (tmp_path / "o.png").exists()


def test_demo_looks_at_its_folder_first(capsys: Captured, tmp_path: Path) -> None:
    """Before it starts anything."""
    (tmp_path / "taken").write_bytes(b"mine")

    assert main(["demo", "--out", str(tmp_path / "taken")]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"unitask: {str(tmp_path / 'taken')!r} is a file, not a folder\n")


def test_task_whose_id_looks_like_an_option_is_fetched_by_the_command_that_is_named(
    scripted: Scripted, capsys: Captured
) -> None:
    """Its id stands after two hyphens."""
    created = answer(200, {"code": 200, "data": {"task_id": "--to", "status": "pending"}, "message": ""})
    done = answer(200, {"code": 200, "data": {"task_id": "--to", "status": "completed"}, "message": ""})
    replies = scripted(created, KeyboardInterrupt(), done)

    assert main([*RUN, "--base-url", BASE_URL]) == 130
    (command,) = re.findall(r"`unitask (wait .*?)`", capsys.readouterr().err)
    assert main(shlex.split(command)) == 0
    assert replies.lines[-1] == "GET /api/v1/task/--to"


def test_demo_says_what_the_provider_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An unknown cost is not $0.00, an unknown time no traceback."""
    from unitask import demo

    monkeypatch.setattr(demo, "running", lambda _: contextlib.nullcontext(BASE_URL))
    monkeypatch.setattr(demo, "write_sheet", lambda *_: None)
    monkeypatch.setattr(demo, "Client", lambda *_: contextlib.nullcontext(FakeClient()))
    said: list[str] = []

    demo.demo(tmp_path, said.append)
    assert "  cost        unknown" in said
    assert "  created_at  unknown" in said
    assert "$" not in "".join(said)


class FakeClient:
    """Swaps a face for a provider that says next to nothing."""

    def run(self, *_: object, **__: object) -> unitask.Task[Any]:
        """What came of it."""
        return unitask.Task({"task_id": TASK_ID, "status": "completed"}, tasks.FaceSwapOutput)

    def download(self, *_: object, **__: object) -> list[Path]:
        """Where it lies."""
        return [Path("swapped.png")]
