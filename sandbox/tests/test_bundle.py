"""What the sandbox takes from the contract, and how it refuses what does not fit."""

from typing import Any

import pytest
from unitask_api import contract
from unitask_sandbox import bundle
from unitask_sandbox.engines.simulated import outputs
from unitask_sandbox.failures import Refusal


def test_sample_of_a_task_type_is_of_an_input_that_matches_it() -> None:
    examples = contract.document()["components"]["examples"]

    for name, example in (("KlingVideo", "video_generation"), ("Kling3Video", "video_generation_3")):
        kind = next(one for one in bundle.task_types() if one.name == name)
        assert outputs._sample(kind) == examples[f"kling.{example}.completed.200"]["value"]["data"]["output"]


def test_legacy_names_make_no_task_of_the_unified_protocol() -> None:
    with pytest.raises(Refusal, match="no such task: model 'legacy', task_type 'face_swap_v1'"):
        bundle.task_type("legacy", "face_swap_v1", {})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"seed": 2**63}, "input.seed does not meet format int64"),
        ({"seed": -(2**63) - 1}, "input.seed does not meet format int64"),
        ({"seed": "1"}, "input.seed must be of type integer"),
        ({"prompt": 7, "steps": "x", "width": [], "height": None}, "input.height must be of type integer; "),
    ],
    ids=str,
)
def test_refusal_names_path_and_limit(value: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal) as caught:
        bundle.check("FluxTxt2ImgInput", {"prompt": "a", **value}, at="input")

    assert words in str(caught.value)
    assert str(caught.value).count(";") == min(2, len(value) - 1)


def test_int64_at_its_limits_is_taken() -> None:
    for seed in (2**63 - 1, -(2**63), 7.0):
        bundle.check("FluxTxt2ImgInput", {"prompt": "a", "seed": seed})
