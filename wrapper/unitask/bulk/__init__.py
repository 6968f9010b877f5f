"""Jobs of many tasks that survive the end of their process."""

from .journal import Journal

__all__ = ["Journal"]
