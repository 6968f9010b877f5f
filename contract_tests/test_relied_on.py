"""Of the changes of the contract, those are named that touch what a recorded app sends and receives."""

import copy
import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask.cli import main
from unitask_contract import bundle
from unitask_contract.in_process import IN_PROCESS, InProcess
from unitask_contract.recording.folder import Body, Recorded, Recording
from unitask_contract.recording.redaction import Redactor
from unitask_contract.recording.relied_on import Contract, uses
from unitask_contract.recording.touched import touches
from unitask_sandbox import Settings, create_app

from spec.tests.test_changes import BASE, TRIED

from .test_redaction import recorded

Document = dict[str, Any]
Edit = Callable[[Document], object]

SCHEMAS = "/components/schemas"
KLING, OUTPUT, USAGE = f"{SCHEMAS}/KlingVideoInput", f"{SCHEMAS}/KlingOutput", f"{SCHEMAS}/TaskUsage/properties"
CREATE, GET = "/paths/~1api~1v1~1task/post", "/paths/~1api~1v1~1task~1{task_id}/get"
HISTORY = "/paths/~1api~1open~1tasks~1histories/get"
ID = "11111111-2222-8333-8000-555555555555"
SENT = {
    "prompt": "(23 characters, sha256 0123456789ab)",
    "cfg_scale": 0.5,
    "duration": 5,
    "aspect_ratio": "16:9",
    "image_url": "https://removed.test/0123456789ab.png",
}
CREATED = {"model": "kling", "task_type": "video_generation", "input": SENT, "config": {"service_mode": "public"}}
WORK = {"video": {"resource": "https://removed.test/0123456789ac.mp4", "width": 1440}}
DONE = {
    "code": 200,
    "data": {
        "task_id": ID,
        "model": "kling",
        "task_type": "video_generation",
        "status": "completed",
        "input": {},
        "output": {"status": 99, "works": [WORK]},
        "meta": {"usage": {"type": "point", "consume": 1300000}},
        "error": None,
    },
}
REFUSED = {"code": 404, "message": "task not found", "data": None}


def exchange(number: int, operation: str, sent: Any, status: int, received: Any, query: str = "") -> Recorded:
    method, path = bundle.routes()[operation]
    request, response = (Body("json", "application/json", content=one) if one else Body() for one in (sent, received))
    path = path.replace("{task_id}", ID)
    return Recorded(number, operation, method, path, query, {}, request, "", 0, 0, status, {}, response)


APP = [
    exchange(1, "create_task", CREATED, 200, {"code": 200, "data": {"task_id": ID, "status": "pending"}}),
    exchange(2, "get_task", None, 200, DONE),
    exchange(3, "get_task", None, 404, REFUSED),
    exchange(4, "list_task_history", None, 200, {"total": 1}, "page=1&page_size=50"),
]


def changed(document: Document, *edits: Edit) -> Document:
    document = copy.deepcopy(document)
    for edit in edits:
        edit(document)
    return document


def at(document: Document, pointer: str) -> Any:
    node: Any = document
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/")
        node = node[int(key) if isinstance(node, list) else key]
    return node


def put(pointer: str, value: Any) -> Edit:
    parent, _, key = pointer.rpartition("/")
    return lambda document: at(document, parent).update({key.replace("~1", "/"): value})


def drop(pointer: str) -> Edit:
    parent, _, key = pointer.rpartition("/")
    return lambda document: at(document, parent).pop(key.replace("~1", "/"))


def add(pointer: str, item: Any) -> Edit:
    return lambda document: at(document, pointer).append(item)


def task_type(name: str) -> Callable[[Document], Any]:
    return lambda document: next(one for one in document["x-tasks"] if one["name"] == name)


OLD = changed(bundle.document(), put(f"{USAGE}/type/enum", ["point", "usd"]))  # a closed list in answers
CREATE_NAME, GET_NAME = "POST /api/v1/task", "GET /api/v1/task/{task_id}"
INPUT, MADE = "task KlingVideo input", "task KlingVideo output"
TEXT = {"type": "string"}

TOUCHES: dict[str, tuple[Edit, str, str]] = {  # the change, where it touches the app, and what the app did
    "an operation is removed": (drop(CREATE), f"{CREATE_NAME}: operation is gone", "used (1 time, first in 000001"),
    "the key is another header": (put("/components/securitySchemes/ApiKey/name", "x-key"), CREATE_NAME, "used"),
    "its media type is removed": (
        put(f"{CREATE}/requestBody/content", {"text/json": {}}),
        f"{CREATE_NAME} request application/json: media type is gone",
        "used",
    ),
    "its answer is removed": (drop(f"{GET}/responses/200"), f"{GET_NAME} 200: answer is gone", "used (2 times"),
    "an error that it met has another form": (
        put(f"{SCHEMAS}/ErrorEnvelope/properties/message/type", "object"),
        f"{GET_NAME} default /message: type was",
        "received (1 time, first in 000003",
    ),
    "a field that it never sends is required": (
        put(f"{KLING}/required", ["seed"]), f"{INPUT} /seed: is required now", "left out (1 time, first in 000001"
    ),
    "a header is required": (
        put(f"{GET}/parameters", [{"in": "header", "name": "x-id", "required": True, "schema": TEXT}]),
        f"{GET_NAME} header x-id: parameter is required now",
        "used",
    ),
    "a field of the query is required": (
        add(f"{HISTORY}/parameters", {"in": "query", "name": "order", "required": True, "schema": TEXT}),
        "GET /api/open/tasks/histories query /order: is required now",
        "left out",
    ),
    "a limit excludes a number that it sends": (
        put(f"{KLING}/properties/cfg_scale/maximum", 0.4), f"{INPUT} /cfg_scale: maximum was 1, is 0.4", "sent 0.5"
    ),
    "a limit excludes a number in its query": (
        put(f"{HISTORY}/parameters/1/schema/maximum", 20),
        "GET /api/open/tasks/histories query /page_size: maximum was 100, is 20",
        "sent 50",
    ),
    "a word that it sends is removed": (
        put(f"{KLING}/properties/aspect_ratio/enum", ["9:16"]), f"{INPUT} /aspect_ratio: enum was", 'sent "16:9"'
    ),
    "a text is shorter than one that it sends": (
        put(f"{KLING}/properties/prompt/maxLength", 22),
        f"{INPUT} /prompt: maxLength was 2500, is 22",
        "sent a text of 23 characters",
    ),
    "a text that was removed is a number": (
        put(f"{KLING}/properties/prompt", {"type": "integer"}), f"{INPUT} /prompt: type", "sent"
    ),
    "a field that it sends is not documented": (
        drop(f"{KLING}/properties/cfg_scale"), f"{INPUT} /cfg_scale: is not documented any more", "sent"
    ),
    "a field that it receives is not documented": (
        drop(f"{OUTPUT}/properties/works"), f"{MADE} /works: is not documented any more", "first in 000002"
    ),
    "a field that it receives may be null": (
        put(f"{USAGE}/consume/type", ["integer", "null"]), f"{GET_NAME} 200 /data/meta/usage/consume: type", "received"
    ),
    "a field that it receives may be absent": (
        drop(f"{SCHEMAS}/TaskEnvelope/required"), f"{GET_NAME} 200 /data: required", "received (1 time"
    ),
    "an item that it receives has another type": (
        put(f"{SCHEMAS}/KlingVideoFile/properties/width/type", "string"), f"{MADE} /works/*/video/width:", "received"
    ),
    "a word comes that was excluded": (
        add(f"{USAGE}/type/enum", "token"), f"{GET_NAME} 200 /data/meta/usage/type: enum was", "received"
    ),
    "a task type that it uses is removed": (
        lambda document: document["x-tasks"].remove(task_type("KlingVideo")(document)),
        "task KlingVideo: task type is gone",
        "used",
    ),
    "a task type that it uses has another model": (
        lambda document: task_type("KlingVideo")(document).update(model="kling2"),
        "task KlingVideo: model 'kling' is now 'kling2'",
        "used",
    ),
}  # fmt: skip
MAY_TOUCH: dict[str, tuple[Edit, str]] = {  # what the recording does not have
    "a removed text gets a pattern": (
        put(f"{KLING}/properties/prompt/pattern", "^[a-z]+$"),
        f"{INPUT} /prompt: pattern",
    ),
    "a removed text is one of a list": (put(f"{KLING}/properties/prompt/enum", ["a"]), f"{INPUT} /prompt: enum"),
    "an address is shorter": (put(f"{KLING}/properties/image_url/maxLength", 200), f"{INPUT} /image_url: maxLength"),
}
TOUCHES_NOT: dict[str, Edit] = {
    "text only": put(f"{CREATE}/summary", "Otherwise"),
    "an operation that it does not use is removed": drop("/paths/~1v1~1models/get"),
    "a task type that it does not use is removed": lambda one: one["x-tasks"].remove(task_type("FaceSwap")(one)),
    "a task type that it does not use needs a field": add(f"{SCHEMAS}/FaceSwapInput/required", "new"),
    "a task type is added": lambda one: one["x-tasks"].append({**task_type("FaceSwap")(one), "name": "Twin"}),
    "a field that it sends is required": put(f"{KLING}/required", ["cfg_scale"]),
    "a field that it does not send has another type": put(f"{KLING}/properties/enable_audio/type", "string"),
    "a field that it does not send is removed": drop(f"{KLING}/properties/enable_audio"),
    "an optional field is added": put(f"{KLING}/properties/new", TEXT),
    "a limit allows the number that it sends": put(f"{KLING}/properties/cfg_scale/maximum", 0.5),
    "a limit allows the number in its query": put(f"{HISTORY}/parameters/1/schema/maximum", 50),
    "a parameter that it does not send is removed": lambda one: at(one, f"{HISTORY}/parameters").pop(),
    "a word that it does not send is removed": put(f"{KLING}/properties/aspect_ratio/enum", ["16:9"]),
    "a text is as short as the one that it sends": put(f"{KLING}/properties/prompt/maxLength", 23),
    "an address may be as long as before": put(f"{KLING}/properties/image_url/minLength", 0),
    "a field that it did not receive is removed": drop(f"{OUTPUT}/properties/video_url"),
    "a field that it did not receive may be null": put(f"{USAGE}/frozen/type", ["integer", "null"]),
    "a status that it did not meet": put(f"{GET}/responses/409", {"description": "conflict"}),
    "a word that comes no longer": put(f"{USAGE}/type/enum", ["point"]),
    "a word of an open list": add(f"{SCHEMAS}/TaskStatus/anyOf/0/enum", "queued"),
    "a webhook that it does not use": put(f"{SCHEMAS}/TaskNotification/properties/timestamp/type", ["integer", "null"]),
}  # fmt: skip


def touched(edit: Edit, app: list[Recorded] = APP) -> list[str]:
    old = Contract(OLD)
    return [str(one) for one in touches(uses(app, old), old, Contract(changed(OLD, edit)))]


@pytest.mark.parametrize(("edit", "where", "evidence"), TOUCHES.values(), ids=TOUCHES)
def test_change_that_touches_the_app_is_named_with_what_the_app_did(edit: Edit, where: str, evidence: str) -> None:
    found = touched(edit)

    assert any(one.startswith(f"touched: {where}") and evidence in one for one in found), found


@pytest.mark.parametrize(("edit", "where"), MAY_TOUCH.values(), ids=MAY_TOUCH)
def test_change_may_touch_the_app_if_it_depends_on_what_was_removed(edit: Edit, where: str) -> None:
    (found,) = touched(edit)

    assert found.startswith(f"may be touched: {where}")


@pytest.mark.parametrize("edit", TOUCHES_NOT.values(), ids=TOUCHES_NOT)
def test_change_of_what_the_app_does_not_use_does_not_touch_it(edit: Edit) -> None:
    assert touched(edit) == []


def test_app_that_uses_everything_is_touched_by_each_breaking_change_and_by_no_other() -> None:
    app = [exchange(0, "cancel_tasks", None, 200, {"code": 200}, "created_before=5&model=kling")]
    app += [
        exchange(number, one["x-operation"], sent, 200 if one["x-part"] == "200" else 400, received)
        for number, one in enumerate(bundle.examples().values(), 1)
        if one["x-operation"] in bundle.routes()
        for sent, received in [(one["value"], None) if one["x-part"] == "request" else (None, one["value"])]
    ]
    old = Contract(BASE)
    found, unused = uses(app, old), bundle.operations().keys() - {one.operation for one in app}
    wrong = {
        what
        for level, what, edit in TRIED
        if what.split()[0] not in unused
        and bool(touches(found, old, Contract(changed(BASE, edit)))) is not (level == "major")
    }

    assert wrong == {
        "created_before is text",  # as it is in a query
        "model is required",  # the app sends it always
        "a number in a notification may be null",  # of the account: not in a recording
    }


def test_json_without_its_media_type_is_compared() -> None:
    app = [replace(one, request=replace(one.request, kind="text/plain")) for one in APP]

    (found,) = touched(put(f"{SCHEMAS}/TaskRequest/required", ["new"]), app)

    assert found.startswith("touched: POST /api/v1/task request /new: is required now")


def test_app_that_registers_webhooks_may_be_touched_by_a_change_of_notifications() -> None:
    config = {"webhook_config": {"endpoint": "https://removed.test/0123456789ab"}}
    app = [exchange(1, "create_task", {**CREATED, "config": config}, 200, DONE)]

    (found,) = touched(TOUCHES_NOT["a webhook that it does not use"], app)

    assert found.startswith("may be touched: webhooks POST task request: ")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of an app that makes a picture with the sandbox."""
    folder = tmp_path_factory.mktemp("app")
    given = {"prompt": "a fox on a hill", "width": 512, "guidance_scale": 4.5}
    body = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": given}
    application = create_app(Settings(autorun=False, engine_process=False))
    with closing(application.state.sandbox) as sandbox, httpx.Client(transport=InProcess(application)) as http:
        headers = {"x-api-key": "sandbox"}
        answers = [http.post(f"{IN_PROCESS}/api/v1/task", json=body, headers=headers)]
        sandbox.advance()
        paths = answers[0].json()["data"]["task_id"], ID
        answers += [http.get(f"{IN_PROCESS}/api/v1/task/{path}", headers=headers) for path in paths]
        answers.append(http.get(f"{IN_PROCESS}/favicon.ico"))
    redactor, recording = Redactor(), Recording.create(folder, "https://api.piapi.ai", "2026-11-29T12:00:00Z")
    for number, one in enumerate(answers, 1):
        sent = {"number": number, "method": one.request.method, "path": one.request.url.path}
        received = {"status": one.status_code, "response_headers": one.headers}
        recording.write(recorded(one.request.content, one.content, redactor=redactor, **sent, **received))
    return folder


def test_command_says_whether_a_contract_touches_the_recorded_app(
    app: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, reports = (
        tmp_path / "openapi.json",
        [tmp_path / f"report{form}" for form in (".json", ".sarif", ".xml", ".html")],
    )
    flux = f"{SCHEMAS}/FluxTxt2ImgInput"
    elsewhere = put(f"{KLING}/required", ["seed"])
    here = (put(f"{flux}/properties/guidance_scale/maximum", 4), put(f"{flux}/properties/prompt/pattern", "fox"))

    assert main(["contract", "--relied-on", str(app)]) == 0
    said = capsys.readouterr().out
    assert "this app uses: operations 2, task types 1, HTTP 200, 404; " in said
    assert "are not of the contract, and not compared: 1\n" in said
    assert said.endswith("this app is not touched (changes: 0 certain, 0 possible)\n")

    spec.write_text(json.dumps(changed(bundle.document(), elsewhere)))
    assert main(["contract", "--relied-on", str(app), "--spec", str(spec)]) == 0
    assert "changes that do not touch this app: 1\n" in capsys.readouterr().out

    spec.write_text(json.dumps(changed(bundle.document(), elsewhere, *here)))
    assert (
        main(["contract", "--relied-on", str(app), "--spec", str(spec), *(f"--report={one}" for one in reports)]) == 1
    )
    said = capsys.readouterr().out
    name = "task FluxDevTxt2Img input"
    evidence = "sent 4.5 (1 time, first in 000001-create_task.json)"
    assert f"\ntouched: {name} /guidance_scale: maximum was 5, is 4; {evidence}\n" in said
    assert f"\nmay be touched: {name} /prompt: pattern was absent" in said
    assert "changes that do not touch this app: 2\n" in said  # the second one: FluxSchnellTxt2Img has the same input
    assert said.endswith("this app is touched (changes: 1 certain, 1 possible)\n")
    written = json.loads(reports[0].read_text())
    assert written["verdict"] == "this app is touched (changes: 1 certain, 1 possible)"
    results = {one["task_type"]: one for one in written["results"]}
    assert [name for name, one in results.items() if one["check"] == "used"] == [
        CREATE_NAME,
        "task FluxDevTxt2Img",
        GET_NAME,
    ]
    assert "/guidance_scale 4.5, /prompt, /width 512" in results["task FluxDevTxt2Img"]["detail"]
    assert results[f"{name} /guidance_scale"]["outcome"] == "broken"
    assert all("maximum was 5, is 4" in report.read_text() for report in reports)


def test_command_names_why_it_cannot_compare(app: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text("{}")
    endless, document = tmp_path / "endless.json", copy.deepcopy(bundle.document())
    document["components"]["schemas"]["TaskEnvelope"] = {"$ref": "#/components/schemas/TaskEnvelope"}
    endless.write_text(json.dumps(document))
    empty = tmp_path / "empty"
    Recording.create(empty, "https://api.piapi.ai", "2026-11-29T12:00:00Z")
    damaged = shutil.copytree(app, tmp_path / "damaged")
    (damaged / "openapi.json.gz").write_bytes(b"no gzip")
    reasons = {
        ("--relied-on", str(tmp_path)): "is not a recording",
        ("--relied-on", str(empty)): "has no exchange of an operation of the contract",
        ("--relied-on", str(damaged)): "openapi.json.gz cannot be read",
        ("--relied-on", str(app), "--spec", str(spec)): "is not a contract with x-tasks",
        ("--relied-on", str(app), "--spec", str(endless)): "is not a contract with x-tasks",
        ("--relied-on", str(app), "--body", str(spec)): "no --body",
        ("--spec", str(spec)): "with --relied-on",
    }
    for arguments, reason in reasons.items():
        assert main(["contract", *arguments]) == 2
        assert reason in capsys.readouterr().err
