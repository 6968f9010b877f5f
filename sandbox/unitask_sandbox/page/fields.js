// A field of a form for each part of an input's schema. Each has {element, name, label, read, write, complain}; read
// returns undefined for an empty field, and throws an Error that says what the field must be.

import { h, uniqueId } from "./dom.js";
import { mediaField } from "./drop.js";
import { asked, limits, media, resolved, sources } from "./spec.js";
import { labelOf } from "./words.js";

export function field(name, schema, required, onChange) {
  const rule = asked(schema);
  const parts = frame(name, schema, rule, required);
  const made = media(schema) ? mediaField(parts, media(schema), onChange) : plain(parts, rule, onChange);
  const { element, label, complain } = parts;
  return { name, required, ...made, element, label, complain, isWrong: () => element.classList.contains("wrong") };
}

function frame(name, schema, rule, required) {
  const id = uniqueId(name.replace(/\W/g, ""));
  const said = [
    limits(schema).join("; "),
    rule["x-advisory"]?.enum && `documented: ${rule["x-advisory"].enum.filter(Boolean).join(", ")}`,
  ].filter(Boolean);
  const from = sources(resolved(schema)["x-source"] ?? []);
  const hint = h(
    "p",
    { class: "hint", id: `${id}-hint`, title: from.length ? `Source: ${from.join("; ")}` : undefined },
    rule.description ?? "",
    said.length ? h("span", { class: "limits" }, ` ${said.map(sentence).join(" ")}`) : null,
  );
  const trouble = h("p", { class: "field-error", id: `${id}-error`, hidden: true });
  const label = labelOf(name);
  const heading = h(
    "div",
    { class: "field-head" },
    h("label", { for: id }, label),
    label.toLowerCase() !== name && h("code", {}, name),
    h("span", { class: required ? "required" : "optional" }, required ? "required" : "optional"),
  );
  const element = h("div", { class: "field", dataset: { field: name } }, heading, hint);
  const describe = { id, "aria-describedby": `${id}-hint ${id}-error`, "aria-required": required ? "true" : undefined };
  const complain = (words) => {
    trouble.hidden = !words;
    trouble.textContent = words ?? "";
    element.classList.toggle("wrong", Boolean(words));
    const control = element.querySelector(`#${id}`);
    if (words) control?.setAttribute("aria-invalid", "true");
    else control?.removeAttribute("aria-invalid");
  };
  const put = (...controls) => element.append(...controls, trouble);
  return { id, name, label, element, describe, put, complain };
}

const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;

function plain(parts, rule, onChange) {
  if (rule.const !== undefined) return constant(parts, rule);
  if (rule.enum) return choice(parts, rule.enum, onChange);
  if (rule.type === "boolean") return choice(parts, [true, false], onChange);
  if (rule.type === "integer" || rule.type === "number") return number(parts, rule, onChange);
  if (rule.type === "array" && ["string", "integer", "number"].includes(asked(rule.items ?? {}).type))
    return lines(parts, rule, onChange);
  if (rule.type === "array" || rule.type === "object" || !rule.type) return jsonText(parts, rule, onChange);
  return text(parts, rule, onChange);
}

function constant(parts, rule) {
  parts.put(h("input", { ...parts.describe, value: String(rule.const), readonly: true }));
  return { read: () => rule.const, write() {} };
}

// Not a checkbox, because it cannot leave the field out, and the provider's default is unknown.
function choice(parts, values, onChange) {
  const control = h(
    "select",
    { ...parts.describe, onchange: onChange },
    h("option", { value: "" }, "not given"),
    values.map((value) =>
      h(
        "option",
        { value: JSON.stringify(value) },
        value === true ? "yes (true)" : value === false ? "no (false)" : String(value),
      ),
    ),
  );
  parts.put(control);
  return {
    read: () => (control.value === "" ? undefined : JSON.parse(control.value)),
    write: (value) => (control.value = value === undefined ? "" : JSON.stringify(value)),
  };
}

function number(parts, rule, onChange) {
  const soft = rule["x-advisory"] ?? {};
  const range = {
    min: rule.minimum ?? soft.minimum ?? rule.exclusiveMinimum,
    max: rule.maximum ?? soft.maximum,
    step: rule.type === "integer" ? 1 : "any",
  };
  const control = h("input", { ...parts.describe, ...range, type: "number", oninput: onChange });
  parts.put(control);
  return {
    read() {
      if (control.validity.badInput) throw new Error("must be a number");
      return control.value === "" ? undefined : Number(control.value);
    },
    write: (value) => (control.value = value ?? ""),
  };
}

function text(parts, rule, onChange) {
  const long = /prompt|lyrics|text|script|description/.test(parts.name) && !rule.format;
  const control = long
    ? h("textarea", { ...parts.describe, rows: 3, oninput: onChange })
    : h("input", { ...parts.describe, type: "text", spellcheck: "false", autocomplete: "off", oninput: onChange });
  const advised = rule["x-advisory"]?.enum;
  parts.put(control);
  if (advised && !long) {
    const list = h(
      "datalist",
      { id: `${parts.id}-list` },
      advised.map((value) => h("option", { value: String(value) })),
    );
    control.setAttribute("list", list.id);
    parts.put(list);
  }
  return {
    read: () => (control.value === "" ? undefined : control.value),
    write: (value) => (control.value = value ?? ""),
  };
}

function lines(parts, rule, onChange) {
  const control = h("textarea", { ...parts.describe, rows: 3, placeholder: "one on each line", oninput: onChange });
  const numeric = asked(rule.items).type !== "string";
  parts.put(control);
  return {
    read() {
      const found = control.value.split("\n").filter((line) => line.trim());
      if (!numeric) return found.length ? found : undefined;
      const numbers = found.map(Number);
      if (numbers.some(Number.isNaN)) throw new Error("must have one number on each line");
      return numbers.length ? numbers : undefined;
    },
    write: (value) => (control.value = (value ?? []).join("\n")),
  };
}

function jsonText(parts, rule, onChange) {
  const control = h("textarea", {
    ...parts.describe,
    class: "code",
    rows: 4,
    spellcheck: "false",
    placeholder: skeleton(rule),
    oninput: onChange,
  });
  parts.put(control);
  return {
    read() {
      if (!control.value.trim()) return undefined;
      try {
        return JSON.parse(control.value);
      } catch (error) {
        throw new Error(`must be JSON: ${error.message}`);
      }
    },
    write: (value) => (control.value = value === undefined ? "" : JSON.stringify(value, null, 2)),
  };
}

// An example of such a value.
function skeleton(rule, depth = 0) {
  const kind = asked(rule);
  if (kind.type === "array") return `[${skeleton(kind.items ?? {}, depth + 1)}]`;
  if (kind.type !== "object" || depth > 2)
    return JSON.stringify(kind.enum?.[0] ?? { string: "…", boolean: true, integer: 1, number: 1 }[kind.type] ?? null);
  return `{${Object.entries(kind.properties ?? {})
    .map(([name, part]) => `"${name}": ${skeleton(part, depth + 1)}`)
    .join(", ")}}`;
}
