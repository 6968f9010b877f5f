"""Checks with generated requests: single ones, and sequences of them.

They send thousands of submissions, so they run only without a money limit.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, cast

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from unitask_contract.provider import LeftOut, Provider
from unitask_contract.provider_schema import provider_schema

# Checks of schemathesis for what this API does not promise.
LEFT_OUT = {"use_after_free": "a cancelled task can still be polled: cancelling does not delete it"}
LEFT_OUT_OF_SEQUENCES = {
    **LEFT_OUT,
    "positive_data_acceptance": "a cancellation that comes too late is refused, though the request is valid",
}


def check_every_answer(provider: Provider, examples: int = 20) -> None:
    """Every request, valid or not, gets an answer of the spec, for each operation."""
    _require_no_limit(provider)
    for operation, number in _operations(_schema(provider), examples):
        _check_answers(provider, operation.as_strategy(), number)
    # A duration beyond the bound is valid, so invalid requests have none.
    for operation, number in _operations(_schema(provider, bounded=False), examples):
        # Without a JSON body an invalid request mostly has one more parameter, and in a form every value is a text.
        if any(body.media_type == "application/json" for body in operation.body):
            invalid = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
            _check_answers(provider, invalid, number)


def check_every_sequence(provider: Provider, examples: int = 15) -> None:
    """What one operation answers can be used in the next one: create, get, cancel (the links of the spec)."""
    _require_no_limit(provider)
    machine: Any = _schema(provider).as_state_machine()

    class Machine(machine):  # type: ignore[misc]  # a new class for each schema
        def call(self, case: Any, **_: Any) -> Any:
            return schemathesis.Response.from_httpx(provider.send_generated(case), verify=True)

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(response, excluded_checks=_checks(LEFT_OUT_OF_SEQUENCES))

    _seeded(provider, Machine).run(settings=_settings(examples, stateful_step_count=6))


def _require_no_limit(provider: Provider) -> None:
    if not math.isinf(provider.money.limit_usd):
        raise LeftOut("it sends thousands of submissions; --max-usd inf allows them to cost any amount")


def _schema(provider: Provider, *, bounded: bool = True) -> Any:
    """Return the schema of schemathesis; only the sandbox is sure to have the legacy operations."""
    return schemathesis.openapi.from_dict(provider_schema(legacy=provider.inside is not None, bounded=bounded))


def _operations(schema: Any, examples: int) -> Iterator[tuple[Any, int]]:
    """Yield each operation, and how many requests to generate; deprecated ones are many, and alike."""
    for result in schema.get_all_operations():
        operation = result.ok()
        yield operation, examples // 4 if operation.definition.raw.get("deprecated") else examples


def _check_answers(provider: Provider, strategy: Any, examples: int) -> None:
    @_settings(examples)
    @given(case=strategy)
    def check(case: Any) -> None:
        case.validate_response(
            provider.send_generated(case), headers=provider.headers(), excluded_checks=_checks(LEFT_OUT)
        )

    _seeded(provider, check)()


def _seeded(provider: Provider, test: Any) -> Any:
    return test if provider.seed is None else hypothesis.seed(provider.seed)(test)


def _settings(examples: int, **more: Any) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(cast("Iterable[HealthCheck]", HealthCheck)),
        **more,
    )


def _checks(names: Iterable[str]) -> list[Any]:
    known: Any = vars(checks)["CHECKS"]  # without a type
    return [known.get_one(name) for name in names]
