"""The generated client without the wrapper: what the template patches promise to those who use it alone."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import httpx
import pytest
import unitask_api
from unitask_api.api.task import cancel_tasks, create_task, get_task
from unitask_api.models import ErrorEnvelope, Task, TaskEnvelope, TaskRequest, TaskRequestInput, WebhookConfig
from unitask_api.types import UNSET, Response

KEY = "a-key-that-must-stay-hidden"


def _look(status: int, content: bytes) -> Response[Any]:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
    client = _client(transport)
    with client:
        return get_task.sync_detailed("t", client=client)


def _client(transport: httpx.BaseTransport) -> unitask_api.AuthenticatedClient:
    return unitask_api.AuthenticatedClient(
        base_url="https://provider.test",
        token=KEY,
        prefix="",
        auth_header_name="x-api-key",
        httpx_args={"transport": transport},
    )


def test_import_loads_neither_httpx_nor_models() -> None:
    """`import unitask_api` stays light, and so does an endpoint; a class is loaded on first use."""
    modules = "unitask_api, unitask_api.models, unitask_api.api.task.create_task"
    program = f"import sys, {modules}; print(*sorted({{'httpx', 'attr'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


def test_repr_shows_no_key_and_no_secret() -> None:
    """Neither the client nor a request shows what must stay hidden."""
    client = _client(httpx.MockTransport(lambda _: httpx.Response(200)))
    client.get_httpx_client()

    assert KEY not in repr(client)
    assert "hush" not in repr(WebhookConfig(endpoint="https://me.test", secret="hush"))


@pytest.mark.parametrize("status", [200, 302, 401, 499, 520, 599])
@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"null", b"[]", b'{"data": 7}', b'{"data": {}}', b'{"data": [["task_id", "t"]]}']
)
def test_answer_survives_whatever_it_is(status: int, content: bytes) -> None:
    """No status and no body raises; what cannot be decoded is kept beside the reason."""
    answer = _look(status, content)

    assert (answer.status_code, answer.content) == (status, content)
    assert (answer.parsed is None) == (answer.decode_error is not None)


def test_refusal_is_typed_under_any_status() -> None:
    """An envelope of a refusal is decoded under 520 as under 401."""
    for status in (401, 520):
        assert isinstance(_look(status, b'{"code": 1, "message": "no"}').parsed, ErrorEnvelope)


@pytest.mark.parametrize(
    ("sent", "read"), [("Pending", "pending"), ("FAILED", "failed"), ("retrying", "retrying"), ("", "")]
)
def test_status_is_folded_and_unknown_words_pass(sent: str, read: str) -> None:
    """A known word is read whatever its case; an unknown one comes back as it is."""
    assert Task.from_dict({"task_id": "t", "status": sent}).status == read


def test_logs_may_hold_texts() -> None:
    """A failed task was seen with texts where the page declares objects."""
    body = {"task_id": "t", "status": "failed", "logs": ["status code: 500\nfailed to do request", {"x": 1}]}

    assert Task.from_dict(body).to_dict() == body


def test_unknown_and_missing_fields_survive_a_round_trip() -> None:
    """What the spec does not know is kept, and what is absent stays absent."""
    body = {"data": {"task_id": "t", "status": "pending", "later": [1, {"x": None}]}, "also": True}

    assert TaskEnvelope.from_dict(body).to_dict() == body


@pytest.mark.parametrize("broken", [{"meta": None}, {"error": 3}, {"error": []}, {"logs": {}}, {"logs": "x"}])
def test_broken_model_is_not_swallowed(broken: dict[str, Any]) -> None:
    """A value of the wrong kind raises; it is not passed off as the model."""
    with pytest.raises(TypeError):
        Task.from_dict({"task_id": "t", "status": "pending", **broken})


def test_broken_model_behind_null_raises_its_own_error() -> None:
    """`anyOf: [Task, null]` does not hide why the task in it cannot be read."""
    with pytest.raises(KeyError, match="task_id"):
        ErrorEnvelope.from_dict({"data": {"status": "failed"}})


def test_unset_is_one_object_after_copy_and_pickle() -> None:
    """A copied model sends nothing that was absent."""
    task = Task(task_id="t", status="pending")

    for twin in (copy.deepcopy(task), pickle.loads(pickle.dumps(task))):
        assert twin.model is UNSET
        assert twin.to_dict() == {"task_id": "t", "status": "pending"}


def test_call_has_a_time_limit_by_default() -> None:
    """A client that nobody set up does not wait for ever."""
    client = unitask_api.Client(base_url="https://provider.test")

    assert client.get_httpx_client().timeout == httpx.Timeout(60.0)


def test_request_builders_are_pure_and_public() -> None:
    """The request of a call can be had without a client."""
    request = TaskRequest(model="m", task_type="t", input_=TaskRequestInput.from_dict({"a": 1}))

    assert create_task.build_request(body=request)["json"] == {"model": "m", "task_type": "t", "input": {"a": 1}}
    assert get_task.build_request("a/b")["url"] == "/api/v1/task/a%2Fb"
    assert cancel_tasks.build_request(created_before=7)["params"] == {"created_before": 7}
