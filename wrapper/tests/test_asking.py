"""Account, history and uploads: what is asked, what is read, and what is borne with."""

from __future__ import annotations

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


def told(
    *replies: Response | TransportFailure, query: HistoryQuery | None = None
) -> tuple[list[str | None], list[Any]]:
    """The ids of the rows that were told, and the pages that were asked for."""
    played = play(pagination.history(query or HistoryQuery(), limits()), *replies)
    assert played.error is None
    rows = [step.row.task_id for step in played.steps if isinstance(step, RowYielded)]
    return rows, [step.params["page"] for step in played.steps if isinstance(step, SendRequest)]


# ---- account


def test_account_has_its_parts_and_no_key() -> None:
    data = {
        "wallet": {"point_remain": 5, "point_frozen": 1.5, "auto_recharge_enabled": True},
        "credit_pack_info": {"credit_packs": [{"active": True, "capacity": 9, "expired_at": "2026-01-01T00:00:00Z"}]},
        "max_concurrent_task_count": 5,
        "notification_hook_url": "https://me.test",
        "name": "me",
        "api_key": KEY,
    }
    played = play(account(), CUT_OFF, NEVER_LEFT, answer(200, {"data": data}))
    found, empty = played.result, play(account(), answer(200, {"data": {}})).result

    assert played.sent == ["GET"] * 3
    assert (empty.wallet, empty.credit_packs, empty.plan) == (None, [], None)
    assert KEY not in repr(found) + repr(vars(found)) + repr(found.raw)
    assert found.raw["api_key"] == "***"
    assert found.name == "me"

    assert found.wallet.point_remain == 5.0
    assert (found.wallet.point_frozen, found.wallet.point_used) == (1.5, None)
    assert (found.wallet.llm_remain, found.wallet.llm_used) == (None, None)
    assert found.wallet.auto_recharge_enabled is True
    assert [pack.capacity for pack in found.credit_packs] == [9.0]
    assert found.credit_packs[0].active is True
    assert found.credit_packs[0].expired_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.max_concurrent_task_count == 5
    assert found.notification_hook_url == "https://me.test"


@pytest.mark.parametrize("body", [b"<html>", {"data": []}, [1]])
def test_answer_without_an_account_is_an_error(body: Any) -> None:
    played = play(account(), answer(200, body))

    assert isinstance(played.error, errors.ProviderBroken)
    assert played.error.attempts == len(played.sent) > 1
    assert played.error.elapsed == pytest.approx(played.ended_at)
    assert "HTTP 200 with no data" in str(played.error)


def test_active_tasks_are_counted_by_group() -> None:
    data = {"flux": {"pending_count": 2, "processing_count": 1, "staged_count": 0}, "kling": None}
    found = play(
        calls.active_tasks(limits()),
        answer(200, {"data": data}),
    )

    assert {type(counts) for counts in found.result.values()} == {ActiveTasks}
    flux = found.result["flux"]
    assert (flux.pending_count, flux.processing_count, flux.staged_count) == (2, 1, 0)
    assert found.result["kling"].pending_count is None


@pytest.mark.parametrize(
    ("reply", "error", "sent"),
    [(refused(401), errors.AuthenticationFailed, 1), (refused(400), errors.InvalidRequest, 1), (CUT_OFF, None, 10)],
)
def test_refusal_ends_at_once_and_silence_with_patience(
    reply: Response | TransportFailure, error: type[errors.ApiError] | None, sent: int
) -> None:
    flows: list[Flow[Any]] = [
        account(),
        calls.active_tasks(limits()),
        retry.send_with_retry(requests.upload("", "a.png", "AAAA"), envelope.read_upload, limits()),
        pagination.history(HistoryQuery(), limits()),
    ]
    played = [play(call, reply) for call in flows]

    assert {type(each.error) for each in played} == {error or errors.Unreachable}
    assert {len(each.sent) for each in played} == {sent}
    assert error or str(played[0].error) == "no answer to GET /account/info, ReadTimeout"


@pytest.mark.parametrize(
    ("call", "data", "words"),
    [
        (calls.account, {"data": {"equivalent_in_usd": 1.0}}, "no account"),
        (calls.active_tasks, {"flux": {}, "kling": 3}, "no counts of tasks"),
    ],
)
def test_answer_that_is_something_else_is_an_error(call: Any, data: Any, words: str) -> None:
    played = play(call(limits()), answer(200, {"data": data}))

    assert isinstance(played.error, errors.ProviderBroken)
    assert f"HTTP 200 with {words}: " in str(played.error)


@pytest.mark.parametrize(("patience", "sent"), [(0.374, 1), (0.375, 2), (1.2, 3)])
def test_failures_are_borne_with_up_to_the_patience(patience: float, sent: int) -> None:
    played = play(calls.account(limits(patience=patience)), CUT_OFF)

    assert played.error is not None
    assert len(played.sent) == sent + 1
    assert (played.error.attempts, played.error.elapsed) == (sent + 1, played.ended_at)


def test_free_request_is_repeated_when_the_provider_says() -> None:
    played = play(account(), refused(429, retry_after="7"), answer(200, {"data": {"name": "me"}}))

    assert played.result.name == "me"
    assert played.sleeps == [7.0]


# ---- history


@pytest.mark.parametrize(
    ("replies", "expected", "pages"),
    [
        ([page(row("a"), row("b"), total=3), page(row("c"), total=3)], "abc", [1, 2]),
        ([page(row("a")), page()], "a", [1, 2]),  # without a count
        ([page(row("a")), page(row("a"))], "a", [1, 2]),  # a provider that does not know pages
        ([page(row("a"), row("b"), total=4), page(row("b"), row("c"), total=4), page(total=4)], "abc", [1, 2, 3]),
        ([answer(200, {"data": {"data": None, "total": 0}})], "", [1]),
    ],
)
def test_history_is_read_to_its_end_and_tells_each_row_once(
    replies: list[Response], expected: str, pages: list[int]
) -> None:
    assert told(*replies) == (list(expected), pages)


def test_page_behind_the_last_one_may_be_refused() -> None:
    full = [row(f"t{number}") for number in range(100)]
    rows, pages = told(page(*full, total=100), refused(400, "no such page"))
    short = play(pagination.history(HistoryQuery(), limits()), page(*full, total=101), refused(400, "no such page"))

    assert (len(rows), pages) == (100, [1, 2])
    assert isinstance(short.error, errors.InvalidRequest)


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


def test_history_that_has_more_rows_than_its_pages_bring_is_an_error() -> None:
    full = [row(f"t{number}") for number in range(100)]
    error = play(pagination.history(HistoryQuery(), limits()), page(*full, total=300)).error

    assert isinstance(error, errors.ProviderBroken)
    assert str(error) == "the task history has 300 rows, and page after page brings the same 100"


def test_row_is_known_again_on_any_later_page() -> None:
    running, nameless, other = {**row("a"), "status": "running"}, {"status": "failed"}, {"status": "finished"}
    pages = [page(running, nameless), page(other), page({**row("a"), "status": "finished"}, nameless, row("b")), page()]
    played = play(pagination.history(HistoryQuery(), limits()), *pages)

    assert [step.row.raw for step in played.steps if isinstance(step, RowYielded)] == [
        running,
        nameless,
        other,
        row("b"),
    ]


@pytest.mark.parametrize("total", ["3", True, -1.5])
def test_count_of_another_type_is_no_count(total: Any) -> None:
    assert told(page(row("a"), total=total), page())[0] == ["a"]


@pytest.mark.parametrize(
    "data", [[row("a")], {"items": [row("a")]}, {"list": [row("a")]}, {"data": None, "list": [row("a")]}]
)
def test_rows_are_found_where_clients_found_them(data: Any) -> None:
    assert told(answer(200, {"data": data}), page())[0] == ["a"]


@pytest.mark.parametrize("data", [None, {}, {"data": "x"}, {"data": {"data": []}}, [row("a"), None]])
def test_answer_without_a_page_is_an_error(data: Any) -> None:
    played = play(pagination.history(HistoryQuery(), limits()), answer(200, {"data": data}))

    assert isinstance(played.error, errors.ProviderBroken)
    assert "HTTP 200 with no page of the history: " in str(played.error)


def test_absent_filters_are_not_sent() -> None:
    full = HistoryQuery(start=5, end=9, group="kling", page_size=7, page=3)

    assert requests.cancel_many(5, "kling").params == {"created_before": 5, "model": "kling"}
    assert requests.cancel_many(5, None).params == {"created_before": 5}
    assert requests.history(HistoryQuery()).params == {"page": 1, "page_size": 100}
    assert requests.history(full).params == {
        "page": 3, "page_size": 7, "model": "kling", "start_time": 5, "end_time": 9
    }  # fmt: skip


def test_row_says_what_it_says() -> None:
    found = HistoryRow(
        {
            "task_id": "",
            "status": "finished",
            "task_model": "image_toolkit",
            "created_at": "2025-01-01T00:00:00Z",
            "usage_type": "point",
            "detail": {"task_id": "t", "model": "Qubico/image-toolkit", "workflow_type": "face-swap"},
        }
    )

    assert (found.task_id, found.state, found.status) == ("t", State.COMPLETED, "finished")
    assert [HistoryRow({"id": value}).task_id for value in ("t-1", "17", 17, " ")] == ["t-1", None, None, None]
    assert (found.group, found.model, found.task_type) == ("image_toolkit", "Qubico/image-toolkit", "face-swap")
    assert found.created_at == datetime(2025, 1, 1, tzinfo=UTC)
    assert found.usage_type == "point"
    empty = HistoryRow({"detail": {"model": "", "workflow_type": ""}})
    assert (empty.task_id, empty.status, empty.state) == (None, None, State.UNKNOWN)
    assert (empty.group, empty.model, empty.task_type, empty.created_at) == (None, None, None, None)


@pytest.mark.usefixtures("local_time_of_tokyo")
def test_time_without_a_zone_is_in_utc() -> None:
    assert HistoryRow({"created_at": "2025-01-01T00:00:00"}).created_at == datetime(2025, 1, 1, tzinfo=UTC)


def test_row_of_another_type_says_so_when_it_is_read() -> None:
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


@pytest.mark.parametrize("body", [{}, {"data": {"url": ""}}, {"data": {"url": 7}}, b"no"])
def test_upload_without_an_address_is_an_error(body: Any) -> None:
    """There is nothing to put into the task."""
    played = play(
        retry.send_with_retry(requests.upload("", "a.png", "AAAA"), envelope.read_upload, limits()), answer(200, body)
    )

    assert isinstance(played.error, errors.ProviderBroken)
    assert "HTTP 200 with no address of the uploaded file: " in str(played.error)
