"""The layers of ARCHITECTURE.md, read off the import statements of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract("layers")

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "unitask_api": ROOT / "generated" / "unitask_api",
    "unitask": ROOT / "wrapper" / "unitask",
    "unitask_sandbox": ROOT / "sandbox" / "unitask_sandbox",
    "unitask_contract": ROOT / "contract_tests" / "unitask_contract",
}
SHELLS = {
    "unitask._bounded",
    "unitask._connections",
    "unitask._environment",
    "unitask._shell",
    "unitask.client",
    "unitask.aio",
}
TESTING = "unitask.testing"  # an application too; it stands in for the network, so it speaks httpx
FORBIDDEN = {
    "unitask_api": (("unitask", "unitask_sandbox", "unitask_contract"), "the generated client knows nothing above it"),
    "unitask_sandbox": (
        ("unitask", "unitask_api", "unitask_contract", "httpx"),
        "the sandbox is the second witness: it reads the contract and nothing of the client",
    ),
    "unitask_contract": (
        ("generator", "contract_tests", "sandbox", "spec", "pytest"),
        "the harness runs where this repository is not",
    ),
}
APPLICATIONS = {"unitask.cli", "unitask.demo", "unitask.__main__", TESTING}
# The harness from the bottom to the top; those of one line know nothing of one another.
HARNESS = (
    ("bundle",),
    ("exchange", "hiding", "inputs", "places", "prices", "scenarios", "view"),
    ("playing",),
    ("connecting", "mutation", "serving"),
    ("provider",),
    ("checks", "coverage", "patches"),
    ("runner",),
    ("reports",),
    ("recorded",),
    ("command",),
)
# Those that judge a provider: a mistake of the client must not be able to hide one of the provider.
JUDGES = {
    "bundle",
    "connecting",
    "exchange",
    "inputs",
    "places",
    "prices",
    "view",
    "provider",
    "checks",
    "patches",
    "runner",
}
STEPS = {f"unitask_contract.{name}": step for step, names in enumerate(HARNESS) for name in names}


def imports(package: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Each (module, what it imports) below a package's folder; relative imports are made absolute."""
    for path in sorted(folder.rglob("*.py")):
        parts = [package, *path.relative_to(folder).with_suffix("").parts]
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        home = parts[:-1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = home[: len(home) - node.level + 1] if node.level else []
                source = ".".join([*base, *([node.module] if node.module else [])])
                yield from ((module, f"{source}.{alias.name}") for alias in node.names)


def broken_rules(edges: Iterator[tuple[str, str]]) -> list[str]:
    """The imports that go against the layers, each with the rule that it breaks."""
    return [f"{module} imports {name}: {rule}" for module, name in edges for rule in _rules(module, name)]


def _rules(module: str, name: str) -> Iterator[str]:
    if name.startswith("unitask_api.contract"):
        return  # the reader of openapi.json is for every package
    package, target = module.partition(".")[0], name.partition(".")[0]
    home, other = (".".join(dotted.split(".")[:2]) for dotted in (module, name))
    forbidden, rule = FORBIDDEN.get(package, ((), ""))
    if target in forbidden:
        yield rule
    if package == target == "unitask_contract" and home != other and STEPS[home] <= STEPS[other]:
        yield "a module of the harness knows those below it"
    if package == "unitask_contract" and home.partition(".")[2] in JUDGES and target in ("unitask", "unitask_api"):
        yield "a provider is judged without the client"
    if package == "unitask":
        yield from _rules_of_the_wrapper(module, name)


def _rules_of_the_wrapper(module: str, name: str) -> Iterator[str]:
    target = name.partition(".")[0]
    home, other = (".".join(dotted.split(".")[:2]) for dotted in (module, name))
    if target == "httpx" and home not in SHELLS | {TESTING}:
        yield "httpx is for the shells"
    if target in ("unitask_sandbox", "unitask_contract") and home not in APPLICATIONS:
        yield "only applications start the sandbox, or run the harness"
    if target == "unitask_api" and module != "unitask._core.requests":
        yield "one module of the wrapper touches the generated code"
    if module.startswith("unitask._core") and name.startswith(("unitask._shell", "unitask.client", "unitask.aio")):
        yield "the core knows no shell"
    if home not in APPLICATIONS and other in APPLICATIONS:
        yield "nothing stands above an application"
    if module.startswith("unitask._core") and target in ("time", "random", "asyncio", "threading", "socket", "os"):
        yield "the core has no clock, no random and no I/O of its own"


@pytest.mark.parametrize("package", PACKAGES)
def test_package_keeps_to_its_layer(package: str) -> None:
    """No import of the package goes against the layers."""
    edges = list(imports(package, PACKAGES[package]))

    assert edges
    assert broken_rules(iter(edges)) == []


def test_harness_has_no_circle() -> None:
    """Each of its modules can be read before those that import it, inside its packages too."""
    edges = list(imports("unitask_contract", PACKAGES["unitask_contract"]))
    modules = {module for module, _ in edges}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for module, name in edges:
        graph[module] |= {name, name.rpartition(".")[0]} & modules

    assert {*TopologicalSorter(graph).static_order()} == modules
