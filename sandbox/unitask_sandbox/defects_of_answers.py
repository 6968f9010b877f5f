"""What planted bugs (defects.py) do to answers and webhooks.

Rules of this file: a body is changed in place; a body that is not meant is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast


def _number_the_status(_operation: str | None, body: dict[str, Any]) -> None:
    if task := _task(body):
        task["status"] = 1


def _drop_the_id(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "create_task" and (task := _task(body)):
        del task["task_id"]


def _write_the_code(_operation: str | None, body: dict[str, Any]) -> None:
    if "code" in body:
        body["code"] = str(body["code"])


def _empty_the_output(_operation: str | None, body: dict[str, Any]) -> None:
    task = _task(body)
    if task and task.get("output"):
        task["output"] = {}


def _forget_the_spending(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "get_account_info" and (account := body.get("data")):
        account["equivalent_in_usd"] = account["credit_pack_info"]["total_credits"] / 1e7


def _drop_the_newest(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "list_task_history" and (page := body.get("data")) and page["page"] == 1:
        page["data"] = page["data"][1:]


def _lose_the_file(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "upload_file" and (file := body.get("data")):
        file["url"] += "x"


def _change_the_model(_operation: str | None, body: dict[str, Any]) -> None:
    if task := _task(body):
        task["model"] = "Qubico/image-toolkit" if task["model"] != "Qubico/image-toolkit" else "hailuo"


def _change_the_id(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "get_task" and (task := _task(body)):
        task["task_id"] = task["task_id"][::-1]


def _drop_the_config(_operation: str | None, body: dict[str, Any]) -> None:
    if task := _task(body):
        task["config"] = {"service_mode": "", "webhook_config": {"endpoint": "", "secret": ""}}


def _reverse_the_times(_operation: str | None, body: dict[str, Any]) -> None:
    task = _task(body)
    if task and task["status"] == "completed":
        task["meta"]["ended_at"] = "2020-01-01T00:00:00Z"


def _add_an_error(_operation: str | None, body: dict[str, Any]) -> None:
    task = _task(body)
    if task and task["status"] == "completed":
        task["error"] = {**task["error"], "code": 10000}


def _hide_the_reason(_operation: str | None, body: dict[str, Any]) -> None:
    task = _task(body)
    if task and task["status"] == "failed":
        task["error"] = {"code": 0, "raw_message": "", "message": "", "detail": None}


def _lose_the_output(_operation: str | None, body: dict[str, Any]) -> None:
    output = _output(body)
    for name in [name for name, value in output.items() if isinstance(value, str)]:
        output[name] += "x"


def _hide_the_bill(_operation: str | None, body: dict[str, Any]) -> None:
    if task := _task(body):
        task["meta"]["usage"]["consume"] = 0


def _drop_the_unpaid_task(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "create_task" and body["code"] == 500:
        body["data"] = None


def _reverse_the_page(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "list_task_history" and (page := body.get("data")):
        page["data"] = page["data"][::-1]


def _count_the_page(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "list_task_history" and (page := body.get("data")):
        page["total"] = len(page["data"])


def _hide_the_usage(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "list_task_history" and (page := body.get("data")):
        for row in page["data"]:
            row["usage"] = 0


def _say_nothing(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "create_chat_completion":
        for choice in body.get("choices", []):
            choice["message"]["content"] = ""


def _drop_the_pictures(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "create_image" and "data" in body:
        body["data"] = []


def _break_the_pictures(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "create_image":
        for picture in body.get("data", []):
            picture["b64_json"] = "bm8gcGljdHVyZQ=="


def _name_as_before(_operation: str | None, body: dict[str, Any]) -> None:
    if task := _task(body):
        task["task_type"] = task["task_type"].replace("-", "_")


def _drop_the_points(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "list_task_history" and (page := body.get("data")):
        page["data"] = [row for row in page["data"] if row["usage_type"] != "point"]


def _tell_the_exchange(_operation: str | None, body: dict[str, Any]) -> None:
    task = _task(body)
    if task and task["status"] == "completed" and task["meta"]["usage"]["type"] == "point":
        task["error"] = {**task["error"], "code": 10000, "message": "auto exchange point quota"}


def _lose_the_film(_operation: str | None, body: dict[str, Any]) -> None:
    output = _output(body)
    for name in [name for name, value in output.items() if str(value).endswith(".mp4")]:
        output[name] += "x"


def _put_into_words(_operation: str | None, body: dict[str, Any]) -> None:
    output = _output(body)
    if "image_base64" in output:
        output |= {"image_url": None, "image_base64": "iVBORw0KGgo="}


def _add_a_fee(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "get_account_info" and (account := body.get("data")):
        credits_ = account["credit_pack_info"]
        spent = credits_["total_credits"] - credits_["available_credits"]
        account["equivalent_in_usd"] = (credits_["available_credits"] - spent) / 1e7


def _cancel_in_silence(operation: str | None, body: dict[str, Any]) -> None:
    if operation == "cancel_task" and body["code"] == 200:
        body["message"] = None


def _refuse_with_200(_operation: str | None, _status: int, _body: dict[str, Any]) -> int:
    return 200


def _refuse_with_500(_operation: str | None, _status: int, body: dict[str, Any]) -> int:
    body["code"] = 500
    return 500


def _number_the_refusal(_operation: str | None, status: int, body: dict[str, Any]) -> int:
    body["code"] = 10000
    return status


def _hush_the_refusal(_operation: str | None, status: int, body: dict[str, Any]) -> int:
    body["message"] = ""
    return status


def _acknowledge_the_timeless(operation: str | None, status: int, body: dict[str, Any]) -> int:
    if operation != "cancel_tasks" or status != 400:
        return status
    body |= {"code": 200, "message": "success"}
    return 200


def _task(body: dict[str, Any]) -> dict[str, Any] | None:
    """The task in an answer, if that is what it carries; one of the API before the unified one is not meant."""
    data: Any = body.get("data")
    return cast("dict[str, Any]", data) if isinstance(data, dict) and "meta" in data else None


def _output(body: dict[str, Any]) -> dict[str, Any]:
    """The output of the task in an answer; empty while there is none."""
    task = _task(body)
    return (task and task.get("output")) or {}


SPOILED: Mapping[str, Callable[[str | None, dict[str, Any]], None]] = {
    "status-number": _number_the_status,
    "missing-id": _drop_the_id,
    "code-as-text": _write_the_code,
    "output-missing": _empty_the_output,
    "free-of-charge": _forget_the_spending,
    "unlisted": _drop_the_newest,
    "lost-upload": _lose_the_file,
    "wrong-model": _change_the_model,
    "other-task": _change_the_id,
    "config-lost": _drop_the_config,
    "times-reversed": _reverse_the_times,
    "error-on-success": _add_an_error,
    "reason-hidden": _hide_the_reason,
    "lost-output": _lose_the_output,
    "bill-hidden": _hide_the_bill,
    "bare-lack-of-credit": _drop_the_unpaid_task,
    "oldest-first": _reverse_the_page,
    "total-of-the-page": _count_the_page,
    "row-without-bill": _hide_the_usage,
    "wordless-chat": _say_nothing,
    "no-picture": _drop_the_pictures,
    "broken-picture": _break_the_pictures,
    "old-names": _name_as_before,
    "points-unlisted": _drop_the_points,
    "points-exchanged": _tell_the_exchange,
    "lost-film": _lose_the_film,
    "picture-in-words": _put_into_words,
    "hidden-fee": _add_a_fee,
    "silent-cancel": _cancel_in_silence,
}
"""By defect: what it does to the body of an answer of an operation, or of a webhook (None), in place."""
SPOILED_REFUSALS: Mapping[str, Callable[[str | None, int, dict[str, Any]], int]] = {
    "refused-with-200": _refuse_with_200,
    "refused-with-500": _refuse_with_500,
    "code-of-its-own": _number_the_refusal,
    "silent-refusal": _hush_the_refusal,
    "timeless-cancel": _acknowledge_the_timeless,
}
"""By defect: what it does to the body of a refusal, in place; each gives the HTTP status to send."""
