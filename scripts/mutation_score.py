"""What the checks of a provider find: each planted defect, one at a time, and nothing where nothing is wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

from unitask_contract import provider, runner
from unitask_contract.checks import fuzz
from unitask_contract.runner import Check, Outcome

from contract_tests.support.defective_provider import DEFECTS, defective

EXAMPLES = 10  # of a random request, an operation: the defects are coarse
OF_TASK_TYPES = ("FaceSwap", "FluxSchnellTxt2Img", "HailuoVideo")
DRAWN = {check.__name__.removeprefix("check_"): check for check in fuzz.CHECKS}


def kills() -> Mapping[str, frozenset[str]]:
    """The ids of the checks that find each defect; a process a core."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return dict(zip(DEFECTS, pool.map(found_by, DEFECTS), strict=True))


def quiet(seeds: range) -> int:
    """With how many of these seeds the checks that draw find nothing in a sandbox that keeps its promises."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return sum(pool.map(_is_quiet, seeds))


def _is_quiet(seed: int) -> bool:
    logging.disable()
    with provider.sandbox(seed=seed) as sound:
        return all(runner.made(sound, check).outcome is Outcome.KEPT for check in runner.chosen(DRAWN))


def found_by(defect: str) -> frozenset[str]:
    """The ids of the checks that find a defect, each with a sandbox of its own; those of task types share one."""
    logging.disable()
    alone = {check.id for check in runner.OF_PROVIDER if _finds(check, defect)}
    with provider.sandbox(defective(defect), seed=1) as broken:
        results = [runner.made(broken, check, name) for check in runner.OF_TASK_TYPES for name in OF_TASK_TYPES]
    return frozenset(alone | {result.check.id for result in results if result.outcome is Outcome.BROKEN})


def _finds(check: Check, defect: str) -> bool:
    run = partial(DRAWN[check.id], examples=EXAMPLES) if check.id in DRAWN else check.run
    with provider.sandbox(defective(defect), seed=1) as broken:
        return runner.made(broken, replace(check, run=run)).outcome is Outcome.BROKEN
