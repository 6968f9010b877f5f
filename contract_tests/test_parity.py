"""Sync and async are one client: for any script of answers both send the same, sleep the same and end the same."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .support import FACE_SWAP, TASK_ID, Call, Reply, answer, envelope, perform

pytestmark = pytest.mark.contract("parity")

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
@settings(max_examples=40)
@given(creates=st.lists(replies, min_size=1, max_size=4), looks=st.lists(replies, min_size=1, max_size=6))
def test_both_clients_give_one_trace(call: Call, creates: list[Reply], looks: list[Reply]) -> None:
    """The same requests in the same order, the same pauses between them, the same result or error."""
    sync, other = (perform(shell, call, creates, looks, poll_patience=10) for shell in ("sync", "async"))

    assert sync.requests == other.requests
    assert sync.sleeps == other.sleeps
    assert sync.outcome() == other.outcome()
