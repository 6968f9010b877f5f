"""Choose the error class of a refusal or of a failed task, by words, code and HTTP status."""

from .. import errors
from .._model.task import Output, Task


def refusal_kind(status: int, code: int | None, words: str) -> type[errors.ApiError]:
    """Return the class of a refused request."""
    kind = _by_reason(code, words) or errors.KIND_BY_STATUS.get(status, errors.ProviderBroken)
    return kind if issubclass(kind, errors.ApiError) else errors.combined(errors.ApiError, kind)


def poll_kind(status: int) -> type[errors.ApiError]:
    """Return the class of a refused poll, which says nothing of the balance or the input of the task."""
    kind = errors.KIND_BY_STATUS.get(status, errors.ProviderBroken)
    return kind if issubclass(kind, errors.ApiError) else errors.ProviderBroken


def task_failed(task: Task[Output]) -> errors.TaskFailed:
    """Return the error of a task that ended without a result."""
    kind = _by_reason(task.failure_code, task.failure)
    is_reason = kind is not None and not issubclass(kind, errors.ApiError)
    return (errors.combined(errors.TaskFailed, kind) if is_reason and kind else errors.TaskFailed)(task)


def _by_reason(code: int | None, words: str) -> type[errors.UnitaskError] | None:
    folded = words.casefold()
    found = (kind for signs, kind in errors.REASONS if any(sign in folded for sign in signs))
    return next(found, None) or (errors.KIND_BY_CODE.get(code) if code is not None else None)
