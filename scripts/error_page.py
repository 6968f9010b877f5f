"""Write docs/reference/errors.md: each class of `unitask.errors`, with a message that a call really raised."""

import inspect
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from unitask import Budget, Client, errors, tasks, webhooks
from unitask.bulk import Journal
from unitask.testing import InstantClock, UnitaskProvider

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
SWAP = tasks.FaceSwap(target_image="https://example.com/group.jpg", swap_image="https://example.com/me.png")
TASK_ID = "90efd2db-bcfc-413f-a0be-c893850c9d68"
ABOUT = """\
# Errors

Every error of `unitask` is a `UnitaskError`, and can be imported from `unitask`. Each class has a message that a call
raised, what the provider sends in that case, and the next step, which is also the text of `error.next_step`.

`InsufficientCredit`, `ContentRejected`, `NoFaceFound` and `BadInputMedia` are reasons: the error of a refused
submission is also an `ApiError`, and that of a task that failed is also a `TaskFailed`. Catch the reason or the kind.

Of the causes, a text in the message of the provider wins over a code, and a code over the HTTP status.
"""


def provocations(provider: UnitaskProvider, client: Client) -> dict[type[errors.UnitaskError], Callable[[], object]]:
    """Return a call for each class that raises it."""

    def refused(status: int, message: str = "") -> Callable[[], object]:
        def call() -> object:
            provider.refuses(status=status, message=message, times=1)
            return client.submit(SWAP)

        return call

    def failed(message: str) -> Callable[[], object]:
        def call() -> object:
            provider.fails(message, times=1)
            return client.run(SWAP)

        return call

    def answered(reply: Any, call: Callable[[], object]) -> Callable[[], object]:
        def answered_call() -> object:
            provider.answers(reply)
            return call()

        return answered_call

    def stuck() -> object:
        provider.completes(statuses=["pending", "processing"], times=1)
        return client.run(SWAP, timeout=60)

    def spoiled() -> object:
        provider.completes(image_url=b"not a picture", times=1)
        return client.download(client.run(SWAP), "out/errors")

    return {
        errors.InvalidInput: lambda: client.submit(
            tasks.FaceSwap(target_image="group.jpg", swap_image=b"GIF89a" + b"\0" * 9)
        ),
        errors.BudgetExceeded: lambda: Client(budget=Budget(usd=0.005)).submit(SWAP),
        errors.SubmissionUncertain: answered(httpx.ReadTimeout("no answer in 60 s"), lambda: client.submit(SWAP)),
        errors.JournalError: lambda: Journal("/missing/swaps.db"),
        errors.Unreachable: answered(httpx.ConnectError("connection refused"), client.account),
        errors.AuthenticationFailed: refused(401, "invalid api key"),
        errors.PermissionDenied: refused(403, "this model is not in your plan"),
        errors.InvalidRequest: refused(400, "invalid request body"),
        errors.NotFound: lambda: client.get(TASK_ID),
        errors.RateLimited: refused(429, "too many requests"),
        errors.QueueFull: refused(429, "the queue is full"),
        errors.ProviderBroken: answered(httpx.Response(500, text="<h1>oops</h1>"), client.account),
        errors.TaskFailed: failed("internal error"),
        errors.WaitTimeout: stuck,
        errors.DownloadFailed: spoiled,
        errors.WebhookRejected: lambda: webhooks.parse(b"{}", {}, secret="a secret"),
        errors.InsufficientCredit: refused(500, "account credit not enough"),
        errors.ContentRejected: failed("the prompt is rejected by moderation"),
        errors.NoFaceFound: failed("no face found in the image"),
        errors.BadInputMedia: failed("failed to get valid image"),
    }


def raised() -> dict[type[errors.UnitaskError], errors.UnitaskError]:
    """Return an error of each class."""
    logging.getLogger("unitask").addHandler(logging.NullHandler())  # of the lost answer
    clock = InstantClock(START)
    found: dict[type[errors.UnitaskError], errors.UnitaskError] = {}
    with UnitaskProvider(clock=clock) as provider, Client(max_retries=0) as client:
        for kind, call in provocations(provider, client).items():
            with pytest.raises(kind) as caught:
                call()
            found[kind] = caught.value
    return found


def error_page() -> str:
    """Return the page."""
    examples = raised()
    kinds = [kind for name, kind in vars(errors).items() if name in errors.__all__]
    return "\n".join([ABOUT, *(_section(kind, examples.get(kind)) for kind in kinds)])


def _section(kind: type[errors.UnitaskError], error: errors.UnitaskError | None) -> str:
    text, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes:\n")
    base = kind.__mro__[1].__name__
    parts = [f"## {kind.__name__}\n", text.strip() + "\n"]
    if base != "Exception":
        parts += [f"Base: [`{base}`](#{base.lower()})\n"]
    if error:
        parts += ["```text", str(error), "```\n"]
    if causes := _causes(kind):
        parts.append(f"- Causes: {causes}")
    next_step, retryable = kind.usual_next_step, kind.usually_retryable
    if error:
        next_step, retryable = error.next_step, error.retryable
    parts += [f"- Next step: {next_step}", f"- `retryable`: {retryable}\n"]
    if attributes:
        parts += ["Attributes:\n", *_attributes(attributes)]
    return "\n".join(parts)


def _causes(kind: type[errors.UnitaskError]) -> str:
    words = [f'"{word}"' for some, reason in errors.REASONS for word in some if reason is kind]
    codes = [f"code {code}" for code, reason in errors.KIND_BY_CODE.items() if reason is kind]
    statuses = [f"HTTP {status}" for status, reason in errors.KIND_BY_STATUS.items() if reason is kind]
    return ", ".join([*words, *codes, *statuses])


def _attributes(section: str) -> list[str]:
    """Return a line for each attribute of a docstring."""
    lines = inspect.cleandoc(section).replace("\n    ", " ").splitlines()
    return [f"- `{name}`: {about}" for name, _, about in (line.partition(": ") for line in lines)] + [""]
