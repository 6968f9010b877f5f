"""Seen from the provider's side: a call makes at most one task, whatever becomes of its answer on the way."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import httpx
import pytest
from unitask import AsyncClient, Client, Outcome, Output, Recovery, State, Task, errors, tasks
from unitask._core import recovery
from unitask._model.timestamp import Timestamp
from unitask_sandbox import Fault, Settings, running

from .support import FACE_SWAP, SHELLS

HTML = {"content-type": "text/html"}
REFUSAL = b'{"code": 429, "message": "too many requests"}'
# What happens to the create, how the call ends, how often it arrives, how many tasks there are then.
CASES: dict[str, tuple[Fault, type[errors.UnitaskError] | None, int, int]] = {
    "the answer is lost": (Fault("create_task", "lose"), errors.SubmissionUncertain, 1, 1),
    "the answer is cut": (Fault("create_task", "cut"), errors.SubmissionUncertain, 1, 1),
    "the answer is a gateway's": (
        Fault("create_task", "replace", 520, b"<html>unknown error</html>", HTML),
        errors.SubmissionUncertain,
        1,
        1,
    ),
    "the answer is empty": (Fault("create_task", "replace"), errors.SubmissionUncertain, 1, 1),
    "a gateway refuses": (
        Fault("create_task", "refuse", 502, b"<html></html>", HTML),
        errors.SubmissionUncertain,
        1,
        0,
    ),
    "the API refuses": (Fault("create_task", "refuse", 400, b'{"code": 400}'), errors.InvalidRequest, 1, 0),
    "the API asks to wait": (Fault("create_task", "refuse", 429, REFUSAL, times=2), None, 3, 1),
}


def submit(shell: str, base_url: str) -> None:
    async def asleep(_seconds: float) -> None: ...

    async def main() -> None:
        async with AsyncClient("sandbox", base_url, sleep=asleep) as client:
            await client.submit(FACE_SWAP)

    if shell == "async":
        asyncio.run(main())
        return
    with Client("sandbox", base_url, sleep=lambda _seconds: None) as client:
        client.submit(FACE_SWAP)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("case", CASES)
def test_call_makes_at_most_one_task(case: str, shell: str) -> None:
    fault, ending, arrivals, made = CASES[case]
    settings = Settings(speed="real", faults=(fault,))
    with running(settings) as url, httpx.Client(base_url=url, headers={"x-api-key": "sandbox"}) as seen:
        if ending is None:
            submit(shell, url)
        else:
            with pytest.raises(ending):
                submit(shell, url)
        arrived = [arrival["operation"] for arrival in seen.get("/_sandbox/arrivals").json()["arrivals"]]
        tasks = seen.get("/api/open/tasks/histories").json()["data"]["total"]

    assert (arrived, tasks) == (["create_task"] * arrivals, made)


UNCERTAIN = [case for case, (_, ending, _, _) in CASES.items() if ending is errors.SubmissionUncertain]
MARKED = {"webhook_url": "https://me.test/hook?user=7"}


@pytest.fixture
def quick_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "SETTLED", -2.0)  # the Date of an answer has whole seconds


def submit_and_find(
    shell: str, base_url: str, ahead: float = 0.0, times: int = 1, **options: str
) -> list[tuple[errors.SubmissionUncertain, Recovery]]:
    def clock() -> Timestamp:
        return Timestamp(time.monotonic(), time.time() + ahead)

    async def main() -> list[tuple[errors.SubmissionUncertain, Recovery]]:
        async with AsyncClient("sandbox", base_url, clock=clock) as client:
            for _ in range(times):
                with pytest.raises(errors.SubmissionUncertain) as caught:
                    await client.submit(FACE_SWAP, **options)
                lost.append(caught.value)
            return [(error, await error.find(client, timeout=0)) for error in lost]

    lost: list[errors.SubmissionUncertain] = []
    if shell == "async":
        return asyncio.run(main())
    with Client("sandbox", base_url, clock=clock) as client:
        for _ in range(times):
            with pytest.raises(errors.SubmissionUncertain) as caught:
                client.submit(FACE_SWAP, **options)
            lost.append(caught.value)
        return [(error, error.find(client, timeout=0)) for error in lost]


@pytest.mark.usefixtures("quick_history")
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("case", UNCERTAIN)
def test_uncertain_create_with_a_webhook_is_found_or_absent(case: str, shell: str) -> None:
    fault, _, _, made = CASES[case]
    with running(Settings(speed="real", faults=(fault,))) as url:
        ((_, found),) = submit_and_find(shell, url, **MARKED)
        with httpx.Client(base_url=url, headers={"x-api-key": "sandbox"}) as seen:
            rows = seen.get("/api/open/tasks/histories").json()["data"]["data"]

    assert found.outcome is (Outcome.FOUND if made else Outcome.ABSENT)
    assert ([found.task.id] if found.task else []) == [row["task_id"] for row in rows]


@pytest.mark.usefixtures("quick_history")
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("case", UNCERTAIN)
def test_uncertain_create_without_a_webhook_is_unclear_or_absent(case: str, shell: str) -> None:
    fault, _, _, made = CASES[case]
    with running(Settings(speed="real", faults=(fault,))) as url:
        ((_, found),) = submit_and_find(shell, url)

    is_named = case == "the answer is cut"
    assert found.outcome is (Outcome.FOUND if is_named else Outcome.UNCLEAR if made else Outcome.ABSENT)
    assert len(found.candidates) == (0 if is_named else made)


@pytest.mark.usefixtures("quick_history")
@pytest.mark.parametrize("ahead", [-400.0, 3600.0, -86_400.0, 86_400.0])
@pytest.mark.parametrize("options", [MARKED, {}], ids=["marked", "unmarked"])
def test_wall_clock_of_the_client_plays_no_part(options: dict[str, str], ahead: float) -> None:
    fault, *_ = CASES["the answer is lost"]
    with running(Settings(speed="real", faults=(fault,))) as url:
        ((_, found),) = submit_and_find("sync", url, ahead, **options)

    assert found.outcome is (Outcome.FOUND if options else Outcome.UNCLEAR)
    assert len(found.candidates) == (0 if options else 1)


@pytest.mark.usefixtures("quick_history")
@pytest.mark.parametrize("options", [MARKED, {}], ids=["marked", "unmarked"])
def test_two_uncertain_creates_with_one_input_are_told_apart_or_unclear(options: dict[str, str]) -> None:
    faults = (CASES["the answer is lost"][0], CASES["a gateway refuses"][0])
    with running(Settings(speed="real", faults=faults)) as url:
        found = [recovery.outcome for _, recovery in submit_and_find("sync", url, times=2, **options)]

    assert found == ([Outcome.FOUND, Outcome.ABSENT] if options else [Outcome.UNCLEAR] * 2)


@pytest.mark.usefixtures("quick_history")
def test_task_of_another_program_with_the_same_input_is_not_found() -> None:
    fault, *_ = CASES["a gateway refuses"]
    with running(Settings(speed="real", faults=(fault,))) as url, Client("sandbox", url) as client:
        with pytest.raises(errors.SubmissionUncertain) as caught:
            client.submit(FACE_SWAP)
        with Client("sandbox", url) as other:
            task = other.submit(FACE_SWAP)
        found = caught.value.find(client, timeout=0)

    assert found.outcome is Outcome.UNCLEAR
    assert [candidate.id for candidate in found.candidates] == [task.id]


@pytest.mark.parametrize("shell", SHELLS)
def test_create_that_never_leaves_makes_no_task(shell: str) -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(errors.Unreachable) as caught:
            submit(shell, f"http://127.0.0.1:{taken.getsockname()[1]}")

    assert caught.value.attempts == 4
    assert caught.value.retry_advice is errors.Advice.AGAIN


@pytest.mark.parametrize("shell", SHELLS)
def test_create_whose_connection_breaks_is_not_sent_again(shell: str) -> None:
    hung_up: list[bool] = []

    def hang_up() -> None:
        while not hung_up or not hung_up[-1]:
            with listening.accept()[0]:
                hung_up.append(ended.is_set())

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=hang_up, daemon=True)  # it waits for ever when the test fails
        thread.start()
        address = listening.getsockname()
        with pytest.raises(errors.SubmissionUncertain):
            submit(shell, f"http://127.0.0.1:{address[1]}")
        ended.set()
        socket.create_connection(address).close()
        thread.join()

    assert hung_up == [False, True]


@pytest.mark.parametrize("shell", SHELLS)
def test_openai_library_speaks_with_the_provider(shell: str) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]

    async def main(url: str) -> tuple[str, str, list[Any]]:
        async with AsyncClient("sandbox", url) as client, client.openai() as library:
            chat = library.chat.completions
            plain = await chat.create(model="gpt-4o-mini", messages=messages)
            events = [event async for event in await chat.create(model="gpt-4o-mini", messages=messages, stream=True)]
        return str(plain.choices[0].message.content), _text(events), [event.usage for event in events]

    with running(Settings()) as url:
        if shell == "async":
            plain, streamed, usages = asyncio.run(main(url))
        else:
            with Client("sandbox", url) as client, client.openai() as library:
                chat = library.chat.completions
                plain = str(chat.create(model="gpt-4o-mini", messages=messages).choices[0].message.content)
                events = list(chat.create(model="gpt-4o-mini", messages=messages, stream=True))
                streamed, usages = _text(events), [event.usage for event in events]

    assert plain == streamed
    assert "SIMULATED" in plain
    assert set(usages) == {None}


def _text(events: list[Any]) -> str:
    return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


@pytest.mark.parametrize("shell", SHELLS)
def test_task_whose_looks_are_lost_is_made_once(shell: str) -> None:
    faults = (
        Fault("get_task", "lose"),
        Fault("get_task", "cut"),
        Fault("get_task", "refuse", 520, b"<html></html>", HTML),
        Fault("get_task", "refuse", 429, REFUSAL),
    )
    with running(Settings(faults=faults)) as url:
        swap = tasks.Raw("Qubico/flux1-schnell", "txt2img", {"prompt": "a fox"})
        task = run(shell, url, swap)
        with httpx.Client(base_url=url, headers={"x-api-key": "sandbox"}) as seen:
            arrived = [arrival["operation"] for arrival in seen.get("/_sandbox/arrivals").json()["arrivals"]]

    assert task.state is State.COMPLETED
    assert arrived.count("create_task") == 1
    assert arrived.count("get_task") >= 5


def run(shell: str, base_url: str, swap: tasks.Raw) -> Task[Output]:
    async def asleep(_seconds: float) -> None: ...

    async def main() -> Task[Output]:
        async with AsyncClient("sandbox", base_url, sleep=asleep) as client:
            return await client.run(swap)

    if shell == "async":
        return asyncio.run(main())
    with Client("sandbox", base_url, sleep=lambda _seconds: None) as client:
        return client.run(swap)
