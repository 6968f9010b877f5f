"""Programs over `http.client`, as users write them from the provider's pages, against the running local provider.

Bodies, paths and fields are copied from the pages and from public clients; nothing here reads the spec. Each flow
creates a task, polls it until its word for "done", and downloads the files.
"""

import base64
import http.client
import http.server
import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from unitask_sandbox import Fault, Settings, running, samples

KEY = "sandbox"
MOST_POLLS = 3000
POLLS = ("get_task", "legacy_fetch_face_swap", "legacy_get_kling_video", "legacy_get_luma_video", "legacy_mj_fetch")
PACED = Settings(faults=tuple(Fault(name, "slow", delay=0.02, times=None) for name in POLLS))  # programs pause so long
SLOW = Settings(speed=0.001)  # a task is pending for minutes
PICTURE, FILM = "a picture", "a film"
TASK = "/api/v1/task"


def in_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


FACES = {"target_image": in_base64(samples.ASTRONAUT), "swap_image": in_base64(samples.GRACE_HOPPER)}


@dataclass
class Program:
    """A program that has the address of the provider."""

    base_url: str

    def send(self, method: str, path: str, body: Any = None, key: str | None = KEY) -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer."""
        connection = http.client.HTTPConnection(urlsplit(self.base_url).netloc, timeout=60)
        headers = {"Content-Type": "application/json", **({"X-API-KEY": key} if key else {})}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None, key: str | None = KEY) -> Any:
        """Return the JSON of an answer with status 200."""
        status, content = self.send(method, path, body, key)
        assert status == 200, content
        return json.loads(content)

    def kind_of(self, url: str) -> str:
        """Download a file of an answer, without the key, and return what it is."""
        assert url.startswith(self.base_url), url
        status, content = self.send("GET", urlsplit(url).path, key=None)
        is_picture = content.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
        is_film = content[4:8] == b"ftyp" and b"moov" in content
        return PICTURE if is_picture else FILM if is_film else f"HTTP {status}, {content[:20]!r}"


@dataclass
class Flow:
    """How a task is created and polled, and what a program reads of it."""

    create: str  # a path
    body: dict[str, Any]
    poll: tuple[str, str]  # method and path; the id goes in place of {id}, or into the body of a POST
    done: str  # the word of a task that is done
    files: dict[str, str]  # a place in the last answer, and what lies there
    same: dict[str, Any] = field(default_factory=dict[str, Any])  # a place in the last answer, and its value
    start: dict[str, Any] = field(default_factory=dict[str, Any])  # the same of the answer to the create request
    poll_key: str | None = KEY


UNIFIED = ("GET", f"{TASK}/{{id}}")
ACCEPTED = {"code": 200, "message": "success"}
FLOWS = {
    "unified face swap": Flow(
        TASK,
        {"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": FACES},
        UNIFIED,
        "completed",
        {"data.output.image_url": PICTURE},
        {**ACCEPTED, "data.model": "Qubico/image-toolkit", "data.task_type": "face-swap", "data.input": {}},
        {**ACCEPTED, "data.output": None, "data.error.code": 0, "data.detail": None},
    ),
    "unified Kling": Flow(
        TASK,
        {"model": "kling", "task_type": "video_generation", "input": {"prompt": "a cat", "duration": 5, "mode": "std"}},
        UNIFIED,
        "completed",
        {
            "data.output.video_url": FILM,
            "data.output.works.0.video.resource": FILM,
            "data.output.works.0.video.resource_without_watermark": FILM,
            "data.output.works.0.cover.resource": PICTURE,
        },
        {
            "data.input": {"prompt": "a cat", "duration": 5, "mode": "std"},
            "data.output.status": 99,
            "data.meta.usage": {"type": "point", "frozen": 2_600_000, "consume": 2_600_000},
        },
    ),
    "Midjourney v2": Flow(
        "/mj/v2/imagine",
        {"prompt": "a cute puppy", "process_mode": "relax", "webhook_endpoint": "", "webhook_secret": ""},
        ("POST", "/mj/v2/fetch"),
        "finished",
        {"task_result.image_url": PICTURE, "task_result.discord_image_url": PICTURE},
        {"task_result.error_messages": []},
        {"status": "success", "message": ""},
        poll_key=None,
    ),
    "face swap v1": Flow(
        "/api/face_swap/v1/async",
        {**FACES, "result_type": "url"},
        ("POST", "/api/face_swap/v1/fetch"),
        "success",
        {"data.image": PICTURE},
        ACCEPTED,
        ACCEPTED,
    ),
    "Luma v1": Flow(
        "/api/luma/v1/video",
        {"prompt": "A flying cat", "expand_prompt": True, "image_url": "https://iili.io/dKqFZ9n.md.png"},
        ("GET", "/api/luma/v1/video/{id}"),
        "completed",
        {"data.generation.video": FILM},
        {"data.generation.prompt": "A flying cat", "data.generation.state": "completed"},
        ACCEPTED,
        poll_key=None,
    ),
    "Kling v1": Flow(
        "/api/kling/v1/video",
        {
            "prompt": "p",
            "aspect_ratio": "16:9",
            "negative_prompt": "",
            "professional_mode": True,
            "creativity": 0.5,
            "duration": 5,
            "image_url": "",
            "version": "1.5",
            "webhook_config": {"endpoint": "", "secret": ""},
        },
        ("GET", "/api/kling/v1/video/{id}"),
        "completed",
        {
            "data.works.0.resource.resource": FILM,
            "data.works.0.resource.resourceWithoutWatermark": FILM,
            "data.output.video_url": FILM,
        },
        ACCEPTED,
        ACCEPTED,
    ),
}


def at(value: Any, place: str) -> Any:
    """Return what lies at a place such as "data.works.0.cover"."""
    for step in place.split("."):
        value = value[int(step)] if step.isdecimal() else value[step]
    return value


def run(program: Program, flow: Flow) -> tuple[str, Any]:
    """Create a task and poll it until it is done; return its id and the last answer."""
    created = program.call("POST", flow.create, flow.body)
    assert {place: at(created, place) for place in flow.start} == flow.start
    prefix = "" if "task_id" in created else "data."
    task_id: str = at(created, f"{prefix}task_id")
    method, path = flow.poll
    for _ in range(MOST_POLLS):
        body = {"task_id": task_id} if method == "POST" else None
        answer = program.call(method, path.format(id=task_id), body, flow.poll_key)
        if at(answer, f"{prefix}status") not in ("pending", "starting", "processing"):
            break
    assert at(answer, f"{prefix}status") == flow.done, answer
    assert {place: at(answer, place) for place in flow.same} == flow.same
    assert {place: program.kind_of(at(answer, place)) for place in flow.files} == flow.files
    return task_id, answer


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with running(PACED) as url:
        yield Program(url)


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_program_reads_what_the_pages_show(program: Program, flow: Flow) -> None:
    run(program, flow)


@pytest.mark.parametrize(
    ("flow", "path", "body"),
    [
        ("Midjourney v2", "/mj/v2/upscale", {"index": 1}),  # two clients send a number
        ("Kling v1", "/api/kling/v1/video/{id}/extend", {"prompt": "it jumps"}),
    ],
)
def test_task_starts_from_another_one(program: Program, flow: str, path: str, body: dict[str, Any]) -> None:
    first = FLOWS[flow]
    origin, _ = run(program, first)
    given = body if "{id}" in path else {**body, "origin_task_id": origin}
    run(program, replace(first, create=path.format(id=origin), body=given))


def test_legacy_face_swap_answers_base64_unless_an_address_is_requested(program: Program) -> None:
    legacy = FLOWS["face swap v1"]
    _, answer = run(program, Flow(legacy.create, FACES, legacy.poll, legacy.done, {}))

    assert base64.b64decode(answer["data"]["image"]).startswith(b"\x89PNG")


def test_uploaded_file_is_an_input(program: Program) -> None:
    picture = {"file_name": "face.png", "file_data": FACES["target_image"]}
    url = program.call("POST", "/api/ephemeral_resource", picture)["data"]["url"]
    given = {"prompt": "a cat", "image": url}
    body = {"model": "Qubico/flux1-schnell", "task_type": "img2img", "input": given}

    assert program.kind_of(url) == PICTURE
    run(program, Flow(TASK, body, UNIFIED, "completed", {"data.output.image_url": PICTURE}, {"data.input": given}))


def test_pending_task_is_cancelled_once() -> None:
    body = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a cat"}}
    with running(SLOW) as url:
        program = Program(url)
        one, other = (program.call("POST", TASK, body)["data"]["task_id"] for _ in range(2))
        cancelled = program.call("DELETE", f"{TASK}/{one}")
        status, again = program.send("DELETE", f"{TASK}/{one}")
        program.call("DELETE", "/api/v1/tasks?created_before=4000000000&model=all")
        words = [program.call("GET", f"{TASK}/{task_id}")["data"]["status"] for task_id in (one, other)]

    assert cancelled == {"code": 200, "message": f"task {one} canceled"}
    assert (status, json.loads(again)["code"]) == (400, 400)
    assert words == ["cancelled", "cancelled"]


def test_end_of_a_task_arrives_at_the_webhook(program: Program) -> None:
    arrived: queue.Queue[tuple[str | None, Any]] = queue.Queue()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            arrived.put((self.headers["x-webhook-secret"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        webhook = {"endpoint": f"http://127.0.0.1:{server.server_port}/hook", "secret": "a secret"}
        body = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a cat"}}
        created = program.call("POST", TASK, {**body, "config": {"webhook_config": webhook}})["data"]
        secret, sent = arrived.get(timeout=60)
        server.shutdown()
    task = program.call("GET", f"{TASK}/{created['task_id']}")["data"]

    assert (secret, sent.keys()) == ("a secret", {"timestamp", "data"})
    assert sent["data"]["input"] == body["input"]
    assert sent["data"]["output"] == task["output"]
    assert program.kind_of(sent["data"]["output"]["image_url"]) == PICTURE


REFUSED: dict[str, tuple[Any, ...]] = {
    "a wrong key": ("POST", TASK, {"model": "kling", "task_type": "sound", "input": {}}, "wrong", 401),
    "an unknown model": ("POST", TASK, {"model": "moon", "task_type": "txt2img", "input": {}}, KEY, 400),
    "an unknown task": ("GET", f"{TASK}/00000000-0000-4000-8000-000000000000", None, KEY, 404),
    "an unknown legacy task": ("POST", "/mj/v2/fetch", {"task_id": "x"}, None, 404),
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED.keys())
def test_refusal_repeats_its_status_and_has_a_message(program: Program, row: tuple[Any, ...]) -> None:
    *request, expected = row
    status, content = program.send(*request)
    body = json.loads(content)

    assert (status, body["code"], bool(body["message"])) == (expected, expected, True)
