"""What the checks ask of a provider, and read of its answers."""

from __future__ import annotations

import base64
from typing import Any

import httpx
from unitask_contract.bundle import component
from unitask_contract.exchange import shortened
from unitask_contract.provider import EARLY_LOOKS, LOOK_EVERY, Inside, LeftOut, Provider
from unitask_sandbox import samples

BLANK = base64.b64decode(  # a grey picture of 64 x 64 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAK0lEQVR42u3MMREAAAgEoNfkRjeEmwcBqMlNRyAQCAQCgUAgEAgEAsHzYAFAdAEArKmlZAAAAABJRU5ErkJggg=="
)
HISTORY = "/api/open/tasks/histories"
UPLOAD = "/api/ephemeral_resource"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say one word."}]}
DRAWING: dict[str, Any] = {
    "model": "Qubico/flux1-schnell",
    "task_type": "txt2img",
    "input": {"prompt": "a fox"},
}  # next to no cost
ENDPOINT, SECRET = "https://me.test/hook", "the secret of the creates"
WITH_WEBHOOK = {**DRAWING, "config": {"webhook_config": {"endpoint": ENDPOINT, "secret": SECRET}}}
MOST_STUCK = 3  # tasks that are waited for to the end of --timeout
SENT = 200  # letters of a request that are shown
_PHASES = ("queued", "started", "ended")  # in this order, and never back
_RANKS: dict[str, int] = {
    word: _PHASES.index(rule["phase"])
    for rule in component("TaskStatus")["x-states"].values()
    for word in rule["words"]
}
ENDED = 2
OPEN = {word: rank for word, rank in _RANKS.items() if rank < ENDED}
DONE = _RANKS.keys() - OPEN.keys()


def inside_of(provider: Provider) -> Inside:
    """What only a provider in-process has.

    Raises:
        LeftOut: This one is somewhere else.
    """
    if provider.inside is None:
        raise LeftOut("it needs a second account, a clock or webhooks, which only the sandbox in-process has here")
    return provider.inside


def face_swap(**pictures: str) -> dict[str, Any]:
    """The body of a face swap of two portraits, or with other pictures in their places."""
    portraits = {"target_image": samples.ASTRONAUT, "swap_image": samples.GRACE_HOPPER}
    encoded = {name: base64.b64encode(path.read_bytes()).decode() for name, path in portraits.items()}
    return {"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": {**encoded, **pictures}}


def file(name: str = "a.png", content: bytes = BLANK) -> dict[str, str]:
    """The body of an upload."""
    return {"file_name": name, "file_data": base64.b64encode(content).decode()}


def answered(provider: Provider, method: str, path: str, **request: Any) -> dict[str, Any]:
    """The data of an answer, which must be one of success."""
    answer = provider.request(method, path, **request)
    assert answer.status_code == 200, shown(answer)
    kind = answer.headers.get("content-type", "no content type")
    assert kind.partition(";")[0].strip() == "application/json", f"the answer is {kind}: {shown(answer)}"
    data: dict[str, Any] = answer.json()["data"]
    return data


def shown(answer: httpx.Response) -> str:
    """What was asked, and what came."""
    sent = answer.request.content.decode(errors="replace")
    asked = f"{answer.request.method} {answer.request.url}{f' of {shortened(sent, SENT)}' if sent else ''}"
    return f"HTTP {answer.status_code} to {asked}: {answer.text or 'an empty body'}"


def status_of(task: dict[str, Any]) -> str:
    """The status word of a task in small letters: the pages write it large, too."""
    return str(task["status"]).casefold()


def create(provider: Provider, body: dict[str, Any] = DRAWING) -> dict[str, Any]:
    """Create a task; it is as the answer shows it."""
    return answered(provider, "POST", "/api/v1/task", json=body)


def look(provider: Provider, task_id: str) -> dict[str, Any]:
    """Get a task. Its status never goes back: to pending once it is processed, to either once it has ended."""
    task = answered(provider, "GET", f"/api/v1/task/{task_id}")
    status = status_of(task)
    rank, before = ENDED if status in DONE else OPEN.get(status), provider.memo.get(("status", task_id), status)
    if rank is not None:
        known = ENDED if before in DONE else OPEN[before]
        assert rank >= known, f"task {task_id} was {before}, and is {status} now"
        provider.memo["status", task_id] = status
    return task


def is_done(task: dict[str, Any]) -> bool:
    """Whether a task has ended, as it is shown."""
    return status_of(task) in DONE


def until_done(provider: Provider, task_id: str) -> dict[str, Any]:
    """The task once it has ended.

    Raises:
        LeftOut: So many were waited for to the end that this one is not waited for as long.
    """
    is_last = len(provider.stuck) >= MOST_STUCK
    for number in range(min(provider.looks, EARLY_LOOKS) if is_last else provider.looks):
        task = look(provider, task_id)
        if is_done(task):
            again = look(provider, task_id)  # it stays after its end
            assert status_of(again) == status_of(task), (task, again)
            return task
        if number == EARLY_LOOKS:
            provider.say(f"waits for task {task_id}, which is {status_of(task)}")
        provider.advance(min(LOOK_EVERY, 0.05 * 2**number))
    if is_last:
        raise LeftOut(f"{', '.join(provider.stuck)} did not end in the time of --timeout, so no other is waited for")
    provider.stuck.append(task_id)
    raise AssertionError(f"task {task_id} is not done after {provider.looks} looks")


def cancel(provider: Provider, task_id: str) -> None:
    """Cancel a task that has just been created, if it is still pending.

    Raises:
        LeftOut: The provider was faster.
    """
    answer = provider.request("DELETE", f"/api/v1/task/{task_id}")
    if answer.status_code != 200 and provider.inside is None:
        status = status_of(look(provider, task_id))
        if status not in ("pending", "staged"):
            raise LeftOut(f"the task was {status} before it could be cancelled")
    assert answer.status_code == 200, shown(answer)


def history(provider: Provider, **query: Any) -> dict[str, Any]:
    """A page of the history."""
    return answered(provider, "GET", HISTORY, params=query)


def rows(provider: Provider, **query: Any) -> list[dict[str, Any]]:
    """The rows of a page of the history."""
    return history(provider, **query)["data"] or []
