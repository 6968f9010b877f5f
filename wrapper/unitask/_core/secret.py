"""Keys and webhook secrets as values."""

from __future__ import annotations


class Secret(str):
    """A text that no repr shows: tracebacks and crash reports may show the variables of every frame."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def fits_a_header(secret: str) -> bool:
    """Whether a webhook secret can be sent in a header, and arrives there as it is."""
    return secret == secret.strip() and secret.isprintable()
