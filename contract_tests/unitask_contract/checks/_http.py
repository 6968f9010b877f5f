"""Requests of the checks, and helpers to read the answers."""

import base64
import json
import re
from typing import Any

import httpx
from unitask_contract import bundle, causes
from unitask_contract.bundle import component, entry_of, fields
from unitask_contract.causes import Broken
from unitask_contract.exchange import read_json, shortened
from unitask_contract.provider import Inside, LeftOut, Provider
from unitask_sandbox import samples

BLANK = base64.b64decode(  # a grey picture of 64 x 64 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAK0lEQVR42u3MMREAAAgEoNfkRjeEmwcBqMlNRyAQCAQCgUAgEAgEAsHzYAFAdAEArKmlZAAAAABJRU5ErkJggg=="
)
TASK, HISTORY, UPLOAD = "/api/v1/task", "/api/open/tasks/histories", "/api/ephemeral_resource"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say one word."}]}
# It costs almost nothing.
DRAWING: dict[str, Any] = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a fox"}}
ENDPOINT, SECRET = "https://me.test/hook", "the secret of the submissions"
WITH_WEBHOOK = {**DRAWING, "config": {"webhook_config": {"endpoint": ENDPOINT, "secret": SECRET}}}
POLL_SECONDS = 3.0  # between polls; the first ones come sooner
EARLY_POLLS = 6
MOST_STUCK = 3  # tasks that are waited for until they count as stuck
LEAST_PATIENCE, MOST_PATIENCE = 45.0, 600.0  # seconds until a task counts as stuck
TIMES_TYPICAL = 3  # so many times the usual duration of its type, between these limits
INSTANT = 0.05  # a provider whose tasks end within this share of the usual duration is not a real one
SENT = 200  # characters of a request that are shown
_PHASES = ("queued", "started", "ended")  # in this order; a task never goes back
_RANKS: dict[str, int] = {
    word: _PHASES.index(rule["phase"])
    for rule in component("TaskStatus")["x-states"].values()
    for word in rule["words"]
}
OPEN = {word for word, rank in _RANKS.items() if rank < _PHASES.index("ended")}


def inside_of(provider: Provider) -> Inside:
    """Return what only a provider in the same process has; leave the check out for a remote one."""
    if provider.inside is None:
        raise LeftOut("it needs a second account, a clock or webhooks, which only the sandbox in-process has")
    return provider.inside


def face_swap(**pictures: str) -> dict[str, Any]:
    """Return the body of a face swap of two portraits, or with other pictures in their places."""
    portraits = {"target_image": samples.ASTRONAUT, "swap_image": samples.GRACE_HOPPER}
    encoded = {name: base64.b64encode(path.read_bytes()).decode() for name, path in portraits.items()}
    return {"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": {**encoded, **pictures}}


def file(name: str = "a.png", content: bytes = BLANK) -> dict[str, str]:
    """Return the body of an upload."""
    return {"file_name": name, "file_data": base64.b64encode(content).decode()}


def data_of(provider: Provider, method: str, path: str, **request: Any) -> dict[str, Any]:
    """Send a request, which must succeed, and return the data of the answer."""
    return data_in(provider.request(method, path, **request))


def data_in(answer: httpx.Response) -> dict[str, Any]:
    """Return the data of a successful answer."""
    if answer.status_code != 200:
        raise Broken(_http_cause(answer), shown(answer))
    data = fields(json_of(answer).get("data"))
    if not data:
        raise Broken(causes.NO_DATA, shown(answer))
    return data


def _http_cause(answer: httpx.Response) -> causes.Cause:
    return causes.http_cause(answer.status_code, answer.request.method, answer.request.url.path)


def json_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the body of an answer, which must be JSON by its content type."""
    kind = answer.headers.get("content-type") or "without a content type"
    if kind.partition(";")[0].strip() != "application/json":
        raise Broken(causes.CONTENT_TYPE, f"the answer is {kind}: {shown(answer)}")
    body = read_json(answer.content)
    if body is None:
        raise Broken(causes.NOT_JSON, shown(answer))
    return fields(body)


def refusal_in(answer: httpx.Response) -> dict[str, Any]:
    """Return the body of a refusal: HTTP 4xx, in the envelope for errors."""
    if answer.status_code >= 500:
        raise Broken(_http_cause(answer), shown(answer))
    if answer.status_code < 400:
        raise Broken(causes.NOT_REFUSED, shown(answer))
    body = json_of(answer)
    if not bundle.allows("ErrorEnvelope", body):
        raise Broken(causes.ENVELOPE, shown(answer))
    return body


def require_echo(task: dict[str, Any], task_id: str, body: dict[str, Any]) -> None:
    """Check that a task shows its id, and the model and task type that were sent."""
    sent, seen = (task_id, body["model"], body["task_type"]), (task["task_id"], task["model"], task["task_type"])
    if sent != seen:
        raise Broken(causes.ECHO, f"task {' '.join(map(str, sent))} is shown as {' '.join(map(str, seen))}")


def shown(answer: httpx.Response) -> str:
    """Return a request and its answer as text."""
    sent = answer.request.content.decode(errors="replace")
    request = f"{answer.request.method} {answer.request.url}{f' of {shortened(sent, SENT)}' if sent else ''}"
    return f"HTTP {answer.status_code} to {request}: {answer.text or 'an empty body'}"


def status_of(task: dict[str, Any]) -> str:
    """Return the status of a task in lower case; the pages use capitals, too."""
    return str(task["status"]).casefold()


def create(provider: Provider, body: dict[str, Any] = DRAWING) -> dict[str, Any]:
    """Create a task, and return it."""
    task = data_of(provider, "POST", TASK, json=body)
    provider.submissions[str(task.get("task_id"))] = body, provider.waited
    _check_own(provider, task)
    return task


def poll(provider: Provider, task_id: str) -> dict[str, Any]:
    """Get a task of ours: it exists, its status never goes back, and it shows nothing of another task."""
    before = provider.memo.get(("status", task_id), "pending")
    answer = provider.request("GET", f"{TASK}/{task_id}")
    if answer.status_code == 404 and task_id in provider.submissions:
        raise Broken(causes.GONE, f"task {task_id} was {before}, and GET does not find it now: {shown(answer)}")
    task = data_in(answer)
    status = status_of(task)
    if status in _RANKS:
        if _RANKS[status] < _RANKS[before]:
            raise Broken(causes.BACK, f"task {task_id} was {before}, and is {status} now")
        provider.memo["status", task_id] = status
    _check_own(provider, task)
    return task


def _check_own(provider: Provider, task: dict[str, Any]) -> None:
    """Check that a task shows no secret, input or output that is known from another submission."""
    task_id = str(task.get("task_id"))
    sent = provider.submissions.get(task_id, ({}, 0.0))[0]
    others = {other: body for other, (body, _) in provider.submissions.items() if other != task_id}
    if (secret := _secret(task)) and secret != _secret(sent):
        for other in (other for other, body in others.items() if secret == _secret(body)):
            raise Broken(causes.SECRET, f"task {task_id} shows the webhook secret of task {other}")
    given, echoed = fields(sent.get("input")), fields(task.get("input"))
    if given and echoed and given != echoed:
        for other in (other for other, body in others.items() if _is_of(echoed, given, fields(body.get("input")))):
            raise Broken(causes.INPUT, f"task {task_id} shows the input of task {other}: {echoed}")
    if "origin_task_id" not in given and (urls := _urls(task.get("output")) - _urls(given)):
        owner = provider.memo.setdefault(("output", urls), task_id)
        if owner != task_id:
            raise Broken(causes.OUTPUT, f"task {task_id} shows the output of task {owner}: {task['output']}")


def _secret(task: dict[str, Any]) -> object:
    return fields(fields(task.get("config")).get("webhook_config")).get("secret")


def _is_of(echoed: dict[str, Any], given: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether an input that is shown is that of another submission; providers add, drop and rewrite fields."""
    own, theirs = list(given.values()), list(other.values())
    if any(text in theirs and text not in own for text in echoed.values() if re.search(r" |://|.{99}", str(text))):
        return True  # a prompt, an address or a file; a word can be the default of a field
    if not echoed.keys() & given.keys():
        return bool(echoed.keys() & other.keys())
    return echoed == other and not echoed.keys() <= given.keys()


def _urls(value: Any) -> frozenset[str]:
    """Return the URLs in a JSON value, without queries, which can hold a signature for each poll."""
    return frozenset(re.findall(r'"(https?://[^"?]+)', json.dumps(value)))


def is_done(task: dict[str, Any]) -> bool:
    """Return whether a task has ended."""
    return status_of(task) in _RANKS.keys() - OPEN


def until_done(provider: Provider, task_id: str) -> dict[str, Any]:
    """Poll a task until it has ended, and once more; give up when it is stuck, or soon when others were."""
    body, created = provider.submissions[task_id]
    number = 0
    while not is_done(task := poll(provider, task_id)):
        _require_progress(provider, task, provider.waited - created, number)
        provider.pause(min(POLL_SECONDS, 0.05 * 2**number))
        number += 1
    provider.pace = max(provider.pace or 0.0, (provider.waited - created) / _usual_seconds(body))
    again = poll(provider, task_id)
    if status_of(again) != status_of(task):
        raise Broken(causes.CHANGED, f"task {task_id} was {task['status']}, and is {again['status']}")
    return task


def _require_progress(provider: Provider, task: dict[str, Any], age: float, number: int) -> None:
    """Raise if the end of a task is not worth waiting for, `age` seconds after its submission."""
    task_id, model, status = str(task["task_id"]), task["model"], status_of(task)
    is_named = status in _RANKS
    if not is_named and (task.get("output") or fields(task.get("error")).get("message")):
        raise Broken(causes.WORD, f"task {task_id} has ended as {status!r}: {task}")
    if age >= _patience(provider, task_id):
        provider.stuck[task_id] = model
        said = f"task {task_id} of {model} {task['task_type']} is {status!r} {age:.0f} s after its submission"
        usual = _usual_seconds(provider.submissions[task_id][0])
        raise Broken(causes.STUCK if is_named else causes.WORD, f"{said}; it usually takes {usual:g} s")
    nothing_ends = bool(provider.stuck) and provider.pace is None
    is_last = nothing_ends or len(provider.stuck) >= MOST_STUCK or model in provider.stuck.values()
    if is_last and (nothing_ends or number >= EARLY_POLLS):
        raise LeftOut(f"{', '.join(provider.stuck)} did not end in time, so other tasks are not waited for")
    if number == EARLY_POLLS:
        provider.say(f"waits for task {task_id}, which is {status}")


def _patience(provider: Provider, task_id: str) -> float:
    """Return after how many seconds a task is stuck; a queued task may wait for those before it."""
    if provider.timeout is not None:
        return provider.timeout
    if provider.pace is not None and provider.pace <= INSTANT:
        return LEAST_PATIENCE
    seconds = TIMES_TYPICAL * _usual_seconds(provider.submissions[task_id][0])
    if not _rank(provider, task_id):
        earlier = list(provider.submissions)[: list(provider.submissions).index(task_id)]
        waiting = (one for one in earlier if _rank(provider, one) < _PHASES.index("ended"))
        seconds += sum(_usual_seconds(provider.submissions[one][0]) for one in waiting)
    return min(MOST_PATIENCE, max(LEAST_PATIENCE, seconds))


def _rank(provider: Provider, task_id: str) -> int:
    return _RANKS[provider.memo.get(("status", task_id), "pending")]


def _usual_seconds(body: dict[str, Any]) -> float:
    entry = entry_of(body["model"], body["task_type"], body["input"])
    return float(entry["typical_seconds"]["value"]) if entry else LEAST_PATIENCE


def cancel(provider: Provider, task_id: str) -> None:
    """Cancel a task that has just been created; leave the check out if it is not pending any more."""
    answer = provider.request("DELETE", f"{TASK}/{task_id}")
    if answer.status_code != 200 and provider.inside is None:
        status = status_of(poll(provider, task_id))
        if status not in ("pending", "staged"):
            raise LeftOut(f"the task was {status} before it could be cancelled")
    assert answer.status_code == 200, shown(answer)


def history(provider: Provider, **query: Any) -> dict[str, Any]:
    """Return a page of the history."""
    return data_of(provider, "GET", HISTORY, params=query)


def rows(provider: Provider, **query: Any) -> list[dict[str, Any]]:
    """Return the rows of a page of the history."""
    return history(provider, **query)["data"] or []


def require_ended_row(provider: Provider, row: dict[str, Any]) -> None:
    """Check that the row of a task that has ended does not say that it is under way."""
    status = provider.memo.get(("status", row["task_id"]), "pending")
    if status not in OPEN and status_of(row) in OPEN:
        raise Broken(
            causes.STALE, f"task {row['task_id']} is {status}, and its row in the history says {row['status']}"
        )
