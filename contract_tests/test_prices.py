"""Prices: the client's estimate is what the provider charges, and what the documents' own bills say.

The sandbox and the harness each read the prices of the spec with code of their own, so a mistake of one of the three
shows here. documented_prices.yaml has prices from other sources than the spec, so a mistake of the spec shows, too.
"""

import json
import random
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema_rs import Draft202012Validator
from unitask import Client, errors, tasks
from unitask._core import pricing, uploads
from unitask.inputs import request_body
from unitask.media import measured
from unitask_contract import prices, provider, runner
from unitask_contract.bundle import Rule, component
from unitask_contract.in_process import IN_PROCESS, InProcess
from unitask_sandbox import Settings, create_app
from unitask_sandbox.bundle import task_type as sandbox_entry
from unitask_sandbox.create_request import read_create_request
from unitask_sandbox.engines.simulated.files import film, picture
from unitask_sandbox.pricing import credits_of as charged_by_sandbox

from .support import ENTRIES, bundle, examples, make
from .support.defective_provider import defective
from .test_drift import LEDGER

pytestmark = pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")

ABSENT = object()
TRIED = 80  # inputs of each task type
DOCUMENTED = yaml.safe_load(Path(__file__).with_name("documented_prices.yaml").read_text("utf-8"))
PRICED = [name for name, entry in ENTRIES.items() if "price" in entry and entry["protocol"] == "unified"]
BILLS_OF_UNKNOWN_COST = {
    "kling.motion_control.completed.200": "how long a ready-made motion is, is in no page",
    "kling.turbo.completed.200": "the echo lacks the mode",
}
SCENE = 7, "SIMULATED by a test"
PICTURES = [picture(*SCENE, size, "png") for size in ((1200, 1000), (64, 48))]
FILMS = [film(*SCENE, (64, 48), seconds) for seconds in (0.4, 8.766, 45)]
FILES = {
    "image": ["https://me.test/a.png", *PICTURES, b"not a picture"],
    "video": ["https://me.test/a.mp4", *FILMS, b"not a video"],
    "audio": ["https://me.test/a.mp3"],
}
NUMBERS = [1, 2, 5, 8, 10, 15, 4.5, 10.3, -1, 512, 700, 1024, 1536, 2000]
SHOTS = [[], [{"prompt": "a", "duration": 2}, {"prompt": "b"}], [{"prompt": "a", "duration": 1}]]


def values_of(rule: Rule) -> list[Any]:
    if media := rule.get("x-media"):
        return FILES[media["kind"]]
    if media := rule.get("items", {}).get("x-media"):
        files = FILES[media["kind"]]
        return [[], files[:2], files[1:3]]
    if "$ref" in rule.get("items", {}):
        return SHOTS
    known = [*rule.get("enum", []), *rule.get("x-advisory", {}).get("enum", [])]
    kinds = {"integer": NUMBERS, "number": NUMBERS, "boolean": [True, False], "string": ["8s", "4.5s", "", "x" * 1234]}
    plain = Draft202012Validator({key: value for key, value in rule.items() if key != "format"})
    return [value for value in (*known, *kinds.get(rule.get("type", ""), [])) if plain.is_valid(value)]


def inputs_of(name: str) -> Iterator[dict[str, Any]]:
    properties, price = component(ENTRIES[name]["input"])["properties"], json.dumps(ENTRIES[name]["price"])
    fields = [field for field, rule in properties.items() if field in price and "const" not in rule]
    values = {field: [ABSENT, *values_of(properties[field])] for field in fields}
    random_ = random.Random(name)
    for _ in range(TRIED):
        given = {field: random_.choice(choices) for field, choices in values.items()}
        yield {field: value for field, value in given.items() if value is not ABSENT}


@pytest.mark.parametrize("name", PRICED)
def test_estimate_is_what_the_sandbox_charges(name: str) -> None:
    known = 0
    for given in inputs_of(name):
        task = make(name, **given)
        try:
            body = request_body(task)
        except errors.InvalidInput:
            continue
        estimate = task.estimate_usd()
        charged = read_create_request(json.dumps(body).encode()).credits()
        assert round((estimate or 0) * 1e7) == charged, given
        assert (pricing.estimate(body, measured) or 0) == charged, given
        assert prices.credits_of(body) in (charged, None), given
        known += estimate is not None

    assert bool(known) == (ENTRIES[name]["price"].get("count") != "unknown")


def test_uploaded_film_is_billed_as_estimated() -> None:
    app = create_app(Settings(autorun=False, engine_process=False))
    padding = struct.pack(">I4s", 8 + uploads.LARGE, b"free") + bytes(uploads.LARGE)
    task = tasks.VideoUpscale(video=film(*SCENE, (64, 48), 2.0) + padding)
    with closing(app.state.sandbox) as sandbox, Client("sandbox", IN_PROCESS, transport=InProcess(app)) as client:
        billed = client.submit(task).cost_usd
        arrived = [one.operation for one in sandbox.arrivals]

    assert arrived == ["upload_file", "create_task"]
    assert billed == pytest.approx(task.estimate_usd())
    assert billed


def bills() -> Iterator[tuple[str, dict[str, Any], int]]:
    for name, example in examples("200").items():
        task = example["value"].get("data")
        usage = task.get("meta", {}).get("usage", {}) if isinstance(task, dict) else {}
        bill = usage.get("consume") or usage.get("frozen")
        if bill and task.get("input") and example["x-evidence"] != "reconstructed":
            yield name, task, bill


def test_estimate_is_the_documented_bill() -> None:
    seen = [(entry["seen"].get("example"), entry["seen"].get("at", "")) for entry in LEDGER]
    contradicted = {example for example, at in seen if at.startswith("/data/meta/usage/")}
    estimates = {name: (pricing.estimate(task, measured), bill) for name, task, bill in bills()}

    assert len(estimates) >= 15
    assert {name for name, (estimate, _) in estimates.items() if estimate is None} == BILLS_OF_UNKNOWN_COST.keys()
    wrong = {name for name, (estimate, bill) in estimates.items() if estimate not in (bill, None)}
    assert wrong == contradicted & estimates.keys()
    assert bundle()["x-resources"]["credit_usd"]["value"] * pricing.CREDITS_PER_USD == 1


@pytest.mark.parametrize(
    "row", DOCUMENTED, ids=lambda row: " ".join([row["model"], row["task_type"], *map(str, row["input"].values())])
)
def test_price_is_the_documented_one(row: dict[str, Any]) -> None:
    body = {name: row[name] for name in ("model", "task_type", "input")}
    entry = sandbox_entry(row["model"], row["task_type"], row["input"])

    assert pricing.estimate(body, measured) == row["credits"]
    assert charged_by_sandbox(entry.price, row["input"], entry.media) == row["credits"]
    assert prices.credits_of(body) == row["credits"]


def test_wrong_price_of_the_client_changes_no_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "CREDITS_PER_USD", 2 * pricing.CREDITS_PER_USD)
    monkeypatch.setattr(pricing, "_units", lambda *_: 1)
    for defects, outcome in (((), runner.Outcome.KEPT), (("double-charge", "double-points"), runner.Outcome.BROKEN)):
        with provider.sandbox(defective(*defects)) as subject:
            results = runner.run(subject, ("general", "hailuo"), runner.chosen(["charged", "face_swap"]))
            assert [result.outcome for result in results] == [outcome] * 2


UNKNOWN_FORMS: dict[str, dict[str, Any]] = {
    "price": {"per": "video", "at_night": 2},
    "kind": {"per": "moon", "count": {"moons": "x"}},
    "count": {"per": "second", "count": {"seconds": "x", "minus": "y"}},
    "condition": {"per": "video", "when": {"x": {"at_least": 3}}},
}


@pytest.mark.parametrize("part", UNKNOWN_FORMS)
def test_price_in_an_unknown_form_is_unknown(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENTRIES["FaceSwap"], "price", {"usd": 1, **UNKNOWN_FORMS[part]})

    assert prices.credits_of({"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": {"x": 5}}) is None
