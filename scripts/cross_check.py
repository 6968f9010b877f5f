"""Let a mock server that shares no code with us judge our requests: `make cross-check`; not part of `make test`.

Steady (npm, MIT) reads the bundle and validates each request that it receives. The client sends every task type and
every other call to it. It must accept these, and reject each input that breaks a limit of its task type.
The argument is its program. Exit codes: 0 no difference, 1 a difference.
"""

import copy
import json
import logging
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unitask import Client, Task, errors, tasks
from unitask_contract import bundle

from contract_tests.support import KEY, make
from contract_tests.test_limits import cases
from contract_tests.test_requests import CALLS

Call = Callable[[Any], Any]
Event = dict[str, Any]  # a request in the log of the server

HOME = Path(__file__).resolve().parents[1] / "out" / "cross-check"
TYPED = "/typed"
STARTS = 600  # attempts to connect, in tenths of a second
UNCHECKED = (".format",)  # steady treats `format` as a note, so it accepts numbers beyond int64


def valid_requests() -> Iterator[tuple[str, Call]]:
    """Yield path prefix and call: the least input of every task type, and every other call of a client."""
    for name in bundle.entries():
        yield f"{TYPED}/{name}/least", lambda client, name=name: client.submit(make(name))
    options = {"webhook_url": "https://me.test/hook", "webhook_secret": "s", "service_mode": "private"}
    yield f"{TYPED}/FaceSwap/options", lambda client: client.submit(make("FaceSwap"), **options)
    yield from (("", call) for call in CALLS.values())
    for protocol in bundle.document()["x-protocols"]:
        entry = next(one for one in bundle.entries().values() if one["protocol"] == protocol)
        raw = {"task_id": "an-id", "model": entry["model"], "task_type": entry["task_type"]}
        yield "", lambda client, raw=raw, output=entry["output"]: client.get(Task(raw, getattr(tasks, output)))


def invalid_requests() -> Iterator[tuple[str, Call]]:
    """Yield path prefix and call: each limit of each task type, broken, with the validation of the client off."""
    for name, key, rule, value in cases(advised=False):
        task = make(name, **{key: value})
        yield f"{TYPED}/{name}/{key}.{rule}", lambda client, task=task: client.submit(task, validate=False)


def failure(base_url: str, call: Call) -> str:
    """Make a call; return why nothing was sent, empty when an answer of any kind came."""
    try:
        with Client(KEY, base_url, poll_patience=0.001) as client:
            call(client)
    except (errors.ApiError, errors.SubmissionUncertain):
        return ""
    except Exception as error:
        return f"{base_url}: {type(error).__name__}: {error}"
    return ""


def document() -> dict[str, Any]:
    """Return the bundle with a copy of the create operation for each task type, below /typed/<class>/<case>.

    A mock server judges by path, so the copy is what holds an input to the schema of its task type.
    """
    view = copy.deepcopy(bundle.document())
    for entry in view["x-tasks"]:
        name = entry.get("create", "create_task")
        method, path = bundle.routes()[name]
        operation = copy.deepcopy(bundle.operations()[name])
        del operation["operationId"]
        if entry["protocol"] == "unified":
            content = operation["requestBody"]["content"]["application/json"]
            rules = {key: {"const": entry[key]} for key in ("model", "task_type")}
            rules["input"] = {"$ref": f"#/components/schemas/{entry['input']}"}
            content["schema"] = {"allOf": [content["schema"], {"type": "object", "properties": rules}]}
        case = {"name": "case", "in": "path", "required": True, "schema": {"type": "string"}}
        view["paths"][f"{TYPED}/{entry['name']}/{{case}}{path}"] = {"parameters": [case], method.lower(): operation}
    return view


@contextmanager
def running(program: str) -> Iterator[tuple[str, Path]]:
    """Run the server on a free port; yield its base URL and its log."""
    described, log = HOME / "openapi.json", HOME / "steady.log"
    described.write_text(json.dumps(document()), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "--host", "127.0.0.1", "--port", str(port), "--log-format", "json", described]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}", log
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(STARTS):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"the server does not listen; {HOME} has its log")


def differences(seen: list[Event], sent_invalid: int) -> Iterator[str]:
    """Yield each valid request that the server rejects, and each invalid one that it accepts, or did not receive."""
    invalid = 0
    for event in seen:
        method, path = event["request"]["method"], event["request"]["path"]
        case = path.split("/")[3] if path.startswith(f"{TYPED}/") else ""
        faults = [f"{one['requestPath']}: {one['message']}" for one in event["diagnostics"]]
        if "." in case:
            invalid += 1
            if not faults and not case.endswith(UNCHECKED):
                yield f"{path} breaks a limit, and the server accepts it"
        else:
            yield from (f"{method} {path} is valid, and the server rejects it: {fault}" for fault in faults)
    if invalid != sent_invalid:
        yield f"{sent_invalid} invalid requests were sent, and {invalid} arrived"


def main(program: str) -> int:
    """Send everything, and print the differences."""
    logging.disable()
    warnings.simplefilter("ignore")
    valid, invalid = list(valid_requests()), list(invalid_requests())
    with running(program) as (base_url, log):
        found = [failure(base_url + prefix, call) for prefix, call in (*valid, *invalid)]
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    seen = [event for event in events if event["type"] == "request"]
    found = [*filter(None, found), *differences(seen, len(invalid))]
    print(f"steady judged {len(seen)} requests, {len(invalid)} of them invalid")
    print("\n".join(found[:50] or ["no difference"]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
