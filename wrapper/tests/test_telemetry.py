"""Spans and logs: ids and facts of a task, and no content."""

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
from .shells import FACE_SWAP, KEY, StoppedClock, perform, provider

SWAP = {"unitask.model": MODEL, "unitask.task_type": TASK_TYPE}
DONE = seen("completed", meta={"usage": {"consume": 100_000}}, output={"image_url": "https://out.test/secret.png"})


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(_telemetry, "tracer", lambda: tracers.get_tracer("test"))
    yield exporter
    tracers.shutdown()


def facts(exporter: InMemorySpanExporter) -> list[tuple[str, dict[str, Any]]]:
    return [(span.name, dict(span.attributes or {})) for span in exporter.get_finished_spans()]


def test_run_has_a_span_for_the_submission_and_one_for_the_wait(shell: str, spans: InMemorySpanExporter) -> None:
    perform(shell, provider(seen(), seen("processing"), DONE), lambda client: client.run(FACE_SWAP))

    task = {**SWAP, "unitask.task_id": TASK_ID}
    end = {"unitask.status": "completed", "unitask.cost_usd": pytest.approx(0.01)}
    assert facts(spans) == [
        ("unitask.create", {**task, "unitask.status": "pending"}),
        ("unitask.wait", {**task, **end}),
    ]


def test_each_of_two_waits_and_a_download_has_a_span(shell: str, spans: InMemorySpanExporter, tmp_path: Path) -> None:
    failed = answer(200, {"data": {**task_data("failed"), "task_id": "b"}})
    perform(shell, provider(DONE, failed), lambda client: client.wait_all([TASK_ID, "b"]))
    done = Task(json.loads(DONE.body)["data"], Output)
    perform(shell, provider(httpx.Response(200, content=encoded())), lambda client: client.download(done, tmp_path))

    ended = {(span.name, span.attributes["unitask.task_id"]): span.status.is_ok for span in spans.get_finished_spans()}
    assert ended == {("unitask.wait", TASK_ID): True, ("unitask.wait", "b"): False, ("unitask.download", TASK_ID): True}
    assert facts(spans)[-1] == ("unitask.download", {"unitask.task_id": TASK_ID, "unitask.files": 1})


def test_error_ends_its_span(shell: str, spans: InMemorySpanExporter) -> None:
    with pytest.raises(errors.SubmissionUncertain):
        perform(shell, provider(GATEWAY), lambda client: client.submit(FACE_SWAP))

    (span,) = spans.get_finished_spans()
    assert span.status.description == "SubmissionUncertain"
    assert [event.name for event in span.events] == ["exception"]
    assert dict(span.attributes or {}) == {**SWAP}


def test_span_of_an_interrupted_wait_names_its_task(shell: str, spans: InMemorySpanExporter) -> None:
    for call in (lambda client: client.run(FACE_SWAP), lambda client: client.wait(TASK_ID)):
        with pytest.raises(KeyboardInterrupt):
            perform(shell, provider(seen()), call, clock=StoppedClock())

    named = [(name, attributes.get("unitask.task_id")) for name, attributes in facts(spans)]
    assert named == [("unitask.create", TASK_ID), *[("unitask.wait", TASK_ID)] * 2]


def test_spans_and_logs_hold_ids_and_no_content(
    shell: str, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    perform(shell, provider(seen(), seen("odd"), DONE), lambda client: client.run(FACE_SWAP))
    records = [record for record in caplog.records if record.name.startswith("unitask")]
    with pytest.raises(errors.AuthenticationFailed):
        perform(shell, provider(refused(401, f"bad key {KEY}")), lambda client: client.run(FACE_SWAP))

    assert [record.levelname for record in records] == ["INFO", "INFO", "WARNING", "INFO"]
    assert all(TASK_ID in record.getMessage() for record in records)
    for text in ("".join(span.to_json() for span in spans.get_finished_spans()), caplog.text):
        assert TASK_ID in text
        assert not [content for content in (KEY, "me.test", "secret.png") if content in text]


def test_client_works_without_opentelemetry(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    _telemetry.tracer.cache_clear()

    assert perform(shell, provider(DONE), lambda client: client.wait(TASK_ID)).id == TASK_ID
    assert _telemetry.tracer() is None
    _telemetry.tracer.cache_clear()
