"""The generated client without the wrapper."""

import asyncio
import pickle
from datetime import UTC, datetime

import httpx
import pytest
import unitask_api
from unitask_api import errors, models
from unitask_api.api.account import get_account_info, list_task_history
from unitask_api.api.llm import edit_image
from unitask_api.api.task import cancel_tasks, create_task, get_task
from unitask_api.outputs import output_named, output_type
from unitask_api.reader import Output, Reader
from unitask_api.types import Response, parse

KEY, URL = "a-key-that-must-stay-hidden", "https://provider.test"
PENDING = b'{"code": 200, "data": {"task_id": "t", "status": "pending"}}'


def client_of(status: int, content: bytes) -> unitask_api.AuthenticatedClient:
    """A client that gets one answer to everything."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
    return unitask_api.AuthenticatedClient(URL, KEY, httpx_args={"transport": transport})


def get(status: int, content: bytes) -> Response[models.TaskEnvelope]:
    with client_of(status, content) as client:
        return get_task.sync_detailed("t", client=client)


def test_every_model_can_be_imported() -> None:
    assert all(isinstance(getattr(models, name), type) for name in models.__all__)
    with pytest.raises(AttributeError):
        _ = models.NoSuchModel
    with pytest.raises(AttributeError):
        _ = unitask_api.NoSuchName


# --- secrets


def test_repr_of_a_client_shows_no_key() -> None:
    proxy = {"proxy": f"http://me:{KEY}@127.0.0.1:9"}
    for client in (
        unitask_api.AuthenticatedClient(URL, KEY, httpx_args=proxy),
        unitask_api.Client(base_url=URL, httpx_args=proxy),
    ):
        client.get_httpx_client()

        assert KEY not in repr(client)


@pytest.mark.parametrize("name", ["api_key", "secret", "file_data"])
def test_repr_and_error_show_no_secret(name: str) -> None:
    body = {"data": {"wallet": [{name: KEY}], "api_key": [KEY]}, name: KEY}
    envelope = models.AccountEnvelope(body)
    shown = [repr(envelope), repr(envelope.data), repr(Response(200, b"", {}, envelope))]
    for field in ("wallet", "api_key"):
        with pytest.raises(errors.MalformedField) as caught:
            getattr(envelope.data, field)
        shown.append(str(caught.value))

    assert KEY not in "".join(shown)
    assert envelope.raw is body


# --- readers


def test_field_is_none_while_absent_or_null_and_raw_keeps_everything() -> None:
    task = models.Task({"task_id": "t", "status": "pending", "meta": None, "later": 1})

    assert (task.model, task.meta, task.output, task.logs) == (None, None, None, [])
    assert task.raw["later"] == 1


WRONG: list[tuple[type[Reader], str, object]] = [
    *((models.Task, name, value) for name, value in {"model": 1, "meta": [], "logs": {}, "output": "x"}.items()),
    *((models.Task, name, value) for name, value in (("status", True), ("status", None), ("task_id", ""))),
    (models.Account, "is_enable", 1),
    *((models.Account, "max_concurrent_task_count", value) for value in (1.5, True)),
    *((models.Account, "equivalent_in_usd", value) for value in ("1", 10**400)),
    *((models.CreditPackInfo, "credit_packs", value) for value in ([{}, 1], {})),
    (models.ActiveTasksEnvelope, "data", {"flux": 1}),
    (models.GeminiImageOutput, "image_urls", ["a", 1]),
    (models.ChatCompletion, "choices", ["a"]),
]


@pytest.mark.parametrize(("kind", "field", "value"), WRONG, ids=range(len(WRONG)))
def test_field_of_another_type_raises_with_field_value_and_task(kind: type[Reader], field: str, value: object) -> None:
    reader = kind({"task_id": "t-1", "status": "pending", field: value})
    with pytest.raises(errors.MalformedField, match=field) as caught:
        getattr(reader, field)

    assert (caught.value.field, bool(caught.value.expected)) == (f"{kind.__name__}.{field}", True)
    assert pickle.loads(pickle.dumps(caught.value)).task_id == ("t-1" if field != "task_id" else "")
    assert reader.raw[field] is value


def test_caller_can_choose_the_error_of_a_nested_field() -> None:
    body = {"data": {"data": [{"detail": {"model": 1}}]}}
    (row,) = models.HistoryEnvelope(body, "t", error=lambda *facts: LookupError(*facts)).data.data
    assert row.detail
    with pytest.raises(LookupError) as caught:
        _ = row.detail.model

    assert caught.value.args == ("HistoryDetail", "model", 1, "text", "t")


READ: list[tuple[type[Reader], str, dict[object, object]]] = [  # a field; what is sent, and what is read
    (models.Task, "status", {"Pending": "pending", "STAGED": "staged", "retrying": "retrying", "": ""}),
    (models.TaskUsage, "consume", {2**63 + 1: 2**63 + 1, 2.0: 2}),
    (
        models.TaskMeta,
        "created_at",
        {
            "2025-08-25T10:00:00.123456789Z": datetime(2025, 8, 25, 10, 0, 0, 123456, UTC),
            "2025-08-25T10:00:00": datetime(2025, 8, 25, 10, tzinfo=UTC),
            "2025-08-25T12:00:00+02:00": datetime(2025, 8, 25, 10, tzinfo=UTC),
            "2000-01-01T00:00:00Z": datetime(2000, 1, 1, tzinfo=UTC),
            **dict.fromkeys(("1999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")),
            **dict.fromkeys(("soon", 7)),
        },
    ),
]


def test_word_is_folded_number_is_exact_and_time_is_in_utc_or_absent() -> None:
    for kind, field, values in READ:
        found = [getattr(kind({"task_id": "t", field: sent}), field) for sent in values]
        assert repr(found) == repr(list(values.values()))


def test_output_has_the_class_of_its_task_type() -> None:
    task = {"task_id": "t", "status": "completed", "model": "Qubico/image-toolkit", "task_type": "face-swap"}
    output = models.Task({**task, "output": {"image_url": "https://x.test/a.png"}}).output

    assert isinstance(output, models.FaceSwapOutput)
    assert output.image_url == "https://x.test/a.png"
    assert type(models.Task({**task, "task_type": "new", "output": {}}).output) is Output
    assert output_type(["x"], {}) is output_named("NoSuchOutput") is Output


def test_readers_are_equal_by_class_and_body() -> None:
    wallet = models.Wallet({"a": 1})

    assert wallet == models.Wallet({"a": 1}) == pickle.loads(pickle.dumps(wallet))
    assert wallet != models.Wallet({"a": 2})
    assert models.Wallet({}) != models.CreditPack({})


def test_deeply_nested_body_has_a_repr() -> None:
    body: dict[str, object] = {}
    for _ in range(5000):
        body = {"secret": "", "deeper": [body]}

    assert "..." in repr(models.Wallet(body))


# --- responses


def test_success_is_returned_by_every_form() -> None:
    body: models.TaskRequest = {"model": "m", "task_type": "t", "input": {}}
    with client_of(200, PENDING) as client:
        found = [create_task.sync(client=client, body=body), get_task.sync("t", client=client)]
        detailed = get_task.sync_detailed("t", client=client)

    async def asked() -> list[models.TaskEnvelope]:
        async with client_of(200, PENDING) as client:
            again = await get_task.asyncio_detailed("t", client=client)
            return [await get_task.asyncio("t", client=client), again.result()]

    found += [detailed.result(), *asyncio.run(asked())]
    assert [envelope.data.task_id for envelope in found] == ["t"] * 5
    assert (detailed.status_code, detailed.content, detailed.error) == (200, PENDING, None)


OTHER_CONTENTS = [
    *(b"", b"<html>", b"null", b"[]"),
    *(b'{"data": 7}', b'{"data": {}}', b'{"data": null}', b'{"code": 200, "data": ' + PENDING + b"}"),
    b'{"data": {"task_id": "t", "sta',
    b'{"data": {"task_id": "t", "status": "pending", "x": NaN}}',
    *(
        b'{"data": {"task_id": "t", "status": "pending", "x": ' + b"[" * depth + b"]" * depth + b"}}"
        for depth in (200, 99_000)
    ),
]


@pytest.mark.parametrize("status", [200, 302, 401, 599])
@pytest.mark.parametrize("content", OTHER_CONTENTS, ids=range(len(OTHER_CONTENTS)))
def test_any_other_response_is_one_typed_error(status: int, content: bytes) -> None:
    answer = get(status, content)

    assert (answer.status_code, answer.content, answer.parsed) == (status, content, None)
    assert isinstance(answer.error, errors.MalformedResponse if status == 200 else errors.UnexpectedStatus)
    assert (answer.error.status_code, answer.error.content) == (status, content)
    assert answer.error.task_id == ("t" if b"task_id" in content else None)
    with pytest.raises(errors.ApiError), client_of(status, content) as client:
        get_task.sync("t", client=client)


def test_code_of_the_envelope_refuses_an_http_success() -> None:
    refusals = {"401": True, "300": True, '"500"': True, "299": False, "0": False, "[500]": False, "1" * 400: False}
    for code, refused in refusals.items():
        with client_of(200, f'{{"code": {code}, "data": {{"name": "x"}}}}'.encode()) as client:
            error = get_account_info.sync_detailed(client=client).error
        assert isinstance(error, errors.UnexpectedStatus) is refused, code


REFUSED: dict[str, str | None] = {  # the data of an answer with code 500, and the task id of the error
    '{"task_id": "t", "status": "Failed"}': "t",
    '{"task_id": "", "status": "pending"}': None,
    "null": None,
}


def test_refused_submission_is_an_error_and_an_accepted_task_is_returned() -> None:
    for data, task_id in REFUSED.items():
        error = get(200, f'{{"code": 500, "message": "insufficient", "data": {data}}}'.encode()).error
        assert isinstance(error, errors.UnexpectedStatus)
        assert (error.code, error.task_id, "insufficient" in str(error)) == (500, task_id, True)

    assert get(200, PENDING.replace(b"200", b"500")).result().data.task_id == "t"


def test_code_and_task_id_of_an_error_are_read_from_its_body() -> None:
    assert errors.ApiError("x", content=b'{"code": true}').code is None
    assert errors.ApiError("x", content=b'{"raw": "{\\"task_id\\": \\"t-1\\"}"').task_id == "t-1"
    assert errors.ApiError("x", content=b'{"task_id": "t\xff"').task_id is None


def test_message_of_a_refusal_has_status_code_and_message() -> None:
    contents = {b'{"code": 10000, "message": "no credit\\ud800"}': r", code 10000: 'no credit\ud800'", b"": ""}

    assert [str(get(500, content).error) for content in contents] == [f"HTTP 500{text}" for text in contents.values()]


def test_malformed_rows_of_a_required_list_are_reported_at_once() -> None:
    with client_of(200, b'{"data": {"data": [7]}}') as client:
        assert isinstance(list_task_history.sync_detailed(client=client).error, errors.MalformedField)
    assert parse(200, b'{"data": {"data": null}}', models.HistoryEnvelope).data.data == []
    with pytest.raises(errors.MalformedField, match=r"HistoryPage\.data is None, not present"):
        parse(200, b'{"data": {}}', models.HistoryEnvelope)


# --- requests


def test_call_has_a_time_limit_by_default() -> None:
    assert unitask_api.Client(base_url=URL).get_httpx_client().timeout == httpx.Timeout(60.0)


def test_request_builders_need_no_client() -> None:
    request: models.TaskRequest = {"model": "m", "task_type": "t", "input": {"a": 1}}
    edit = edit_image.build_request(body={"model": "m", "prompt": "p", "image": ("a.png", b"x")})

    assert create_task.build_request(body=request)["json"] == request
    assert get_task.build_request("a/b")["url"] == "/api/v1/task/a%2Fb"
    assert cancel_tasks.build_request(created_before=7)["params"] == {"created_before": 7}
    assert list_task_history.build_request()["params"] == {}
    assert (edit["data"], edit["files"]) == ({"model": "m", "prompt": "p"}, {"image": ("a.png", b"x")})


def test_request_types_have_required_fields_and_literals() -> None:
    assert "Required[str]" in str(models.TaskRequest.__annotations__["model"])
    assert "Required" not in str(models.TaskRequest.__annotations__["config"])
    assert "Literal[" in str(models.WanxCameraMove.__annotations__["motion_type"])
