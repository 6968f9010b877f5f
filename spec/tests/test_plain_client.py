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

KEY = "a-key-that-must-stay-hidden"
PENDING = b'{"code": 200, "data": {"task_id": "t", "status": "pending"}}'


def client_of(status: int, content: bytes) -> unitask_api.AuthenticatedClient:
    """A client that gets one answer to everything."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
    return unitask_api.AuthenticatedClient(
        base_url="https://provider.test",
        token=KEY,
        prefix="",
        auth_header_name="x-api-key",
        httpx_args={"transport": transport},
    )


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
    url, proxy = "https://provider.test", {"proxy": f"http://me:{KEY}@127.0.0.1:9"}
    for client in (
        unitask_api.AuthenticatedClient(base_url=url, token=KEY, httpx_args=proxy),
        unitask_api.Client(base_url=url, httpx_args=proxy),
    ):
        client.get_httpx_client()

        assert KEY not in repr(client)


@pytest.mark.parametrize("name", ["api_key", "secret", "file_data"])
def test_repr_and_error_show_no_secret(name: str) -> None:
    body = {"data": {"wallet": [{name: KEY}], "api_key": [KEY], "notification_hook_url": {name: KEY}}, name: KEY}
    envelope = models.AccountEnvelope(body)
    shown = [repr(envelope), repr(envelope.data), repr(Response(200, b"", {}, envelope))]
    for field in ("wallet", "notification_hook_url", "api_key"):
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


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (models.Task, "model", 1),
        (models.Task, "status", True),
        (models.Task, "status", None),
        (models.Task, "task_id", ""),
        (models.Task, "meta", []),
        (models.Task, "logs", {}),
        (models.Task, "output", "x"),
        (models.Account, "is_enable", 1),
        (models.Account, "max_concurrent_task_count", 1.5),
        (models.Account, "max_concurrent_task_count", True),
        (models.Account, "equivalent_in_usd", "1"),
        (models.Account, "equivalent_in_usd", 10**400),
        (models.CreditPackInfo, "credit_packs", [{}, 1]),
        (models.CreditPackInfo, "credit_packs", {}),
        (models.ActiveTasksEnvelope, "data", {"flux": 1}),
        (models.GeminiImageOutput, "image_urls", ["a", 1]),
        (models.ChatCompletion, "choices", ["a"]),
    ],
)
def test_field_of_another_type_raises_with_field_and_value(kind: type[Reader], field: str, value: object) -> None:
    reader = kind({"task_id": "t", "status": "pending", field: value})
    with pytest.raises(errors.MalformedField) as caught:
        getattr(reader, field)

    assert caught.value.field == f"{kind.__name__}.{field}"
    assert caught.value.expected
    assert field in str(caught.value)
    assert reader.raw[field] is value


def test_error_of_a_nested_field_names_the_task() -> None:
    task = models.Task({"task_id": "t-1", "status": "failed", "error": {"code": "x"}})
    with pytest.raises(errors.MalformedField) as caught:
        _ = task.error.code if task.error else None

    assert caught.value.task_id == "t-1"
    assert pickle.loads(pickle.dumps(caught.value)).task_id == "t-1"


def test_caller_can_choose_the_error_of_a_field() -> None:
    def made(owner: str, name: str, value: object, expected: str, task_id: str | None) -> Exception:
        return LookupError(owner, name, value, expected, task_id)

    envelope = models.HistoryEnvelope({"data": {"data": [{"detail": {"model": 1}}]}}, "t", error=made)
    (row,) = envelope.data.data
    assert row.detail
    with pytest.raises(LookupError) as caught:
        _ = row.detail.model

    assert caught.value.args == ("HistoryDetail", "model", 1, "text", "t")


@pytest.mark.parametrize(
    ("sent", "read"), [("Pending", "pending"), ("STAGED", "staged"), ("retrying", "retrying"), ("", "")]
)
def test_status_is_folded_and_unknown_words_pass(sent: str, read: str) -> None:
    assert models.Task({"task_id": "t", "status": sent}).status == read


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("2025-08-25T10:00:00.123456789Z", datetime(2025, 8, 25, 10, 0, 0, 123456, UTC)),
        ("2025-08-25T10:00:00", datetime(2025, 8, 25, 10, tzinfo=UTC)),
        ("2025-08-25T12:00:00+02:00", datetime(2025, 8, 25, 10, tzinfo=UTC)),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("1999-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("soon", None),
        (7, None),
    ],
)
def test_time_is_aware_and_zero_values_are_none(sent: object, read: datetime | None) -> None:
    assert models.TaskMeta({"created_at": sent}).created_at == read


def test_whole_numbers_are_exact() -> None:
    assert models.TaskUsage({"consume": 2**63 + 1}).consume == 2**63 + 1
    assert models.TaskUsage({"consume": 2.0}).consume == 2


def test_output_has_the_class_of_its_task_type() -> None:
    task = {"task_id": "t", "status": "completed", "model": "Qubico/image-toolkit", "task_type": "face-swap"}
    output = models.Task({**task, "output": {"image_url": "https://x.test/a.png"}}).output

    assert isinstance(output, models.FaceSwapOutput)
    assert output.image_url == "https://x.test/a.png"
    assert type(models.Task({**task, "task_type": "new", "output": {}}).output) is Output
    assert output_type(["x"], {}) is output_named("NoSuchOutput") is Output


def test_readers_are_equal_by_class_and_body() -> None:
    assert models.Wallet({"a": 1}) == models.Wallet({"a": 1})
    assert models.Wallet({"a": 1}) != models.Wallet({"a": 2})
    assert models.Wallet({}) != models.CreditPack({})
    assert pickle.loads(pickle.dumps(models.Wallet({"a": 1}))) == models.Wallet({"a": 1})


def test_deeply_nested_body_has_a_repr() -> None:
    body: dict[str, object] = {}
    for _ in range(5000):
        body = {"secret": "", "deeper": [body]}

    assert "..." in repr(models.Wallet(body))


# --- responses


def test_success_is_returned_by_every_form() -> None:
    body = {"model": "m", "task_type": "t", "input": {}}
    with client_of(200, PENDING) as client:
        found = [create_task.sync(client=client, body=body), get_task.sync("t", client=client)]  # type: ignore[arg-type]  # a plain dict is a TaskRequest
        detailed = get_task.sync_detailed("t", client=client)

    async def asked() -> list[models.TaskEnvelope]:
        async with client_of(200, PENDING) as client:
            again = await get_task.asyncio_detailed("t", client=client)
            return [await get_task.asyncio("t", client=client), again.result()]

    found += [detailed.result(), *asyncio.run(asked())]
    assert [envelope.data.task_id for envelope in found] == ["t"] * 5
    assert (detailed.status_code, detailed.content, detailed.error) == (200, PENDING, None)


@pytest.mark.parametrize("status", [200, 302, 401, 499, 520, 599])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'{"data": 7}',
        b'{"data": {}}',
        b'{"data": null}',
        b'{"data": {"task_id": "t", "status": "pending", "x": NaN}}',
        b'{"data": {"task_id": "t", "status": "pending", "x": ' + b"[" * 200 + b"]" * 200 + b"}}",
        b'{"data": {"task_id": "t", "status": "pending", "x": ' + b"[" * 99_000 + b"]" * 99_000 + b"}}",
        b'{"code": 200, "data": ' + PENDING + b"}",
        b'{"data": {"task_id": "t", "sta',
    ],
)
def test_any_other_response_is_one_typed_error(status: int, content: bytes) -> None:
    answer = get(status, content)

    assert (answer.status_code, answer.content, answer.parsed) == (status, content, None)
    assert isinstance(answer.error, errors.MalformedResponse if status == 200 else errors.UnexpectedStatus)
    assert (answer.error.status_code, answer.error.content) == (status, content)
    assert answer.error.task_id == ("t" if b"task_id" in content else None)
    with pytest.raises(errors.ApiError), client_of(status, content) as client:
        get_task.sync("t", client=client)


@pytest.mark.parametrize(
    ("code", "refused"),
    [("401", True), ("300", True), ('"500"', True), ("299", False), ("0", False), ("[500]", False), ("1" * 400, False)],
)
def test_code_of_the_envelope_refuses_an_http_success(code: str, refused: bool) -> None:
    with client_of(200, b'{"code": ' + code.encode() + b', "data": {"name": "x"}}') as client:
        error = get_account_info.sync_detailed(client=client).error

    assert isinstance(error, errors.UnexpectedStatus) is refused


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        ('{"task_id": "t", "status": "Failed"}', True),
        ('{"task_id": "", "status": "pending"}', True),
        ("null", True),
        ('{"task_id": "t", "status": "pending"}', False),
    ],
)
def test_refused_submission_is_an_error_and_an_accepted_task_is_returned(data: str, refused: bool) -> None:
    body = f'{{"code": 500, "message": "insufficient", "data": {data}}}'.encode()
    answer = get(200, body)

    assert isinstance(answer.error, errors.UnexpectedStatus) is refused
    if refused:
        assert answer.error
        assert answer.error.code == 500
        assert "insufficient" in str(answer.error)
        assert answer.error.task_id == ("t" if '"t"' in data else None)


def test_code_and_task_id_of_an_error_are_read_from_its_body() -> None:
    assert errors.ApiError("x", content=b'{"code": true}').code is None
    assert errors.ApiError("x", content=b'{"raw": "{\\"task_id\\": \\"t-1\\"}"').task_id == "t-1"
    assert errors.ApiError("x", content=b'{"task_id": "t\xff"').task_id is None


def test_message_of_a_refusal_has_status_code_and_message() -> None:
    answer = get(500, b'{"code": 10000, "message": "no credit\\ud800"}')

    assert str(answer.error) == r"HTTP 500, code 10000: 'no credit\ud800'"
    assert str(get(404, b"").error) == "HTTP 404"


def test_malformed_rows_of_a_required_list_are_reported_at_once() -> None:
    with client_of(200, b'{"data": {"data": [7]}}') as client:
        assert isinstance(list_task_history.sync_detailed(client=client).error, errors.MalformedField)
    assert parse(200, b'{"data": {"data": null}}', models.HistoryEnvelope).data.data == []
    with pytest.raises(errors.MalformedField, match=r"HistoryPage\.data is None, not present"):
        parse(200, b'{"data": {}}', models.HistoryEnvelope)


# --- requests


def test_call_has_a_time_limit_by_default() -> None:
    assert unitask_api.Client(base_url="https://provider.test").get_httpx_client().timeout == httpx.Timeout(60.0)


def test_request_builders_need_no_client() -> None:
    request: models.TaskRequest = {"model": "m", "task_type": "t", "input": {"a": 1}}

    assert create_task.build_request(body=request)["json"] == request
    assert get_task.build_request("a/b")["url"] == "/api/v1/task/a%2Fb"
    assert cancel_tasks.build_request(created_before=7)["params"] == {"created_before": 7}
    assert list_task_history.build_request()["params"] == {}


def test_multipart_request_splits_files_from_fields() -> None:
    request = edit_image.build_request(body={"model": "m", "prompt": "p", "image": ("a.png", b"x")})

    assert (request["data"], request["files"]) == ({"model": "m", "prompt": "p"}, {"image": ("a.png", b"x")})


def test_request_types_have_required_fields_and_literals() -> None:
    assert "Required[str]" in str(models.TaskRequest.__annotations__["model"])
    assert "Required" not in str(models.TaskRequest.__annotations__["config"])
    assert "Literal[" in str(models.WanxCameraMove.__annotations__["motion_type"])
