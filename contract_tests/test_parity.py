"""Sync and async are one client: for any script of answers both send the same, sleep the same and end the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unitask import OutputFile

from .support import BASE_URL, FACE_SWAP, SHELLS, TASK_ID, Call, Reply, Trace, answer, envelope, perform, tries

LOST = perform("sync", lambda client: client.submit(FACE_SWAP), [httpx.ReadTimeout("slow")]).error
replies = st.one_of(
    st.sampled_from(["pending", "processing", "odd", "completed", "failed", None]).map(
        lambda status: answer(200, envelope(status))
    ),
    st.sampled_from([400, 401, 404, 500, 502, 520]).map(
        lambda status: answer(status, {"code": status, "message": "x"})
    ),
    st.sampled_from([502, 520]).map(lambda status: answer(status, b"<html>")),
    st.integers(0, 9).map(lambda asked: answer(429, {"message": "slow"}, **{"retry-after": str(asked)})),
    st.sampled_from([httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")]),
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
    "cancel_many": lambda client: client.cancel_many(created_before=7, model="all"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@settings(max_examples=tries(40))
@given(creates=st.lists(replies, min_size=1, max_size=4), looks=st.lists(replies, min_size=1, max_size=6))
def test_both_clients_give_one_trace(call: Call, creates: list[Reply], looks: list[Reply]) -> None:
    sync, other = (perform(shell, call, creates, looks, poll_patience=10) for shell in SHELLS)

    assert sync.requests == other.requests
    assert sync.sleeps == other.sleeps
    assert sync.outcome() == other.outcome()


CONTENT = b"0123456789" * 10
FILE = OutputFile(f"{BASE_URL}/a;b%2520c?d", task_id=TASK_ID)


class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A part of the file, and then the connection breaks."""

    def __init__(self, start: int, end: int) -> None:
        self.content = CONTENT[start:end]

    def __iter__(self) -> Iterator[bytes]:
        yield self.content
        raise httpx.ReadError("reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def _part(start: int, end: int, status: int, name: str) -> httpx.Response:
    headers = {"etag": name, "content-type": "video/mp4", "content-range": f"bytes {start}-{len(CONTENT) - 1}/*"}
    return httpx.Response(status, headers=headers, stream=Cut(start, end))


positions = st.sampled_from([0, 30, 60, 100])
parts = st.one_of(
    st.builds(_part, positions, positions, st.sampled_from([200, 206]), st.sampled_from(['"v1"', 'W/"v1"'])),
    st.builds(
        lambda start: httpx.Response(
            206, content=CONTENT[start:], headers={"content-range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
        ),
        positions,
    ),
    st.sampled_from([200, 404, 416, 500]).map(lambda status: httpx.Response(status, content=CONTENT)),
    st.integers(0, 9).map(lambda asked: answer(503, b"", **{"retry-after": str(asked)})),
    st.sampled_from([httpx.ConnectError("refused"), httpx.RemoteProtocolError("cut")]),
)


@settings(max_examples=tries(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(looks=st.lists(parts, min_size=1, max_size=6))
def test_both_clients_fetch_alike(looks: list[Reply], tmp_path: Path) -> None:
    traces: list[Trace] = []
    for shell in SHELLS:
        traces.append(perform(shell, lambda client: client.download(FILE, f"{tmp_path}/"), looks=looks))
        contents = [path.read_bytes() for path in tmp_path.iterdir()]
        assert contents == ([CONTENT] if traces[-1].error is None else [])
        for path in tmp_path.iterdir():
            path.unlink()
    asked = [[(headers.get("range"), headers.get("if-range")) for headers in trace.headers] for trace in traces]

    assert traces[0].requests == traces[1].requests
    assert asked[0] == asked[1]
    assert traces[0].sleeps == traces[1].sleeps
    assert traces[0].outcome() == traces[1].outcome()
