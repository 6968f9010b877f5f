"""Planted defects do what their line in the table says; contract_tests/test_provider.py finds each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .local import Http, HttpWith, base64_of, face_swap

CREATE = "/api/v1/task"
SEEN: dict[str, Callable[[Http], object]] = {}
"""By defect: what a client sees of it; each gives `True` with the defect and something else without."""


def sees(defect: str) -> Callable[[Callable[[Http], object]], Callable[[Http], object]]:
    def register(check: Callable[[Http], object]) -> Callable[[Http], object]:
        SEEN[defect] = check
        return check

    return register


def created(http: Http) -> str:
    task_id: str = http.unchecked("POST", CREATE, json=face_swap()).json()["data"]["task_id"]
    return task_id


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
    rows = http.unchecked("GET", "/api/open/tasks/histories").json()["data"]["data"]
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


@pytest.mark.parametrize("defect", SEEN)
def test_defect_is_seen_when_it_is_planted(http_with: HttpWith, defect: str) -> None:
    """With the defect a client sees what the table says, and without it does not."""
    assert SEEN[defect](http_with(defects=frozenset({defect}))) is True


@pytest.mark.parametrize("defect", [name for name in SEEN if name != "missing-id"])
def test_other_defects_do_not_show_it(http_with: HttpWith, defect: str) -> None:
    """An honest provider shows none of them."""
    assert SEEN[defect](http_with()) is False
