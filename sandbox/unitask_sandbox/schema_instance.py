"""A JSON value that fits a JSON Schema, SIMULATED: the same schema gives the same value.

The schemas are those of structured output: types with their limits, enum, const, anyOf, allOf, $ref and items.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

from jsonschema_rs import Draft202012Validator

from unitask_sandbox import bundle
from unitask_sandbox.failures import Refusal

MOST_PARTS = 2000  # of a value, and references on the way: a schema can be small and demand millions
MOST_RULES = 50_000
LONGEST_TEXT = 10_000
TEXT = "SIMULATED"
FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "duration": "PT1S",
    "email": "simulated@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "00:00:00Z",
    "uri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
LIMITS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")

Rule = dict[str, Any]
Path = tuple[str, ...]  # the references that lead to a place


def instance(schema: dict[str, Any], at: str) -> Any:
    """Return a value that fits a schema; refuse one that is invalid, or that no value is made for here.

    `at` names the schema in a refusal.
    """
    try:
        validator = Draft202012Validator(schema, offline=True)
    except ValueError as error:
        raise Refusal(400, f"invalid request: {at} is not a JSON Schema: {str(error).splitlines()[0][:200]}") from None
    value: Any = None
    try:
        maker = _Maker(schema)
        if maker.size(schema) > MOST_RULES:  # validation could take hours, and nothing else runs meanwhile
            raise ValueError(f"it has more than {MOST_RULES} rules, each counted wherever it is referred to")
        value = maker.value(schema, ())
        reason = bundle.problems(validator, value)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__} {error}"[:200]
    if reason:
        raise Refusal(400, f"{at}: the SIMULATED answer does not fit this schema ({reason}); use a simpler schema")
    return value


def _rule(schema: object) -> Rule:
    """Return a schema as an object: true allows any value, and so does an object without fields."""
    return cast("Rule", schema) if isinstance(schema, dict) else {}


@dataclass
class _Maker:
    schema: dict[str, Any]
    left: int = MOST_PARTS
    sizes: dict[str, int] = field(default_factory=dict[str, int])  # of what is referred to

    def size(self, part: object) -> int:
        """Return how many rules a part of the schema has, with those that it refers to."""
        if isinstance(part, list):
            return sum(map(self.size, cast("list[object]", part)))
        rule, total = _rule(part), 1
        if isinstance(reference := rule.get("$ref"), str) and reference.startswith("#"):
            if reference not in self.sizes:
                self.sizes[reference] = 1  # what refers to itself ends with the value
                self.sizes[reference] = self.size(self._target(reference))
            total += self.sizes[reference]
        return total + sum(map(self.size, rule.values()))

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it demands more than {MOST_PARTS} values and references")

    def value(self, schema: object, path: Path) -> Any:
        self._count()
        rule, path = self._merged(_rule(schema), path)
        if "const" in rule:
            return rule["const"]
        if "enum" in rule:
            return rule["enum"][0]
        if options := rule.get("anyOf") or rule.get("oneOf"):
            empty = {"type": "null"}
            chosen = empty if empty in options and _is_repeated(path) else options[0]
            rest = {name: part for name, part in rule.items() if name not in ("anyOf", "oneOf")}
            return self.value({**rest, **_rule(chosen)}, path)
        match _type_of(rule):
            case "object":
                return self._object(rule, path)
            case "array":
                return self._array(rule, path)
            case "integer" | "number" as kind:
                return _number(rule, kind)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                text = FORMATS.get(rule.get("format", ""), TEXT)
                return text.ljust(min(rule.get("minLength", 0), LONGEST_TEXT), ".")[: rule.get("maxLength")]

    def _object(self, rule: Rule, path: Path) -> dict[str, Any]:
        required = rule.get("required", ())
        return {
            name: self.value(part, path)
            for name, part in rule.get("properties", {}).items()
            if name in required or not _is_repeated(path)
        }

    def _array(self, rule: Rule, path: Path) -> list[Any]:
        first: list[Any] = rule.get("prefixItems", [])
        usual = 0 if first or _is_repeated(path) else min(1, rule.get("maxItems", 1))
        more = max(usual, rule.get("minItems", 0) - len(first))
        rules = itertools.chain(first, itertools.repeat(rule.get("items"), more))
        return [self.value(part, path) for part in rules]

    def _merged(self, rule: Rule, path: Path) -> tuple[Rule, Path]:
        """Return a rule together with those that it refers to, and the path with these references."""
        own = {name: part for name, part in rule.items() if name not in ("$ref", "allOf")}
        parts: list[object] = list(rule.get("allOf", ()))
        if "$ref" in rule:
            parts.append(self._target(rule["$ref"]))
            path = (*path, rule["$ref"])
        for part in parts:
            self._count()
            other, path = self._merged(_rule(part), path)
            fields: Rule = {**other.get("properties", {}), **own.get("properties", {})}
            required: list[Any] = [*other.get("required", ()), *own.get("required", ())]
            own = {**other, **own}
            if fields:
                own |= {"properties": fields, "required": required}
        return own, path

    def _target(self, reference: str) -> object:
        node: Any = self.schema
        for step in reference.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            is_index = not isinstance(node, dict)
            node = node[int(name) if is_index else name]
        return node


def _is_repeated(path: Path) -> bool:
    """Return whether a path goes through a reference again: there the value ends as soon as it may."""
    return len(set(path)) < len(path)


def _type_of(rule: Rule) -> str:
    kinds = rule.get("type", ())
    named = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"] or list(kinds)
    if not named:
        return "object" if "properties" in rule else "array" if "items" in rule else "string"
    return str(named[0])


def _number(rule: Rule, kind: str) -> float:
    """Return 1, or a number near a limit that fits the limits; 1 when none does."""
    limits = [rule[name] for name in LIMITS if name in rule]
    step = rule.get("multipleOf", 1)
    near = [limit // step * step + more for limit in limits for more in (0, step, -step)]
    tried = [1, *near, *([sum(limits) / len(limits)] if limits else [])]
    wanted = {name: rule[name] for name in (*LIMITS, "multipleOf") if name in rule}
    fits = Draft202012Validator({"type": kind, **wanted}).is_valid
    return next((number for number in tried if fits(number)), 1)
