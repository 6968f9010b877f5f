"""The redaction of recorded exchanges: what a user wrote is in no file, and what the contract is about stays."""

import json
from typing import Any

from unitask_contract.recording.folder import Recorded
from unitask_contract.recording.redaction import Redactor

KEY = "k-9f8e7d6c5b4a39281706"
JSON = "application/json"


def recorded(sent: Any = b"", received: Any = b"", *, redactor: Redactor | None = None, **parts: Any) -> Recorded:
    """Redact an exchange of these bodies: bytes, or a JSON value."""
    raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (sent, received)]
    values: dict[str, Any] = {
        "number": 1,
        "method": "POST",
        "path": "/api/v1/task",
        "query": "",
        "request_headers": {"x-api-key": KEY, "content-type": JSON},
        "request_body": raw[0],
        "started": "2026-11-29T12:00:00Z",
        "head_seconds": 0.1,
        "seconds": 0.2,
        "status": 200,
        "response_headers": {"content-type": JSON},
        "response_body": raw[1],
    }
    return (redactor or Redactor()).recorded(**{**values, **parts})


def test_words_and_numbers_stay_and_texts_become_pseudonyms() -> None:
    sent = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a fox on a hill", "steps": 7}}
    task = {"task_id": "5ae2bdc1-1a2b-4c3d-8e9f-000102030405", "status": "waiting", "input": sent["input"]}
    found = recorded(sent, {"code": 200, "data": task, "message": "success"})
    poll = recorded(method="GET", path=f"/api/v1/task/{task['task_id']}")

    assert found.operation == "create_task"
    assert found.request.content["input"] == {"prompt": "(15 characters, sha256 72d5c100e1f4)", "steps": 7}
    assert found.request.content["model"] == "Qubico/flux1-dev"
    data = found.response.content["data"]
    assert (data["status"], data["input"]) == ("waiting", found.request.content["input"])
    assert poll.path == f"/api/v1/task/{data['task_id']}" != f"/api/v1/task/{task['task_id']}"
    assert KEY not in found.written().decode()
