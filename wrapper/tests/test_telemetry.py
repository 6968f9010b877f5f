"""Spans and logs: what is told of a task, and what never is."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from unitask import Output, Task, _telemetry, errors

from .pictures import encoded
from .script import GATEWAY, MODEL, TASK_ID, TASK_TYPE, answer, refused, seen, task_data
from .shells import FACE_SWAP, KEY, perform, provider

SWAP = {"unitask.model": MODEL, "unitask.task_type": TASK_TYPE}
DONE = seen("completed", meta={"usage": {"consume": 100_000}}, output={"image_url": "https://out.test/secret.png"})


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What was exported by a tracer of our own."""
    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(_telemetry, "_tracer", lambda: tracers.get_tracer("test"))
    yield exporter
    tracers.shutdown()


def facts(exporter: InMemorySpanExporter) -> list[tuple[str, dict[str, Any]]]:
    return [(span.name, dict(span.attributes or {})) for span in exporter.get_finished_spans()]


def test_run_has_a_span_for_the_create_and_one_for_the_wait(shell: str, spans: InMemorySpanExporter) -> None:
    perform(shell, provider(seen(), seen("processing"), DONE), lambda client: client.run(FACE_SWAP))

    create, wait = facts(spans)
    assert create == (
        "unitask.create",
        {**SWAP, "unitask.task_id": TASK_ID, "unitask.status": "pending", "unitask.polls": 1},
    )
    assert wait == (
        "unitask.wait",
        {
            **SWAP,
            "unitask.task_id": TASK_ID,
            "unitask.status": "completed",
            "unitask.polls": 2,
            "unitask.cost_usd": pytest.approx(0.01),
        },
    )


def test_each_of_many_waits_has_its_span(shell: str, spans: InMemorySpanExporter) -> None:
    failed = answer(200, {"data": {**task_data("failed"), "task_id": "b"}})
    perform(shell, provider(DONE, failed), lambda client: client.wait_all([TASK_ID, "b"]))

    told = {
        fact["unitask.task_id"]: span.status.is_ok
        for span, (_, fact) in zip(spans.get_finished_spans(), facts(spans), strict=True)
    }
    assert told == {TASK_ID: True, "b": False}


def test_download_has_a_span(shell: str, spans: InMemorySpanExporter, tmp_path: Path) -> None:
    def fetch(client: Any) -> Any:
        return client.download(Task(json.loads(DONE.body)["data"], Output), tmp_path)

    perform(shell, provider(httpx.Response(200, content=encoded())), fetch)

    assert facts(spans) == [("unitask.download", {"unitask.task_id": TASK_ID, "unitask.files": 1})]


def test_error_ends_its_span(shell: str, spans: InMemorySpanExporter) -> None:
    with pytest.raises(errors.SubmissionUncertain):
        perform(shell, provider(GATEWAY), lambda client: client.submit(FACE_SWAP))

    (span,) = spans.get_finished_spans()
    assert span.status.description == "SubmissionUncertain"
    assert [event.name for event in span.events] == ["exception"]
    assert dict(span.attributes or {}) == {**SWAP, "unitask.polls": 1}


def test_interrupted_wait_ends_its_span_and_says_which_task_goes_on(shell: str, spans: InMemorySpanExporter) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interruption:
        perform(shell, provider(seen("processing")), lambda client: client.wait(TASK_ID, on_change=stop))

    assert f"client.wait({TASK_ID!r})" in interruption.value.__notes__[0]
    assert [span.status.description for span in spans.get_finished_spans()] == ["KeyboardInterrupt"]


def test_spans_hold_no_content(shell: str, spans: InMemorySpanExporter) -> None:
    perform(shell, provider(seen(), DONE), lambda client: client.run(FACE_SWAP))
    with pytest.raises(errors.AuthenticationFailed):
        perform(shell, provider(refused(401, f"bad key {KEY}")), lambda client: client.run(FACE_SWAP))

    shown = "".join(span.to_json() for span in spans.get_finished_spans())
    assert TASK_ID in shown
    for content in (KEY, "me.test", "secret.png"):
        assert content not in shown


def test_nobody_watches_without_the_library(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    _telemetry._tracer.cache_clear()
    try:
        assert perform(shell, provider(DONE), lambda client: client.wait(TASK_ID)).id == TASK_ID
        assert _telemetry._tracer() is None
    finally:
        _telemetry._tracer.cache_clear()


def test_spans_go_to_the_tracer_of_the_program() -> None:
    _telemetry._tracer.cache_clear()

    assert _telemetry._tracer() is not None


def test_spans_need_no_installed_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    _telemetry._tracer.cache_clear()

    assert _telemetry._tracer() is not None


def test_log_has_ids_and_no_bodies(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    script = provider(seen(), seen("odd"), DONE)
    with caplog.at_level(logging.INFO):
        perform(shell, script, lambda client: client.run(FACE_SWAP))

    ours = [record for record in caplog.records if record.name.startswith("unitask")]
    assert [record.levelname for record in ours] == ["INFO", "INFO", "WARNING", "INFO"]
    assert all(TASK_ID in record.getMessage() for record in ours)
    for content in (KEY, "me.test", "secret.png"):
        assert content not in caplog.text.replace("https://provider.test", "")
