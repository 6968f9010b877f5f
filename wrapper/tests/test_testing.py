"""The provider in memory and the bodies, as a test of somebody's program uses them; and the plugin in a pytest run."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import inspect
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from unitask import AsyncClient, Client, State, TaskInput, errors, tasks, webhooks
from unitask._model.state import state_of
from unitask.testing import InstantClock, UnitaskProvider, documented_example, task_bodies
from unitask_api import contract

from .pictures import encoded
from .shells import FACE_SWAP, all_of

pytest_plugins = "pytester"

DOCS = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
PICTURE = encoded(5, 7)
SOUND = tasks.TtsZeroShot(gen_text="hello", ref_audio="https://me.test/a.wav")


@pytest.fixture
def provider() -> Iterator[UnitaskProvider]:
    """The same as the fixture of the plugin, which the runs further down use."""
    with UnitaskProvider() as provider:
        yield provider


def talk(shell: str, call: Callable[[Any], Any]) -> Any:
    """Make a call with a client of either kind that nothing was said to."""
    if shell == "sync":
        with Client() as client:
            return call(client)

    async def main() -> Any:
        async with AsyncClient() as client:
            result = call(client)
            return await result if inspect.isawaitable(result) else result

    return asyncio.run(main())


def run(shell: str, task: TaskInput[Any] = FACE_SWAP, **options: Any) -> Any:
    return talk(shell, lambda client: client.run(task, **options))


def any_task(name: str) -> Any:
    """A task of this type that nobody would pay for."""
    kind = getattr(tasks, name)
    needed = [part.name for part in dataclasses.fields(kind) if part.name != "extra"]
    return kind(**dict.fromkeys(needed, "https://me.test/file.png"))


def test_task_is_completed_unless_told_otherwise(provider: UnitaskProvider, shell: str) -> None:
    """Accepted, then done, at the published price; the client found the provider by itself."""
    task = run(shell)

    assert task.output.image_url
    assert task.cost_usd == pytest.approx(0.01)
    assert task.created_at <= task.ended_at
    assert [request.method for request in provider.requests] == ["POST", "GET"]
    assert talk(shell, lambda client: client.submit(FACE_SWAP)).state is State.PENDING


@pytest.mark.parametrize("name", contract.task_types())
def test_every_task_type_is_answered_as_the_spec_says(provider: UnitaskProvider, name: str) -> None:
    """With an output of its own type that its class can read, and its kind is recognised on the wire."""
    with Client() as client:
        task = client.run(any_task(name), validate=False)

    entry = contract.task_types()[name]
    envelope, output = ({"$ref": f"#/components/schemas/{part}"} for part in ("TaskEnvelope", entry.output))
    shown = {"code": 200, "data": task.raw, "message": "success"}
    assert provider.tasks[0].kind is getattr(tasks, name)
    for schema, value in ((envelope, shown), (output, task.raw["output"])):
        Draft202012Validator({**schema, "components": contract.document()["components"]}).validate(value)


@pytest.mark.parametrize("name", contract.task_types())
def test_every_file_of_an_output_can_be_fetched(provider: UnitaskProvider, tmp_path: Path, name: str) -> None:
    """Documented addresses and made-up ones; two tasks never share one."""
    with Client() as client:
        one, other = (client.run(any_task(name), validate=False) for _ in range(2))
        paths = client.download(one.output.files, f"{tmp_path}/out/") if _urls(one) else []

    assert all(path.stat().st_size for path in paths)
    assert set(_urls(one)).isdisjoint(_urls(other))
    assert len(paths) == len(set(_urls(one)))


def _urls(task: Any) -> list[str]:
    return [url for url in json.dumps(task.raw["output"]).split('"') if url.startswith("http")]


def test_given_bytes_are_what_is_downloaded(provider: UnitaskProvider, shell: str, tmp_path: Path) -> None:
    """With the ending that their content has."""
    picture = encoded(5, 7, "JPEG")
    provider.completes(tasks.FaceSwap, image_url=picture)

    async def fetch(client: AsyncClient) -> list[Path]:
        return await client.download(await client.run(FACE_SWAP), tmp_path)

    (path,) = talk(
        shell, lambda client: client.download(client.run(FACE_SWAP), tmp_path) if shell == "sync" else fetch(client)
    )

    assert path.read_bytes() == picture
    assert path.suffix == ".jpg"


def test_given_address_is_what_the_output_has(provider: UnitaskProvider, tmp_path: Path) -> None:
    """And something lies there; taken away, it is gone."""
    url = "https://cdn.test/a.png"
    provider.completes(image_url=url)
    with Client() as client:
        task = client.run(FACE_SWAP)
        client.download(task, tmp_path / "a.png")
        del provider.files[url]
        with pytest.raises(errors.DownloadFailed, match="404"):
            client.download(task, tmp_path / "b.png")

    assert task.raw["output"] == {"image_url": url}


def test_failure_has_the_words(provider: UnitaskProvider, shell: str) -> None:
    """Of one task type; others are not concerned."""
    provider.fails("no face found in the image", tasks.FaceSwap)

    with pytest.raises(errors.NoFaceFound) as failed:
        run(shell)

    assert isinstance(failed.value, errors.TaskFailed)
    assert failed.value.task.failure_code == 10000
    assert run(shell, SOUND).state is State.COMPLETED


def test_refusal_is_of_its_kind(provider: UnitaskProvider, shell: str) -> None:
    """By its HTTP status, with words if some are given; a refused task has no id."""
    provider.refuses()
    with pytest.raises(errors.InsufficientCredit, match="payment required"):
        run(shell)

    provider.refuses(status=400, message="target_image is missing")
    with pytest.raises(errors.InvalidRequest, match="target_image is missing"):
        run(shell)

    assert [task.id for task in provider.tasks] == ["", ""]


def test_refusal_for_once_is_passed_by_a_client_that_tries_again(provider: UnitaskProvider, shell: str) -> None:
    """After as long as the provider asks for, which takes no time here."""
    provider.refuses(status=429, headers={"retry-after": "30"}, times=1)

    assert run(shell).state is State.COMPLETED
    assert provider.clock.sleeps[0] == 30
    assert [bool(task.id) for task in provider.tasks] == [False, True]


@pytest.mark.parametrize(
    ("accepted", "options", "outcome"),
    [
        (True, {"webhook_url": "https://me.test/hook"}, "found"),
        (True, {}, "unclear"),
        (False, {"webhook_url": "https://me.test/hook"}, "absent"),
        (False, {}, "absent"),
    ],
)
def test_lost_answer_can_be_found(
    provider: UnitaskProvider, shell: str, accepted: bool, options: dict[str, str], outcome: str
) -> None:
    """The history says whether the task was accepted; which task is the one, only its mark does."""
    provider.loses_the_answer(accepted=accepted)
    with pytest.raises(errors.SubmissionUncertain) as lost:
        talk(shell, lambda client: client.submit(FACE_SWAP, **options))

    found = talk(shell, lambda client: client.find(lost.value))

    assert found.outcome == outcome
    assert [task.id for task in (found.task, *found.candidates) if task] == [
        task.id for task in provider.tasks if accepted
    ]
    assert len(provider.tasks) == 1


def test_statuses_are_shown_in_order(provider: UnitaskProvider, shell: str) -> None:
    """To the create first; a word that nobody knows ends no wait, and trouble between looks neither."""
    words = ["staged", "Processing", "odd word", httpx.Response(502, text="<html>"), "completed"]
    provider.completes(statuses=words)

    task = talk(shell, lambda client: client.submit(FACE_SWAP))
    events = talk(shell, lambda client: all_of(client.events(task)))

    assert task.status == "staged"
    assert [event.status for event in events] == ["Processing", "odd word", "completed"]


def test_task_that_never_ends_takes_no_time(provider: UnitaskProvider, shell: str) -> None:
    """Hours of looking are over at once, and recorded."""
    provider.completes(statuses=["processing"])

    with pytest.raises(errors.WaitTimeout):
        run(shell, timeout=7200)

    assert sum(provider.clock.sleeps) == pytest.approx(7200)


def test_client_with_a_receiver_takes_no_time_either(provider: UnitaskProvider, shell: str) -> None:
    """News that nobody sends is not waited for; news that came before is heard."""
    provider.completes(statuses=["pending", *["processing"] * 9, "completed"])
    receiver = webhooks.Receiver(None)

    async def main() -> Any:
        async with AsyncClient(webhooks=receiver) as client:
            return await client.run(FACE_SWAP)

    if shell == "sync":
        with Client(webhooks=receiver) as client:
            assert client.run(FACE_SWAP).done
    else:
        assert asyncio.run(main()).done
    assert sum(provider.clock.sleeps) > 5
    receiver._news.tell("id")
    assert receiver.until_news("id", 3600) == "id"


def test_scripts_for_a_number_of_creates_come_first_in_their_order(provider: UnitaskProvider) -> None:
    """Then the one for the task type, then the one for all."""
    provider.completes()
    provider.refuses(tasks.FaceSwap, status=400)
    provider.fails("one", times=1)
    provider.fails("two", tasks.FaceSwap, times=1)
    ends: list[object] = []
    with Client() as client:
        for task in (SOUND, FACE_SWAP, FACE_SWAP, SOUND):
            try:
                ends.append(client.run(task).status)
            except errors.TaskFailed as failed:
                ends.append(failed.task.failure)
            except errors.ApiError as refused:
                ends.append(refused.status)

    assert ends == ["one", "two", 400, "completed"]


def test_answers_are_given_as_they_are(provider: UnitaskProvider, shell: str) -> None:
    """To whatever is asked for, once each."""
    body = documented_example("faceswap.face-swap.completed.200")
    no_credit = httpx.Response(500, json=documented_example("core.no-credit.create.500"))
    provider.answers(body, no_credit, b"<html>", httpx.ReadTimeout("slow"))

    assert talk(shell, lambda client: client.get(body["data"]["task_id"])).output.raw == body["data"]["output"]
    with pytest.raises(errors.InsufficientCredit):
        run(shell)
    for _ in range(2):
        with pytest.raises(errors.SubmissionUncertain):
            run(shell)
    assert run(shell).state is State.COMPLETED
    assert len(provider.tasks) == 4
    assert body["data"]["output"]["image_url"] in provider.files


def test_provider_that_is_down_is_unreachable(provider: UnitaskProvider, shell: str) -> None:
    """No create arrives, and it may come up again."""
    provider.down = True
    with pytest.raises(errors.Unreachable):
        run(shell)
    provider.down = False

    assert run(shell)
    assert len(provider.tasks) == 1


def test_task_is_recorded_as_it_was_sent(provider: UnitaskProvider, shell: str) -> None:
    """Options in the client's words, without the mark that it adds."""
    swap = tasks.FaceSwap(target_image=PICTURE, swap_image="https://me.test/b.png", extra={"strength": 1})
    hook = "https://me.test/hook?a=1"
    run(shell, swap, webhook_url=hook, webhook_secret="s", service_mode="public")
    (task,) = provider.tasks

    assert (task.model, task.task_type) == (FACE_SWAP.MODEL, FACE_SWAP.TASK_TYPE)
    assert base64.b64decode(task.input["target_image"]) == PICTURE
    assert {**task.input, "target_image": ""} == {**swap.values(), "target_image": ""}
    assert task.options == {"webhook_url": hook, "webhook_secret": "s", "service_mode": "public"}
    assert provider.requests[0].body["model"] == FACE_SWAP.MODEL
    assert base64.b64encode(PICTURE).decode() not in repr((provider.tasks, provider.requests))


def test_task_type_nobody_knows_is_raw(provider: UnitaskProvider, shell: str) -> None:
    """It can be scripted as such."""
    provider.completes(tasks.Raw, words=["a"])

    assert run(shell, tasks.Raw("new", "thing", {"x": 1})).output.raw == {"words": ["a"]}
    assert provider.tasks[0].kind is tasks.Raw


def test_upload_is_kept(provider: UnitaskProvider, shell: str) -> None:
    """Under the address that the input then has."""
    upload = talk(shell, lambda client: client.upload(PICTURE))
    run(shell, tasks.FaceSwap(target_image=upload, swap_image=upload))

    assert provider.files[provider.tasks[0].input["target_image"]] == PICTURE


def test_pending_task_can_be_cancelled(provider: UnitaskProvider, shell: str) -> None:
    """A task that is done cannot; one that is not there is not found."""
    pending, other = (talk(shell, lambda client: client.submit(FACE_SWAP)) for _ in range(2))
    talk(shell, lambda client: client.cancel(pending))
    talk(shell, lambda client: client.cancel_many(created_before=provider.clock().unix + 60))
    done = run(shell)

    for task in (pending, other):
        with pytest.raises(errors.TaskFailed):
            talk(shell, lambda client, task=task: client.wait(task))
    with pytest.raises(errors.InvalidRequest, match="only a pending task"):
        talk(shell, lambda client: client.cancel(done))
    for call in (lambda client: client.cancel("no-such-id"), lambda client: client.get("no-such-id")):
        with pytest.raises(errors.NotFound):
            talk(shell, call)


def test_account_and_history_are_answered(provider: UnitaskProvider, shell: str) -> None:
    """The account as documented, the history with the tasks that arrived, the newest first."""
    ids = [run(shell).id for _ in range(3)]

    assert talk(shell, lambda client: client.account()).raw
    rows = talk(shell, lambda client: all_of(client.history(page_size=2)))
    assert [row.task_id for row in rows] == ids[::-1]
    assert {row.task_type for row in rows} == {"face-swap"}


def test_path_nobody_knows_is_told_of() -> None:
    """What to do is in the answer."""
    with UnitaskProvider(), Client() as client:
        answer = client._connected().calls.get("/api/v2/new")

    assert answer.status_code == 404
    assert "unitask_provider.answers" in answer.text


def test_waits_side_by_side_do_not_use_up_each_others_time(provider: UnitaskProvider) -> None:
    """Neither in asyncio nor in threads: all are done within a timeout that their sum would be far beyond."""
    provider.completes(statuses=["pending", *["processing"] * 5, "completed"])

    async def main() -> list[Any]:
        async with AsyncClient() as client:
            return await asyncio.gather(*(client.run(FACE_SWAP, timeout=120) for _ in range(50)))

    assert len(asyncio.run(main())) == 50
    done: list[Any] = []
    with Client() as client:
        threads = [threading.Thread(target=lambda: done.append(client.run(FACE_SWAP, timeout=120))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(done) == 20
    assert len({task.id for task in provider.tasks}) == 70


def test_never_ending_wait_lets_others_have_a_turn(provider: UnitaskProvider) -> None:
    """So that it can be cancelled."""
    provider.completes(statuses=["processing"])

    async def main() -> None:
        async with AsyncClient() as client:
            waiting = asyncio.create_task(client.run(FACE_SWAP, timeout=86_400))
            for _ in range(10):
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(main())


def test_everything_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, transport, clock and sleep; what a program says itself is never replaced."""
    monkeypatch.setenv("UNITASK_API_KEY", "mine")
    before = [dict(client.__init__.__kwdefaults__) for client in (Client, AsyncClient)]  # type: ignore[misc]
    clock = InstantClock()
    with UnitaskProvider() as provider, Client("key", "https://elsewhere.test", clock=clock) as client:
        assert client.base_url == "https://elsewhere.test"
        assert client._clock is clock
        assert client.run(FACE_SWAP).id == provider.tasks[0].id

    assert [dict(client.__init__.__kwdefaults__) for client in (Client, AsyncClient)] == before  # type: ignore[misc]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNITASK_BASE_URL", "https://mine.test")
        assert Client().base_url == "https://mine.test"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (lambda provider: provider.completes(tasks.FaceSwap, image="x"), "FaceSwap has no image; it has image_url"),
        (lambda provider: provider.completes("FaceSwap"), "'FaceSwap' is no class of unitask.tasks"),
        (lambda provider: provider.fails("no", FACE_SWAP), "is no class of unitask.tasks"),
        (lambda provider: provider.completes(statuses="completed"), "give a list of words"),
        (lambda provider: provider.fails("no", statuses=[]), r"statuses is \[\]"),
    ],
)
def test_wrong_script_is_told_at_once(provider: UnitaskProvider, script: Any, said: str) -> None:
    """Not by a test that mysteriously goes well."""
    with pytest.raises(TypeError, match=said):
        script(provider)


def test_no_output_has_a_field_called_like_an_argument() -> None:
    """Else `completes` could not set it."""
    arguments = set(inspect.signature(UnitaskProvider.completes).parameters) - {"output"}
    schemas = contract.components()

    for entry in contract.task_types().values():
        assert not arguments & set(schemas[entry.output]["properties"])


def test_documented_example_is_a_copy() -> None:
    """A test may change it."""
    documented_example("faceswap.face-swap.request")["input"].clear()

    assert documented_example("faceswap.face-swap.request")["input"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("faceswap.face-swap.complete.200", "faceswap.face-swap.completed.200"),
        ("hug", "hug.image_to_video.request"),
        ("nothing like it", "names begin with a family"),
    ],
)
def test_unknown_example_is_told_with_close_names(name: str, hint: str) -> None:
    """Or with those of its family."""
    with pytest.raises(LookupError, match=hint):
        documented_example(name)


@settings(max_examples=60, deadline=None)
@given(body=task_bodies(tasks.FaceSwap))
def test_drawn_body_is_a_task_of_its_type(body: dict[str, Any]) -> None:
    """The client reads each, whatever its status is."""
    with UnitaskProvider() as provider, Client() as client:
        provider.answers(body)
        task = client.get(body["data"]["task_id"])

    assert (task.model, task.task_type) == FACE_SWAP.operation()
    assert task.state is not State.COMPLETED or task.raw["output"] is not None
    assert isinstance(getattr(task.output, "image_url"), str | None)  # noqa: B009  a reader of its own type


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_bodies_of_any_type_can_be_drawn(data: st.DataObject) -> None:
    """When none is named."""
    assert data.draw(task_bodies())["data"]["model"]


@pytest.mark.parametrize("state", State)
def test_bodies_have_every_kind_of_status(state: State) -> None:
    """Known words and unknown ones."""
    soon = settings(max_examples=2000, deadline=None, database=None, derandomize=True, phases=[Phase.generate])

    assert find(task_bodies(tasks.FaceSwap), lambda body: state_of(body["data"]["status"]) is state, settings=soon)


def test_legacy_bodies_are_not_drawn() -> None:
    """Their answers have another form."""
    with pytest.raises(ValueError, match="LegacyFaceSwap is a legacy task type"):
        task_bodies(tasks.LegacyFaceSwap)


def test_bodies_without_the_extra_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback out of the inside."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'unitask\[testing\]'"):
        task_bodies()


# The plugin in a run of pytest.

APP = """
from unitask import AsyncClient, Client, tasks

def swap(target, source, out):
    with Client() as client:
        task = client.run(tasks.FaceSwap(target_image=target, swap_image=source))
        return client.download(task, out)

async def swap_async(target, source):
    async with AsyncClient() as client:
        return await client.run(tasks.FaceSwap(target_image=target, swap_image=source))
"""
TEST = """
import asyncio
import app
from unitask import tasks

URLS = "https://me.test/a.png", "https://me.test/b.png"

def test_swap(unitask_provider, tmp_path):
    (path,) = app.swap(*URLS, tmp_path / "out.png")
    assert path.exists()
    assert unitask_provider.tasks[0].input["swap_image"] == URLS[1]

def test_async(unitask_provider):
    unitask_provider.completes(tasks.FaceSwap, image_url="https://cdn.test/x.png")
    task = asyncio.run(app.swap_async(*URLS))
    assert task.output.image_url == "https://cdn.test/x.png"
"""


def pytest_of(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """A run of its own, as strict as ours; without the plugin that takes most of a second to load."""
    return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "-p", "no:schemathesis", *arguments)


def test_users_tests_pass(pytester: pytest.Pytester) -> None:
    """Installing unitask is enough: no conftest, no import of the plugin; and every warning is an error."""
    pytester.makepyfile(app=APP, test_app=TEST)

    pytest_of(pytester).assert_outcomes(passed=2)


def test_users_test_fails_as_it_should(pytester: pytest.Pytester) -> None:
    """With the error of the program, and records that can be read."""
    pytester.makepyfile(
        app=APP,
        test_app="""
        import app

        def test_swap(unitask_provider, tmp_path):
            unitask_provider.fails("no face found in the image")
            app.swap("https://me.test/a.png", "https://me.test/b.png", tmp_path / "out.png")

        def test_nothing_is_sent(unitask_provider, tmp_path):
            app.swap("https://me.test/a.png", "https://me.test/b.png", tmp_path / "out.png")
            assert unitask_provider.tasks == []
        """,
    )

    result = pytest_of(pytester)

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E *unitask.errors.*no face found in the image*", "E *ReceivedTask(id='0000*"])


def test_sandbox_fixture_is_a_real_provider(pytester: pytest.Pytester) -> None:
    """Over a socket, for both clients, empty for each test."""
    pytester.makepyfile(
        """
        import asyncio
        from unitask import AsyncClient, Client, tasks

        def test_sync(unitask_sandbox, tmp_path):
            with Client() as client:
                assert client.base_url == unitask_sandbox
                task = client.run(tasks.QwenTxt2Img(prompt="a cat"))
                assert client.download(task, tmp_path)[0].stat().st_size > 1000

        def test_async(unitask_sandbox):
            async def main():
                async with AsyncClient() as client:
                    assert client._sleep is not asyncio.sleep  # it would be seconds until the first look
                    return await client.run(tasks.QwenTxt2Img(prompt="a cat"))
            assert asyncio.run(main()).output.image_url.startswith(unitask_sandbox)
        """
    )

    pytest_of(pytester).assert_outcomes(passed=2)


def test_sandbox_fixture_without_the_extra_says_what_to_install(pytester: pytest.Pytester) -> None:
    """It is an error, not a skip: a skip would hide in a long run that nothing was tested."""
    pytester.makeconftest("import sys; sys.modules['uvicorn'] = None")
    pytester.makepyfile("def test_it(unitask_sandbox): pass")

    result = pytest_of(pytester)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pip install 'unitask[[]sandbox[]]'*uvicorn*"])


def test_plugin_is_light() -> None:
    """It is loaded in each run of pytest, whether a test uses it or not."""
    program = (
        "import sys, pytest; before = set(sys.modules); import unitask.testing.plugin; "
        "print(sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert done.stdout.strip() == "['unitask', 'unitask._version', 'unitask.testing', 'unitask.testing.plugin']"


def test_every_example_of_the_page_runs(pytester: pytest.Pytester) -> None:
    """docs/testing.md as files: a block that names one is that file, and every test in them passes."""
    blocks = DOCS.read_text(encoding="utf-8").split("```python\n")[1:]
    names = []
    for block in blocks:
        code = block.partition("```")[0]
        first = code.partition("\n")[0]
        assert first.startswith("# ")
        assert first.endswith(".py"), first
        names.append(first.removeprefix("# "))
        pytester.path.joinpath(names[-1]).write_text(code, encoding="utf-8")

    assert len(names) == len(set(names))
    result = pytest_of(pytester, *(name for name in names if name.startswith("test_")))
    assert result.ret == 0
    assert result.parseoutcomes().keys() == {"passed"}
