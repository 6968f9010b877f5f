"""The provider's side: the sandbox, or any base URL, keeps every promise of the contract; and a broken one is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from unitask.inputs import request_body
from unitask_sandbox.defects import DEFECTS
from unitask_sandbox.engines import ENGINES

from . import promises, provider
from .support import validator
from .test_limits import ENTRIES, make

pytestmark = pytest.mark.contract("provider")


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Iterator[provider.Provider]:
    """The provider under test: `--base-url`, or the sandbox in-process."""
    base_url, key = (request.config.getoption(name) for name in ("--base-url", "--key"))
    with provider.remote(base_url, key) if base_url else provider.sandbox() as made:
        yield made


@pytest.mark.parametrize("check", provider.CHECKS + promises.CHECKS, ids=lambda check: check.__name__)
def test_provider_keeps_its_promise(check: Callable[[provider.Provider], None], subject: provider.Provider) -> None:
    """Each named check passes."""
    check(subject)


# Which check is the first to find which defect; found by running them in this order.
FOUND_BY: dict[str, Callable[[provider.Provider], None]] = {
    "no-auth": provider.check_keys,
    "status-number": provider.check_every_answer,
    "missing-id": provider.check_every_answer,
    "accepts-anything": provider.check_bad_requests,
    "lost-task": provider.check_face_swap,
    "bare-error": provider.check_bad_requests,
    "undocumented-crash": provider.check_face_swap,
    "code-as-text": provider.check_every_answer,
    "output-missing": provider.check_face_swap,
    "double-charge": provider.check_face_swap,
    "late-cancel": provider.check_cancel,
    "stuck": provider.check_face_swap,
    "free-of-charge": provider.check_account,
    "unlisted": provider.check_history,
    "lost-upload": provider.check_upload,
    "endless-stream": provider.check_chat,
    "open-accounts": promises.check_accounts_are_apart,
    "wrong-model": promises.check_echo,
    "other-task": promises.check_echo,
    "config-lost": promises.check_echo,
    "times-reversed": provider.check_face_swap,
    "error-on-success": promises.check_end,
    "reason-hidden": provider.check_no_face,
    "lost-output": promises.check_end,
    "file-as-page": provider.check_face_swap,
    "locked-files": promises.check_end,
    "bill-hidden": provider.check_face_swap,
    "kept-after-cancel": promises.check_cancelled_is_paid_back,
    "kept-after-failure": provider.check_no_face,
    "bare-lack-of-credit": promises.check_lack_of_credit,
    "refused-with-200": provider.check_bad_requests,
    "refused-with-500": provider.check_bad_requests,
    "code-of-its-own": promises.check_refusals,
    "silent-refusal": promises.check_refusals,
    "idle-cancel": provider.check_cancel,
    "idle-cancel-many": promises.check_cancel_many,
    "cancel-any-model": promises.check_cancel_many,
    "cancel-any-time": promises.check_cancel_many,
    "oldest-first": provider.check_history,
    "same-page": provider.check_history,
    "any-size": promises.check_pages,
    "any-time": provider.check_history,
    "any-group": promises.check_groups,
    "total-of-the-page": promises.check_pages,
    "row-without-bill": promises.check_rows,
    "never-active": promises.check_tasks_in_hand,
    "ever-active": promises.check_tasks_in_hand,
    "any-upload": provider.check_bad_requests,
    "shortened-upload": provider.check_upload,
    "wordless-chat": provider.check_chat,
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
def shared() -> Iterator[provider.Provider]:
    """One sandbox for all task types."""
    with provider.sandbox() as made:
        yield made


SIMULATED = [
    name
    for name, entry in ENTRIES.items()
    if entry["protocol"] == "unified" and (entry["model"], entry["task_type"]) not in ENGINES
]


@pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")  # the least input may lack what one source wants
@pytest.mark.parametrize("name", SIMULATED)
def test_task_type_is_simulated_as_its_output_says(name: str, shared: provider.Provider) -> None:
    """A create of the least input ends completed, marked as simulated, with an output that its schema allows."""
    created = shared.request("POST", "/api/v1/task", json=request_body(make(name)))
    assert created.status_code == 200, created.text
    shared.advance()
    task = shared.request("GET", f"/api/v1/task/{created.json()['data']['task_id']}").json()["data"]

    assert task["status"] == "completed"
    assert "SIMULATED" in task["meta"]["simulated"]
    assert list(validator(ENTRIES[name]["output"]).iter_errors(task["output"])) == []
