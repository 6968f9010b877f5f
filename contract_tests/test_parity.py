"""For any script of answers the sync and the async client send the same, sleep the same and end the same."""

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .support import FACE_SWAP, SHELLS, TASK_ID, Call, Reply, answer, envelope, perform, tries

LOST = perform("sync", lambda client: client.submit(FACE_SWAP), [httpx.ReadTimeout("slow")]).error
statuses = st.sampled_from(["pending", "processing", "odd", "completed", "failed", None])
refusals = st.sampled_from([400, 401, 404, 500, 502, 520])
failures = st.sampled_from([httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")])
replies = st.one_of(
    statuses.map(lambda status: answer(200, envelope(status))),
    refusals.map(lambda status: answer(status, {"code": status, "message": "x"})),
    refusals.map(lambda status: answer(status, b"<html>")),
    st.integers(0, 9).map(lambda seconds: answer(429, {"message": "slow"}, **{"retry-after": str(seconds)})),
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
@settings(max_examples=tries(20))
@given(submissions=st.lists(replies, min_size=1, max_size=4), polls=st.lists(replies, min_size=1, max_size=6))
def test_both_clients_give_one_trace(call: str, submissions: list[Reply], polls: list[Reply]) -> None:
    check(CALLS[call], submissions, polls)


def check(call: Call, submissions: list[Reply], polls: list[Reply]) -> None:
    sync, other = (perform(shell, call, submissions, polls, poll_patience=10) for shell in SHELLS)

    assert sync.requests == other.requests
    assert sync.sleeps == other.sleeps
    assert sync.outcome() == other.outcome()
