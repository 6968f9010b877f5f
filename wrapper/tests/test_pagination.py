"""Account, history and uploads: what is asked, what is read, and what is borne with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from unitask import Account, ActiveTasks, HistoryRow, State, errors
from unitask._core import calls, envelope, pagination, requests, retry
from unitask._core.effects import Flow, Response, RowYielded, SendRequest, TransportFailure
from unitask._core.requests import HistoryQuery

from .script import CUT_OFF, NEVER_LEFT, answer, limits, play, refused

KEY = "0123456789abcdef" * 4


def account() -> Flow[Account]:
    return calls.account(limits())


def page(*rows: Any, total: Any = None) -> Response:
    return answer(200, {"code": 200, "data": {"data": list(rows), "total": total}, "message": "success"})


def row(task_id: str) -> dict[str, Any]:
    return {"task_id": task_id}


def told(*replies: Response | TransportFailure, **query: Any) -> tuple[list[str | None], list[Any]]:
    """The ids of the rows that were told, and the pages that were asked for."""
    played = play(pagination.history(HistoryQuery(**query), limits()), *replies)
    assert played.error is None
    rows = [step.row.task_id for step in played.steps if isinstance(step, RowYielded)]
    return rows, [step.params["page"] for step in played.steps if isinstance(step, SendRequest)]


def active_tasks() -> Flow[Any]:
    return calls.active_tasks(limits())


def upload() -> Flow[str]:
    return retry.send_with_retry(requests.upload("", "a.png", "AAAA"), envelope.read_upload, limits())


def history() -> Flow[None]:
    return pagination.history(HistoryQuery(), limits())


# ---- account


def test_account_has_its_parts_and_no_key() -> None:
    data = {
        "wallet": {"point_remain": 5, "point_frozen": 1.5, "auto_recharge_enabled": True},
        "credit_pack_info": {"credit_packs": [{"active": True, "capacity": 9, "expired_at": "2026-01-01T00:00:00Z"}]},
        "max_concurrent_task_count": 5,
        "name": "me",
        "api_key": KEY,
    }
    played = play(account(), CUT_OFF, NEVER_LEFT, answer(200, {"data": data}))
    found, empty = played.result, play(account(), answer(200, {"data": {}})).result
    wallet, (pack,) = found.wallet, found.credit_packs

    assert played.sent == ["GET"] * 3
    assert (empty.wallet, empty.credit_packs, empty.plan) == (None, [], None)
    assert KEY not in repr(found) + repr(vars(found)) + repr(found.raw)
    assert (found.raw["api_key"], found.name, found.max_concurrent_task_count) == ("***", "me", 5)
    assert (wallet.point_remain, wallet.point_frozen, wallet.point_used, wallet.llm_remain) == (5.0, 1.5, None, None)
    assert wallet.auto_recharge_enabled is True
    assert (pack.capacity, pack.active, pack.expired_at) == (9.0, True, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("call", "body", "words"),
    [
        *((account, body, "no data") for body in (b"<html>", {"data": []}, [1])),
        (account, {"data": {"data": {"equivalent_in_usd": 1.0}}}, "no account"),
        (active_tasks, {"data": {"flux": {}, "kling": 3}}, "no counts of tasks"),
        *(
            (history, {"data": data}, "no page of the history")
            for data in (None, {}, {"data": "x"}, {"data": {"data": []}}, [row("a"), None])
        ),
        *(
            (upload, body, "no address of the uploaded file")
            for body in ({}, {"data": {"url": ""}}, {"data": {"url": 7}})
        ),
        (upload, b"no", "no address of the uploaded file"),
    ],
    ids=str,
)
def test_answer_that_is_something_else_is_an_error(call: Callable[[], Flow[Any]], body: Any, words: str) -> None:
    played = play(call(), answer(200, body))

    assert isinstance(played.error, errors.ProviderBroken)
    assert played.error.attempts == len(played.sent) > 1
    assert played.error.elapsed == pytest.approx(played.ended_at)
    assert f"HTTP 200 with {words}: " in str(played.error)


def test_active_tasks_are_counted_by_group() -> None:
    data = {"flux": {"pending_count": 2, "processing_count": 1, "staged_count": 0}, "kling": None}
    found = play(active_tasks(), answer(200, {"data": data})).result

    assert {type(counts) for counts in found.values()} == {ActiveTasks}
    flux = found["flux"]
    assert (flux.pending_count, flux.processing_count, flux.staged_count) == (2, 1, 0)
    assert found["kling"].pending_count is None


@pytest.mark.parametrize(
    ("reply", "error", "sent"),
    [(refused(401), errors.AuthenticationFailed, 1), (refused(400), errors.InvalidRequest, 1), (CUT_OFF, None, 10)],
)
def test_refusal_ends_at_once_and_silence_with_patience(
    reply: Response | TransportFailure, error: type[errors.ApiError] | None, sent: int
) -> None:
    played = [play(call(), reply) for call in (account, active_tasks, upload, history)]

    assert {type(each.error) for each in played} == {error or errors.Unreachable}
    assert {len(each.sent) for each in played} == {sent}
    assert error or str(played[0].error) == "no answer to GET /account/info, ReadTimeout"


@pytest.mark.parametrize(("patience", "sent"), [(0.374, 1), (0.375, 2), (1.2, 3)])
def test_failures_are_borne_with_up_to_the_patience(patience: float, sent: int) -> None:
    played = play(calls.account(limits(patience=patience)), CUT_OFF)

    assert played.error is not None
    assert len(played.sent) == sent + 1
    assert (played.error.attempts, played.error.elapsed) == (sent + 1, played.ended_at)
    asked = play(account(), refused(429, retry_after="7"), answer(200, {"data": {"name": "me"}}))
    assert (asked.result.name, asked.sleeps) == ("me", [7.0])


# ---- history


@pytest.mark.parametrize(
    ("replies", "expected", "pages"),
    [
        ([page(row("a"), row("b"), total=3), page(row("c"), total=3)], "abc", [1, 2]),
        *(([page(row("a"), total=total), page()], "a", [1, 2]) for total in (None, "3", True, -1.5)),  # no count
        ([page(row("a")), page(row("a"))], "a", [1, 2]),  # a provider that does not know pages
        ([page(row("a"), row("b"), total=4), page(row("b"), row("c"), total=4), page(total=4)], "abc", [1, 2, 3]),
        ([answer(200, {"data": {"data": None, "total": 0}})], "", [1]),
        *(
            ([answer(200, {"data": data}), page()], "a", [1, 2])
            for data in ([row("a")], {"items": [row("a")]}, {"list": [row("a")]}, {"data": None, "list": [row("a")]})
        ),
    ],
)
def test_history_is_read_to_its_end_and_tells_each_row_once(
    replies: list[Response], expected: str, pages: list[int]
) -> None:
    assert told(*replies) == (list(expected), pages)


def test_page_behind_the_last_one_may_be_refused() -> None:
    full = [row(f"t{number}") for number in range(100)]
    rows, pages = told(page(*full, total=100), refused(400, "no such page"))
    short = play(history(), page(*full, total=101), refused(400, "no such page")).error
    endless = play(history(), page(*full, total=300)).error

    assert (len(rows), pages) == (100, [1, 2])
    assert isinstance(short, errors.InvalidRequest)
    assert isinstance(endless, errors.ProviderBroken)
    assert str(endless) == "the task history has 300 rows, and page after page brings the same 100"


def test_full_page_of_known_rows_is_not_the_end() -> None:
    old = [row(f"t{number}") for number in range(3)]
    new = [row(f"n{number}") for number in range(3)]
    replies = [page(old[0], total=3), page(old[0], total=6), page(*new, *old, total=6)]
    played = play(pagination.history(HistoryQuery(page_size=1), limits()), *replies)
    asked = [(step.params["page"], step.params["page_size"]) for step in played.steps if isinstance(step, SendRequest)]

    assert [step.row.task_id for step in played.steps if isinstance(step, RowYielded)] == [
        "t0", "n0", "n1", "n2", "t1", "t2"
    ]  # fmt: skip
    assert asked == [(1, 1), (2, 1), (1, 100)]


def test_row_is_known_again_on_any_later_page() -> None:
    running, nameless, other = {**row("a"), "status": "running"}, {"status": "failed"}, {"status": "finished"}
    pages = [page(running, nameless), page(other), page({**row("a"), "status": "finished"}, nameless, row("b")), page()]
    steps = play(history(), *pages).steps

    assert [step.row.raw for step in steps if isinstance(step, RowYielded)] == [running, nameless, other, row("b")]


def test_absent_filters_are_not_sent() -> None:
    full = HistoryQuery(start=5, end=9, group="kling", page_size=7, page=3)

    assert requests.cancel_many(5, "kling").params == {"created_before": 5, "model": "kling"}
    assert requests.cancel_many(5, None).params == {"created_before": 5}
    assert requests.history(HistoryQuery()).params == {"page": 1, "page_size": 100}
    assert requests.history(full).params == {
        "page": 3, "page_size": 7, "model": "kling", "start_time": 5, "end_time": 9
    }  # fmt: skip


@pytest.mark.usefixtures("local_time_of_tokyo")
def test_row_says_what_it_says() -> None:
    detail = {"task_id": "t", "model": "Qubico/image-toolkit", "workflow_type": "face-swap"}
    times = {"created_at": "2025-01-01T00:00:00"}  # without a zone it is in UTC
    found = HistoryRow({"task_id": "", "status": "finished", "task_model": "image_toolkit", **times, "detail": detail})
    empty = HistoryRow({"detail": {"model": "", "workflow_type": ""}})

    assert (found.task_id, found.state, found.status) == ("t", State.COMPLETED, "finished")
    assert [HistoryRow({"id": value}).task_id for value in ("t-1", "17", 17, " ")] == ["t-1", None, None, None]
    assert (found.group, found.model, found.task_type) == ("image_toolkit", "Qubico/image-toolkit", "face-swap")
    assert found.created_at == datetime(2025, 1, 1, tzinfo=UTC)
    assert (empty.task_id, empty.status, empty.state) == (None, None, State.UNKNOWN)
    assert (empty.group, empty.model, empty.task_type, empty.created_at) == (None, None, None, None)
    with pytest.raises(errors.ProviderBroken, match=r"HistoryRow\.task_model is 7, not text; `raw` holds"):
        _ = HistoryRow({"task_model": 7}).group


# ---- upload


@pytest.mark.parametrize("body", [{"code": 200, "data": {"url": "https://img.test/1"}}, {"url": "https://img.test/1"}])
def test_upload_brings_an_address(body: Any) -> None:
    send = requests.upload("https://upload.test", "a.png", "AAAA")
    played = play(retry.send_with_retry(send, envelope.read_upload, limits()), answer(200, body))

    assert (send.method, send.path) == ("POST", "https://upload.test/api/ephemeral_resource")
    assert send.json == {"file_name": "a.png", "file_data": "AAAA"}
    assert played.result == "https://img.test/1"
