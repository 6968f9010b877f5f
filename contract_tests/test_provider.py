"""The provider's side: the sandbox, or any base URL, keeps every promise of the contract; and a broken one is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from unitask_contract import checks, drawn, promises, provider, runner, task_types
from unitask_sandbox.defects import DEFECTS
from unitask_sandbox.engines import ENGINES

from .conftest import MONEY
from .test_limits import ENTRIES

pytestmark = pytest.mark.contract("provider")

FAILED = (runner.Outcome.BROKEN, runner.Outcome.NOT_RUN)


def under_test(request: pytest.FixtureRequest) -> Iterator[provider.Provider]:
    """The provider under test: `--base-url`, or the sandbox in-process."""
    base_url, key = (request.config.getoption(name) for name in ("--base-url", "--key"))
    with provider.remote(base_url, key, request.config.stash[MONEY]) if base_url else provider.sandbox() as made:
        yield made


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Iterator[provider.Provider]:
    """A provider of its own for each check."""
    yield from under_test(request)


@pytest.mark.parametrize("check", runner.OF_PROVIDER, ids=lambda check: check.id)
def test_provider_keeps_its_promise(check: runner.Check, subject: provider.Provider) -> None:
    """Each named check passes."""
    try:
        check.run(subject)
    except provider.LeftOut as reason:
        pytest.skip(str(reason))


# Which check is the first to find which defect; found by running them in this order.
FOUND_BY: dict[str, Callable[[provider.Provider], None]] = {
    "no-auth": checks.check_keys,
    "status-number": drawn.check_every_answer,
    "missing-id": drawn.check_every_answer,
    "accepts-anything": checks.check_bad_requests,
    "lost-task": checks.check_face_swap,
    "bare-error": checks.check_bad_requests,
    "undocumented-crash": checks.check_face_swap,
    "code-as-text": drawn.check_every_answer,
    "output-missing": checks.check_face_swap,
    "double-charge": checks.check_face_swap,
    "late-cancel": checks.check_cancel,
    "stuck": checks.check_face_swap,
    "free-of-charge": checks.check_account,
    "unlisted": checks.check_history,
    "lost-upload": checks.check_upload,
    "endless-stream": checks.check_chat,
    "open-accounts": promises.check_accounts_are_apart,
    "wrong-model": promises.check_echo,
    "other-task": promises.check_echo,
    "config-lost": promises.check_echo,
    "times-reversed": checks.check_face_swap,
    "error-on-success": promises.check_end,
    "reason-hidden": checks.check_no_face,
    "lost-output": promises.check_end,
    "file-as-page": checks.check_face_swap,
    "locked-files": promises.check_end,
    "bill-hidden": checks.check_face_swap,
    "kept-after-cancel": promises.check_cancelled_is_paid_back,
    "kept-after-failure": checks.check_no_face,
    "bare-lack-of-credit": promises.check_lack_of_credit,
    "refused-with-200": checks.check_bad_requests,
    "refused-with-500": checks.check_bad_requests,
    "code-of-its-own": promises.check_refusals,
    "silent-refusal": promises.check_refusals,
    "idle-cancel": checks.check_cancel,
    "idle-cancel-many": promises.check_cancel_many,
    "cancel-any-model": promises.check_cancel_many,
    "cancel-any-time": promises.check_cancel_many,
    "oldest-first": checks.check_history,
    "same-page": checks.check_history,
    "any-size": promises.check_pages,
    "any-time": checks.check_history,
    "any-group": promises.check_groups,
    "total-of-the-page": promises.check_pages,
    "row-without-bill": promises.check_rows,
    "never-active": promises.check_tasks_in_hand,
    "ever-active": promises.check_tasks_in_hand,
    "any-upload": checks.check_bad_requests,
    "shortened-upload": checks.check_upload,
    "wordless-chat": checks.check_chat,
    "no-picture": promises.check_images,
    "broken-picture": promises.check_images,
    "webhook-unsent": promises.check_webhook,
    "webhook-without-secret": promises.check_webhook,
    "webhook-at-the-root": promises.check_webhook,
    "webhook-too-soon": promises.check_webhook,
    "webhook-once": promises.check_webhook_that_is_not_taken,
    "webhook-again": promises.check_webhook,
}


def test_every_defect_has_a_check() -> None:
    """No defect of the sandbox is without a check that finds it."""
    assert FOUND_BY.keys() == DEFECTS.keys()


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found(defect: str) -> None:
    """A sandbox with one planted defect fails the check that is for it."""
    with provider.sandbox(frozenset({defect})) as broken, pytest.raises((AssertionError, BaseExceptionGroup)):
        FOUND_BY[defect](broken)


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[provider.Provider]:
    """One provider for all task types."""
    yield from under_test(request)


@pytest.mark.parametrize("name", task_types.task_types())
def test_task_type_is_as_the_catalogue_says(name: str, shared: provider.Provider) -> None:
    """Refused when something is missing, accepted, echoed, ended, with its output, at its price, in the history."""
    results = [runner.made(shared, check, name) for check in runner.OF_TASK_TYPES]

    assert [(result.check.id, result.detail) for result in results if result.outcome in FAILED] == []
    entry = ENTRIES[name]
    if (entry["model"], entry["task_type"]) not in ENGINES and shared.inside:
        assert "SIMULATED" in shared.memo["ended", name]["meta"]["simulated"]
