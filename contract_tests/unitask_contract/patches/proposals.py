"""What a provider answered against the spec, as proposed changes to the spec: a patch, with the bodies as evidence.

    found = differences(exchanges)
    patch = proposal(found)          # for `git apply`, in a checkout of the project

A body is evidence only once nothing in it could tell whose it is (redaction.py). What it shows is then made allowed in
the hand-written files, one edit a difference (widening.py), until the body as it is shown is accepted.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.exchange import Exchange
from unitask_contract.patches.contradictions import NEWS, Finding, findings, schema_of
from unitask_contract.patches.redaction import key_of, redacted, redacted_path
from unitask_contract.patches.widening import OBSERVED, Spec, Unchangeable, widen
from unitask_contract.schema_paths import kind_of, pointer

MOST_EDITS = 100  # for one body
SHOWN = 200  # characters of what came, and of what the spec says


class Kind(StrEnum):
    """What sort of difference it is."""

    BROKEN = "broken"  # the spec does not allow it
    NEWS = "news"  # a field that the spec does not name: allowed, since answers are open
    UNDOCUMENTED = "undocumented"  # an answer that the spec has no schema for


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between what came and the spec, however often it came.

    Attributes:
        operation: The operationId of the first answer that shows it.
        part: "200" or "default"; "request" for a notification.
        family: Of the task that it is about; empty: of none.
        where: In the body; the numbers in lists are stars.
        place: The schema that says otherwise; empty when none speaks of it.
        keyword: What is not kept; "properties" for a field that is not named.
        says: What the spec says.
        came: What came, without anything that could tell whose it is.
        evidence: The body, redacted; None when no redacted body would show the difference, and there is no proposal.
        count: How many bodies show it.
    """

    kind: Kind
    operation: str
    part: str
    family: str
    where: str
    place: str
    keyword: str
    says: str
    came: str
    evidence: Any = None
    count: int = 1

    def is_same(self, other: Difference) -> bool:
        """Whether it is the same difference, seen elsewhere: one change of the spec would do for both."""
        if self.place or other.place:
            return (self.place, self.keyword) == (other.place, other.keyword)
        return (self.operation, self.part) == (other.operation, other.part)

    def __str__(self) -> str:
        seen = "" if self.count == 1 else f" ({self.count} times)"
        return f"{self.operation} {self.part} {self.where or '/'}: {self.says}; came {self.came}{seen}"


def spec_folder() -> Path:
    """The hand-written spec: of the checkout that this module lies in, else the copy in the wheel."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parents[1] / "spec"
    return beside if (beside / "sources.yaml").is_file() else package / "spec"


def differences(exchanges: Iterable[Exchange], notifications: Iterable[tuple[str, Any]] = ()) -> list[Difference]:
    """Every difference between answers and the spec, each once: what is not allowed before what is not named.

    Args:
        exchanges: What went over the wire; those of no operation of the spec are passed over.
        notifications: The operation of each webhook that came, and its body, read as JSON.
    """
    ledger = _Ledger()
    for exchange in exchanges:
        if exchange.operation and not _is_a_stream(exchange):
            ledger.add(exchange.operation, exchange.part, exchange.family, exchange.answer, exchange.content_type)
    for operation, body in notifications:
        told = Exchange("POST", "", b"", 200, json.dumps(body).encode())
        ledger.add(operation, "request", told.family, body, told.content_type)
    return sorted(ledger.found.values(), key=lambda one: (list(Kind).index(one.kind), one.operation, one.where))


def _is_a_stream(exchange: Exchange) -> bool:
    """Whether it is in another form than JSON, which the spec has for it."""
    asked = fields(exchange.asked)
    return exchange.content_type.startswith("text/event-stream") and asked.get("stream") is True


class _Ledger:
    """The differences that were found so far, by what makes each of them one."""

    def __init__(self) -> None:
        self.found: dict[tuple[object, ...], Difference] = {}

    def add(self, operation: str, part: str, family: str, body: Any, content_type: str) -> None:
        """Look at one body."""
        try:
            component = bundle.component_of(operation, part)
        except LookupError:
            self._note((operation, part), _undocumented(operation, part, family, "no such answer", "one"))
            return
        if body is None:
            said = _undocumented(operation, part, family, "JSON", f"something else, as {_media(content_type)}")
            self._note((operation, part, None), said)
            return
        schemas = bundle.schemas()
        found = findings(body, schema_of(component, body, schemas), schemas)
        evidence = redacted(body, component) if any(_identity(one) not in self.found for one in found) else None
        shown = (
            {} if evidence is None else _by_key(findings(evidence, schema_of(component, evidence, schemas), schemas))
        )
        for identity, one in {_identity(one): one for one in found}.items():
            self._note(identity, _difference(one, shown.get(key_of(one)), operation, part, family, evidence))

    def _note(self, identity: tuple[object, ...], difference: Difference) -> None:
        known = self.found.get(identity)
        if known is None:
            self.found[identity] = difference
        else:
            better = known if known.evidence is not None or difference.evidence is None else difference
            self.found[identity] = replace(better, count=known.count + 1)


def _by_key(found: list[Finding]) -> dict[object, Finding]:
    return {key_of(one): one for one in found}


def _identity(found: Finding) -> tuple[object, ...]:
    """What two findings share that ask for the same change: the schema, the keyword, what it would have to allow."""
    listed = found.keyword in ("enum", "const")
    return str(found.place), found.keyword, found.names, repr(found.value) if listed else kind_of(found.value)


def _difference(
    found: Finding, shown: Finding | None, operation: str, part: str, family: str, evidence: Any
) -> Difference:
    kind = Kind.NEWS if found.keyword == NEWS else Kind.BROKEN
    came = f"{kind_of(found.value)}" if shown is None else _short(shown.value)
    if found.keyword == "required":
        came = f"none of {', '.join(found.names)}"
    where = pointer(redacted_path(found.where) if shown is None else shown.where)
    return Difference(
        kind, operation, part, family, where, str(found.place), found.keyword, _said(found), came,
        None if shown is None else evidence,
    )  # fmt: skip


def _said(found: Finding) -> str:
    if found.keyword == NEWS:
        return "no field of this name"
    return f"{found.keyword}: {_short(found.rule)}"


def _undocumented(operation: str, part: str, family: str, says: str, came: str) -> Difference:
    return Difference(Kind.UNDOCUMENTED, operation, part, family, "", "", "", says, came)


def _media(content_type: str) -> str:
    found = re.match(r"[a-z]+/[a-z0-9.+-]{1,40}", content_type.lower())
    return found[0] if found else "no known type"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


# --- the patch


def proposal(found: Iterable[Difference], spec: Path | None = None) -> str:
    """A patch that makes the spec allow, and name, what the differences show; empty when there is nothing to propose.

    It is a unified diff for `git apply` in the root of a checkout, and adds each body as an example.

    Args:
        found: The differences; those without evidence are passed over.
        spec: The spec folder that it is for; `spec_folder()` unless it is given.
    """
    files = Spec(spec or spec_folder())
    before = dict(files.texts)
    added: dict[str, str] = {}
    for difference in _each_body(found):
        contradictions = _accept(files, difference)
        if contradictions is None:
            continue
        name = _free_name(difference, {*added, *_taken(spec or spec_folder())})
        for number, one in enumerate(contradictions, start=1):
            files.add_contradiction(one, _name_of(name), number)
        added[name] = json.dumps(_example(difference), indent=2, ensure_ascii=False) + "\n"
    if not added:
        return ""
    files.add_source(datetime.now(UTC).date().isoformat())
    changed = [_diff(name, before[name], text) for name, text in files.texts.items() if text != before[name]]
    return "".join([*changed, *(_diff(name, None, text) for name, text in sorted(added.items()))])


def _each_body(found: Iterable[Difference]) -> Iterator[Difference]:
    seen: set[str] = set()
    for difference in found:
        body = json.dumps([difference.operation, difference.part, difference.evidence])
        if difference.evidence is not None and body not in seen:
            seen.add(body)
            yield difference


def _accept(files: Spec, difference: Difference) -> list[Finding] | None:
    """Edit until the body is accepted; what it contradicted. None: it cannot be done, and nothing of it is kept."""
    contradictions: list[Finding] = []
    before, component = dict(files.texts), bundle.component_of(difference.operation, difference.part)
    with contextlib.suppress(Unchangeable):
        for _ in range(MOST_EDITS):
            schemas = files.schemas()
            left = findings(difference.evidence, schema_of(component, difference.evidence, schemas), schemas)
            if not left:
                return contradictions
            widen(files, left[0])
            contradictions += left[:1] if left[0].keyword != NEWS else []
    files.texts.update(before)
    return None


def _example(difference: Difference) -> dict[str, Any]:
    what = "A field that no page names" if difference.kind is Kind.NEWS else "What the pages do not allow"
    return {
        "summary": f"{what}, as it came at {difference.where or '/'}; everything else is replaced by dummy values",
        "x-source": [OBSERVED],
        "x-evidence": "recorded",
        "x-operation": difference.operation,
        "x-part": difference.part,
        "value": difference.evidence,
    }


def _taken(spec: Path) -> set[str]:
    return {path.relative_to(spec).as_posix() for path in spec.glob("examples/*/observed-*.json")}


def _free_name(difference: Difference, taken: set[str]) -> str:
    family = difference.family or bundle.family_of(difference.operation)
    last = re.sub(r"[^a-z0-9]+", "-", difference.where.replace("*", "").lower()).strip("-") or "body"
    number = 1
    while True:
        name = f"examples/{family}/observed-{last}{'' if number == 1 else f'-{number}'}.{difference.part}.json"
        if name not in taken:
            return name
        number += 1


def _name_of(path: str) -> str:
    return path.removeprefix("examples/").removesuffix(".json").replace("/", ".")


def _diff(name: str, before: str | None, after: str) -> str:
    path = f"spec/{name}"
    lines = difflib.unified_diff(
        [] if before is None else before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        "/dev/null" if before is None else f"a/{path}",
        f"b/{path}",
    )
    head = f"diff --git a/{path} b/{path}\n" + ("new file mode 100644\n" if before is None else "")
    return head + "".join(lines)
