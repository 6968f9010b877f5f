"""Requests of the checks, and helpers to read the answers."""

import base64
from typing import Any

import httpx
from unitask_contract.bundle import component
from unitask_contract.exchange import shortened
from unitask_contract.provider import EARLY_POLLS, POLL_SECONDS, Inside, LeftOut, Provider
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
MOST_STUCK = 3  # tasks that are polled until --timeout
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
    answer = provider.request(method, path, **request)
    assert answer.status_code == 200, shown(answer)
    kind = answer.headers.get("content-type", "no content type")
    assert kind.partition(";")[0].strip() == "application/json", f"the answer is {kind}: {shown(answer)}"
    data: dict[str, Any] = answer.json()["data"]
    return data


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
    return data_of(provider, "POST", TASK, json=body)


def poll(provider: Provider, task_id: str) -> dict[str, Any]:
    """Get a task, whose status must never go back."""
    task = data_of(provider, "GET", f"{TASK}/{task_id}")
    status = status_of(task)
    before = provider.memo.get(("status", task_id), status)
    if status in _RANKS:
        assert _RANKS[status] >= _RANKS[before], f"task {task_id} was {before}, and is {status} now"
        provider.memo["status", task_id] = status
    return task


def is_done(task: dict[str, Any]) -> bool:
    """Return whether a task has ended."""
    return status_of(task) in _RANKS.keys() - OPEN


def until_done(provider: Provider, task_id: str) -> dict[str, Any]:
    """Poll a task until it has ended; only a few times, and then leave the check out, if others did not end in time."""
    is_last = len(provider.stuck) >= MOST_STUCK
    for number in range(min(provider.polls, EARLY_POLLS) if is_last else provider.polls):
        task = poll(provider, task_id)
        if is_done(task):
            again = poll(provider, task_id)  # it stays after its end
            assert status_of(again) == status_of(task), (task, again)
            return task
        if number == EARLY_POLLS:
            provider.say(f"waits for task {task_id}, which is {status_of(task)}")
        provider.advance(min(POLL_SECONDS, 0.05 * 2**number))
    if is_last:
        raise LeftOut(f"{', '.join(provider.stuck)} did not end within --timeout, so other tasks are not waited for")
    provider.stuck.append(task_id)
    raise AssertionError(f"task {task_id} is not done after {provider.polls} polls")


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
