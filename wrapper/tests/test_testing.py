"""The provider in memory as the tests of a program use it, the pytest plugin, and the examples of docs/testing.md."""

import asyncio
import base64
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from unitask import AsyncClient, Client, State, errors, tasks, webhooks
from unitask._base_client import Defaults
from unitask.testing import InstantClock, UnitaskProvider, documented_example, task_bodies
from unitask_api import contract

from .pictures import encoded
from .shells import FACE_SWAP

pytest_plugins = "pytester"

DOCS = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
PICTURE = encoded(5, 7, "JPEG")
SOUND = tasks.TtsZeroShot(gen_text="hello", ref_audio="https://me.test/a.wav")


@pytest.fixture
def provider() -> Iterator[UnitaskProvider]:
    """Stand in for the fixture of the plugin, which the runs further down use."""
    with UnitaskProvider() as provider:
        yield provider


@pytest.fixture
def client(provider: UnitaskProvider) -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.mark.parametrize("name", contract.task_types())
def test_task_type_has_a_valid_output_whose_files_can_be_fetched(
    provider: UnitaskProvider, client: Client, tmp_path: Path, name: str
) -> None:
    kind, entry = getattr(tasks, name), contract.task_types()[name]
    fields = [part.name for part in dataclasses.fields(kind) if part.name != "extra"]
    given = kind(**dict.fromkeys(fields, "https://me.test/file.png"))
    task, other = (client.run(given, validate=False) for _ in range(2))
    urls, others = ({url for url in json.dumps(one.raw["output"]).split('"') if "://" in url} for one in (task, other))
    paths = client.download(task.output.files, f"{tmp_path}/out/") if urls else []

    shown = {"code": 200, "data": task.raw, "message": "success"}
    assert provider.tasks[0].kind is kind
    for schema, value in (("TaskEnvelope", shown), (entry.output, task.raw["output"])):
        rule = {"$ref": f"#/components/schemas/{schema}", "components": contract.document()["components"]}
        Draft202012Validator(rule).validate(value)
    assert len([path for path in paths if path.stat().st_size]) == len(urls)
    assert urls.isdisjoint(others)


def test_scripts_for_a_number_of_submissions_come_first_in_order(provider: UnitaskProvider, client: Client) -> None:
    provider.completes()
    provider.refuses(tasks.FaceSwap)
    provider.fails("one", times=1)
    provider.fails("two", tasks.FaceSwap, times=1)
    ends: list[object] = []
    for task in (SOUND, FACE_SWAP, SOUND, FACE_SWAP):
        try:
            ends.append(client.run(task).status)
        except errors.TaskFailed as failed:
            ends.append((failed.task.failure, failed.task.failure_code))
        except errors.InsufficientCredit as refused:
            ends.append(refused.status)

    assert ends == [("one", 10000), ("two", 10000), "completed", 402]
    assert [bool(task.id) for task in provider.tasks] == [True, True, True, False]


def test_lost_answer_can_be_found(provider: UnitaskProvider, client: Client) -> None:
    for accepted in (True, False):
        provider.loses_the_answer(accepted=accepted)
        with pytest.raises(errors.SubmissionUncertain) as lost:
            client.submit(FACE_SWAP, webhook_url="https://me.test/hook")
        found = client.find(lost.value)

        assert found.outcome == ("found" if accepted else "absent")
        assert (found.task.id if found.task else "") == provider.tasks[-1].id


def test_wait_for_a_notification_takes_no_time(provider: UnitaskProvider, shell: str) -> None:
    provider.completes(statuses=["pending", *["processing"] * 9, "completed"])
    receiver = webhooks.Receiver(None)

    async def main() -> Any:
        async with AsyncClient(webhooks=receiver) as client:
            return await client.run(FACE_SWAP)

    task = Client(webhooks=receiver).run(FACE_SWAP) if shell == "sync" else asyncio.run(main())
    assert (task.cost_usd, task.created_at < task.ended_at) == (pytest.approx(0.01), True)
    receiver._notifications.deliver("id")
    assert receiver.wait_for_notification("id", 3600) == "id"


def test_answers_are_given_once_each_to_any_request(provider: UnitaskProvider, client: Client) -> None:
    body = documented_example("faceswap.face-swap.completed.200")
    provider.answers(body, b"<html>", httpx.ReadTimeout("slow"))

    assert client.get(body["data"]["task_id"]).output.raw == body["data"]["output"]
    for _ in range(2):
        with pytest.raises(errors.SubmissionUncertain):
            client.run(FACE_SWAP)
    assert client.run(FACE_SWAP).state is State.COMPLETED
    assert len(provider.tasks) == 3
    assert body["data"]["output"]["image_url"] in provider.files
    assert "unitask_provider.answers" in client._connected().calls.get(f"{client.base_url}/api/v2/new").text


def test_task_is_recorded_as_it_was_sent(provider: UnitaskProvider, client: Client) -> None:
    swap = tasks.FaceSwap(target_image=PICTURE, swap_image=client.upload(PICTURE), extra={"strength": 1})
    options: Any = {"webhook_url": "https://me.test/hook?a=1", "webhook_secret": "s", "service_mode": "public"}
    client.run(swap, **options)
    (task,) = provider.tasks
    picture = base64.b64encode(PICTURE).decode()

    assert (task.model, task.task_type, task.options) == (*FACE_SWAP.operation(), options)
    assert provider.files[task.input["swap_image"]] == PICTURE
    assert (task.input["target_image"], task.input["strength"]) == (picture, 1)
    assert picture not in repr((provider.tasks, provider.requests))


def test_only_a_pending_task_can_be_cancelled(provider: UnitaskProvider, client: Client) -> None:
    pending, other = client.submit(FACE_SWAP), client.submit(FACE_SWAP)
    client.cancel(pending)
    client.cancel_many(created_before=provider.clock().unix + 60)
    done = client.run(FACE_SWAP)

    for task in (pending, other):
        with pytest.raises(errors.TaskFailed):
            client.wait(task)
    with pytest.raises(errors.InvalidRequest):
        client.cancel(done)
    for call in (client.cancel, client.get):
        with pytest.raises(errors.NotFound):
            call("no-such-id")
    assert client.account().raw
    assert [row.task_id for row in client.history(page_size=2)] == [done.id, other.id, pending.id]


def test_waits_side_by_side_do_not_use_up_the_time_of_each_other(provider: UnitaskProvider, client: Client) -> None:
    provider.completes(statuses=["pending", *["processing"] * 5, "completed"])

    async def main() -> list[Any]:
        async with AsyncClient() as client:
            return await asyncio.gather(*(client.run(FACE_SWAP, timeout=120) for _ in range(20)))

    done: list[Any] = asyncio.run(main())
    with ThreadPoolExecutor(20) as pool:
        done += pool.map(lambda _: client.run(FACE_SWAP, timeout=120), range(20))
    assert len({task.id for task in done}) == len(provider.tasks) == 40


def test_settings_are_restored_and_explicit_ones_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITASK_API_KEY", "mine")
    clock = InstantClock()
    with UnitaskProvider() as provider, Client("key", "https://elsewhere.test", clock=clock) as client:
        assert client.base_url == "https://elsewhere.test"
        assert client._clock is clock
        assert client.run(FACE_SWAP).id == provider.tasks[0].id

    assert Client.defaults == AsyncClient.defaults == Defaults()
    monkeypatch.setenv("UNITASK_BASE_URL", "https://mine.test")
    assert Client().base_url == "https://mine.test"


def test_wrong_script_is_refused_at_once(provider: UnitaskProvider) -> None:
    wrong: list[dict[str, Any]] = [{"kind": "FaceSwap"}, {"statuses": "completed"}, {"statuses": []}]
    for script in (*wrong, {"kind": tasks.FaceSwap, "image": "x"}):
        with pytest.raises(TypeError):
            provider.completes(**script)


def test_unknown_example_is_refused_with_close_names() -> None:
    with pytest.raises(LookupError, match=r"faceswap\.face-swap\.completed\.200"):
        documented_example("faceswap.face-swap.complete.200")
    with pytest.raises(ValueError, match="LegacyFaceSwap"):
        task_bodies(tasks.LegacyFaceSwap)


def pytest_of(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest as strictly as here; without the plugin that takes most of a second to load."""
    return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "-p", "no:schemathesis", *arguments)


def test_sandbox_fixture_without_the_extra_says_what_to_install(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys; sys.modules['uvicorn'] = None")
    pytester.makepyfile("def test_it(unitask_sandbox): pass")
    result = pytest_of(pytester)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pip install 'unitask[[]sandbox[]]'*uvicorn*"])


def test_every_example_of_the_page_runs(pytester: pytest.Pytester) -> None:
    blocks = DOCS.read_text(encoding="utf-8").split("```python\n")[1:]
    codes = dict(block.partition("```")[0].removeprefix("# ").split("\n", 1) for block in blocks)
    for name, code in codes.items():
        pytester.path.joinpath(name).write_text(code, encoding="utf-8")
    pytester.makeconftest("from hypothesis import settings as s; s.register_profile('few', max_examples=10)")
    names = [name for name in codes if name.startswith("test_")]
    result = pytest_of(pytester, "--hypothesis-profile=few", *names)

    assert len([name for name in codes if name.endswith(".py")]) == len(blocks)
    assert result.ret == 0
    assert result.parseoutcomes().keys() == {"passed"}
