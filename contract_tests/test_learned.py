"""What a recording teaches: a day's mix of all families against the sandbox, whose answers have 12 planted differences."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from generator.bundle import bundle as bundled
from generator.bundle import load_yaml
from generator.lint import faults
from generator.report import _surest
from unitask.cli import main
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.changes import changes, verdict
from unitask_contract.checks._http import CHAT, TASK, UPLOAD, face_swap, file
from unitask_contract.checks.task_types import _body, task_types
from unitask_contract.in_process import IN_PROCESS
from unitask_contract.patches.proposals import proposal
from unitask_contract.provider import Provider, sandbox
from unitask_contract.recording.folder import Recorded, Recording
from unitask_contract.recording.learned import learned
from unitask_contract.recording.redaction import Redactor

from .test_patches import SPEC, patched

ROOT = SPEC.parent
STARTED = datetime.fromisoformat("2026-11-29T08:00:00+00:00")
Answer = tuple[int, Any]  # status and JSON body


def put(pointer: str, value: Any = ...) -> Callable[[Answer], Answer]:
    """Return a change of an answer: another value at a place, or none."""

    def change(answer: Answer) -> Answer:
        *steps, last = pointer.split("/")[1:]
        node = answer[1]
        for step in steps:
            node = node[int(step) if isinstance(node, list) else step]
        if value is ...:
            del node[last]
        else:
            node[last] = value
        return answer

    return change


@dataclass(frozen=True)
class Planted:
    """A difference of the provider: the call that shows it, how its line of the report begins, and its semver level.

    A word of an open list changes no schema, so it is a patch. A field, a status or a request more is minor. What an
    answer could not be before is major: a caller can break.
    """

    call: str
    says: str
    level: str
    change: Callable[[Answer], Answer] = lambda answer: answer


ACCOUNT, OUTPUT = "get_account_info 200 /data", "get_task 200 /data"
PLANTED = {
    "new field": Planted("flux ended", f"{OUTPUT}/meta/queue_position: no field", "minor", put("/data/meta/queue_position", 3)),
    "new status word": Planted("hunyuan begun", f"{OUTPUT}/status: words", "patch", put("/data/status", "warming_up")),
    "missing field": Planted("upload", "upload_file 200 /data: required", "major", put("/data/url")),
    "number as text": Planted(
        "trellis ended", f"{OUTPUT}/meta/usage/consume: type", "major", put("/data/meta/usage/consume", "17")
    ),
    "text as number": Planted("account", f"{ACCOUNT}/account_name: type", "major", put("/data/account_name", 17)),
    "null": Planted("account again", f"{ACCOUNT}/wallet/point_remain: type", "major", put("/data/wallet/point_remain", None)),
    "new word": Planted("wan ended", f"{OUTPUT}/config/service_mode: words", "patch", put("/data/config/service_mode", "hybrid")),
    "error code": Planted("unknown task", "get_task default /code: type", "major", put("/code", "E404")),
    "status": Planted("luma submitted", "create_task 202 /: no answer", "minor", lambda answer: (202, answer[1])),
    "field in a list": Planted("udio ended", f"{OUTPUT}/output/songs/*/bpm: no field", "minor", put("/data/output/songs/0/bpm", 9)),
    "accepted word": Planted("kling submitted", "create_task request /input/aspect_ratio: enum", "minor"),
    "accepted without a field": Planted("faceswap submitted", "create_task request /input: required", "minor"),
}
CHANGES = {one.call: one.change for one in PLANTED.values()}


class Recorder(httpx.BaseTransport):
    """Records the exchanges of a provider, which is the sandbox with the planted differences."""

    def __init__(self, sandbox: httpx.BaseTransport, recording: Recording) -> None:
        self._sandbox, self._recording, self._redactor = sandbox, recording, Redactor()
        self.number = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        content = request.read()
        accepted = request.extensions.get("accepted", {})  # a body instead, which the sandbox accepts
        upstream = httpx.Request(request.method, request.url, json=accepted) if accepted else request
        answer = self._sandbox.handle_request(upstream)
        body, status = answer.read(), answer.status_code
        with_json = answer.headers.get("content-type", "").startswith("application/json")
        if with_json:
            document = json.loads(body)
            meta = fields(fields(document.get("data")).get("meta"))
            for name in meta.keys() - bundle.component("TaskMeta")["properties"].keys():
                del meta[name]  # remarks of the sandbox
            status, document = CHANGES.get(request.extensions.get("call", ""), lambda one: one)((status, document))
            body = json.dumps(document).encode()
        self.number += 1
        started = (STARTED + timedelta(seconds=self.number)).isoformat()
        headers = {name: value for name, value in answer.headers.items() if name not in ("content-length",)}
        one = self._redactor.recorded(
            self.number, request.method, request.url.path, request.url.query.decode(), dict(request.headers), content,
            started, 0.1, 0.2, status, headers, body, [], "",
        )  # fmt: skip
        self._recording.write(one)
        return httpx.Response(status, headers=headers, content=body)


def a_day(provider: Provider) -> None:
    """Use every family, and every group of operations."""

    def call(name: str, method: str, path: str, body: Any = None, accepted: Any = None) -> Any:
        more = {"call": name, "accepted": accepted or {}}
        answer = provider.http.request(method, path, json=body, headers=provider.headers(), extensions=more)
        assert answer.is_success or name == "unknown task", answer.text
        return answer

    first = {bundle.entries()[name]["family"]: name for name in reversed(task_types())}
    ids: dict[str, str] = {}
    for family, name in sorted(first.items()):
        body = face_swap() if family == "faceswap" else _body(provider, name)
        sent = {**body, "input": {**body["input"], "aspect_ratio": "21:9"}} if family == "kling" else body
        sent = {**body, "input": {"target_image": "https://a.test/a.png"}} if family == "faceswap" else sent
        ids[family] = call(f"{family} submitted", "POST", TASK, sent, body).json()["data"]["task_id"]
    for word in ("begun", "ended"):
        for family, task_id in ids.items():
            call(f"{family} {word}", "GET", f"{TASK}/{task_id}")
        provider.advance(1)
    call("unknown task", "GET", f"{TASK}/7c9e6679-7425-40de-944b-e07fc1f90ae7")
    for name in ("account", "account again"):
        call(name, "GET", "/account/info")
    call("upload", "POST", UPLOAD, file())
    call("history", "GET", "/api/open/tasks/histories?page=1&page_size=5")
    call("chat", "POST", "/v1/chat/completions", CHAT)
    call("stream", "POST", "/v1/chat/completions", {**CHAT, "stream": True})
    call("legacy", "POST", "/mj/v2/imagine", {"prompt": "a fox"})


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    made = Recording.create(tmp_path_factory.mktemp("learned") / "day", IN_PROCESS, STARTED.isoformat())
    with sandbox() as provider, httpx.Client(transport=Recorder(provider.http._transport, made), base_url=IN_PROCESS) as http:
        provider.http = http
        a_day(provider)
    return made


def test_each_planted_difference_is_reported_once(recording: Recording) -> None:
    said = [str(one) for one in learned(recording).differences]

    assert {name: sum(line.startswith(one.says) for line in said) for name, one in PLANTED.items()} == dict.fromkeys(PLANTED, 1)
    assert len(said) == len(PLANTED), said


@pytest.mark.parametrize("name", PLANTED)
def test_change_for_a_planted_difference_has_its_semver_level(name: str, recording: Recording, tmp_path: Path) -> None:
    (found,) = [one for one in learned(recording).differences if str(one).startswith(PLANTED[name].says)]
    after = patched(proposal([found]), tmp_path)

    assert (verdict(changes(bundled(SPEC), after)), faults(after)) == (PLANTED[name].level, [])
