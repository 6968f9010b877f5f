"""What is told of a body: its differences to the spec, and nothing that could tell whose it is."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from unitask_contract import bundle
from unitask_contract.exchange import Exchange
from unitask_contract.patches.proposals import differences, proposal
from unitask_contract.patches.redaction import redacted
from unitask_contract.scenarios import TASK_ID

from .support import component_of, examples
from .test_proposals import SWAP, answer_of, answered

SECRETS = (
    "sk-live-4f9aZQ81hhtR", "0123456789abcdef" * 4, "whsec_9f8e7d6c5b4a", "Alice Example", "alice@example.com",
    "https://alice.files.test/me.png?X-Signature=5d41402abc4b2a76b9719d911017c592", "aGVsbG8gd29ybGQsIGhlbGxv" * 9,
    "data:image/png;base64,iVBORw0KGgo", "a portrait of my neighbour, by night", "+49 170 5551234", "10.1.2.3",
    "7c9e6679-7425-40de-944b-e07fc1f90ae7", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln", "my-secret-folder/alice.png",
)  # fmt: skip
NUMBERS = (4711815, 4711.815)


def filled(value: Any, texts: Iterator[str], numbers: Iterator[float]) -> Any:
    if isinstance(value, dict):
        return {
            key: part
            if key in ("model", "task_type", "status") and isinstance(part, str)
            else filled(part, texts, numbers)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [filled(part, texts, numbers) for part in value]
    if isinstance(value, bool) or value is None:
        return value
    return next(texts) if isinstance(value, str) else type(value)(next(numbers))


def test_nothing_of_a_body_is_told_but_its_difference() -> None:
    texts, numbers = itertools.cycle(SECRETS), itertools.cycle(NUMBERS)
    exchanges: list[Exchange] = []
    for example in examples("200").values():
        body = filled(example["value"], texts, numbers)
        secret = next(texts)
        data = body.get("data")
        target = data if isinstance(data, dict) else body
        target |= {"a_new_field": secret, "another": {"a": [secret], secret: {"b": secret}}, "items": [secret] * 3}
        exchanges += [answer_of(example, body), answer_of(example, filled_wrongly(body, texts)), answered_map(secret)]
    found = differences(exchanges)
    shown = [redacted(one.answer, bundle.component_of(one.operation, one.part)) for one in exchanges]
    told = proposal(found) + "".join(map(str, found)) + repr(found) + json.dumps(shown)

    assert len(found) > 80
    assert {one.where for one in found if one.evidence is None} == {"/data/removed/removed"}
    assert [secret for secret in SECRETS if secret in told] == []
    assert [number for number in NUMBERS if str(number) in told] == []


def filled_wrongly(value: Any, texts: Iterator[str]) -> Any:
    if isinstance(value, dict):
        return {key: filled_wrongly(part, texts) for key, part in value.items()}
    if isinstance(value, list):
        return [filled_wrongly(part, texts) for part in value]
    return next(texts) if isinstance(value, int | float) else value


def answered_map(secret: str) -> Exchange:
    return answered("account.active-tasks.200", "data", value={secret: {"staged_count": secret}})


def test_secret_as_the_difference_is_no_evidence() -> None:
    body = {"data": {**examples()[SWAP]["value"]["data"], "0123456789abcdef0123": 1}, "code": 200}
    (found,) = differences([Exchange("GET", "/api/v1/task/x", b"", 200, json.dumps(body).encode())])

    assert found.evidence is None
    assert proposal([found]) == ""
    assert "0123456789abcdef" not in str(found)


def test_redacted_body_is_one_of_its_component() -> None:
    for name, example in examples("200").items():
        shown = redacted(example["value"], component_of(example))
        assert bundle.allows(component_of(example), shown), name
    swap = redacted(examples()[SWAP]["value"], "TaskEnvelope")["data"]

    assert (swap["task_id"], swap["status"]) == (TASK_ID, "completed")
    assert swap["output"] == {"image_url": "https://removed.test/file.png"}
