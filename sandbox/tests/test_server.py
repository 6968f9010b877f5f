"""The sandbox as a server on a real port, and what importing it costs."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from unitask_sandbox import running, serve
from unitask_sandbox.failures import CannotStart
from unitask_sandbox.server import _listening

from .local import encoded, face_swap


def test_running_serves_until_the_block_ends(settings_with: Any) -> None:
    with running(settings_with()) as url, httpx.Client(base_url=url, headers={"x-api-key": "sandbox"}) as client:
        created = client.post("/api/v1/task", content=encoded(face_swap())).json()["data"]
        seen = client.get(f"/api/v1/task/{created['task_id']}").json()["data"]

    assert url.startswith("http://127.0.0.1:")
    assert created == seen
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("unitask-sandbox")]


def test_serve_says_its_address_when_it_accepts(settings_with: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[uvicorn.Server] = []
    init = uvicorn.Server.__init__
    monkeypatch.setattr(uvicorn.Server, "__init__", lambda self, config: (servers.append(self), init(self, config))[1])
    answers: list[int] = []

    def look(url: str) -> None:
        answers.append(httpx.get(f"{url}/openapi.json").status_code)
        servers[0].should_exit = True

    def on_ready(url: str) -> None:
        threading.Thread(target=look, args=(url,)).start()

    serve(settings_with(), port=0, on_ready=on_ready)

    assert answers == [200]


def test_taken_port_is_refused_before_anything_starts(settings_with: Any) -> None:
    with _listening("127.0.0.1", 0) as listener, pytest.raises(OSError, match="in use"):
        serve(settings_with(), port=listener.getsockname()[1])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"port": 65536}, "port 65536: give a number from 0 to 65535"),
        ({"port": -1}, "port -1"),
        ({"port": 80.5}, "port 80.5"),
        ({"port": "80"}, "port '80'"),
        ({"host": "nowhere"}, "host 'nowhere' is not known"),
        ({"host": "http://localhost"}, "host 'http://localhost': give the name"),
        ({"host": ""}, "host ''"),
        ({"host": "a" * 70 + ".test"}, "is not known"),
        ({"host": "192.0.2.1"}, "host '192.0.2.1' is no address of this machine"),
    ],
)
def test_place_that_cannot_be_is_refused(
    settings_with: Any, monkeypatch: pytest.MonkeyPatch, place: dict[str, Any], words: str
) -> None:
    if place.get("host") == "nowhere":  # no name is looked up in a network here
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(socket.gaierror(-2, "none")))
    with pytest.raises(CannotStart, match=re.escape(words)) as caught:
        serve(settings_with(), **{"port": 0, **place})

    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_serve_and_leaves_nothing(tmp_path: Path, sent: signal.Signals) -> None:
    code = "from unitask_sandbox import serve; serve(port=0, on_ready=lambda url: print(url, flush=True)); print('end')"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline()
        process.send_signal(sent)
        output, _ = process.communicate()

    assert url.startswith("http://127.0.0.1:")
    assert (output, process.returncode) == ("end\n", 0)
    assert not list(tmp_path.iterdir())


def test_script_without_a_main_guard_can_run_engines(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('started')\n"
        "from unitask_sandbox import Sandbox, Settings\n"
        "sandbox = Sandbox(Settings(autorun=False))\n"
        f"task_id = sandbox.accept('sandbox', {encoded(face_swap())!r}).task_id\n"
        "sandbox.advance()\n"
        "print(sandbox.get('sandbox', task_id).error['raw_message'][:29])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)

    assert done.stdout == "started\nfailed to get valid image (ta\n"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import unitask_sandbox", ("starlette", "cv2", "uvicorn", "jsonschema_rs")),
        ("from unitask_sandbox import create_app; create_app()", ("uvicorn", "unitask", "unitask_api.client")),
    ],
    ids=["package", "app"],
)
def test_import_loads_only_what_is_needed(code: str, absent: tuple[str, ...]) -> None:
    code += f"; import sys; print([name for name in {absent!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"
