"""`make contract-fuzz`: the command line of schemathesis against the sandbox on a port, all phases, every operation.

The checks in unitask_contract/checks/fuzz.py run in the same process with few examples. This run goes through the
server.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from unitask_contract.checks.fuzz import LEFT_OUT_OF_SEQUENCES
from unitask_contract.in_process import no_network
from unitask_contract.provider_schema import provider_schema
from unitask_sandbox import Settings, running

KEY = "contract"
# Checks of schemathesis for what the documents leave open.
LEFT_OUT = {
    "missing_required_header": "a request without a key is 401 whatever else is wrong; check_keys tests it",
    **LEFT_OUT_OF_SEQUENCES,
}
# In a form every value is a text, so none is of a wrong type.
CONFIG = """
[[operations]]
include-operation-id = "edit_image"
[operations.checks]
negative_data_rejection.enabled = false
"""


def main(arguments: list[str]) -> int:
    """Run schemathesis, with more arguments for it, and return its exit status."""
    settings = Settings(keys={KEY: 1.0}, fetch=no_network, send_webhook=lambda *_: 200)
    # A film may be as long as a number can be, and no balance would pay for that.
    free = mock.patch("unitask_sandbox.pricing.credits_of", return_value=0)
    with tempfile.TemporaryDirectory() as folder, free, running(settings) as url:
        place = Path(folder, "openapi.json")
        place.write_text(json.dumps(provider_schema(bounded=False)))
        Path(folder, "schemathesis.toml").write_text(CONFIG)
        command = [Path(sys.executable).with_name("schemathesis"), "run", place, "--url", url]
        command += ["--phases", "examples,coverage,fuzzing,stateful", "--exclude-checks", ",".join(LEFT_OUT)]
        command += ["--header", f"x-api-key: {KEY}", "--header", f"authorization: Bearer {KEY}"]
        command += ["--max-examples", "100", "--request-timeout", "30", "--no-color"]
        return subprocess.run([*command, *arguments], check=False, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
