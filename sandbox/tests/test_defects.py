"""Planted defects do what their line in the table says; contract_tests/test_provider.py finds each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .local import Http, HttpWith, base64_of, face_swap

CREATE = "/api/v1/task"
HISTORY = "/api/open/tasks/histories"
DRAWING = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a fox"}}
FILM = {"model": "hailuo", "task_type": "video_generation", "input": {"model": "t2v-01", "prompt": "a fox"}}
SEEN: dict[str, Callable[[Http], object]] = {}
"""By defect: what a client sees of it; each gives `True` with the defect and something else without."""


def sees(defect: str) -> Callable[[Callable[[Http], object]], Callable[[Http], object]]:
    def register(check: Callable[[Http], object]) -> Callable[[Http], object]:
        SEEN[defect] = check
        return check

    return register


def created(http: Http, body: dict[str, Any] | None = None) -> str:
    task_id: str = http.unchecked("POST", CREATE, json=body or face_swap()).json()["data"]["task_id"]
    return task_id


def done(http: Http, body: dict[str, Any]) -> dict[str, Any]:
    task_id = created(http, body)
    http.sandbox.advance()
    task: dict[str, Any] = http.unchecked("GET", f"{CREATE}/{task_id}").json()["data"]
    assert task["status"] == "completed", task
    return task


@sees("no-auth")
def _(http: Http) -> object:
    answers = [http.unchecked("POST", CREATE, json=face_swap(), headers=key) for key in ({}, {"x-api-key": "unknown"})]
    return [answer.status_code for answer in answers] == [200, 200]


@sees("status-number")
def _(http: Http) -> object:
    return http.unchecked("GET", f"{CREATE}/{created(http)}").json()["data"]["status"] == 1


@sees("missing-id")
def _(http: Http) -> object:
    return "task_id" not in http.unchecked("POST", CREATE, json=face_swap()).json()["data"]


@sees("accepts-anything")
def _(http: Http) -> object:
    answers = [http.unchecked("POST", CREATE, content=body) for body in (b"", b"{}", b'{"model": "nope"}')]
    return [answer.status_code for answer in answers] == [200, 200, 200]


@sees("lost-task")
def _(http: Http) -> object:
    return http.unchecked("GET", f"{CREATE}/{created(http)}").status_code == 404


@sees("bare-error")
def _(http: Http) -> object:
    answer = http.unchecked("GET", f"{CREATE}/nothing")
    return (answer.status_code, answer.text) == (404, "task not found")


@sees("undocumented-crash")
def _(http: Http) -> object:
    answer = http.unchecked("GET", f"{CREATE}/{created(http)}")
    return (answer.status_code, answer.text[:6]) == (500, "<html>")


@sees("code-as-text")
def _(http: Http) -> object:
    return http.unchecked("POST", CREATE, json=face_swap()).json()["code"] == "200"


@sees("output-missing")
def _(http: Http) -> object:
    task_id = created(http)
    http.sandbox.advance()
    task = http.unchecked("GET", f"{CREATE}/{task_id}").json()["data"]
    return (task["status"], task["output"]) == ("completed", {})


@sees("double-charge")
def _(http: Http) -> object:
    created(http)
    return http.sandbox.balance("sandbox") == 9.98


@sees("late-cancel")
def _(http: Http) -> object:
    task_id = created(http)
    http.sandbox.advance()
    answer = http.unchecked("DELETE", f"{CREATE}/{task_id}")
    task = http.unchecked("GET", f"{CREATE}/{task_id}").json()["data"]
    return (answer.status_code, task["status"], http.sandbox.balance("sandbox")) == (200, "cancelled", 10.0)


@sees("stuck")
def _(http: Http) -> object:
    task_id = created(http)
    left = http.sandbox.advance()
    return (http.unchecked("GET", f"{CREATE}/{task_id}").json()["data"]["status"], left) == ("pending", False)


@sees("free-of-charge")
def _(http: Http) -> object:
    created(http)
    return http.unchecked("GET", "/account/info").json()["data"]["equivalent_in_usd"] == 10.0


@sees("unlisted")
def _(http: Http) -> object:
    tasks = [created(http) for _ in range(2)]
    rows = http.unchecked("GET", HISTORY).json()["data"]["data"]
    return [row["task_id"] for row in rows] == tasks[:1]


@sees("lost-upload")
def _(http: Http) -> object:
    file = {"file_name": "a.png", "file_data": base64_of(b"content")}
    url = http.unchecked("POST", "/api/ephemeral_resource", json=file).json()["data"]["url"]
    return http.unchecked("GET", url).status_code == 404


@sees("endless-stream")
def _(http: Http) -> object:
    asked = {"model": "m", "messages": [{}], "stream": True}
    bearer = {"authorization": "Bearer sandbox"}
    return "[DONE]" not in http.unchecked("POST", "/v1/chat/completions", headers=bearer, json=asked).text


@sees("prompt-not-needed")
def _(http: Http) -> object:
    wanting = {**DRAWING, "input": {}}
    return [http.unchecked("POST", CREATE, json=body).status_code for body in (wanting, {})] == [200, 400]


@sees("old-names")
def _(http: Http) -> object:
    return http.unchecked("POST", CREATE, json=face_swap()).json()["data"]["task_type"] == "face_swap"


@sees("double-points")
def _(http: Http) -> object:
    taken = [done(http, body)["meta"]["usage"]["consume"] for body in (FILM, face_swap())]
    return (taken, http.sandbox.balance("sandbox")) == ([4_000_000, 100_000], 9.59)


@sees("points-unlisted")
def _(http: Http) -> object:
    task_id, _ = created(http), created(http, FILM)
    rows = http.unchecked("GET", HISTORY).json()["data"]["data"]
    return [row["task_id"] for row in rows] == [task_id]


@sees("points-exchanged")
def _(http: Http) -> object:
    return [done(http, body)["error"]["code"] for body in (FILM, face_swap())] == [10000, 0]


@sees("lost-film")
def _(http: Http) -> object:
    urls = done(http, FILM)["output"]["video_url"], done(http, face_swap())["output"]["image_url"]
    return [http.unchecked("GET", url).status_code for url in urls] == [404, 200]


@sees("picture-in-words")
def _(http: Http) -> object:
    output = done(http, DRAWING)["output"]
    return output["image_url"] is None and output["image_base64"] != ""


@sees("hidden-fee")
def _(http: Http) -> object:
    created(http)
    return http.unchecked("GET", "/account/info").json()["data"]["equivalent_in_usd"] == 9.98


@sees("timeless-cancel")
def _(http: Http) -> object:
    return http.unchecked("DELETE", "/api/v1/tasks").json() == {"code": 200, "data": None, "message": "success"}


@sees("silent-cancel")
def _(http: Http) -> object:
    return http.unchecked("DELETE", f"{CREATE}/{created(http)}").json() == {"code": 200, "message": None}


@sees("emoji-crash")
def _(http: Http) -> object:
    def status(words: str) -> int:
        asked = {"model": "m", "messages": [{"role": "user", "content": words}]}
        bearer = {"authorization": "Bearer sandbox"}
        return http.unchecked("POST", "/v1/chat/completions", headers=bearer, json=asked).status_code

    return [status(words) for words in ("a fox", "ein F\u00fcchslein", "\U0001f98a")] == [200, 200, 500]


@pytest.mark.parametrize("defect", SEEN)
def test_defect_is_seen_when_it_is_planted(http_with: HttpWith, defect: str) -> None:
    """With the defect a client sees what the table says, and without it does not."""
    assert SEEN[defect](http_with(defects=frozenset({defect}))) is True


@pytest.mark.parametrize("defect", [name for name in SEEN if name != "missing-id"])
def test_other_defects_do_not_show_it(http_with: HttpWith, defect: str) -> None:
    """An honest provider shows none of them."""
    assert SEEN[defect](http_with()) is False
