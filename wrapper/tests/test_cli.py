"""The command line: what was asked for goes to stdout, everything else to stderr, and the exit code tells."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import unitask
from unitask import cli, client
from unitask.cli import main

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
        scripted_client = partial(client.Client, transport=httpx.MockTransport(replies), clock=time, sleep=time.sleep)
        monkeypatch.setattr(client, "Client", scripted_client)
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
    assert any(line.startswith("VideoFaceSwap ") and ", unknown price." in line for line in lines)


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
    "bad provider": ([*RUN, "--base-url", "provider.test"], "base_url is 'provider.test'"),
    "blank id": (["wait", " "], "the task id is empty"),
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
        ("folder", "is a folder: name a file, or end it with a slash"),
        ("folder.d", "is a folder"),
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
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.d").mkdir()
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
    ],
)
def test_wrong_settings_of_the_sandbox_are_told(arguments: list[str], said: str, capsys: Captured) -> None:
    """Before it starts."""
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


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


def test_sandbox_that_cannot_start_says_why(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken, or a data folder that another one works with."""

    def serve(*_: object, **__: object) -> None:
        raise OSError("the data folder is in use")

    sandbox = FakeSandbox()
    monkeypatch.setattr(sandbox, "serve", serve)
    monkeypatch.setitem(sys.modules, "unitask_sandbox", sandbox)

    assert main(["sandbox"]) == 1
    assert "the sandbox cannot start: the data folder is in use" in capsys.readouterr().err


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
