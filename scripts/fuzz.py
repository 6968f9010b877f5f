"""`make contract-fuzz`: schemathesis' own command line against the sandbox on a real port, all phases, every operation.

The checks in unitask_contract/checks/fuzz.py run in-process with few examples; this one goes through the server, its
guard included, with as many as are asked for, and schemathesis prints the figures. An operation that the sandbox does
not have is left out, and named.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from unitask_contract.bundle import METHODS
from unitask_contract.checks.fuzz import LEFT_OUT_OF_SEQUENCES
from unitask_contract.in_process import no_network
from unitask_contract.provider_schema import provider_schema
from unitask_sandbox import Settings, running
from unitask_sandbox.operations import HANDLERS

KEY = "contract"
# The documents leave these open, and the sandbox answers as such services do.
UNPROMISED = {
    "missing_required_header": "a request without a key is 401 whatever else is wrong; check_keys holds that",
    **LEFT_OUT_OF_SEQUENCES,
}

# In a form every value is a text, so that none is of a wrong type.
CONFIG = """
[[operations]]
include-operation-id = "edit_image"
[operations.checks]
negative_data_rejection.enabled = false
"""


def view() -> tuple[dict[str, Any], list[str]]:
    """The bundle as the sandbox must keep it, and the operations that it does not have."""
    whole = provider_schema(bounded=False)
    operations = [(path, method) for path, item in whole["paths"].items() for method in item.keys() & {*METHODS}]
    absent = [
        (path, method) for path, method in operations if whole["paths"][path][method]["operationId"] not in HANDLERS
    ]
    missing = [whole["paths"][path].pop(method)["operationId"] for path, method in absent]
    whole["paths"] = {path: item for path, item in whole["paths"].items() if item.keys() & {*METHODS}}
    return whole, sorted(missing)


def main(arguments: list[str]) -> int:
    """Run it, with more arguments for schemathesis; its exit status is that of the run."""
    schema, missing = view()
    if missing:
        print(f"not in the sandbox: {', '.join(missing)}", flush=True)
    settings = Settings(keys={KEY: 1.0}, fetch=no_network, send_webhook=lambda *_: 200)
    # A film may be as long as a number can be, and no balance would pay for that.
    free = mock.patch("unitask_sandbox.pricing.credits_of", return_value=0)
    with tempfile.TemporaryDirectory() as folder, free, running(settings) as url:
        place = Path(folder, "openapi.json")
        place.write_text(json.dumps(schema))
        Path(folder, "schemathesis.toml").write_text(CONFIG)
        command = [Path(sys.executable).with_name("schemathesis"), "run", place, "--url", url]
        command += ["--phases", "examples,coverage,fuzzing,stateful", "--exclude-checks", ",".join(UNPROMISED)]
        command += ["--header", f"x-api-key: {KEY}", "--header", f"authorization: Bearer {KEY}"]
        command += ["--max-examples", "100", "--request-timeout", "30", "--no-color"]
        return subprocess.run([*command, *arguments], check=False, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
