"""Ordering faults over HTTP, by name and in full; the report of arrivals; and who may ask for either."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask_sandbox.faults import EVIDENCE, as_order, library, named, read_faults, read_orders
from unitask_sandbox.request_log import key_fingerprint

from .local import NOW, Clock, Http, HttpWith

FAULTS, ARRIVALS, INFO = "/_sandbox/faults", "/_sandbox/arrivals", "/account/info"


def order(http: Http, what: object) -> httpx.Response:
    return http.unchecked("POST", FAULTS, content=what if isinstance(what, bytes) else json.dumps(what), headers={})


@pytest.mark.parametrize("name", library())
def test_named_fault_can_be_ordered_for_each_of_its_operations(name: str) -> None:
    assert library()[name].evidence in EVIDENCE
    for operation in library()[name].outcome:
        faults = named(name, operation=operation)

        assert [each for fault in faults for each in read_orders(json.loads(json.dumps(as_order(fault))))] == faults


def test_faults_are_ordered_listed_and_cleared(http: Http) -> None:
    full = {"operation": "get_account_info", "kind": "edit", "changes": {"data.name": None}, "delay": 0}
    ordered = order(http, ["bad-key", {"fault": "internal-error", "operation": "get_account_info", "times": 2}, full])
    coming = ordered.json()["coming"]
    seen = [http.unchecked("GET", INFO) for _ in range(3)]
    left = http.unchecked("GET", FAULTS).json()["coming"]
    cleared = http.unchecked("DELETE", FAULTS).json()["coming"]

    assert [(fault["operation"], fault.get("times", 1)) for fault in coming] == [
        ("create_task", 1),
        ("get_account_info", 2),
        ("get_account_info", 1),
    ]
    assert [answer.status_code for answer in seen] == [500, 500, 200]
    assert seen[2].json()["data"]["name"] is None
    assert [fault["status"] for fault in left] == [401]
    assert cleared == []


def test_key_of_a_fault_is_not_shown(http_with: HttpWith) -> None:
    http = http_with(keys={"my own key": 1.0})
    coming = order(http, {"fault": "bad-key", "key": "my own key"}).json()["coming"]

    assert coming[0]["key"] == key_fingerprint("my own key")
    assert order(http, coming).json()["coming"] == coming * 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (b"{", "the body is not JSON"),
        (["bad-key", "bad-luck"], "fault 2 of 2: no fault is named 'bad-luck'; there are rate-limited, "),
        ([7], "fault 1 of 1: the body must be of type object"),
        ({"fault": "bad-key", "status": 300}, "no field 'status' beside a name; there are fault, operation, times, "),
        (
            {"fault": "bad-key", "operation": "get_file"},
            "bad-key does not happen to 'get_file'; it does to create_task",
        ),
        ({"fault": "bad-key", "task": "next"}, "task: create_task has no task"),
        ({"fault": "bad-key", "operation": ["get_task"]}, "operation does not meet enum"),
        ({"kind": "lose"}, "the field 'operation' is missing"),
        ({"operation": "get_task"}, "the field 'kind' is missing"),
        ({"operation": "get_task", "kind": "lose", "tiems": 2}, "the body has no field 'tiems'"),
        ({"operation": "get_task", "kind": "lose", "times": "2"}, "times must be of type null or integer"),
        ({"operation": "get_task", "kind": "refuse", "status": True}, "status must be of type integer"),
        (
            {"operation": "get_task", "kind": "refuse", "headers": {"a": 1}},
            "headers.a must be of type string",
        ),
        ({"operation": "get_task", "kind": "refuse", "status": 99}, "status does not meet minimum 200"),
    ],
)
def test_wrong_order_is_refused_with_words_and_orders_nothing(http: Http, wrong: Any, words: str) -> None:
    answer = order(http, wrong)

    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert words in answer.json()["message"]
    assert http.sandbox.coming_faults() == []


def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('["bad-key", {"operation": "get_task", "kind": "lose"}]')

    assert [fault.kind for fault in read_faults(path)] == ["refuse", "lose"]
    for content, words in (
        ("[", "faults.json: Expecting"),
        ('["x"]', "faults.json: fault 1 of 1: no fault is named 'x'"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=words):
            read_faults(path)
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_faults(tmp_path / "nothing")


def test_arrivals_are_narrowed_and_forgotten(http_with: HttpWith, clock: Clock) -> None:
    http = http_with(keys={"one": 1.0, "two": 1.0})
    assert len(http.unchecked("GET", "/_sandbox/library").json()["faults"]) == len(library())
    for key in ("one", "two", "three"):
        http.unchecked("GET", INFO, headers={"x-api-key": key})
        clock.now += 1
    http.unchecked("GET", "/account/active_tasks", headers={"x-api-key": "one"})

    def times(query: str) -> list[float]:
        return [arrival["time"] - NOW for arrival in http.unchecked("GET", ARRIVALS + query).json()["arrivals"]]

    assert times("") == [0, 1, 2, 3]
    assert times("?operation=get_account_info") == [0, 1, 2]
    assert http.unchecked("DELETE", ARRIVALS).json() == {"arrivals": []}
    assert times("") == []
