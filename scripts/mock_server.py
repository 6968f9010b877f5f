"""Steady, a mock server for OpenAPI documents that shares no code with us: from npm, driven by the bundle.

It judges each request by the document and answers with the documented example. Its own log says what it received and
what it found wrong, so nothing of ours stands between the two.

Rules of this file: the version is exact; all of it lies below out/; whoever cannot have it is told why (Missing).
"""

from __future__ import annotations

import copy
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unitask_contract.bundle import document as bundle
from unitask_contract.bundle import examples, operation_of, operations, route_of

PACKAGE, VERSION = "@stdy/cli", "0.22.2"  # MIT; its platform packages hold the server itself
HOME = Path(__file__).resolve().parents[1] / "out" / "cross-check"
TYPED, ANSWERED = "/typed", "/answered"
PATIENCE = 60.0  # seconds until it must listen


class Missing(Exception):
    """The server cannot be had or started here; the words say why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the server saw it.

    Attributes:
        place: The path of the document that it belongs to; empty: none.
        body: As JSON, or the fields of a form; None: it had none.
        faults: What the server found wrong with it.
    """

    method: str
    place: str
    path: str
    body: Any
    faults: tuple[str, ...]

    @property
    def case(self) -> str:
        """The part of the path that names the case, where it is a copy for a task type."""
        return self.path.split("/")[3] if self.place.startswith(TYPED) else ""

    @property
    def is_wrong(self) -> bool:
        """Whether it was sent to be refused: such a case is called field.rule."""
        return "." in self.case

    @property
    def operation(self) -> str:
        """The operationId in the bundle; empty: it has none."""
        copied = {TYPED: 3, ANSWERED: 2}.get("/" + self.place.split("/")[1], 0) if self.place else 0
        try:
            return operation_of(self.method, "/" + "/".join(self.path.split("/")[copied + 1 :]))
        except LookupError:
            return ""


def install() -> Path:
    """The server's program; fetched once.

    Raises:
        Missing: There is no npm, or it did not bring it.
    """
    packages = HOME / "node_modules"
    if not _is_there(packages):
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise Missing("node and npm are needed to fetch it, and are not installed")
        HOME.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(HOME), "--no-save", "--no-package-lock", "--ignore-scripts"]
        command += ["--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1", f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not _is_there(packages):
            raise Missing(f"npm did not bring {PACKAGE} {VERSION}: {done.stderr.strip()[:300]}")
    found = [path for path in packages.glob("@stdy/cli-*/bin/steady*") if path.is_file()]
    if not found:
        raise Missing(f"{PACKAGE} {VERSION} has no program for this platform")
    return found[0]


def _is_there(packages: Path) -> bool:
    about = packages / PACKAGE / "package.json"
    return about.is_file() and json.loads(about.read_text(encoding="utf-8"))["version"] == VERSION


def document() -> dict[str, Any]:
    """The bundle, and beside its own paths copies of two kinds, since a mock server judges and answers by path.

    /typed/<class>/<case>/... is the create of one task type, its input held to the schema that the catalogue names.
    /answered/<example>/... has one documented answer alone.
    """
    view = copy.deepcopy(bundle())
    for entry in view["x-tasks"]:
        path, method, operation = _of(entry.get("create", "create_task"))
        if entry["protocol"] == "unified":
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            operation["requestBody"]["content"]["application/json"]["schema"] = {"allOf": [schema, _typed(entry)]}
        case = {"name": "case", "in": "path", "required": True, "schema": {"type": "string"}}
        view["paths"][f"{TYPED}/{entry['name']}/{{case}}{path}"] = {"parameters": [case], method: operation}
    for name, example in examples().items():
        if example["x-part"] != "request":
            path, method, operation = _of(example["x-operation"])
            status = "200" if example["x-part"] == "200" else str(example["value"]["code"])
            answer = {"examples": {name: {"$ref": f"#/components/examples/{name}"}}}
            operation["responses"] = {status: {"description": name, "content": {"application/json": answer}}}
            shared = {key: part for key, part in view["paths"][path].items() if key == "parameters"}
            view["paths"][f"{ANSWERED}/{name}{path}"] = {**shared, method: operation}
    return view


def _of(name: str) -> tuple[str, str, dict[str, Any]]:
    """Path and method of an operation, and a copy of it without its name."""
    method, path = route_of(name)
    operation = {key: copy.deepcopy(value) for key, value in operations()[name].items() if key != "operationId"}
    return path, method.lower(), operation


def _typed(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "model": {"const": entry["model"]},
            "task_type": {"const": entry["task_type"]},
            "input": {"$ref": f"#/components/schemas/{entry['input']}"},
        },
    }


@dataclass(frozen=True, slots=True)
class Server:
    """The server while it runs."""

    base_url: str
    log: Path

    def seen(self) -> list[Seen]:
        """Every request so far; whole only after it has stopped."""
        events = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines() if line[:1] == "{"]
        return [seen(event) for event in events if event["type"] == "request"]


def seen(event: dict[str, Any]) -> Seen:
    """A line of its log."""
    asked = event["request"]
    faults = tuple(f"{one['code']} {one['requestPath']}: {one['message']}" for one in event["diagnostics"])
    return Seen(asked["method"], asked.get("pathPattern") or "", asked["path"], asked.get("body"), faults)


@contextmanager
def running(program: Path) -> Iterator[Server]:
    """The server on a free port of this machine while the block lasts.

    Raises:
        Missing: It does not come to listen.
    """
    place, log = HOME / "openapi.json", HOME / "steady.log"
    place.write_text(json.dumps(document()), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "--host", "127.0.0.1", "--port", str(port), "--log-format", "json", "--log-bodies", place]
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        _await(process, port, log)
        yield Server(f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Missing(f"it does not listen: {log.read_text(encoding='utf-8')[-1000:]}")
