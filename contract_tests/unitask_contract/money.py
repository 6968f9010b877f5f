"""The money limit of a run: what submissions cost at most, in USD by the price list of the contract."""

import math
from dataclasses import dataclass
from typing import Any

from unitask_api import contract
from unitask_contract import prices
from unitask_contract.bundle import fields

CHAT_USD = 0.001  # held for a chat of a word; the true price is far below


class LeftOut(Exception):
    """A check cannot be made here; the message says why."""


@dataclass
class Money:
    """The limit, and what the submissions so far cost at most."""

    limit_usd: float = math.inf  # infinite where nothing is real
    held_usd: float = 0.0  # the prices of all submissions that may have been accepted
    unpriced: int = 0  # those submissions without a known price, which `held_usd` does not include

    def hold(self, what: str, usd: float | None) -> None:
        """Hold a price; raise LeftOut if it is beyond the limit, or unknown while there is a limit."""
        if not math.isinf(self.limit_usd):
            if usd is None:
                raise LeftOut(f"the price of {what} is not known beforehand; --max-usd inf sends it all the same")
            if usd > self.left_usd:
                raise LeftOut(f"{what} costs ${usd:.4g}, and ${self.left_usd:.4g} is left of --max-usd")
        self.count(usd)

    def count(self, usd: float | None, times: int = 1) -> None:
        """Add a price to what is held, or remove it with -1, without the limit."""
        if usd is None:
            self.unpriced += times
        else:
            self.held_usd = round(self.held_usd + times * usd, 9)

    @property
    def left_usd(self) -> float:
        return max(0.0, round(self.limit_usd - self.held_usd, 9))


def price_of_post(path: str, body: Any) -> tuple[str, float | None]:
    """Return the name of a POST, and its highest price in USD; None when it is not known beforehand."""
    if path == "/v1/chat/completions":
        return "a chat", CHAT_USD
    if path != "/api/v1/task":
        return path, None if path.startswith(("/v1/images", "/mj/", "/api/luma", "/api/kling", "/api/face")) else 0.0
    task = fields(body)
    named = (task.get("model"), task.get("task_type"))
    name = " ".join(map(str, named))
    if not contract.named(*named) or not fields(task.get("input")):
        return name, 0.0  # it cannot become a task
    return name, prices.usd_of(task)
