"""Differences between answers and the spec, and a patch of the spec that would allow them.

    found = differences(exchanges)
    patch = proposal(found)          # for `git apply` in a checkout

The redacted body is the evidence, and becomes an example of the spec. The patch allows what the example shows.
"""

import difflib
import itertools
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.exchange import Exchange, shortened
from unitask_contract.patches.contradictions import NEW_FIELD, Finding, findings, schema_of
from unitask_contract.patches.redaction import key_of, redacted, shown_path
from unitask_contract.patches.widening import OBSERVED, Unchangeable, contradiction, widening
from unitask_contract.schema_paths import Schemas, pointer, type_of

CHANGES, LEDGER, SOURCES = "observed.yaml", "drift.yaml", "sources.yaml"

MOST_EDITS = 100  # for one body
SHOWN = 200  # characters of what came, and of what the spec says


class Kind(StrEnum):
    """The kind of a difference."""

    BROKEN = "broken"  # the spec does not allow it
    NEW_FIELD = "new field"  # the spec does not name the field; it allows it, since answers are open
    UNDOCUMENTED = "undocumented"  # the spec has no schema for the answer


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between answers and the spec.

    Attributes:
        key: What one change of the spec would allow: schema and keyword; operation and part without a schema.
        evidence: The redacted body; None when no redacted body would show the difference, so nothing is proposed.
    """

    kind: Kind
    operation: str  # of the first answer that shows it
    part: str  # "200" or "default"; "request" for a notification
    family: str  # of the task; empty for none
    says: str  # what the spec says
    came: str  # what came, redacted
    where: str = ""  # the path in the body, with a star for each index
    key: tuple[str, str] = ("", "")
    evidence: Any = None
    count: int = 1  # of the bodies that show it

    def __str__(self) -> str:
        seen = "" if self.count == 1 else f" ({self.count} times)"
        return f"{self.operation} {self.part} {self.where or '/'}: {self.says}; came {self.came}{seen}"


def differences(exchanges: Iterable[Exchange], notifications: Iterable[tuple[str, Any]] = ()) -> list[Difference]:
    """Return each difference of exchanges and notifications once: what is not allowed before what is not named."""
    bodies = [
        (one.operation, one.part, one)
        for one in exchanges
        if one.operation and not _is_stream(one) and not _is_documented_file(one)
    ]
    for operation, body in notifications:
        bodies.append((operation, "request", Exchange("POST", "", b"", 200, json.dumps(body).encode())))
    found: dict[object, Difference] = {}
    for operation, part, exchange in bodies:
        for identity, one in [*_found(operation, part, exchange, found)]:
            known = found.get(identity, one)
            better = known if one.evidence is None or known.evidence is not None else one
            found[identity] = replace(better, count=known.count + (identity in found))
    return sorted(found.values(), key=lambda one: (list(Kind).index(one.kind), one.operation, one.where))


def _is_stream(exchange: Exchange) -> bool:
    return exchange.content_type.startswith("text/event-stream") and fields(exchange.asked).get("stream") is True


def _is_documented_file(exchange: Exchange) -> bool:
    """Return whether the operation documents an answer of this media type, such as sound, and not of JSON."""
    method, path = bundle.routes()[exchange.operation]
    content = bundle.document()["paths"][path][method.lower()]["responses"]["200"]["content"]
    media = exchange.content_type.partition(";")[0].strip().lower()
    return exchange.part == "200" and media in content and media != "application/json"


def _found(
    operation: str, part: str, exchange: Exchange, known: Collection[object]
) -> Iterator[tuple[object, Difference]]:
    """Yield identity and difference for each difference of an exchange; without evidence where all are known."""
    component, body = bundle.components_of(operation).get(part), exchange.answer
    if component is None or body is None:
        media = re.match(r"[a-z]+/[a-z0-9.+-]{1,40}", exchange.content_type.lower())
        says, came = "JSON", f"something else, as {media[0] if media else 'no known type'}"
        if component is None:
            says, came = "no such answer", "one"
        key = operation, part
        yield (*key, component), Difference(Kind.UNDOCUMENTED, *key, exchange.family, says, came, key=key)
        return
    found = {_identity(one): one for one in _findings(body, component)}
    evidence = None if all(identity in known for identity in found) else redacted(body, component)
    shown = {key_of(one): one for one in _findings(evidence, component)} if evidence is not None else {}
    for identity, one in found.items():
        redacted_one = shown.get(key_of(one))
        where, came = shown_path(one.where), type_of(one.value)
        if redacted_one:
            where, came = pointer(redacted_one.where), shortened(json.dumps(redacted_one.value), SHOWN)
        kind, says = Kind.BROKEN, f"{one.keyword}: {shortened(json.dumps(one.rule), SHOWN)}"
        if one.keyword == NEW_FIELD:
            kind, says = Kind.NEW_FIELD, "no field of this name"
        elif one.keyword == "required":
            came = f"none of {', '.join(one.names)}"
        key, proof = (str(one.place), one.keyword), evidence if redacted_one else None
        yield identity, Difference(kind, operation, part, exchange.family, says, came, where, key, proof)


def _findings(body: Any, component: str, schemas: Schemas | None = None) -> list[Finding]:
    known = schemas or bundle.schemas()
    return findings(body, schema_of(component, body, known), known)


def _identity(found: Finding) -> object:
    """Return what findings share that ask for the same change: schema, keyword, and the type to allow."""
    return str(found.place), found.keyword, found.names, type_of(found.value)


# The patch.


def spec_folder() -> Path:
    """Return the hand-written spec: of the checkout around this module, else the copy in the wheel."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parents[1] / "spec"
    return beside if (beside / "sources.yaml").is_file() else package / "spec"


def proposal(found: Iterable[Difference]) -> str:
    """Return a patch that makes the spec allow, and name, what the differences show; empty when there is none.

    It is a unified diff for the root of a checkout. It adds each body as an example, and entries to three files.
    """
    folder = spec_folder()
    schemas: Schemas = bundle.schemas()
    taken = {path.relative_to(folder).as_posix() for path in folder.glob("examples/*/observed-*.json")}
    examples: dict[str, str] = {}
    entries: dict[str, list[dict[str, Any]]] = {CHANGES: [], LEDGER: []}
    bodies: dict[str, Difference] = {}
    for one in found:
        if one.evidence is not None:
            bodies.setdefault(json.dumps([one.operation, one.part, one.evidence]), one)
    for difference in bodies.values():
        path = _free_path(difference, {*examples, *taken})
        name = path.removeprefix("examples/").removesuffix(".json").replace("/", ".")
        with suppress(Unchangeable):
            schemas = _accept(difference, schemas, name, entries)
            examples[path] = json.dumps(_example(difference), indent=2, ensure_ascii=False) + "\n"
    if not examples:
        return ""
    texts = {name: _yaml(part) for name, part in entries.items() if part}
    if OBSERVED not in bundle.document()["x-sources"]:
        source = f"{{evidence: recorded, page: an answer of a provider, date: '{datetime.now(UTC).date()}'}}"
        texts[SOURCES] = f"{OBSERVED}: {source}\n"
    changed = [_diff(name, (folder / name).read_text(encoding="utf-8"), text) for name, text in texts.items()]
    return "".join([*changed, *(_diff(path, None, text) for path, text in sorted(examples.items()))])


def _accept(
    difference: Difference, schemas: Schemas, example: str, entries: dict[str, list[dict[str, Any]]]
) -> Schemas:
    """Change the components until they allow a body, and add the entries; raise Unchangeable before any is added."""
    component = bundle.components_of(difference.operation)[difference.part]
    changes: list[dict[str, Any]] = []
    contradictions: list[dict[str, Any]] = []
    while left := _findings(difference.evidence, component, schemas):
        if len(changes) == MOST_EDITS:
            raise Unchangeable(f"{MOST_EDITS} changes are not enough")
        change = widening(left[0], schemas)
        changes.append(change.entry(example))
        if left[0].keyword != NEW_FIELD:
            contradictions.append(contradiction(left[0], schemas, example, len(contradictions) + 1))
        schemas = change.applied(schemas)
    entries[CHANGES] += changes
    entries[LEDGER] += contradictions
    return schemas


def _example(difference: Difference) -> dict[str, Any]:
    what = "A field that no page names" if difference.kind is Kind.NEW_FIELD else "What the pages do not allow"
    return {
        "summary": f"{what}, as it came at {difference.where or '/'}; everything else is replaced by dummy values",
        "x-source": [OBSERVED],
        "x-evidence": "recorded",
        "x-operation": difference.operation,
        "x-part": difference.part,
        "value": difference.evidence,
    }


def _free_path(difference: Difference, taken: Collection[str]) -> str:
    family = difference.family or bundle.family_of(difference.operation)
    last = re.sub(r"[^a-z0-9]+", "-", difference.where.replace("*", "").lower()).strip("-") or "body"
    numbered = (f"{last}-{number}" if number > 1 else last for number in itertools.count(1))
    paths = (f"examples/{family}/observed-{name}.{difference.part}.json" for name in numbered)
    return next(path for path in paths if path not in taken)


def _yaml(entries: list[dict[str, Any]]) -> str:
    """Return the entries of a list, with a blank line before each."""
    texts = (yaml.safe_dump([one], default_flow_style=None, width=math.inf, sort_keys=False) for one in entries)
    return "".join(f"\n{text}" for text in texts)


def _diff(path: str, before: str | None, added: str) -> str:
    """Return a diff that adds a text at the end of a file, or adds the file."""
    path = f"spec/{path}"
    lines = [] if before is None else before.splitlines(keepends=True)
    name = "/dev/null" if before is None else f"a/{path}"
    diff = difflib.unified_diff(lines, [*lines, *added.splitlines(keepends=True)], name, f"b/{path}")
    head = f"diff --git a/{path} b/{path}\n" + ("new file mode 100644\n" if before is None else "")
    return head + "".join(diff)
