"""What the comparison of clients rests on: that the server counts every request, and that our own row is driven."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from urllib.parse import urlsplit

import pytest

from benchmarks.clients.collect import ROWS, Seen, drive
from benchmarks.clients.server import CREATES, DIALECTS, UNKNOWN_WORD, Arrivals, serving
from benchmarks.clients.subjects import SUBJECTS


@pytest.fixture
def server() -> Iterator[tuple[str, Arrivals]]:
    with serving() as served:
        yield served


def ask(url: str, method: str, path: str) -> bytes:
    """One request on a connection of its own; the body of the answer."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request(method, path, b"{}" if method == "POST" else None, {"Idempotency-Key": "k"})
        return connection.getresponse().read()
    finally:
        connection.close()


def test_each_request_counts_for_its_client_scenario_and_kind(server: tuple[str, Arrivals]) -> None:
    url, arrivals = server
    for path in ("/openai/plain/videos", "/openai/plain/videos", "/openai/page/videos", "/lumaai/plain/generations"):
        ask(url, "POST", path)
    ask(url, "GET", "/openai/plain/videos/x")

    assert arrivals.count("openai", "plain", "create") == 2
    assert arrivals.count("openai", "plain", "look") == 1
    assert arrivals.count("openai", "page", "create") == arrivals.count("lumaai", "plain", "create") == 1
    assert arrivals.idempotency_keys["openai", "page"] == ["k"]


def test_create_that_brings_no_answer_is_counted(server: tuple[str, Arrivals]) -> None:
    url, arrivals = server

    with pytest.raises(RemoteDisconnected):
        ask(url, "POST", "/openai/closed/videos")

    assert arrivals.count("openai", "closed", "create") == 1


def test_looks_go_through_what_is_played(server: tuple[str, Arrivals]) -> None:
    """And the last one stays."""
    url, _ = server

    words = [json.loads(ask(url, "GET", "/openai/unknown-word/videos/x"))["status"] for _ in range(5)]

    assert words == [UNKNOWN_WORD] * 3 + ["completed"] * 2


def test_every_client_has_its_words() -> None:
    assert list(SUBJECTS) == list(DIALECTS)


def test_own_client_is_clean(server: tuple[str, Arrivals]) -> None:
    """One create whatever happens to it, a wait that goes on, the task named, no key shown."""
    url, arrivals = server

    ours = Seen("unitask", drive("unitask", url), arrivals)

    cells = {row: ours.cell(row) for row in ROWS if row != "import"}
    assert {cells[row] for row in CREATES} == {"1; raises `SubmissionUncertain`"}
    waits = ("unknown-word", "look-page", "look-closed")
    assert {cells[row] for row in waits} == {"waits on, returns the result"}
    assert all(cells[row].endswith("; task id in the message") for row in ("outage", "endless"))
    assert (cells["repr"], cells["attributes"]) == ("no", "no")


def test_cell_tells_an_unfinished_task_from_a_result(server: tuple[str, Arrivals]) -> None:
    url, arrivals = server
    told = {"limit": None, "seen": {"unknown-word": {"end": "returned"}}}
    client = Seen("openai", told, arrivals)

    ask(url, "GET", "/openai/unknown-word/videos/x")
    unfinished = client.cell("unknown-word")
    for _ in range(3):
        ask(url, "GET", "/openai/unknown-word/videos/x")

    assert unfinished == "**returns it as the result**"
    assert client.cell("unknown-word") == "waits on, returns the result"
    assert client.cell("endless") == "has no wait"
