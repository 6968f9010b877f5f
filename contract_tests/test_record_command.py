"""`unitask record` as a process: TLS, the signals that end it, exit codes, and kill -9."""

import datetime
import http.client
import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from unitask.cli import main
from unitask_contract.bundle import examples
from unitask_contract.recording import proxy
from unitask_contract.recording.folder import Recording
from unitask_contract.recording.redaction import Redactor

TASK = examples()["faceswap.face-swap.completed.200"]["value"]
LONGEST = 30.0  # seconds


class Handler(http.server.BaseHTTPRequestHandler):
    """A provider whose tasks are complete; one with the id "wait" is, when the test says so."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        task_id = self.path.rpartition("/")[2]
        if task_id == "wait":
            server.waits.set()
            server.go.wait(LONGEST)
        status = "Completed" if task_id != "broken" else 17
        body = json.dumps({**TASK, "data": {**TASK["data"], "task_id": task_id, "status": status}}).encode()
        server.asked.append(task_id)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@contextmanager
def provider(context: ssl.SSLContext | None = None) -> Generator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        server: Any = made
        server.asked, server.waits, server.go = [], threading.Event(), threading.Event()
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.go.set()
            server.shutdown()
            thread.join()


@contextmanager
def recorder(folder: Path, base_url: str, *options: str, **variables: str) -> Generator[tuple[Any, int]]:
    """Run the command; yield the process and its port."""
    command = [sys.executable, "-m", "unitask", "record", "--to", str(folder), "--base-url", base_url, "--port", "0"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *options], env={**os.environ, **variables}, **pipes) as process:
        try:
            assert process.stdout is not None
            port = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert port, process.communicate(timeout=LONGEST)
            yield process, int(port[1])
        finally:
            process.kill()


def get(port: int, task_id: str) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)) as connection:
        return got(connection, task_id)


def got(connection: http.client.HTTPConnection, task_id: str) -> Any:
    connection.request("GET", f"/api/v1/task/{task_id}", headers={"x-api-key": "a key of this test"})
    return json.loads(connection.getresponse().read())


def self_signed(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return the file of a new certificate for localhost, and the context of its server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(*form))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


def test_provider_behind_tls_is_recorded_and_ctrl_c_prints_a_summary(tmp_path: Path) -> None:
    certificate, context = self_signed(tmp_path)
    task_id = str(uuid.uuid4())
    with provider(context) as server:
        url = f"https://localhost:{server.server_port}"
        with recorder(tmp_path / "recording", url, "--check", SSL_CERT_FILE=str(certificate)) as (process, port):
            assert get(port, task_id)["data"]["task_id"] == task_id
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LONGEST)

    assert (process.returncode, err) == (0, "")
    assert "1 exchange" in out
    assert [one.operation for one in Recording.open(tmp_path / "recording").exchanges()] == ["get_task"]


def test_sigterm_lets_an_exchange_in_flight_end_and_check_reports_a_broken_contract(tmp_path: Path) -> None:
    answers: list[Any] = []
    with provider() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        with recorder(tmp_path / "recording", url, "--check") as (process, port):
            get(port, "broken")
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)) as connection:
                waiting = threading.Thread(target=lambda: answers.append(got(connection, "wait")))
                waiting.start()
                assert server.waits.wait(LONGEST)
                process.send_signal(signal.SIGTERM)
                assert process.stderr.readline().startswith("broken: get_task")
                assert "in flight" in process.stderr.readline()
                server.go.set()
                waiting.join(LONGEST)
                _, err = process.communicate(timeout=LONGEST / 2)  # with an open connection

    assert (process.returncode, answers[0]["data"]["task_id"], err) == (1, "wait", "")
    assert len([*Recording.open(tmp_path / "recording").exchanges()]) == 2


def test_killed_recording_has_every_exchange_whose_answer_was_received(tmp_path: Path) -> None:
    received: list[str] = []
    enough = threading.Event()

    def ask(port: int) -> None:
        with suppress(OSError, http.client.HTTPException):
            while True:
                task_id = str(uuid.uuid4())
                if get(port, task_id)["data"]["task_id"] == task_id:
                    received.append(task_id)
                if len(received) >= 100:
                    enough.set()

    with provider() as server:
        with recorder(tmp_path / "recording", f"http://127.0.0.1:{server.server_port}") as (process, port):
            clients = [threading.Thread(target=ask, args=(port,)) for _ in range(4)]
            for client in clients:
                client.start()
            assert enough.wait(LONGEST)
            process.kill()
            for client in clients:
                client.join(LONGEST)
        asked = [*server.asked]
    recording = Recording.open(tmp_path / "recording")
    recorded = {one.path for one in recording.exchanges()}
    path = {id_: Redactor().request("GET", f"/api/v1/task/{id_}", "", {}, b"")[0] for id_ in asked}

    assert {path[task_id] for task_id in received} <= recorded
    assert len(asked) - len(recorded) <= len(clients)
    assert len(recording.incomplete()) <= 1


@pytest.mark.parametrize(
    ("options", "is_broken", "is_complete", "code"),
    [
        ([], True, False, 0),
        (["--check"], False, True, 0),
        (["--check"], True, False, 1),
        (["--check"], False, False, 2),
    ],
)
def test_check_makes_an_exit_code_of_the_result(
    options: list[str], is_broken: bool, is_complete: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "record", lambda *_, **__: ([], is_broken, is_complete))

    assert main(["record", "--to", "traffic", *options]) == code
