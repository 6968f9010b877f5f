"""A recording answers again: over HTTP, and in the memory of a test."""

import asyncio
import base64
import gzip
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask import AsyncClient, Client, State, Timestamp, errors, tasks
from unitask.cli import main
from unitask.testing import UnitaskRecording
from unitask_contract.recording.folder import Recorded, Recording
from unitask_contract.recording.redaction import Redactor
from unitask_contract.recording.replay import NotRecorded, Replay
from unitask_contract.recording.replay_server import running
from unitask_contract.recording.texts import pseudonym
from unitask_sandbox import Settings
from unitask_sandbox import running as sandbox
from unitask_sandbox.samples import ASTRONAUT, GRACE_HOPPER

from .support.recording_proxy import recording as recorded_by_proxy
from .test_redaction import recorded as redacted

pytest_plugins = "pytester"

ID, OTHER_ID = "90efd2db-bcfc-413f-a0be-c893850c9d68", "11111111-2222-4333-8444-555555555555"
PROMPT = "a red boat on a lake"
STARTED = "2026-11-28T10:00:00+00:00"
DATE = "Sat, 28 Nov 2026 10:00:01 GMT"
TASK, HISTORY = "/api/v1/task", "/api/open/tasks/histories"
FLUX = tasks.FluxDevTxt2Img(prompt=PROMPT, width=512, height=512)
SENT = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": PROMPT, "width": 512, "height": 512}}


def task(status: str, task_id: str = ID, **more: Any) -> dict[str, Any]:
    data = {
        "task_id": task_id,
        "model": SENT["model"],
        "task_type": "txt2img",
        "status": status,
        "input": SENT["input"],
    }
    meta = {"usage": {"type": "point", "frozen": 0, "consume": 150_000}}
    output = {"image_url": f"https://img.test/{task_id}.png?sig=1"} if status == "completed" else None
    error = {"code": 0, "message": "", "raw_message": ""}
    return {"code": 200, "message": "success", "data": {**data, "meta": meta, "output": output, "error": error, **more}}


class Tape:
    """Exchanges as a proxy would have recorded them."""

    def __init__(self, *, keep_texts: bool = False) -> None:
        self.exchanges: list[Recorded] = []
        self._redactor = Redactor(keep_texts=keep_texts)

    def add(
        self,
        line: str,
        sent: Any = None,
        answer: Any = None,
        status: int | None = 200,
        *,
        lost: str = "",
        kind: str = "application/json",
        at: float = 0.0,
        **headers: str,
    ) -> "Tape":
        method, _, target = line.partition(" ")
        path, _, query = target.partition("?")
        one = redacted(
            sent,
            answer,
            redactor=self._redactor,
            number=len(self.exchanges) + 1,
            method=method,
            path=path,
            query=query,
            started=(datetime.fromisoformat(STARTED) + timedelta(seconds=at)).isoformat(),
            status=status,
            response_headers={} if status is None else {"content-type": kind, "date": DATE, **headers},
            pieces=[(0.1, part + b"\n\n") for part in answer.split(b"\n\n")] if "event" in kind else [],
            lost=lost,
        )
        self.exchanges.append(one)
        return self

    def written(self, folder: Path) -> Recording:
        recording = Recording.create(folder, "https://api.piapi.ai", STARTED)
        for one in self.exchanges:
            recording.write(one)
        return recording

    def ask(self, now: Callable[[], float] = lambda: 0.0) -> Callable[..., tuple[int | None, Any]]:
        """Return a function that sends a request and returns status and JSON of the answer."""
        replay = Replay(self.exchanges, now)

        def send(line: str, sent: Any = None, **headers: str) -> tuple[int | None, Any]:
            method, _, target = line.partition(" ")
            path, _, query = target.partition("?")
            body = b"" if sent is None else json.dumps(sent).encode()
            answer = replay.answer(method, path, query, {"content-type": "application/json", **headers}, body)
            content = b"".join(answer.pieces)
            return answer.status, json.loads(content) if content else answer.lost

        return send


def swap_recording() -> Tape:
    """Return a task that is submitted, and completed at the third poll."""
    tape = Tape().add(f"POST {TASK}", SENT, task("pending"))
    for status in ("pending", "processing", "completed"):
        tape.add(f"GET {TASK}/{ID}", None, task(status))
    return tape


def test_polls_are_answered_in_the_recorded_order_and_the_last_answer_repeats() -> None:
    ask = swap_recording().ask()
    task_id = ask(f"POST {TASK}", SENT)[1]["data"]["task_id"]
    statuses = [ask(f"GET {TASK}/{task_id}")[1]["data"]["status"] for _ in range(5)]

    assert statuses == ["pending", "processing", "completed", "completed", "completed"]
    assert task_id != ID
    assert ask(f"GET {TASK}/{ID}")[1]["data"]["task_id"] == ID  # a program that has the real id


def test_poll_is_not_answered_with_an_older_answer_than_the_recorded_program_had_by_then() -> None:
    tape = Tape()
    for second in range(60):
        tape.add(f"GET {TASK}/{ID}", None, task("processing"), at=second)
    tape.add(f"GET {TASK}/{ID}", None, task("completed"), at=60)
    now = [100.0]
    ask, statuses = tape.ask(lambda: now[0]), list[str]()
    for now[0] in (100.0, 100.0, 159.9, 160.0):
        statuses.append(ask(f"GET {TASK}/{ID}")[1]["data"]["status"])

    assert statuses == ["processing", "processing", "processing", "completed"]


def test_older_protocols_poll_with_post_which_repeats() -> None:
    ask = Tape().add("POST /api/face_swap/v1/fetch", {"task_id": ID}, {"data": {"status": "success"}}).ask()

    assert [ask("POST /api/face_swap/v1/fetch", {"task_id": ID})[0] for _ in range(3)] == [200, 200, 200]


def test_values_come_back_as_they_were_sent_but_for_those_without_a_hash() -> None:
    config = {"webhook_config": {"endpoint": "https://me.test/1", "secret": "mine"}}
    other = {"webhook_config": {"endpoint": "https://me.test/2", "secret": "another"}}
    tape = Tape().add(f"POST {TASK}", {**SENT, "config": config}, task("pending", config=config))
    data = tape.add(f"GET {TASK}/{OTHER_ID}", None, task("pending", OTHER_ID, config=other)).ask()
    sent = {"webhook_config": {"endpoint": "https://now.test/3", "secret": "now"}}
    first, second = (
        data(*request)[1]["data"]
        for request in ((f"POST {TASK}", {**SENT, "config": sent}), (f"GET {TASK}/{OTHER_ID}",))
    )

    assert (first["input"], first["config"]["webhook_config"]["endpoint"]) == (SENT["input"], "https://now.test/3")
    assert second["config"]["webhook_config"]["secret"] not in ("now", "mine", "another")
    assert second["config"]["webhook_config"]["endpoint"] != "https://now.test/3"


def test_equal_submissions_get_their_own_tasks_and_no_task_twice() -> None:
    tape = Tape().add(f"POST {TASK}", SENT, task("pending")).add(f"POST {TASK}", SENT, task("pending", OTHER_ID))
    for status, task_id in (("completed", ID), ("failed", OTHER_ID)):
        tape.add(f"GET {TASK}/{task_id}", None, task(status, task_id))
    ask = tape.ask()
    ids = [ask(f"POST {TASK}", SENT)[1]["data"]["task_id"] for _ in range(2)]

    assert len({*ids}) == 2
    assert [ask(f"GET {TASK}/{one}")[1]["data"]["status"] for one in ids] == ["completed", "failed"]
    with pytest.raises(NotRecorded, match=r"sent 3 times, and was recorded 2 times .*000002-create_task\.json"):
        ask(f"POST {TASK}", SENT)


DATA_URI = "data:image/png;base64," + "iVBORw0KGgo" * 40
HOOK = {"webhook_config": {"endpoint": "https://me.test/hook?unitask=1", "secret": "s"}}
OTHER_HOOK = {"webhook_config": {"endpoint": "https://other.test/?unitask=2", "secret": "t"}}
SWAP = {"model": "Qubico/image-toolkit", "task_type": "face-swap"}


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("line", "recorded", "sent_line", "sent"),
    [
        (f"POST {TASK}", {**SENT, "config": HOOK}, f"POST {TASK}", {**SENT, "config": OTHER_HOOK}),
        (f"POST {TASK}", {**SENT, "config": HOOK}, f"POST {TASK}", SENT),
        (f"POST {TASK}", {**SWAP, "input": {"swap_image": DATA_URI}}, "", None),
        (f"POST {TASK}", {**SWAP, "input": {"swap_image": DATA_URI.partition(",")[2]}}, "", None),
        (f"POST {TASK}", {**SWAP, "input": {"swap_image": "https://me.test/a.png?sig=1"}}, "", None),
        ("POST /api/ephemeral_resource", {"file_name": "a.png", "file_data": DATA_URI.partition(",")[2]}, "", None),
        (f"GET {HISTORY}?page=1&start_time=1795900000", None, f"GET {HISTORY}?start_time=1795911111&page=1", None),
        ("GET /account/info", None, "", None),
        (f"DELETE {TASK}/{ID}", None, "", None),
        (f"DELETE {TASK}s?created_before=1795900000", None, f"DELETE {TASK}s?created_before=1795911111", None),
        ("POST /api/face_swap/v1/fetch", {"task_id": ID}, "", None),
        ("POST /v1/chat/completions", {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}, "", None),
    ],
)
def test_requests_that_are_equal_after_redaction_are_answered(
    line: str, recorded: Any, sent_line: str, sent: Any, kept: bool
) -> None:
    tape = Tape(keep_texts=kept).add("GET /account/info?other", None, {}).add(line, recorded, {"code": 200, "data": 7})
    headers = {"x-api-key": "another-key", "idempotency-key": "1", "user-agent": "x"}

    assert tape.ask()(sent_line or line, sent or recorded, **headers) == (200, {"code": 200, "data": 7})


def test_request_that_is_packed_is_answered() -> None:
    replay = Replay(Tape().add(f"POST {TASK}", SENT, {"code": 200, "data": 7}).exchanges, lambda: 0.0)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    assert replay.answer("POST", TASK, "", headers, gzip.compress(json.dumps(SENT).encode())).status == 200


@pytest.mark.parametrize(
    ("line", "change", "difference"),
    [
        (
            f"POST {TASK}",
            {"width": 768},
            r"000002-create_task\.json; the first difference: body\.input\.width: sent 768, ",
        ),
        (
            f"POST {TASK}",
            {"prompt": "a cat"},
            r"body\.input\.prompt: sent .*\(5 characters.*, recorded .*\(20 characters",
        ),
        (f"POST {TASK}", {"seed": 1}, r"body\.input\.seed: sent 1, recorded absent"),
        (f"GET {TASK}/{OTHER_ID}", None, rf"000003-get_task\.json; the first difference: path: sent {TASK}/"),
        ("GET /account/info", None, "the first difference: path"),
    ],
)
def test_unknown_request_names_the_nearest_recorded_one_and_the_first_difference(
    line: str, change: Any, difference: str
) -> None:
    tape = Tape().add("GET /another", None, {})
    tape.exchanges += [replace(one, number=one.number + 1) for one in swap_recording().exchanges]
    tape.add(f"POST {TASK}", {**SWAP, "input": {"target_image": "a", "swap_image": "b"}}, {})
    sent = change and {**SENT, "input": {**SENT["input"], **change}}

    with pytest.raises(NotRecorded, match=rf"{re.escape(line)} is not in the recording\. .*{difference}"):
        tape.ask()(line, sent)


def test_edited_answer_is_replayed_as_edited(tmp_path: Path) -> None:
    recording = swap_recording().written(tmp_path / "rec")
    path = recording.folder / "000004-get_task.json"
    values = json.loads(path.read_bytes())
    values["response"]["content"]["data"]["status"] = "failed"
    values["response"]["content"]["data"]["error"] = {"code": 10000, "message": "no face found in the image"}
    path.write_text(json.dumps(values, indent=2))

    with UnitaskRecording(recording.folder), Client() as client, pytest.raises(errors.TaskFailed) as failed:
        client.run(FLUX)
    assert failed.value.task.failure == "no face found in the image"


def test_refusals_lost_answers_and_values_that_were_sent_come_back_in_both_clients(tmp_path: Path) -> None:
    hook = {"endpoint": "https://me.test/hook?unitask=0123456789abcdef", "secret": ""}
    tape = Tape().add(f"POST {TASK}", SENT, {"code": 429, "message": "slow down"}, 429, **{"retry-after": "60"})
    tape.add(f"POST {TASK}", {**SENT, "config": {"webhook_config": hook}}, status=None, lost="closed")
    row = {"task_id": ID, "status": "completed", "created_at": STARTED, "detail": {"model": SENT["model"]}}
    page = {"data": [row], "page": 1, "size": 10, "total": 1}
    tape.add(f"GET {HISTORY}?page=1&page_size=100&start_time=1795800000&end_time=1795900000", None, {"data": page})
    tape.add(f"GET {TASK}/{ID}", None, task("completed", config={"webhook_config": hook}))
    tape.add(f"POST {TASK}", SENT, {"code": 402, "message": "no credit"}, 402)
    folder = tape.written(tmp_path / "rec").folder

    def sync() -> Any:
        with Client() as client:
            with pytest.raises(errors.SubmissionUncertain, match="closed") as lost:
                client.submit(FLUX, webhook_url="https://me.test/hook")
            found = client.find(lost.value)
            with pytest.raises(errors.InsufficientCredit):
                client.submit(FLUX)
            return found, client.download(client.get(found.task), tmp_path / "sync.png") if found.task else []

    async def main() -> Any:
        async with AsyncClient() as client:
            with pytest.raises(errors.SubmissionUncertain) as lost:
                await client.submit(FLUX, webhook_url="https://me.test/hook")
            found = await client.find(lost.value)
            with pytest.raises(errors.InsufficientCredit):
                await client.submit(FLUX)
            return found, await client.download(found.task, tmp_path / "async.png") if found.task else []

    for run in (sync, lambda: asyncio.run(main())):
        with UnitaskRecording(folder, all_used=True) as recording:
            found, paths = run()
        assert (found.outcome, found.task.cost_usd) == ("found", 0.015)
        assert found.task.raw["input"]["prompt"] == PROMPT
        assert "me.test/hook?unitask=" in found.task.raw["config"]["webhook_config"]["endpoint"]
        assert recording.clock.sleeps[0] == 60
        assert [path.read_bytes()[:4] for path in paths] == [b"\x89PNG"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., httpx.Client]]:
    closing: list[Any] = []

    def serve(tape: Tape, **more: Any) -> httpx.Client:
        server = running(tape.written(tmp_path / "rec"), **more)
        closing.append(server)
        client = httpx.Client(base_url=server.__enter__(), trust_env=False, headers={"x-api-key": "any"})
        closing.append(client)
        return client

    yield serve
    for one in reversed(closing):
        one.__exit__(None, None, None)


def test_server_replays_streams_headers_and_lost_connections(served: Callable[..., httpx.Client]) -> None:
    events = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'
    chat = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    tape = Tape().add("POST /v1/chat/completions", chat, events, kind="text/event-stream")
    tape.add("POST /v1/chat/completions", chat, events[:60], kind="text/event-stream", lost="cut")
    tape.add(f"POST {TASK}", SENT, {"code": 429, "message": "slow"}, 429, **{"retry-after": "7"})
    tape.add(f"GET {TASK}/{ID}", status=None, lost="closed")
    http = served(tape)
    answer = http.post("/v1/chat/completions", json=chat)
    refused = http.post(TASK, json=SENT)

    assert (answer.headers["content-type"], answer.text.count("data: ")) == ("text/event-stream", 2)
    assert answer.headers["date"].startswith("Sat, 28 Nov 2026 10:00:0")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        http.post("/v1/chat/completions", json=chat)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        http.get(f"{TASK}/{ID}")
    missing = http.get(f"{TASK}/{OTHER_ID}")
    assert (missing.status_code, missing.json()["code"], missing.json()["data"]) == (404, 404, None)
    assert "the first difference: path: sent" in missing.json()["message"]


@pytest.mark.parametrize(("url", "kept"), [("a.png?sig=1", False), ("a?sig=1", False), ("a.png", True), ("a", True)])
def test_server_has_a_small_file_in_place_of_each_output(
    url: str, kept: bool, served: Callable[..., httpx.Client]
) -> None:
    url = f"https://img.test/{url}"
    picture = base64.b64encode(ASTRONAUT.read_bytes()).decode()
    tape = Tape(keep_texts=kept).add(f"GET {TASK}/{ID}", None, task("completed", output={"image_url": url}))
    tape.add("GET /account/info", None, {"data": {"last": url}}).add(
        "POST /v1/audio/speech", {}, b"ID3", kind="audio/mpeg"
    )
    tape.add("POST /v1/images/generations", {}, {"data": [{"b64_json": picture}]})
    tape.add("POST /api/face_swap/v1/fetch", {}, {"data": {"image": "https://img.test/old.png"}})
    tape.add(f"POST {TASK}", {**SWAP, "input": {"swap_image": url}}, {"code": 200})
    http = served(tape)
    shown = http.get(f"{TASK}/{ID}").json()["data"]["output"]["image_url"]
    escaped = json.dumps({**SWAP, "input": {"swap_image": shown}}).replace("/", "\\/")
    assert http.post(TASK, content=escaped, headers={"content-type": "application/json"}).json() == {"code": 200}
    file = httpx.get(shown, trust_env=False)

    assert shown.startswith(f"{http.base_url}/files/".replace("//files", "/files"))
    assert (file.headers["content-type"], file.content[:4]) == ("image/png", b"\x89PNG")
    assert b"SIMULATED" in file.content
    old = http.post("/api/face_swap/v1/fetch", json={}).json()["data"]["image"]
    assert httpx.get(old, trust_env=False).content == file.content
    assert b"SIMULATED" in http.post("/v1/audio/speech", json={}).content
    assert b"SIMULATED" in base64.b64decode(http.post("/v1/images/generations", json={}).json()["data"][0]["b64_json"])


def test_other_requests_are_passed_to_the_sandbox(served: Callable[..., httpx.Client]) -> None:
    reasons: list[str] = []
    http = served(swap_recording(), sandbox=True, say=reasons.append)
    with Client("any", str(http.base_url), sleep=lambda _: None) as client:
        recorded, other = client.run(FLUX), client.run(tasks.FluxDevTxt2Img(prompt="a cat", width=512, height=512))
        file = httpx.get(other.output.files[0].url, trust_env=False)

    assert recorded.id not in (other.id, ID)
    assert (other.state, file.status_code) == (State.COMPLETED, 200)
    assert "POST /api/v1/task is not in the recording" in reasons[0]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_a_recording(end: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = swap_recording().written(tmp_path / "rec").folder
    (folder / "000009-get_task.json").write_bytes(b"{")
    words = [sys.executable, "-m", "unitask", "replay", str(folder), "--port", "0", "--else", "sandbox"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        first, export = process.stdout.readline(), process.stdout.readline()
        found = re.fullmatch(r"export UNITASK_BASE_URL=(http://127\.0\.0\.1:\d+) UNITASK_API_KEY=replay\n", export)
        assert found
        statuses = [httpx.get(f"{found[1]}{TASK}/{one}", trust_env=False).status_code for one in (ID, OTHER_ID)]
        assert main(["replay", str(folder), "--port", found[1].rpartition(":")[2]]) == 2
        process.send_signal(end)
        err = process.communicate(timeout=60)[1]

    assert (statuses, process.returncode) == ([200, 404], 0)
    assert "https://api.piapi.ai" in first
    assert "000009-get_task.json is left out" in err
    assert "is not in the recording." in err
    assert "; the sandbox answers it" in err
    assert main(["replay", str(tmp_path)]) == 2
    assert "is taken" in (shown := capsys.readouterr().err)
    assert "is not a recording" in shown


FIXTURE = """
import pytest
from unitask import Client, tasks

FLUX = tasks.FluxDevTxt2Img(prompt={prompt!r}, width=512, height=512)

def test_recorded(unitask_recording):
    unitask_recording("rec", all_used=True)
    with Client() as client:
        assert client.run(FLUX).status == "completed"

def test_unknown(unitask_recording):
    unitask_recording("rec")
    with Client() as client:
        client.account()

def test_unknown_in_an_app_that_catches_it(unitask_recording):
    unitask_recording("rec")
    with Client() as client:
        try:
            client.account()
        except BaseException:
            pass

def test_unused(unitask_recording):
    unitask_recording("rec", all_used=True)

def test_unused_is_allowed(unitask_recording):
    unitask_recording("rec")

def test_no_recording(unitask_recording):
    unitask_recording("missing")
"""


def test_fixture_fails_a_test_whose_requests_differ_from_the_recording(pytester: pytest.Pytester) -> None:
    swap_recording().written(pytester.path / "rec").folder.joinpath("000005-get_task.json").write_text("{,}")
    pytester.makepyfile(FIXTURE.format(prompt=PROMPT))
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "-p", "no:schemathesis")

    result.assert_outcomes(passed=4, failed=2, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_unknown_in_an_app_that_catches_it*",
            "*GET /account/info is not in the recording. The nearest one is 00000*: 000005-get_task.json",
            "*ERROR at teardown of test_unused*",
            "*recorded submissions that were not sent: 000001-create_task.json*",
            "*rec*missing is not a recording*",
        ]
    )
    result.stdout.no_fnmatch_line("*CannotRun*")


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a program sees of a call: the facts of a task, or of an error."""
    try:
        return facts(call())
    except errors.UnitaskError as error:
        task = getattr(error, "task", None)
        shown = facts(task) if task else getattr(error, "status", None)
        return type(error).__name__, getattr(error, "retryable", None), shown


def facts(task: Any) -> Any:
    files = [(file.kind, file.role, file.place, file.width) for file in task.output.files]
    return pseudonym(task.id), task.state, task.failure, task.failure_code, task.cost_usd, files


def program(client: Client, to: Path, fault: Callable[..., object] = lambda **_: None) -> dict[str, Any]:
    """Use the API in each way, and return what came of it; `fault` lets something go wrong with the next request."""
    seen: dict[str, Any] = {}
    swap = tasks.FaceSwap(target_image=ASTRONAUT, swap_image=GRACE_HOPPER)
    cat = tasks.FluxDevTxt2Img(prompt="a cat", width=512, height=512)
    seen["swap"], done = outcome(lambda: client.run(swap)), client.run(FLUX)
    seen["flux"], seen["files"] = facts(done), [path.suffix for path in client.download(done, f"{to}/")]
    seen["next"] = outcome(lambda: client.run(tasks.FluxDevImg2Img(prompt="it", image=done.output.files[0].url)))
    fault(operation="run_task", kind="fail", task="next", body={"code": 10000, "message": "no face found"})
    seen["failed"] = outcome(lambda: client.run(swap))
    fault(operation="create_task", kind="refuse", status=402, body={"code": 402, "message": "no credit"})
    seen["refused"] = outcome(lambda: client.run(FLUX))
    fault(operation="create_task", kind="refuse", status=429, headers={"retry-after": "1"}, body={"code": 429})
    seen["after 429"] = outcome(lambda: client.run(FLUX))
    fault(operation="get_task", kind="replace", status=500, body="<html>")
    fault(operation="get_task", kind="lose")
    seen["bad polls"] = outcome(lambda: client.run(cat))
    seen["upload"] = outcome(lambda: client.run(tasks.FluxDevImg2Img(prompt="it", image=client.upload(ASTRONAUT))))
    seen["wait_all"] = [facts(one) for one in client.wait_all([client.submit(cat) for _ in range(3)])]
    wanted = [tasks.FluxDevTxt2Img(prompt=f"cat {number % 15}", width=512, height=512) for number in range(20)]
    results = sorted(client.map(wanted), key=lambda result: result.index)
    seen["map"] = sorted((facts(one.task)[1:] if one.task else type(one.error) for one in results), key=str)
    seen["map ids"] = sorted(pseudonym(one.task.id) for one in results if one.task)
    fault(operation="create_task", kind="lose")
    try:
        client.submit(cat, webhook_url="http://127.0.0.1:9/hook")
    except errors.SubmissionUncertain as lost:
        found = client.find(lost)
        seen["find"] = found.outcome, found.task and pseudonym(found.task.id)
    seen["cancel"] = outcome(lambda: client.cancel(done) or done)
    seen["unknown"] = outcome(lambda: client.get(OTHER_ID))
    seen["history"] = [(pseudonym(row.task_id or ""), row.status) for row in client.history()]
    seen["account"] = client.account().balance_usd
    return seen


def chat(client: Client) -> list[bool]:
    messages: Any = [{"role": "user", "content": "Hello there"}]
    with client.openai() as llm:
        stream = llm.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        return [bool(event.choices and event.choices[0].delta.content) for event in stream]


SPEED = 20  # of the clock of the clients


def hurried(key: str, url: str) -> Client:
    began = time.monotonic(), time.time()

    def clock() -> Timestamp:
        passed = (time.monotonic() - began[0]) * SPEED
        return Timestamp(began[0] + passed, began[1] + passed)

    return Client(key, url, clock=clock, sleep=lambda seconds: time.sleep(seconds / SPEED))


def test_replay_gives_the_outcomes_of_the_recorded_run(tmp_path: Path) -> None:
    with sandbox(Settings(engine_process=False)) as url, recorded_by_proxy(tmp_path / "rec", url) as proxy:

        def fault(**order: Any) -> None:
            httpx.post(f"{url}/_sandbox/faults", json=order, trust_env=False).raise_for_status()

        with hurried("sandbox", proxy.url) as client:
            recorded = program(client, tmp_path / "recorded", fault)
            stream = chat(client)

    recording = Recording.open(tmp_path / "rec")
    missing: list[str] = []
    with running(recording, say=missing.append) as url, hurried("any", url) as client:
        assert program(client, tmp_path / "served") == recorded
        assert chat(client) == stream
    with UnitaskRecording(recording.folder) as replayed, Client() as client:
        assert program(client, tmp_path / "memory") == recorded
    assert missing == []
    assert replayed.clock.sleeps
