"""What a recording teaches: a day with all families against the sandbox, with 12 planted differences."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from generator.bundle import bundle as bundled
from generator.lint import faults
from generator.report import evidence
from unitask.cli import main
from unitask_contract import bundle, recorded
from unitask_contract.changes import changes, verdict
from unitask_contract.checks._http import CHAT, TASK, UPLOAD, face_swap, file
from unitask_contract.checks.task_types import _body, task_types
from unitask_contract.in_process import IN_PROCESS
from unitask_contract.patches.proposals import proposal
from unitask_contract.provider import Provider, sandbox
from unitask_contract.recording.folder import Recording
from unitask_contract.recording.learned import Learned, is_local, learned
from unitask_contract.recording.redaction import Redactor

from .support import examples
from .test_patches import SPEC, patched
from .test_redaction import recorded as redacted

ROOT = SPEC.parent
STARTED = datetime.fromisoformat("2026-11-29T08:00:00+00:00")
Answer = tuple[int, Any]  # status and JSON body
Call = tuple[str, str, Any, int, Any, str]  # method, path, request, status, answer, and why it was lost


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
    "new field": Planted("flux ended", f"{OUTPUT}/queue_position: no field", "minor", put("/data/queue_position", 3)),
    "new status word": Planted("hunyuan begun", f"{OUTPUT}/status: words", "patch", put("/data/status", "warming_up")),
    "missing field": Planted("upload", "upload_file 200 /data: required", "major", put("/data/url")),
    "number as text": Planted(
        "trellis ended", f"{OUTPUT}/meta/usage/consume: type", "major", put("/data/meta/usage/consume", "17")
    ),
    "text as number": Planted("account", f"{ACCOUNT}/plan: type", "major", put("/data/plan", 17)),
    "null": Planted(
        "account again", f"{ACCOUNT}/wallet/point_remain: type", "major", put("/data/wallet/point_remain", None)
    ),
    "new word": Planted(
        "wan ended", f"{OUTPUT}/config/service_mode: words", "patch", put("/data/config/service_mode", "hybrid")
    ),
    "error code": Planted("unknown task", "get_task default /code: type", "major", put("/code", "E404")),
    "status": Planted("luma submitted", "create_task 202 /: no answer", "minor", lambda answer: (202, answer[1])),
    "field in a list": Planted(
        "udio ended", f"{OUTPUT}/output/songs/*/bpm: no field", "minor", put("/data/output/songs/0/bpm", 9)
    ),
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
        accepted = request.extensions.get("accepted")  # a body that the sandbox accepts
        headers = {"x-api-key": request.headers["x-api-key"]}
        upstream = httpx.Request(request.method, request.url, headers=headers, json=accepted)
        answer = self._sandbox.handle_request(upstream if accepted else request)
        body, status = answer.read(), answer.status_code
        with_json = answer.headers.get("content-type", "").startswith("application/json")
        if with_json:
            document = json.loads(body)
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
        more = {"call": name, "accepted": accepted}
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
    with (
        sandbox() as provider,
        httpx.Client(transport=Recorder(provider.http._transport, made), base_url=IN_PROCESS) as http,
    ):
        provider.http = http
        a_day(provider)
    return made


@pytest.fixture(scope="module")
def lesson(recording: Recording) -> Learned:
    return learned(recording)


def test_each_planted_difference_is_reported_once(recording: Recording, lesson: Learned) -> None:
    said = [str(one) for one in lesson.differences]

    assert [name for name, one in PLANTED.items() if sum(line.startswith(one.says) for line in said) != 1] == []
    assert len(said) == len(recorded.of_recording(recording.folder)[0].findings) == len(PLANTED), said
    assert ["kling", "3", "1 of 11", "200 x3", "1"] in lesson.rows
    assert lesson.notes[0].startswith("SIMULATED")
    assert is_local(replace(recording, base_url="http://provider.example"))  # the sandbox says what it is
    assert {row[0] for row in lesson.rows} > {entry["family"] for entry in bundle.entries().values()} - {"legacy"}


@pytest.mark.parametrize("name", PLANTED)
def test_change_for_a_planted_difference_has_its_semver_level(name: str, lesson: Learned, tmp_path: Path) -> None:
    (found,) = [one for one in lesson.differences if str(one).startswith(PLANTED[name].says)]

    assert verdict(changes(bundled(SPEC), patched(proposal([found]), tmp_path))) == PLANTED[name].level


def test_patch_makes_the_spec_accept_all_and_the_facts_recorded(
    recording: Recording, lesson: Learned, tmp_path: Path
) -> None:
    patch, before = tmp_path / "out.patch", bundled(SPEC)
    assert main(["contract", "--body", str(recording.folder), "--report", str(patch)]) == 1
    after = patched(patch.read_text(), tmp_path)

    assert (faults(after), verdict(changes(before, after))) == ([], "major")
    facts = lesson.confirmed.places
    assert len(facts) > 150
    assert {"#/x-tasks/FaceSwap", "#/x-tasks/QwenTxt2Img/price", "#/paths/~1account~1info/get"} <= facts.keys()
    assert "#/components/schemas/FaceSwapInput/properties/swap_image" not in facts  # it was not sent
    new = newly_recorded(before, after)
    assert facts.keys() <= new.keys()
    assert {name for place in new.keys() - facts.keys() for name in new[place]} == {"observed"}
    sources = [one["components"]["schemas"]["Task"]["properties"]["task_id"]["x-source"] for one in (before, after)]
    assert sources[1] == [*sources[0], "recording-2026-11-29"]
    counts = [sum(evidence(one).values(), Counter[str]()) for one in (before, after)]
    assert counts[1]["recorded"] - counts[0]["recorded"] > 100
    assert counts[1].total() - counts[0].total() == 2  # the new fields


def newly_recorded(before: Any, after: Any) -> dict[str, list[str]]:
    """Return the sources of real bodies of each place whose surest evidence was another one before."""
    found, known = dict(recorded_places(after)), dict(recorded_places(before))
    return {place: sources for place, sources in found.items() if place not in known}


def recorded_places(document: Any, place: str = "#", node: Any = None) -> Iterator[tuple[str, list[str]]]:
    named = {name: part for name, part in document.items() if name != "x-sources"}
    node = {**named, "x-tasks": {one["name"]: one for one in document["x-tasks"]}} if node is None else node
    if isinstance(node, dict) and place != "#/components/examples":
        known = [one for one in node.get("x-source", ()) if document["x-sources"][one]["evidence"] == "recorded"]
        if known:
            yield place, known
        for step, part in node.items():
            yield from recorded_places(document, f"{place}/{str(step).replace('/', '~1')}", part)


def test_recording_says_nothing_new_after_its_patch(recording: Recording, tmp_path: Path) -> None:
    patch = tmp_path / "out.patch"
    main(["contract", "--body", str(recording.folder), "--report", str(patch)])
    for name in ("spec", "generated", "wrapper", "contract_tests/unitask_contract"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    subprocess.run(["git", "apply", patch], cwd=tmp_path, check=True)
    path = os.pathsep.join(str(tmp_path / name) for name in ("generated", "wrapper", "contract_tests", "spec"))
    run = partial(subprocess.run, cwd=tmp_path / "spec", env={**os.environ, "PYTHONPATH": path}, check=True)
    run([sys.executable, "-m", "generator"])
    read = run(
        [sys.executable, "-m", "unitask", "contract", "--body", str(recording.folder)], capture_output=True, text=True
    )

    assert "contract kept: nothing differs" in read.stdout
    assert "this recording confirms" not in read.stdout
    assert "a change of the spec is proposed" not in read.stdout


def written(folder: Path, *calls: Call, kind: str = "application/json") -> Recording:
    """Return a recording in which a second lies between the calls."""
    made = Recording.create(folder, "https://api.piapi.ai", STARTED.isoformat())
    more: dict[str, Any] = {"redactor": Redactor(), "response_headers": {"content-type": kind}}
    for number, (method, path, request, status, answer, lost) in enumerate(calls, 1):
        more |= {"number": number, "started": (STARTED + timedelta(seconds=number)).isoformat()}
        made.write(redacted(request, answer, method=method, path=path, status=status, lost=lost, **more))
    return made


def swapped(bill: int, word: str = "completed") -> Call:
    """Return the poll of a face swap with a bill, in credits."""
    answer = json.loads(json.dumps(examples()["faceswap.face-swap.completed.200"]["value"]))
    answer["data"] |= {"input": {"target_image": "https://a.test/a.png", "swap_image": "https://a.test/b.png"}}
    answer["data"] |= {"status": word, "task_id": f"{bill}"}
    answer["data"]["meta"]["usage"]["consume"] = bill
    return "GET", f"{TASK}/{bill}", None, 200, answer, ""


def test_bill_confirms_the_price_or_contradicts_it(tmp_path: Path) -> None:
    price = "#/x-tasks/FaceSwap/price"
    polls = ([swapped(bill)] * 2 for bill in (100_000, 200_000, 10**400))  # a task is billed once
    right, wrong, no_bill = (learned(written(tmp_path / str(number), *some)) for number, some in enumerate(polls))

    assert (right.confirmed.places.get(price), price in wrong.confirmed.places) == (1, False)
    assert "a bill of FaceSwap is $0.02, and its price in the catalogue is $0.01 (tasks: 1)" in wrong.notes
    assert not any("bill" in note or "SIMULATED" in note for note in (*right.notes, *no_bill.notes))


def test_fields_of_a_request_are_confirmed_when_its_task_is_completed(tmp_path: Path) -> None:
    field = "#/components/schemas/FaceSwapInput/properties/swap_image"
    completed, failed = (learned(written(tmp_path / word, swapped(1, word))) for word in ("completed", "failed"))

    assert (completed.confirmed.places.get(field), field in failed.confirmed.places) == (1, False)
    assert "#/components/schemas/Task/properties/detail" not in completed.confirmed.places  # it is null


def test_texts_of_a_form_are_not_compared_with_its_numbers(tmp_path: Path) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    made = written(tmp_path / "day")
    answer = {"created": 1, "data": []}
    made.write(redacted(b"image=a&prompt=b&n=1", answer, path="/v1/images/edits", request_headers=form))

    assert learned(made).differences == []


def test_incomplete_files_and_lost_exchanges_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "day"
    written(folder, swapped(1), (*swapped(2)[:4], None, "the connection was closed"))
    (folder / "000003-get_task.json").write_text('{"number": 3')

    assert main(["contract", "--body", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "not read, because they are incomplete: 000003-get_task.json" in said
    assert "not compared, because they have no whole answer: 1 exchanges" in said


def test_exchanges_are_in_their_order_behind_the_last_number_of_six_digits(tmp_path: Path) -> None:
    recording = written(tmp_path / "day", swapped(1))
    numbers = [1, 999_999, 1_000_000]
    for number in numbers[1:]:
        recording.write(replace(next(recording.exchanges()), number=number))

    assert [one.number for one in recording.exchanges()] == numbers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", []),
        ("status", "200"),
        ("started", "29 November"),
        ("query", 7),
        ("response_headers", {"date": 7}),
        ("response", 7),
        ("response", {"form": "events"}),
        ("response", {"form": "events", "content": [7]}),
        ("response", {"form": "yaml"}),
    ],
)
def test_edited_file_that_is_no_exchange_is_named(name: str, value: object, tmp_path: Path) -> None:
    recording = written(tmp_path / "day", swapped(1))
    (file,) = tmp_path.glob("day/0*")
    file.write_text(json.dumps({**json.loads(file.read_bytes()), name: value}))
    (tmp_path / "day" / "000002-get_task.json").write_text("7")
    (tmp_path / "day" / "000003-get_task.json").write_text("[" * 100_000)
    (tmp_path / "day" / "000004-get_task.json").mkdir()

    assert len(recording.incomplete()) == 4
    assert learned(recording).exchanges == 0


def test_content_type_that_is_not_json_is_a_difference(tmp_path: Path) -> None:
    recording = written(tmp_path / "day", swapped(1), swapped(2), kind="text/plain")

    assert [str(one) for one in learned(recording).differences] == [
        "get_task 200 /: content type application/json; came text/plain (2 times, first in 000001-get_task.json)"
    ]


def test_difference_is_shown_at_the_file_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("a day"), swapped(1), swapped(2), kind="text/plain")
    assert main(["contract", "--body", "a day", "--report", "out.sarif", "--annotations", "github"]) == 1
    (result,) = json.loads(Path("out.sarif").read_text())["runs"][0]["results"]
    said = capsys.readouterr().out

    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20day/000001-get_task.json"
    assert "::error file=a day/000001-get_task.json,line=1,title=" in said
    assert "(2 times, first in a day/000001-get_task.json)" in said


@pytest.mark.parametrize("more", [[], ["another.json"]])
def test_recording_without_exchanges_or_beside_a_file_is_2(more: list[str], tmp_path: Path) -> None:
    assert main(["contract", "--body", str(written(tmp_path / "day").folder), *more]) == 2
