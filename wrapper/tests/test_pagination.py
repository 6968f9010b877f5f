"""Account, history and uploads: what is read from the answers, and for how long errors are tolerated."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from unitask import Account, HistoryRow, State, errors
from unitask._core import envelope, pagination, requests, retry
from unitask._core.effects import Flow, Response, RowYielded, SendRequest
from unitask._core.requests import HistoryQuery

from .script import CUT_OFF, NEVER_LEFT, TICKS, Played, answer, limits, play, refused
from .script import history_page as page
from .shells import KEY

A = {"task_id": "a"}


def account() -> Flow[Account]:
    return retry.account(limits())


def active_tasks() -> Flow[Any]:
    return retry.active_tasks(limits())


def upload() -> Flow[str]:
    return retry.send_with_retry(requests.upload("", "a.png", "AAAA"), envelope.read_upload, limits())


def history(**query: Any) -> Flow[None]:
    return pagination.history(HistoryQuery(**query), limits())


def rows_of(played: Played) -> list[Any]:
    return [step.row for step in played.steps if isinstance(step, RowYielded)]


def pages_of(played: Played) -> list[tuple[int, int]]:
    """Number and size of each page that was requested."""
    sent = [step.params for step in played.steps if isinstance(step, SendRequest)]
    return [(params["page"], params["page_size"]) for params in sent]


def test_account_has_its_parts_and_no_key() -> None:
    packs = [{"active": True, "capacity": 9, "expired_at": "2026-01-01T00:00:00Z"}]
    data = {"wallet": {"point_remain": 5}, "credit_pack_info": {"credit_packs": packs}, "name": "me", "api_key": KEY}
    played = play(account(), CUT_OFF, NEVER_LEFT, answer(200, {"data": data}))
    found, empty = played.result, play(account(), answer(200, {"data": {}})).result
    (pack,) = found.credit_pack_info.credit_packs

    assert played.sent == ["GET"] * 3
    assert (empty.wallet, empty.credit_pack_info, empty.plan) == (None, None, None)
    assert KEY not in repr(found) + repr(vars(found)) + repr(found.raw)
    assert (found.raw["api_key"], found.name, found.wallet.point_remain) == ("***", "me", 5.0)
    assert (pack.capacity, pack.active, pack.expired_at) == (9.0, True, datetime(2026, 1, 1, tzinfo=UTC))
    counts = play(active_tasks(), answer(200, {"data": {"kling": None, "flux": {"pending_count": "a"}}})).result
    assert counts["kling"].pending_count is None
    with pytest.raises(errors.ProviderBroken):
        _ = counts["flux"].pending_count


def test_upload_returns_a_url() -> None:
    for body in ({"code": 200, "data": {"url": "https://img.test/1"}}, {"url": "https://img.test/1"}):
        assert play(upload(), answer(200, body)).result == "https://img.test/1"


OTHER_BODIES: list[tuple[Callable[[], Flow[Any]], Any]] = [
    *((account, body) for body in (b"<html>", {"data": []}, [1], {"data": {"data": {"equivalent_in_usd": 1.0}}})),
    (active_tasks, {"data": {"flux": {}, "kling": 3}}),
    *((history, {"data": data}) for data in (None, {}, {"data": "x"}, {"data": {"data": []}}, [A, None])),
    *((upload, body) for body in ({}, {"data": {"url": ""}}, {"data": {"url": 7}}, b"no")),
]


def test_answer_that_is_something_else_is_an_error() -> None:
    for call, body in OTHER_BODIES:
        played = play(call(), answer(200, body))
        assert isinstance(played.error, errors.ProviderBroken), body
        assert played.error.attempts == len(played.sent) > 1
        assert played.error.elapsed == pytest.approx(played.ended_at)


def test_refusal_ends_at_once_and_silence_with_patience() -> None:
    for call in (account, active_tasks, upload, history):
        for reply, error, sent in (
            (refused(401), errors.AuthenticationFailed, 1),
            (refused(400), errors.InvalidRequest, 1),
            (CUT_OFF, errors.Unreachable, 10),
        ):
            played = play(call(), reply)
            assert (type(played.error), len(played.sent)) == (error, sent)
    for patience, sent in ((0.374, 2), (0.375, 3), (1.2, 4)):
        assert len(play(retry.account(limits(patience=patience)), CUT_OFF).sent) == sent
    assert play(account(), refused(429, retry_after="7"), answer(200, {"data": {"name": "me"}})).sleeps == [7.0]


def test_deadline_bounds_requests_and_pauses() -> None:
    def tried(seconds: float) -> Played:
        send = requests.upload("", "a.png", "AAAA")
        flow = retry.send_with_retry(send, envelope.read_upload, limits(), deadline=TICKS + seconds)
        return play(flow, CUT_OFF, took=1.0)

    assert [tried(seconds).timeouts[:1] for seconds in (60.0, 10.0, 0.0, -1.0)] == [[20.0], [10.0], [1.0], []]
    assert [(len(found.sent), found.ended_at) for found in map(tried, (1.374, 1.375))] == [(1, 1.0), (2, 2.375)]


@pytest.mark.parametrize(
    ("replies", "expected", "pages"),
    [
        ([page("a", "b", total=3), page("c", total=3)], "abc", 2),
        *(([page("a", total=total), page()], "a", 2) for total in (None, "3", True, -1.5)),  # not a count
        ([page("a"), page("a")], "a", 2),  # a provider that ignores `page`
        ([page("a", "b", total=4), page("b", "c", total=4), page(total=4)], "abc", 3),
        ([answer(200, {"data": {"data": None, "total": 0}})], "", 1),
        ([answer(200, {"data": {"data": [A], "size": 1, "total": 1}})], "a", 1),
        *(
            ([answer(200, {"data": data}), page()], "a", 2)
            for data in ([A], {"items": [A]}, {"list": [A]}, {"data": None, "list": [A]})
        ),
    ],
)
def test_history_is_read_to_its_end_with_each_row_once(replies: list[Response], expected: str, pages: int) -> None:
    played = play(history(), *replies)

    assert played.error is None
    assert [found.task_id for found in rows_of(played)] == list(expected)
    assert [number for number, _ in pages_of(played)] == list(range(1, pages + 1))


def test_page_behind_the_last_one_may_be_refused() -> None:
    full = [f"t{number}" for number in range(100)]
    whole = play(history(), page(*full, total=100), refused(400, "no such page"))
    short = play(history(), page(*full, total=101), refused(400, "no such page")).error
    endless = play(history(), page(*full, total=300))
    stuck = play(history(), page(*full, total=100))

    assert whole.error is None
    assert (len(rows_of(whole)), len(whole.sent)) == (100, 2)
    assert isinstance(short, errors.InvalidRequest)
    assert isinstance(endless.error, errors.ProviderBroken)
    assert str(endless.error).startswith("the task history has 300 rows, and page after page brings the same 100")
    assert endless.error.status == 200
    assert (stuck.error, len(rows_of(stuck))) == (None, 100)
    assert pages_of(endless) == pages_of(stuck) == [(number, 100) for number in range(1, 6)]


def test_full_page_of_known_rows_is_not_the_end() -> None:
    old, new = ([f"{letter}{number}" for number in range(3)] for letter in "tn")
    played = play(history(page_size=1), page(old[0], total=3), page(old[0], total=6), page(*new, *old, total=6))

    assert [found.task_id for found in rows_of(played)] == ["t0", "n0", "n1", "n2", "t1", "t2"]
    assert pages_of(played) == [(1, 1), (2, 1), (1, 100)]


def test_row_is_recognised_on_any_later_page() -> None:
    running, nameless, other = {**A, "status": "running"}, {"status": "failed"}, {"status": "finished"}
    ended, numbered = {**A, "status": "finished"}, {"id": 7, "status": "running"}
    later = page(ended, nameless, {**numbered, "status": "finished"}, "b")
    played = play(history(), page(running, nameless, numbered), page(other), later, page())

    assert [found.raw for found in rows_of(played)] == [running, nameless, numbered, other, {"task_id": "b"}]


@pytest.mark.usefixtures("local_time_of_tokyo")
def test_row_has_the_fields_that_are_given() -> None:
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
    with pytest.raises(errors.ProviderBroken, match=r"^task 't': HistoryRow\.task_model is 7, not text;") as caught:
        _ = HistoryRow({"task_id": "t", "task_model": 7}).group
    assert (caught.value.status, caught.value.task_id) == (200, "t")
