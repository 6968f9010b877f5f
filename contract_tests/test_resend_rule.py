"""When a create is sent again, told by an oracle that is written from the rule and shares nothing with the client.

The rule, in sentences:

- A create is sent again only if it provably never left, or after HTTP 429 that names no task.
- No word and no code decides.
- An answer, of any status, that names a task which is not failed means accepted, and the id is kept.
- 408, 499, 502, 503, 504 and 520 to 527 are a gateway's: uncertain, whatever the body.
- HTTP 500 in the form of the API, with or without a failed task, is decided; in any other form it is uncertain.
- Any other 4xx is decided; a success that names no task is uncertain.

Where the rule does not settle a case, the oracle allows both outcomes; the number of creates is always settled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unitask import errors

from .support import FACE_SWAP, SHELLS, Trace, perform, tries

pytestmark = pytest.mark.parametrize("shell", SHELLS)

MOST = 4  # times that a create is sent in all
GATEWAYS = (408, 499, 502, 503, 504, *range(520, 528))
STATUSES = (
    200, 201, 202, 400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 418, 422, 423, 425, 429, 451,
    500, 501, 505, 507, 508, 511, 530, 599, *GATEWAYS,
)  # fmt: skip
# Words of refusals by pages, recorded bodies and clients (2026-11), and others that could seem to ask for another try.
WORDS = (
    "", "success", "failed to pre-process task runtime", "failed to process task", "internal error",
    "failed to freeze account point quota: account point quota not enough; account credit not enough",
    "account credit not enough", "credit not enough", "quota not enough", "failed to freeze credit",
    "failed to freeze point", "auto exchange point quota", "no face found in the image",
    "invalid request, no face found in the image", "failed to get valid image", "failed to get valid video",
    "invalid video url", "unsupported image format", "video resolution 2000x2000 is too large", "image size too large",
    "file size too large, maximum is 10MB", "task input is too large", "failed to verify api key",
    "prompt rejected by moderation", "banned prompt detected", "banned word", "violated community guidelines",
    "the queue is full", "upstream request queue is full", "too many concurrent tasks", "concurrent task limit reached",
    "concurrency limit exceeded", "Invalid request parameters", "Insufficient plan level", "task not found",
    "too many requests", "rate limit exceeded", "please retry later", "try again", "upstream timed out",
    "service temporarily unavailable", "connection refused", "connect timeout", "request was not sent", "not accepted",
    "duplicate request", "idempotent", "unknown generation error, please contact us for help",
    "No number after minus sign in JSON at position 1",
    *(word for words, _ in errors.REASONS for word in words),
)  # fmt: skip
CODES = (0, 200, 400, 401, 402, 403, 404, 408, 429, 499, 500, 502, 503, 504, 520, 1100, 10000, 10003, -1, 99999)
FAILED = ("failed", "Failed", "FAILED")
NOT_FAILED = (
    "pending", "Pending", "processing", "completed", "staged", "running", "in_progress", "starting", "success",
    "finished", "cancelled", "canceled", "queued", "error", "insufficient_credits", "accepted", "baking", "", None, 7,
)  # fmt: skip
NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
MAY_HAVE_LEFT = (
    httpx.ReadTimeout,
    httpx.ReadError,
    httpx.WriteTimeout,
    httpx.WriteError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
)
HEADERS: tuple[dict[str, str], ...] = (
    {}, {"retry-after": "0"}, {"retry-after": "7"}, {"retry-after": "86400"}, {"retry-after": "soon"},
    {"server": "cloudflare", "cf-ray": "1"}, {"via": "1.1 proxy"}, {"x-request-id": "r"}, {"connection": "close"},
)  # fmt: skip
PAGES = (b"", b"<html>Bad gateway</html>", b"null", b"[1, 2]", b'"accepted"', b"not found", b'{"error": "upstream"}')

Step = httpx.Response | httpx.RequestError
Seen = tuple[str, str | None]  # how it ended, and the id that is told


class Plan:
    """What a provider does with one create, in the words of the rule.

    Attributes:
        fails: What is raised in place of an answer; None: there is one.
        named: The id of the task that the answer names; None: it names none.
    """

    def __init__(
        self,
        status: int = 200,
        *,
        fails: type[httpx.RequestError] | None = None,
        word: str = "",
        code: int = 0,
        named: str | None = None,
        state: object = None,
        page: bytes | None = None,
        headers: dict[str, str] | None = None,
        bare: bool = False,
    ) -> None:
        self.status, self.fails, self.page, self.headers = status, fails, page, headers or {}
        self.named = None if page is not None else named
        self.is_failed = isinstance(state, str) and state.casefold() == "failed"
        error = {"code": code, "message": word, "raw_message": word}
        task = {"task_id": named, "status": state, "error": error, "meta": {}}
        data: Any = task if named else ({"error": error} if bare else None)
        self.body = {"code": code or status, "message": word, "data": data}

    def __repr__(self) -> str:
        what = self.fails.__name__ if self.fails else self.page if self.page is not None else json.dumps(self.body)
        return f"HTTP {self.status} {what!r} {self.headers}"

    def step(self) -> Step:
        if self.fails:
            return self.fails("failed")
        content = json.dumps(self.body).encode() if self.page is None else self.page
        kind = "application/json" if self.page is None else "text/html"
        return httpx.Response(self.status, content=content, headers={"content-type": kind, **self.headers})


def is_sent_again(plan: Plan) -> bool:
    if plan.fails:
        return plan.fails in NEVER_LEFT
    return plan.status == 429 and plan.named is None


def endings(plan: Plan) -> Iterator[Seen]:
    if plan.fails:
        yield ("never left" if plan.fails in NEVER_LEFT else "uncertain"), None
        return
    is_gateway, is_success = plan.status in GATEWAYS, 200 <= plan.status < 300
    if plan.named and not plan.is_failed:
        yield "accepted", plan.named
        if is_gateway:  # both sentences speak of it: the id is kept in either case
            yield "uncertain", plan.named
        return
    if is_gateway or (is_success and not plan.named):
        yield "uncertain", plan.named
        return
    if is_success:  # a task that failed at once was accepted
        yield "accepted", plan.named
        return
    if plan.status < 500 or (plan.status == 500 and plan.page is None):
        yield "decided", plan.named
        return
    yield "uncertain", plan.named
    if plan.status != 500 and plan.page is None:  # of a 5xx beside 500, in the form of the API, nothing is said
        yield "decided", plan.named


def expected(plans: Sequence[Plan]) -> tuple[int, set[Seen]]:
    script = [*plans, *plans[-1:] * MOST][:MOST]
    for number, plan in enumerate(script, start=1):
        if not is_sent_again(plan) or number == MOST:
            return number, set(endings(plan))
    raise AssertionError("a script has an end")


def seen(trace: Trace) -> Seen:
    error = trace.error
    if error is None:
        return "accepted", trace.result.id
    if isinstance(error, errors.SubmissionUncertain):
        return "uncertain", error.task_id
    if isinstance(error, errors.ApiError):
        return "decided", error.task_id
    assert isinstance(error, errors.Unreachable), error
    return "never left", error.task_id


def check(shell: str, plans: Sequence[Plan]) -> None:
    trace = perform(shell, lambda client: client.submit(FACE_SWAP), creates=[plan.step() for plan in plans])
    creates, allowed = expected(plans)

    assert trace.creates() == creates
    assert seen(trace) in allowed


tasks_named = st.one_of(
    st.just((None, None)),
    st.tuples(st.just("task-1"), st.sampled_from(FAILED)),
    st.tuples(st.just("task-1"), st.sampled_from(NOT_FAILED)),
)
answers = st.builds(
    lambda status, word, code, task, headers, bare: Plan(
        status, word=word, code=code, named=task[0], state=task[1], headers=headers, bare=bare
    ),
    st.sampled_from(STATUSES),
    st.sampled_from(WORDS),
    st.sampled_from(CODES),
    tasks_named,
    st.sampled_from(HEADERS),
    st.booleans(),
)
pages = st.builds(
    lambda status, page, word, headers: Plan(status, page=page + word.encode(), headers=headers),
    st.sampled_from(STATUSES),
    st.sampled_from(PAGES),
    st.sampled_from(WORDS),
    st.sampled_from(HEADERS),
)
failures = st.sampled_from((*NEVER_LEFT, *MAY_HAVE_LEFT)).map(lambda kind: Plan(fails=kind))
# So that scripts go on: what is sent again comes as often as everything else.
sent_again = st.sampled_from(NEVER_LEFT).map(lambda kind: Plan(fails=kind)) | st.builds(
    lambda word, code, headers: Plan(429, word=word, code=code, headers=headers),
    st.sampled_from(WORDS),
    st.sampled_from(CODES),
    st.sampled_from(HEADERS),
)


@settings(max_examples=tries(400))
@given(plan=answers | pages | failures)
@example(plan=Plan(500, word="the queue is full", named="t-1", state="staged"))
@example(plan=Plan(502, word="upstream request queue is full"))
@example(plan=Plan(504, word="too many concurrent tasks"))
@example(plan=Plan(504, word="upstream timed out", code=504))
@example(plan=Plan(429, word="too many requests", named="first", state="pending"))
@example(plan=Plan(429, word="too many requests", named="first", state="failed"))
@example(plan=Plan(500, word="account credit not enough", code=10000, named="t-1", state="failed"))
def test_one_answer_ends_as_the_rule_says(shell: str, plan: Plan) -> None:
    check(shell, [plan])


@settings(max_examples=tries(200))
@given(before=st.lists(sent_again, max_size=MOST), last=answers | pages | failures)
def test_many_answers_end_as_the_rule_says(shell: str, before: list[Plan], last: Plan) -> None:
    check(shell, [*before, last])


@settings(max_examples=tries(100))
@given(
    status=st.sampled_from(STATUSES),
    word=st.sampled_from(WORDS),
    other=st.sampled_from(WORDS),
    code=st.sampled_from(CODES),
)
def test_no_word_decides_how_often_a_create_is_sent(shell: str, status: int, word: str, other: str, code: int) -> None:
    ended = []
    for words in (word, other):
        step = Plan(status, word=words, code=code).step()
        trace = perform(shell, lambda client: client.submit(FACE_SWAP), creates=[step])
        ended.append((trace.creates(), seen(trace)))

    assert ended[0] == ended[1]
