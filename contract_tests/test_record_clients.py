"""Five clients through the proxy of `unitask record` to the local provider, with twenty faults."""

import base64
import json
import re
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
from unitask import errors
from unitask.client import Client
from unitask_contract.recording.folder import Recording
from unitask_sandbox import Fault, Settings, running
from unitask_sandbox.faults import as_order, named

from .support import FACE_SWAP
from .support.recording_proxy import recording

KEY = "canary-7f3a9b2c4d5e6f708192"
BODY = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a boat by canary-prompt-55"}}
CHAT: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
TASK = "/api/v1/task"


class Tap:
    """Relays connections, and keeps what passes: for each connection, the bytes of both directions."""

    def __init__(self, url: str) -> None:
        self._target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections: list[tuple[bytearray, bytearray]] = []
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                both = bytearray(), bytearray()
                self.connections.append(both)
                for source, to, kept in ((client, server, both[0]), (server, client, both[1])):
                    self._threads.append(threading.Thread(target=_pump, args=(source, to, kept)))
                    self._threads[-1].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
        for one in self._sockets:
            one.close()

    def seen(self) -> tuple[list[bytes], list[bytes]]:
        """Return the requests and the answers, the Host header aside: they may be on other connections."""
        sent, received = (b"".join(each[side] for each in self.connections) for side in (0, 1))
        requests = re.split(
            rb"(?=(?:GET|HEAD|POST) /\S* HTTP/1\.1\r\n)", sent.replace(self.host.encode(), b"host.test")
        )
        return sorted(requests), sorted(re.split(rb"(?=HTTP/1\.1 )", received))


def _pump(source: socket.socket, to: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            kept += piece
            to.sendall(piece)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)


@contextmanager
def tap(url: str) -> Generator[Tap]:
    made = Tap(url)
    try:
        yield made
    finally:
        made.close()


# The clients. What they receive is theirs; a fault ends one request.


def with_openai(url: str, _: str) -> None:
    with openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=1) as client:
        for stream in (False, True, False, True):
            with suppress(openai.OpenAIError):
                answer = client.chat.completions.create(**CHAT, stream=stream)
                list(answer)
        client.models.list()


def with_requests(url: str, task_id: str) -> None:
    with requests.Session() as session:
        session.headers["x-api-key"] = KEY
        for _ in range(6):
            with suppress(requests.RequestException, ValueError, KeyError, TypeError):
                task_id = session.post(url + TASK, json=BODY).json()["data"]["task_id"]
            for _ in range(3):
                with suppress(requests.RequestException):
                    session.get(f"{url}{TASK}/{task_id}")


def with_curl(url: str, task_id: str) -> None:
    head = ["-s", "-m", "20", "-H", f"x-api-key: {KEY}"]
    create = [*head, "-H", "content-type: application/json", "-d", json.dumps(BODY), url + TASK]
    poll = [*head, f"{url}{TASK}/{task_id}"]
    upload = [*head, "-H", "transfer-encoding: chunked", "-H", "expect: 100-continue", *create[len(head) :]]
    asked = [create, poll, create, upload, poll, [*head, "-I", url], [*head, "--compressed", f"{url}/account/info"]]
    words = [word for one in asked for word in [*one, "-o", "/dev/null", "--next"]]
    subprocess.run(["curl", "--noproxy", "*", *words[:-1]], check=False, timeout=60)


SCRIPT = """
const [url, key, body, none] = process.argv.slice(1);
const headers = {"X-API-Key": key, "Content-Type": "application/json"};
for (let task = 0; task < 5; task++) {
  let id = none;
  try {
    const created = await fetch(url, {method: "POST", headers, body});
    id = (await created.json()).data.task_id ?? none;
  } catch {}
  for (let poll = 0; poll < 3; poll++) {
    try { await (await fetch(`${url}/${id}`, {headers})).text(); } catch {}
  }
}
"""


def with_node(url: str, task_id: str) -> None:
    arguments = [SCRIPT, "--", url + TASK, KEY, json.dumps(BODY), task_id]
    subprocess.run(["node", "--input-type=module", "-e", *arguments], check=False, timeout=60)


def with_unitask(url: str, _: str) -> None:
    with Client(KEY, url, sleep=lambda _: None) as client:
        for _ in range(4):
            with suppress(errors.UnitaskError):
                client.run(FACE_SWAP)
        client.account()


CLIENTS: dict[str, Callable[[str, str], None]] = {
    "openai": with_openai,
    "requests": with_requests,
    "curl": with_curl,
    "node": with_node,
    "unitask": with_unitask,
}
CREATING = (
    "rate-limited-for-zero-seconds",
    "answer-lost",
    "page-200",
    "half-json",
    "answer-cut",
    "gzip-lie",
    "bad-gateway",
    "nothing-204",
    "length-too-long",
    "no-envelope",
    "moderation",
)
POLLING = ("closed-before", "unknown-status", "null-status", "times-malformed", "unknown-fields", "wrong-content-type")
FAULTS = [
    *(fault for name in CREATING for fault in named(name)),
    *(fault for name in POLLING for fault in named(name, operation="get_task", times=1)),
    Fault("create_chat_completion", "edit", changes={"object": 17}),
    Fault("create_chat_completion", "cut"),
    Fault("create_chat_completion", "refuse", status=429, body=b'{"error":{"message":"slow down"}}'),
]


# A difference that each of the faults makes.
REPORTED = (
    "broken: create_chat_completion 200 /object: type",
    "new word: get_task 200 /data/status:",
    "broken: get_task 200 /data/status:",
    "broken: get_task 200 /data/meta/ended_at: type",
    "new field: get_task 200 /data/progress:",
    "undocumented: get_task 200 /: content type",
    "undocumented: create_task 200 /: JSON;",
    "undocumented: create_task default /: JSON;",
    "undocumented: create_task 204 /:",
    "broken: create_task 200 /: required:",
)


def test_clients_and_provider_see_the_same_bytes_and_the_key_is_in_no_file(tmp_path: Path) -> None:
    missing = [name for name in ("curl", "node") if shutil.which(name) is None]
    with running(Settings(keys={KEY: 10.0}, engine_process=False)) as sandbox, tap(sandbox) as behind:
        created = requests.post(sandbox + TASK, json=BODY, headers={"x-api-key": KEY}, timeout=30)
        task_id = created.json()["data"]["task_id"]
        requests.post(f"{sandbox}/_sandbox/faults", json=[*map(as_order, FAULTS)], timeout=30).raise_for_status()
        requests.delete(f"{sandbox}/_sandbox/arrivals", timeout=30)
        with recording(tmp_path / "recording", f"http://{behind.host}") as proxy, tap(proxy.url) as before:
            for name, client in CLIENTS.items():
                if name not in missing:
                    client(f"http://{before.host}", task_id)
        left = requests.get(f"{sandbox}/_sandbox/faults", timeout=30).json()["coming"]
        arrivals = requests.get(f"{sandbox}/_sandbox/arrivals", timeout=30).json()["arrivals"]
    exchanges = [*Recording.open(proxy.folder).exchanges()]

    assert len(FAULTS) == 20
    assert before.seen() == behind.seen()
    assert len(before.seen()[0]) > 60
    assert left == []
    assert Counter(each["operation"] for each in arrivals) == Counter(
        one.operation for one in exchanges if one.operation
    )
    assert {exchange.lost for exchange in exchanges} > {""}
    written = b"".join(path.read_bytes() for path in proxy.folder.iterdir()).lower()
    for secret in (KEY, "canary-prompt-55"):
        for spelled in (secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=").lower()):
            assert spelled not in written
    assert KEY not in "".join(proxy.said)
    assert [sum(line.startswith(one) for line in proxy.said) for one in REPORTED] == [1] * len(REPORTED)
    assert len({line.partition(" (in ")[0] for line in proxy.said}) == len(proxy.said)
    if missing:
        pytest.skip(f"the rest passed; not installed: {', '.join(missing)}")
