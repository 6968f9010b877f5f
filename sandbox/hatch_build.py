"""Put docs/openapi.json, which /docs of the local provider renders, into the wheel and the sdist."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class OpenApiHook(BuildHookInterface):
    """Include the file from the checkout; an sdist has it at its place."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Add the file to what is built."""
        spec = Path(self.root).parent / "docs/openapi.json"
        if spec.exists():
            build_data["force_include"][str(spec)] = "unitask_sandbox/page/openapi.json"
