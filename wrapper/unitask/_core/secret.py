"""Keys and webhook secrets as values."""

from __future__ import annotations


class Secret(str):
    """A text that no repr shows: tracebacks and crash reports may show the variables of every frame."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def secret_problem(secret: str) -> str | None:
    """Why a webhook secret cannot be used, None when it can. It is sent as a header; both ends judge by this rule."""
    if not secret:
        return "the webhook secret is empty"
    if secret != secret.strip() or not secret.isprintable():
        return "the webhook secret has a space at an end or a line break, which no header can carry"
    return None
