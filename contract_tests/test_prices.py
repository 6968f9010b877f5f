"""Prices: the client's estimate is what the provider charges, and what the documents' own bills say.

The sandbox and the harness each read the prices of the spec with code of their own, so a mistake of one of the three
shows here. documented_prices.yaml has prices from other sources than the spec, so a mistake of the spec shows, too.
"""

from __future__ import annotations

import io
import itertools
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from PIL import Image
from unitask import errors, tasks
from unitask._core import pricing
from unitask.inputs import request_body
from unitask.media import measured
from unitask_contract import prices, provider, runner
from unitask_contract.bundle import Rule, component
from unitask_sandbox import Sandbox, Settings
from unitask_sandbox.bundle import task_type as sandbox_entry
from unitask_sandbox.create_request import read_create_request
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


def png(width: int, height: int) -> bytes:
    Image.new("L", (width, height)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def box(name: str, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), name.encode()) + content


def mp4(seconds: float, frames: int, version: int = 0) -> bytes:
    def track(kind: bytes, samples: int) -> bytes:
        sizes = box("stsz", struct.pack(">III", 0, 0, samples))
        return box("trak", box("mdia", box("hdlr", bytes(8), kind, bytes(13)), box("minf", box("stbl", sizes))))

    length = round(seconds * 1000)
    times = struct.pack(">QQIQ", 0, 0, 1000, length) if version else struct.pack(">IIII", 0, 0, 1000, length)
    header = box("mvhd", bytes([version, 0, 0, 0]), times, bytes(80))
    return (
        box("ftyp", b"isom") + box("mdat", bytes(99)) + box("moov", header, track(b"soun", 7), track(b"vide", frames))
    )


FILES = {
    "image": ["https://me.test/a.png", png(1200, 1000), png(7, 5), b"no picture"],
    "video": [
        "https://me.test/a.mp4",
        mp4(8.766, 240),
        mp4(0.4, 10, version=1),
        mp4(45, 0),
        mp4((2**32 - 1) / 1000, 5),
        b"no video",
    ],
    "audio": ["https://me.test/a.mp3"],
}
NUMBERS = [1, 2, 5, 8, 10, 15, 4.5, 10.3, -1, 512, 700, 1024, 1536, 2000]


def values_of(rule: Rule) -> list[Any]:
    if media := rule.get("x-media"):
        return FILES[media["kind"]]
    if "x-media" in rule.get("items", {}):
        files = FILES[rule["items"]["x-media"]["kind"]]
        return [[], files[:2], files[1:3]]
    if "$ref" in rule.get("items", {}):  # shots
        return [[], [{"prompt": "a", "duration": 2}, {"prompt": "b"}], [{"prompt": "a", "duration": 1}]]
    known = [*rule.get("enum", []), *rule.get("x-advisory", {}).get("enum", [])]
    kinds = {"integer": NUMBERS, "number": NUMBERS, "boolean": [True, False], "string": ["8s", "4.5s", "", "x" * 1234]}
    plain = Draft202012Validator({key: value for key, value in rule.items() if key != "format"})
    return [value for value in (*known, *kinds.get(rule.get("type", ""), [])) if plain.is_valid(value)]


def inputs_of(name: str) -> Iterator[dict[str, Any]]:
    entry = ENTRIES[name]
    properties, price = component(entry["input"])["properties"], json.dumps(entry["price"])
    fields = {field: rule for field, rule in properties.items() if f'"{field}"' in price or field in price}
    choices = [
        [(field, value) for value in [ABSENT, *values_of(rule)]]
        for field, rule in fields.items()
        if "const" not in rule
    ]
    tried = list(itertools.islice(itertools.product(*choices), 20_000))
    random.Random(name).shuffle(tried)
    for fields_given in tried[:TRIED]:
        yield {field: value for field, value in fields_given if value is not ABSENT}


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


def test_sandbox_bills_the_estimate() -> None:
    task = tasks.Kling3Video(prompt="a bear", mode="pro", enable_audio=True, duration=7)
    sandbox = Sandbox(Settings(keys={"sandbox": 10.0}, autorun=False))
    try:
        accepted = sandbox.accept("sandbox", json.dumps(request_body(task)).encode())
        left = sandbox.balance("sandbox")
        sandbox.advance()
        done = sandbox.get("sandbox", accepted.task_id)
    finally:
        sandbox.close()

    assert task.estimate_usd() == accepted.frozen / 1e7 == done.consume / 1e7 == 1.4
    assert (accepted.consume, left) == (0, 8.6)


def bills() -> Iterator[tuple[str, dict[str, Any], int]]:
    for name, example in examples("200").items():
        task = example["value"].get("data")
        usage = task.get("meta", {}).get("usage", {}) if isinstance(task, dict) else {}
        bill = usage.get("consume") or usage.get("frozen")
        if bill and task.get("input") and example["x-evidence"] != "reconstructed":
            yield name, task, bill


@pytest.mark.parametrize(("name", "task", "bill"), [*bills()], ids=[name for name, *_ in bills()])
def test_estimate_is_the_documented_bill(name: str, task: dict[str, Any], bill: int) -> None:
    seen = [(entry["seen"].get("example"), entry["seen"].get("at", "")) for entry in LEDGER]
    contradicted = any(example == name and at.startswith("/data/meta/usage/") for example, at in seen)
    estimate = pricing.estimate(task, measured)

    if name in BILLS_OF_UNKNOWN_COST:
        assert estimate is None
    else:
        assert (estimate == bill) != contradicted, (estimate, bill)


def test_there_are_bills() -> None:
    """So that the comparison is one."""
    assert len([*bills()]) >= 15
    assert {name for name, *_ in bills()} >= BILLS_OF_UNKNOWN_COST.keys()
    assert bundle()["x-resources"]["credit_usd"]["value"] * pricing.CREDITS_PER_USD == 1


def _id(row: dict[str, Any]) -> str:
    return " ".join([row["model"], row["task_type"], *map(str, row["input"].values())])


@pytest.mark.parametrize("row", DOCUMENTED, ids=_id)
def test_price_is_the_documented_one(row: dict[str, Any]) -> None:
    body = {name: row[name] for name in ("model", "task_type", "input")}
    entry = sandbox_entry(row["model"], row["task_type"], row["input"])

    assert pricing.estimate(body, measured) == row["credits"]
    assert charged_by_sandbox(entry.price, row["input"], entry.media) == row["credits"]
    assert prices.credits_of(body) == row["credits"]


def test_wrong_price_of_the_client_changes_no_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "CREDITS_PER_USD", 2 * pricing.CREDITS_PER_USD)
    monkeypatch.setattr(pricing, "_units", lambda *_: 1)
    checks = runner.chosen(["charged", "face_swap"])
    with provider.sandbox() as right:
        kept = [result.outcome for result in runner.run(right, ("general", "hailuo"), checks)]
    with provider.sandbox(defective("double-charge", "double-points")) as wrong:
        broken = [result.outcome for result in runner.run(wrong, ("general", "hailuo"), checks)]

    assert kept == [runner.Outcome.KEPT] * 2
    assert broken == [runner.Outcome.BROKEN] * 2


@pytest.mark.parametrize(
    "price",
    [
        {"usd": 1, "per": "video", "at_night": 2},
        {"usd": 1, "per": "moon", "count": {"moons": "x"}},
        {"usd": 1, "per": "second", "count": {"seconds": "x", "minus": "y"}},
        {"usd": 1, "per": "video", "when": {"x": {"at_least": 3}}},
    ],
    ids=["price", "kind", "count", "condition"],
)
def test_price_in_a_form_that_is_not_known_is_unknown(price: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENTRIES["FaceSwap"], "price", price)

    assert prices.credits_of({"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": {"x": 5}}) is None
