"""A body that contradicts the spec becomes a patch of the spec that allows it, and that shows no data of the body."""

import itertools
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from generator.bundle import bundle as bundled
from generator.bundle import load_yaml
from generator.lint import faults
from jsonschema_rs import Draft202012Validator
from unitask_contract import bundle
from unitask_contract.changes import changes, verdict
from unitask_contract.exchange import Exchange
from unitask_contract.patches.contradictions import findings, schema_of
from unitask_contract.patches.proposals import Kind, differences, proposal, spec_folder
from unitask_contract.patches.redaction import redacted
from unitask_contract.patches.widening import widening

from .support import component_of, examples, mutation
from .support.scenarios import TASK_ID
from .test_drift import wrong_entries

SPEC = Path(__file__).resolve().parents[1] / "spec"
SWAP, KLING = "faceswap.face-swap.completed.200", "kling.video_generation.completed.200"
INFO, UPLOAD, ACTIVE = "account.info.200", "upload.upload.200", "account.active-tasks.200"


def answered(name: str, place: str, value: Any) -> Exchange:
    """Return a documented answer with another value at a place such as "data.output.works.0"."""
    path = tuple(int(step) if step.isdecimal() else step for step in place.split("."))
    return answer_of(examples()[name], mutation._with(examples()[name]["value"], path, value))


def answer_of(example: dict[str, Any], body: Any) -> Exchange:
    method, path = bundle.routes()[example["x-operation"]]
    status = 200 if example["x-part"] == "200" else 400
    return Exchange(method, path.replace("{task_id}", "x"), b"", status, json.dumps(body).encode())


def is_allowed(document: dict[str, Any], exchange: Exchange) -> bool:
    parts = [(bundle.components_of(exchange.operation)[exchange.part], exchange.answer)]
    task = bundle.fields(bundle.fields(exchange.answer).get("data"))
    if isinstance(task.get("output"), dict):
        parts += [(name, task["output"]) for name in bundle.outputs_of(task.get("model"), task.get("task_type"))[:1]]
    components = {"schemas": document["components"]["schemas"]}
    return all(
        Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components}).is_valid(value)
        for name, value in parts
    )


def differences_left(document: dict[str, Any], exchange: Exchange) -> list[object]:
    component, schemas = bundle.components_of(exchange.operation)[exchange.part], document["components"]["schemas"]
    return list(findings(exchange.answer, schema_of(component, exchange.answer, schemas), schemas))


def patched(patch: str, folder: Path) -> Any:
    shutil.copytree(SPEC, folder / "spec", ignore=shutil.ignore_patterns("tests", "generator"))
    subprocess.run(["git", "apply", "-"], input=patch, cwd=folder, text=True, check=True)
    return bundled(folder / "spec")


NEW_FIELDS = [
    answered(SWAP, "data.meta.queue_position", 17),
    answered(INFO, "data.max_veo_concurrency", 17),
    answered(SWAP, "data.output.preview", "https://cdn.test/p/a.webp?sign=abc"),
    answered(SWAP, "data.output.timings", {"queue_ms": 12, "source": "https://a.test/a.png"}),
    answered(SWAP, "data.output.box", [0, 0.25, 17, None, "left", ["a"]]),
]
SCORES = [answered(SWAP, "data.output.scores", scores) for scores in ([[17]], [[17, 0.25]], [[]], [])]
CONTRADICTIONS = [
    answered(SWAP, "data.meta.usage.consume", "12.5"),
    answered(INFO, "data.wallet.point_remain", None),
    answered(SWAP, "code", 200.5),
    answered(SWAP, "data.output.image_url", ["https://a.test/a.png"]),
    answered(SWAP, "data.config", None),
    answered(ACTIVE, "data", {"a private group": None}),
    answered(KLING, "data.output.works.0", None),
    answered(SWAP, "data.error", "no face"),
    answered(SWAP, "data.error.code", "E1"),
    answered(SWAP, "data.status", 3),
    answered(SWAP, "data.task_id", mutation.DROPPED),
    answered(UPLOAD, "data", mutation.DROPPED),
    answered(UPLOAD, "data.url", ""),
    answered("upload.bad-request.400", "data", "a.exe"),
]
OLDER = [
    Exchange("POST", "/mj/v2/fetch", b"", 200, b'{"task_result": {"image_url": 17}}'),
    Exchange("GET", "/api/kling/v1/video/x", b"", 200, b'{"data": {"output": {"video_url": 17}}}'),
]


def test_documented_sound_is_the_only_answer_of_speech() -> None:
    sound = Exchange("POST", "/v1/audio/speech", b"", 200, b"ID3", "audio/mpeg")

    assert differences([sound]) == []
    assert [one.says for one in differences([replace(sound, content_type="text/html")])] == ["no such answer"]


def test_new_fields_are_a_minor_change(tmp_path: Path) -> None:
    every = [*NEW_FIELDS, *SCORES]
    after = patched(proposal(differences(every)), tmp_path)

    assert {one.kind for one in differences(every)} == {Kind.NEW_FIELD}
    assert verdict(changes(bundled(SPEC), after)) == "minor"
    assert [differences_left(after, exchange) for exchange in every] == [[]] * len(every)
    output = after["components"]["schemas"]["FaceSwapOutput"]["properties"]
    assert output["preview"]["x-media"] == {"kind": "image"}


def test_contradictions_are_allowed_by_one_patch_that_the_lint_takes(tmp_path: Path) -> None:
    every = [*CONTRADICTIONS, *NEW_FIELDS, *OLDER]
    found = differences(every)
    before, after = bundled(SPEC), patched(proposal(found), tmp_path)

    for exchange in CONTRADICTIONS:
        assert {one.kind for one in differences([exchange])} == {Kind.BROKEN}, exchange
        assert (is_allowed(before, exchange), is_allowed(after, exchange)) == (False, True), exchange
    assert [differences_left(after, exchange) for exchange in every] == [[]] * len(every)
    assert faults(after) == []

    added = {name: one for name, one in after["components"]["examples"].items() if "observed-" in name}
    assert len(added) == len({json.dumps(one.evidence) for one in found})
    assert all((one["x-source"], one["x-evidence"]) == (["observed"], "recorded") for one in added.values())
    known = len(load_yaml(SPEC / "drift.yaml"))
    entries = load_yaml(tmp_path / "spec/drift.yaml")[known:]
    assert len(entries) == sum(one.kind is Kind.BROKEN for one in found)
    assert wrong_entries(entries, after) == []
    assert {entry["documented"]["source"] for entry in entries} <= after["x-sources"].keys() - {"observed"}


def test_body_without_a_schema_is_reported_and_nothing_is_proposed() -> None:
    page = Exchange("GET", "/api/v1/task/x", b"", 502, b"<html>", "text/html; charset=x")
    stream = Exchange("POST", "/v1/chat/completions", b'{"stream": true}', 200, b"data: [DONE]", "text/event-stream")
    file = Exchange("GET", "/files/a.png", b"", 200, b"\x89PNG", "image/png")
    deep = Exchange("GET", "/account/info", b"", 200, b'{"data":' * 99_999)
    found = differences([page, page, stream, file, deep])

    assert [(one.kind, one.operation, one.count) for one in found] == [
        (Kind.UNDOCUMENTED, "get_account_info", 1),
        (Kind.UNDOCUMENTED, "get_task", 2),
    ]
    assert proposal(found) == ""


def submitted(given: dict[str, Any], status: int = 200, word: str = "pending", **names: str) -> Exchange:
    """Return a submission with this input, and the answer with a task of this status word."""
    body = {"model": "kling", "task_type": "video_generation", **names, "input": given}
    answer = mutation._with(examples()[KLING]["value"], ("data", "status"), word)
    return Exchange("POST", "/api/v1/task", json.dumps(body).encode(), status, json.dumps(answer).encode())


def polled(word: str) -> Exchange:
    return answered(KLING, "data.status", word)


def test_request_that_was_accepted_and_new_words_and_statuses_become_a_patch(tmp_path: Path) -> None:
    accepted = submitted({"prompt": "a neighbour", "duration": 7, "aspect_ratio": "21:9"})
    swap = {"model": "Qubico/image-toolkit", "task_type": "face-swap"}
    every = [accepted, submitted({"target_image": "https://a.test/a.png"}, **swap), submitted({"prompt": "a"}, 202)]
    every += [polled("queued_again"), polled("completed"), answered(SWAP, "data.config.service_mode", "hybrid")]
    found = differences(every, requests=True)
    patch = proposal(found)
    before, after = bundled(SPEC), patched(patch, tmp_path)

    assert {(one.part, one.where, one.kind) for one in found} == {
        ("request", "/input/duration", Kind.BROKEN),
        ("request", "/input/aspect_ratio", Kind.BROKEN),
        ("request", "/input", Kind.BROKEN),
        ("202", "", Kind.UNDOCUMENTED),
        ("200", "/data/status", Kind.NEW_WORD),
        ("200", "/data/config/service_mode", Kind.NEW_WORD),
    }
    assert (faults(after), verdict(changes(before, after))) == ([], "minor")
    assert "neighbour" not in patch
    schemas = after["components"]["schemas"]
    assert schemas["KlingVideoInput"]["properties"]["duration"]["enum"] == [5, 10, 7]
    assert "queued_again" in schemas["TaskStatus"]["x-states"]["processing"]["words"]
    assert "202" in after["paths"]["/api/v1/task"]["post"]["responses"]


@pytest.mark.parametrize(
    "every",
    [
        [submitted({"prompt": "a", "duration": 7}, 400)],  # refused
        [submitted({"prompt": "a", "duration": 7}), polled("failed")],  # refused later
        [submitted({"prompt": "a", "a_new_field": 7})],  # a provider ignores unknown fields
        [polled("Completed")],
    ],
)
def test_what_says_nothing_about_the_spec_is_no_difference(every: list[Exchange]) -> None:
    assert differences(every, requests=True) == []


def test_what_only_a_person_can_add_is_reported_without_a_patch() -> None:
    last = polled("vaporised")  # may stand for an end
    unknown = Exchange("GET", "/api/v2/jobs/7c9e6679-7425-40de-944b-e07fc1f90ae7", b"", 200, b"{}")
    found = differences([unknown, submitted({}, model="Qubico/new", task_type="zoom"), last], requests=True)

    assert [str(one).partition(";")[0] for one in found] == [
        'get_task 200 /data/status: words: ["pending", "staged", "processing", "completed", "failed"]',
        "GET /api/v2/jobs/* /: no such operation",
        "create_task request /: no such task type",
    ]
    assert proposal(found) == ""


def test_difference_is_counted_and_named_by_its_place() -> None:
    exchange = CONTRADICTIONS[0]
    (found,) = differences([exchange, exchange, answered(KLING, "data.meta", {"usage": {"consume": "a"}})])

    assert (found.operation, found.part, found.family, found.count) == ("get_task", "200", "faceswap", 3)
    assert found.where == "/data/meta/usage/consume"
    assert found.key == ("#/components/schemas/TaskUsage/properties/consume", "type")


def test_any_wrong_answer_becomes_a_patch() -> None:
    documented = [*examples("200").values(), *examples("default").values()]
    changed = [
        answer_of(example, body)
        for example in random.Random(7).sample(documented, 20)
        for _, _, body in mutation.changes(example["value"])
    ]
    random.Random(7).shuffle(changed)
    wrong = 0
    for exchange in changed:
        if wrong == 60:  # how many changes that takes depends on the examples
            break
        if b"\\ud800" in exchange.content:  # `is_allowed` cannot read it
            continue
        found = differences([exchange])
        is_wrong = not is_allowed(bundle.document(), exchange)
        assert found or not is_wrong, exchange
        assert {one.kind for one in found} <= {Kind.NEW_WORD} or proposal(found), exchange
        wrong += is_wrong

    assert wrong == 60
    assert spec_folder() == SPEC


REFERENCE = {"$ref": "#/components/schemas/B"}
# A schema, a value that violates it, and the schema afterwards. Any other keyword is removed.
RULES: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "type": ({"type": "integer", "maximum": 3}, "a", {"type": ["integer", "string"], "maximum": 3}),
    "types": ({"type": ["integer", "string"]}, None, {"type": ["integer", "string", "null"]}),
    "number": ({"type": ["integer", "null"]}, 1.5, {"type": ["null", "number"]}),
    "array": ({"type": "string"}, [1], {"type": ["string", "array"], "items": {}}),
    "reference": (REFERENCE, None, {"anyOf": [REFERENCE, {"type": "null"}]}),
    "branch": ({"anyOf": [{"type": "number"}]}, "a", {"anyOf": [{"type": "number"}, {"type": "string"}]}),
    "nearest branch": ({"anyOf": [{"type": "string"}, {"multipleOf": 3}]}, 4, {"anyOf": [{"type": "string"}, {}]}),
    "limit": ({"maximum": 3}, 4, {"maximum": 4}),
    "word": ({"enum": ["a"]}, "b", {"enum": ["a", "b"]}),
    "word of an open list": (
        {"anyOf": [{"enum": ["a"]}, {"type": "string"}]},
        "b",
        {"anyOf": [{"enum": ["a", "b"]}, {"type": "string"}]},
    ),
    "required": ({"required": ["a", "b"]}, {"a": 1}, {"required": ["a"]}),
    "all required": ({"required": ["a"], "type": "object"}, {}, {"type": "object"}),
    "another keyword": ({"pattern": "^v[0-9]$", "type": "string"}, "version", {"type": "string"}),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_is_widened_by_what_came_and_no_further(name: str) -> None:
    rule, value, expected = RULES[name]
    schemas = {"A": {"properties": {"x": rule}}, "B": {"type": "object"}}
    (found,) = findings({"x": value}, {"$ref": "#/components/schemas/A"}, schemas)
    widened = widening(found, schemas).applied(schemas)

    assert without_source(widened["A"]["properties"]["x"]) == expected
    assert widened["B"] == schemas["B"]
    assert "x-source" not in str(schemas)
    assert findings({"x": value}, {"$ref": "#/components/schemas/A"}, widened) == []


def without_source(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: without_source(part) for key, part in node.items() if key != "x-source"}
    return [without_source(part) for part in node] if isinstance(node, list) else node


SECRETS = (
    "sk-live-4f9aZQ81hhtR", "0123456789abcdef" * 4, "whsec_9f8e7d6c5b4a", "Alice Example", "alice@example.com",
    "https://alice.files.test/me.png?X-Signature=5d41402abc4b2a76b9719d911017c592", "aGVsbG8gd29ybGQsIGhlbGxv" * 9,
    "data:image/png;base64,iVBORw0KGgo", "a portrait of my neighbour, by night", "+49 170 5551234", "10.1.2.3",
    "7c9e6679-7425-40de-944b-e07fc1f90ae7", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln", "my-secret-folder/alice.png",
)  # fmt: skip
NUMBERS = (4711815, 4711.815)


def filled(value: Any, texts: Iterator[str], numbers: Iterator[Any]) -> Any:
    """Return a body with each text and number replaced, except words that name a task type or a status."""
    if isinstance(value, dict):
        kept = ("model", "task_type", "status")
        return {
            key: one if key in kept and isinstance(one, str) else filled(one, texts, numbers)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [filled(part, texts, numbers) for part in value]
    if isinstance(value, bool) or value is None:
        return value
    return next(texts) if isinstance(value, str) else next(numbers)


def test_patch_shows_nothing_of_a_body_but_the_difference() -> None:
    texts, numbers = itertools.cycle(SECRETS), itertools.cycle(NUMBERS)
    exchanges: list[Exchange] = []
    for example in examples("200").values():
        body = filled(example["value"], texts, numbers)
        secret = next(texts)
        data = body.get("data")
        target = data if isinstance(data, dict) else body
        target |= {"a_new_field": secret, "another": {"a": [secret], secret: {"b": secret}}, "items": [secret] * 3}
        wrong = filled(body, texts, texts)
        exchanges += [answer_of(example, body), answer_of(example, wrong), answered(ACTIVE, "data", {secret: secret})]
    found = differences(exchanges)
    shown = [redacted(one.answer, bundle.components_of(one.operation)[one.part]) for one in exchanges]
    printed = proposal(found) + "".join(map(str, found)) + repr(found) + json.dumps(shown)

    assert len(found) > 80
    assert [secret for secret in SECRETS if secret in printed] == []
    assert [number for number in NUMBERS if str(number) in printed] == []


def test_secret_as_a_name_is_no_evidence() -> None:
    (found,) = differences([answered(SWAP, "data.0123456789abcdef0123", 1)])

    assert (found.evidence, proposal([found])) == (None, "")
    assert "0123456789abcdef" not in str(found)


def test_redacted_body_fits_its_component() -> None:
    for name, example in examples("200").items():
        assert bundle.allows(component_of(example), redacted(example["value"], component_of(example))), name
    swap = redacted(examples()[SWAP]["value"], "TaskEnvelope")["data"]

    assert (swap["task_id"], swap["status"]) == (TASK_ID, "completed")
    assert swap["output"] == {"image_url": "https://removed.test/file.png"}
