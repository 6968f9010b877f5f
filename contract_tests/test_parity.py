"""For any script of answers the sync and the async client send the same, sleep the same and end the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unitask import OutputFile

from .support import BASE_URL, FACE_SWAP, SHELLS, TASK_ID, Call, Reply, answer, envelope, perform, tries

LOST = perform("sync", lambda client: client.submit(FACE_SWAP), [httpx.ReadTimeout("slow")]).error
statuses = st.sampled_from(["pending", "processing", "odd", "completed", "failed", None])
refusals = st.sampled_from([400, 401, 404, 500, 502, 520])
pauses = st.integers(0, 9)
failures = st.sampled_from([httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")])
replies = st.one_of(
    statuses.map(lambda status: answer(200, envelope(status))),
    refusals.map(lambda status: answer(status, {"code": status, "message": "x"})),
    refusals.map(lambda status: answer(status, b"<html>")),
    pauses.map(lambda seconds: answer(429, {"message": "slow"}, **{"retry-after": str(seconds)})),
    failures,
)
CALLS: dict[str, Call] = {
    "run": lambda client: client.run(FACE_SWAP, timeout=60),
    "submit": lambda client: client.submit(FACE_SWAP),
    "wait": lambda client: client.wait(TASK_ID, timeout=60),
    "wait_all": lambda client: client.wait_all([TASK_ID, "another"], timeout=60),
    "get": lambda client: client.get(TASK_ID),
    "find": lambda client: client.find(LOST, timeout=30),
    "account": lambda client: client.account(),
    "active_tasks": lambda client: client.active_tasks(),
    "upload": lambda client: client.upload(b"ID3"),
    "cancel": lambda client: client.cancel(TASK_ID),
    "cancel_many": lambda client: client.cancel_many(created_before=7, group="all"),
}


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=tries(40))
@given(creates=st.lists(replies, min_size=1, max_size=4), looks=st.lists(replies, min_size=1, max_size=6))
def test_both_clients_give_one_trace(call: str, creates: list[Reply], looks: list[Reply]) -> None:
    check(CALLS[call], creates, looks)


def check(call: Call, creates: list[Reply], looks: list[Reply]) -> None:
    sync, other = (perform(shell, call, creates, looks, poll_patience=10) for shell in SHELLS)

    assert sync.requests == other.requests
    assert sync.sleeps == other.sleeps
    assert sync.outcome() == other.outcome()


CONTENT = b"0123456789" * 10
FILE = OutputFile(f"{BASE_URL}/a;b%2520c?d", task_id=TASK_ID)


class CutOff(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A part of a file, then a broken connection."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content
        raise httpx.ReadError("reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def part(start: int, end: int, status: int, etag: str) -> httpx.Response:
    headers = {"etag": etag, "content-type": "video/mp4", "content-range": f"bytes {start}-99/*"}
    return httpx.Response(status, headers=headers, stream=CutOff(CONTENT[start:end]))


def rest(start: int) -> httpx.Response:
    return httpx.Response(206, content=CONTENT[start:], headers={"content-range": f"bytes {start}-99/100"})


positions = st.sampled_from([0, 30, 60, 100])
parts = st.one_of(
    st.builds(part, positions, positions, st.sampled_from([200, 206]), st.sampled_from(['"v1"', 'W/"v1"'])),
    positions.map(rest),
    st.sampled_from([200, 404, 416, 500]).map(lambda status: httpx.Response(status, content=CONTENT)),
    pauses.map(lambda seconds: answer(503, b"", **{"retry-after": str(seconds)})),
    failures,
)


@settings(max_examples=tries(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(looks=st.lists(parts, min_size=1, max_size=6))
def test_both_clients_download_alike(looks: list[Reply], tmp_path: Path) -> None:
    traces = []
    for shell in SHELLS:
        trace = perform(shell, lambda client: client.download(FILE, f"{tmp_path}/"), looks=looks)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == ([CONTENT] if trace.error is None else [])
        for path in tmp_path.iterdir():
            path.unlink()
        ranges = [(headers.get("range"), headers.get("if-range")) for headers in trace.headers]
        traces.append((trace.requests, ranges, trace.sleeps, trace.outcome()))

    assert traces[0] == traces[1]
