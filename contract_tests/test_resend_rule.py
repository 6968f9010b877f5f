"""When a submission is sent again, by an oracle that is written from the rule and shares no code with the client.

- A submission is sent again only if it provably never left, or after HTTP 429 that names no task.
- No word and no code decides.
- An answer, of any status, that names a task which has not failed means accepted, and the id is kept.
- 408, 499, 502, 503, 504 and 520 to 527 are a gateway's: uncertain, whatever the body.
- HTTP 500 in the form of the API, with or without a failed task, is decided; in any other form it is uncertain.
- Any other 4xx is decided; a success that names no task is uncertain.

Where the rule does not settle a case, the oracle allows both outcomes; the number of submissions is always settled.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unitask import errors

from .support import FACE_SWAP, SHELLS, Reply, Trace, perform, tries

pytestmark = pytest.mark.parametrize("shell", SHELLS)

MOST = 4  # times that a submission is sent in all
GATEWAYS = (408, 499, 502, 503, 504, *range(520, 528))
STATUSES = (
    200, 201, 202, 400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 418, 422, 423, 425, 429, 451,
    500, 501, 505, 507, 508, 511, 530, 599, *GATEWAYS,
)  # fmt: skip
# Words of refusals by pages, recorded bodies and clients (2026-11), and others that could seem to ask for another try.
WORDS = (
    "", "success", "failed to pre-process task runtime", "internal error", "failed to freeze point",
    "failed to freeze account point quota: account point quota not enough; account credit not enough",
    "no face found in the image", "invalid video url", "file size too large, maximum is 10MB", "task not found",
    "failed to verify api key", "prompt rejected by moderation", "the queue is full", "too many concurrent tasks",
    "upstream request queue is full", "concurrent task limit reached", "too many requests", "rate limit exceeded",
    "please retry later", "try again", "upstream timed out", "service temporarily unavailable", "connection refused",
    "connect timeout", "request was not sent", "not accepted", "duplicate request", "idempotent",
    *(word for words, _ in errors.REASONS for word in words),
)  # fmt: skip
CODES = (0, 200, 400, 401, 402, 403, 404, 408, 429, 499, 500, 502, 503, 504, 520, 1100, 10000, 10003, -1, 99999)
STATES = (
    "failed", "Failed", "FAILED", "pending", "Pending", "processing", "completed", "staged", "running", "starting",
    "success", "finished", "cancelled", "canceled", "queued", "error", "insufficient_credits", "baking", "", None, 7,
)  # fmt: skip
NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
MAY_HAVE_LEFT = (
    httpx.ReadTimeout, httpx.ReadError, httpx.WriteTimeout, httpx.WriteError, httpx.RemoteProtocolError,
    httpx.DecodingError,
)  # fmt: skip
HEADERS: tuple[dict[str, str], ...] = ({}, *({"retry-after": word} for word in ("0", "7", "86400", "soon")))
PAGES = (b"", b"<html>Bad gateway</html>", b"null", b"[1, 2]", b'"accepted"', b"not found", b'{"error": "upstream"}')

Seen = tuple[str, str | None]  # how it ended, and the id that is reported


@dataclass
class Plan:
    """What a provider does with one submission: it fails, or it answers with a page or a body that may name a task."""

    status: int = 200
    fails: type[httpx.RequestError] | None = None
    page: bytes | None = None
    word: str = ""
    code: int = 0
    named: str | None = None
    state: object = None
    headers: dict[str, str] = field(default_factory=dict)

    def reply(self) -> Reply:
        if self.fails:
            return self.fails("failed")
        error = {"code": self.code, "message": self.word, "raw_message": self.word}
        task = {"task_id": self.named, "status": self.state, "error": error, "meta": {}} if self.named else None
        body = {"code": self.code or self.status, "message": self.word, "data": task}
        content = json.dumps(body).encode() if self.page is None else self.page
        kind = "application/json" if self.page is None else "text/html"
        return httpx.Response(self.status, content=content, headers={"content-type": kind, **self.headers})

    def is_sent_again(self) -> bool:
        return self.fails in NEVER_LEFT if self.fails else self.status == 429 and self.named is None

    def endings(self) -> set[Seen]:
        if self.fails:
            return {("never left" if self.fails in NEVER_LEFT else "uncertain", None)}
        has_failed = str(self.state).casefold() == "failed"
        is_gateway, is_success = self.status in GATEWAYS, 200 <= self.status < 300
        accepted, uncertain, decided = ((word, self.named) for word in ("accepted", "uncertain", "decided"))
        if self.named and not has_failed:
            return {accepted, uncertain} if is_gateway else {accepted}
        if is_gateway:
            return {uncertain}
        if is_success:  # a task that failed at once was accepted
            return {accepted} if self.named else {uncertain}
        if self.status < 500 or (self.status == 500 and self.page is None):
            return {decided}
        return {uncertain} if self.status == 500 or self.page is not None else {uncertain, decided}


def seen(trace: Trace) -> Seen:
    if trace.error is None:
        return "accepted", trace.result.id
    kinds = {errors.SubmissionUncertain: "uncertain", errors.ApiError: "decided", errors.Unreachable: "never left"}
    return next(word for kind, word in kinds.items() if isinstance(trace.error, kind)), trace.error.task_id


def check(shell: str, plans: Sequence[Plan]) -> None:
    script = [*plans, *plans[-1:] * MOST][:MOST]
    sent = next((number for number, plan in enumerate(script, 1) if not plan.is_sent_again()), MOST)
    trace = perform(shell, lambda client: client.submit(FACE_SWAP), submissions=[plan.reply() for plan in plans])

    assert trace.submissions() == sent
    assert seen(trace) in script[sent - 1].endings()


words, codes, headers = st.sampled_from(WORDS), st.sampled_from(CODES), st.sampled_from(HEADERS)
statuses = st.sampled_from(STATUSES)
answered = {"word": words, "code": codes, "headers": headers}
named = {"named": st.sampled_from([None, "task-1"]), "state": st.sampled_from(STATES)}
page = st.builds(bytes.__add__, st.sampled_from(PAGES), words.map(str.encode))
answers = st.builds(Plan, statuses, **answered, **named)
pages = st.builds(Plan, statuses, page=page, headers=headers)
failures = st.builds(Plan, fails=st.sampled_from((*NEVER_LEFT, *MAY_HAVE_LEFT)))
sent_again = st.builds(Plan, fails=st.sampled_from(NEVER_LEFT)) | st.builds(Plan, st.just(429), **answered)


@settings(max_examples=tries(400))
@given(before=st.just([]) | st.lists(sent_again, max_size=MOST), last=answers | pages | failures)
@example(before=[], last=Plan(500, word="the queue is full", named="t-1", state="staged"))
@example(before=[], last=Plan(502, word="upstream request queue is full"))
@example(before=[], last=Plan(504, word="upstream timed out", code=504))
@example(before=[], last=Plan(429, word="too many requests", named="first", state="pending"))
@example(before=[], last=Plan(429, word="too many requests", named="first", state="failed"))
@example(before=[], last=Plan(500, word="account credit not enough", code=10000, named="t-1", state="failed"))
def test_submission_ends_as_the_rule_says(shell: str, before: list[Plan], last: Plan) -> None:
    check(shell, [*before, last])
