// The spec from /openapi.json: task types, schemas, prices, operations.

import { base } from "./api.js";
import { usd } from "./words.js";

export let spec = null;
export let about = null;

export async function load() {
  const read = async (path) => (await fetch(path)).json();
  [spec, about] = await Promise.all([read("openapi.json"), read("_sandbox/about")]);
}

// What examples call the provider: behind a proxy not what this page calls it.
export const address = () => about.public_url?.replace(/\/$/, "") ?? base();

export function resolved(node) {
  const refs = [];
  while (node?.$ref && !refs.includes(node.$ref)) {
    refs.push(node.$ref);
    const { $ref, ...beside } = node;
    const target = $ref
      .slice(2)
      .split("/")
      .reduce((part, step) => part?.[step.replaceAll("~1", "/").replaceAll("~0", "~")], spec);
    node = { ...target, ...beside };
  }
  return node ?? {};
}

// A nullable field has the same form as any other: an empty field is left out.
export function asked(schema) {
  const rule = resolved(schema);
  const kinds = (rule.anyOf ?? rule.oneOf ?? []).filter((kind) => kind.type !== "null");
  if (kinds.length) return { ...resolved(kinds[0]), description: rule.description ?? resolved(kinds[0]).description };
  return Array.isArray(rule.type) ? { ...rule, type: rule.type.find((type) => type !== "null") } : rule;
}

export const taskTypes = () => spec["x-tasks"];
export const taskType = (name) => taskTypes().find((entry) => entry.name === name);
export const inputOf = (entry) => resolved({ $ref: `#/components/schemas/${entry.input}` });

// Of several task types with the same model and task_type, the one without a `match`.
export function nameOf({ model, task_type }) {
  const named = taskTypes().filter((entry) => entry.model === model && entry.task_type === task_type);
  return (named.find((entry) => !entry.match) ?? named[0])?.name ?? task_type;
}

// The task type of a task by its input, too.
export function entryOf({ model, task_type }, input) {
  const named = taskTypes().filter((entry) => entry.model === model && entry.task_type === task_type);
  const fits = (match) => Object.entries(match).every(([name, value]) => input[name] === value);
  return named.find(({ match }) => match && fits(match)) ?? named.find(({ match }) => !match);
}

export const isReal = (entry) =>
  about.engines.some((engine) => engine.model === entry.model && engine.task_type === entry.task_type);

export function operations() {
  const found = [];
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of ["get", "post", "put", "patch", "delete"]) {
      const operation = item[method];
      if (!operation) continue;
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolved);
      found.push({ ...operation, path, method: method.toUpperCase(), parameters });
    }
  }
  return found;
}

export const operation = (name) => operations().find((one) => one.operationId === name);

export function sources(ids = []) {
  return ids.map((id) => {
    const source = spec["x-sources"][id] ?? {};
    return [source.page ?? id, source.date].filter(Boolean).join(", ");
  });
}

// The price of a task type as lines.
export function prices(entry) {
  const price = entry.price;
  if (!price) return ["not documented"];
  const unit = price.per ? ` per ${price.per}` : "";
  return [price, ...(price.more ?? [])].map((rate) => {
    const when = Object.entries(rate.when ?? {}).map(([name, value]) => `${name} is ${wanted(value)}`);
    return `${usd(rate.usd)}${unit}${when.length ? ` when ${when.join(" and ")}` : ""}`;
  });
}

const wanted = (value) =>
  Array.isArray(value) ? value.join(" or ") : value?.at_most !== undefined ? `at most ${value.at_most}` : String(value);

export function media(schema) {
  const rule = asked(schema);
  const many = rule.type === "array";
  const found = many ? asked(rule.items ?? {}) : rule;
  return found["x-media"] ? { ...found["x-media"], many } : null;
}

const entries = (number) => (number === 1 ? "1 entry" : `${number} entries`);

// The limits of a value in words.
export function limits(schema) {
  const rule = { ...resolved(schema), ...asked(schema) };
  const say = (part, soft) => [
    part.minimum !== undefined && `from ${part.minimum}`,
    part.exclusiveMinimum !== undefined && `above ${part.exclusiveMinimum}`,
    part.maximum !== undefined && `${soft}at most ${part.maximum}`,
    part.exclusiveMaximum !== undefined && `${soft}below ${part.exclusiveMaximum}`,
    part.maxLength !== undefined && `${soft}at most ${part.maxLength} characters`,
    part.minItems !== undefined && `${soft}at least ${entries(part.minItems)}`,
    part.maxItems !== undefined && `${soft}at most ${entries(part.maxItems)}`,
  ];
  const picture = media(schema);
  return [
    ...say(rule, ""),
    ...say(rule["x-advisory"] ?? {}, "as documented "),
    picture?.formats && picture.formats.join(", "),
    picture?.exclusive_max_side && `both sides below ${picture.exclusive_max_side} pixels`,
  ].filter(Boolean);
}
