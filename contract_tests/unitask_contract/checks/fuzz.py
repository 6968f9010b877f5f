"""The checks that draw requests at random, with schemathesis: any request, and any sequence of them.

They are many creates, so they are made only where money is no matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from unitask_contract.provider import LeftOut, Provider

# Checks of schemathesis that this API does not promise to keep.
LEFT_OUT = {"use_after_free": "a cancelled task can still be looked at: cancelling is not deleting"}
LEFT_OUT_OF_SEQUENCES = {
    **LEFT_OUT,
    "positive_data_acceptance": "a late cancellation is refused, though nothing is wrong with the request",
}


def check_every_answer(provider: Provider, examples: int = 20) -> None:
    """Any request, right or wrong, gets an answer of the spec, operation by operation."""
    _needs_no_money(provider)
    for result in provider.schema.get_all_operations():
        operation = result.ok()
        number = examples // 4 if operation.definition.raw.get("deprecated") else examples  # they are many, and alike
        _hold(provider, operation.as_strategy(), number)
        # Without a body a wrong request is mostly one with a parameter that nobody reads, and in a form every value is
        # a text, so that none is of a wrong type.
        if any(body.media_type == "application/json" for body in operation.body):
            _hold(provider, operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE), number)


def check_every_sequence(provider: Provider, examples: int = 15) -> None:
    """What one operation answers can be used in the next: create, then look, then cancel (the links of the spec)."""
    _needs_no_money(provider)
    machine: Any = provider.schema.as_state_machine()

    class Machine(machine):  # type: ignore[misc]  # made anew for each schema
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": provider.headers(), **provider.drawing}

        def call(self, case: Any, **more: Any) -> Any:
            return provider.draw(lambda: case.call(**more))

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            case.validate_response(response, excluded_checks=_checks(LEFT_OUT_OF_SEQUENCES), **more)

    _seeded(provider, Machine).run(settings=_settings(examples, stateful_step_count=6))


CHECKS: tuple[Callable[[Provider], None], ...] = (check_every_answer, check_every_sequence)


def _needs_no_money(provider: Provider) -> None:
    if not math.isinf(provider.money.limit_usd):
        raise LeftOut("it sends thousands of creates; --max-usd inf says that they may cost what they cost")


def _hold(provider: Provider, strategy: Any, examples: int) -> None:
    @_settings(examples)
    @given(case=strategy)
    def hold(case: Any) -> None:
        response = provider.draw(lambda: case.call(headers=provider.headers(), **provider.drawing))
        case.validate_response(response, headers=provider.headers(), excluded_checks=_checks(LEFT_OUT))

    _seeded(provider, hold)()


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
    known: Any = vars(checks)["CHECKS"]  # its type is not written down
    return [known.get_one(name) for name in names]
