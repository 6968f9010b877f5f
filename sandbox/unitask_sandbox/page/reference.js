// The reference of the API from the spec: operations with parameters, responses, examples and sources.

import { key } from "./api.js";
import { copyButton, facts, h, isWide, json, picker, uniqueId } from "./dom.js";
import { address, asked, limits, operation, operations, resolved, sources, spec } from "./spec.js";

const DEEPEST = 4;

export function showReference(main) {
  const place = h("div", { class: "reference" });
  const groups = spec.tags.map((tag) => [tag.name, tagged(tag).map((one) => [one.operationId, linkTo(one)])]);
  const list = picker("Operations", groups.filter(([, inside]) => inside.length));
  main.replaceChildren(h("div", { class: "new" }, list.element, place));
  return {
    open(name) {
      const found = name && operation(name);
      list.choose(name);
      place.replaceChildren(...(found ? describe(found) : overview(name)));
      if (found && !isWide()) list.element.open = false;
    },
    close() {},
  };
}

const tagged = (tag) => operations().filter((one) => one.tags?.includes(tag.name));

const linkTo = (one) =>
  h(
    "a",
    { href: `#/reference/${one.operationId}` },
    h("span", { class: `method ${one.method}` }, one.method),
    h("code", {}, breakable(one.operationId)),
  );

// Long names break after underscores.
const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, h("wbr")]);

function overview(name) {
  return [
    h("h1", {}, name ? `There is no operation ${name}` : "Reference"),
    h("p", {}, spec.info.description),
    facts([
      ["URL", h("code", {}, address())],
      [
        "Key",
        "in the header ",
        h("code", {}, "x-api-key"),
        "; the endpoints of language models take it as a bearer token",
      ],
      [
        "Spec",
        h("a", { href: "openapi.json" }, "openapi.json"),
        ` version ${spec.info.version}; `,
        h("a", { href: "docs" }, "rendered with every field"),
        "; ",
        h("a", { href: "_sandbox/page/openapi.json" }, "for client generators"),
      ],
    ]),
    ...spec.tags.map((tag) =>
      h(
        "section",
        {},
        h("h2", {}, tag.name),
        h("p", { class: "hint" }, tag.description),
        h(
          "table",
          { class: "wide" },
          h(
            "tbody",
            {},
            tagged(tag).map((one) =>
              h(
                "tr",
                {},
                h("td", {}, h("span", { class: `method ${one.method}` }, one.method)),
                h("td", {}, h("a", { href: `#/reference/${one.operationId}` }, h("code", {}, one.path))),
                h("td", {}, one.summary),
              ),
            ),
          ),
        ),
      ),
    ),
  ];
}

function describe(one) {
  const bearer = one.security?.some((way) => "Bearer" in way);
  const body = Object.entries(one.requestBody?.content ?? {});
  const curl = `curl -X ${one.method} '${address()}${one.path}' -H '${bearer ? "authorization: Bearer " : "x-api-key: "}${key.get() === "sandbox" ? "sandbox" : "YOUR_KEY"}'`;
  return [
    h(
      "div",
      { class: "title" },
      h("h1", {}, one.summary),
      one.deprecated && h("span", { class: "badge soft" }, "deprecated"),
    ),
    h(
      "p",
      { class: "endpoint" },
      h("span", { class: `method ${one.method}` }, one.method),
      h("code", {}, one.path),
      copyButton(curl, "curl command"),
    ),
    one.description && h("p", {}, one.description),
    sourceLine(one["x-source"]),
    one.operationId === "create_task" &&
      h(
        "p",
        {},
        "What ",
        h("code", {}, "input"),
        " takes depends on model and task_type: ",
        h("a", { href: "#/new" }, "the form of each task type"),
        " shows it.",
      ),
    one.parameters.length
      ? [
          h("h2", {}, "Parameters"),
          properties(
            one.parameters.map((part) => [
              part.name,
              { ...part.schema, description: part.description, "x-source": part["x-source"] },
              part.required,
              part.in,
            ]),
          ),
        ]
      : null,
    body.map(([type, content]) => [
      h("h2", {}, "Body ", h("small", {}, type)),
      schemaOf(content.schema),
      examples(content.examples),
    ]),
    h("h2", {}, "Responses"),
    Object.entries(one.responses).map(([status, answer]) => response(status, resolved(answer))),
  ]
    .flat(4)
    .filter(Boolean);
}

function response(status, answer) {
  const [type, content] = Object.entries(answer.content ?? {})[0] ?? [];
  return h(
    "details",
    { class: "more", open: status === "200" },
    h("summary", {}, h("strong", {}, status === "default" ? "anything else" : status), " ", h("small", {}, type ?? "")),
    h("p", {}, answer.description),
    content && schemaOf(content.schema),
    content && examples(content.examples),
  );
}

function schemaOf(schema, depth = 0) {
  const rule = asked(schema ?? {});
  if (rule.type === "array") return schemaOf(rule.items, depth);
  const parts = Object.entries(rule.properties ?? {});
  if (!parts.length) return null;
  return h(
    "div",
    {},
    !depth && rule.description && h("p", { class: "hint" }, rule.description),
    properties(
      parts.map(([name, part]) => [name, part, rule.required?.includes(name)]),
      depth,
    ),
  );
}

function properties(rows, depth = 0) {
  return h(
    "ul",
    { class: "properties" },
    rows.map(([name, schema, required, place]) => {
      const rule = asked(schema);
      const inner = depth < DEEPEST ? schemaOf(schema, depth + 1) : null;
      const said = [
        ...limits(schema),
        rule.enum && `one of ${rule.enum.join(", ")}`,
        rule["x-advisory"]?.enum && `documented: ${rule["x-advisory"].enum.join(", ")}`,
      ].filter(Boolean);
      return h(
        "li",
        {},
        h(
          "div",
          {},
          h("code", { class: "property" }, name),
          " ",
          h("span", { class: "type" }, typeOf(schema), place && ` in ${place}`),
          required && h("span", { class: "required" }, "required"),
        ),
        rule.description &&
          h("p", { title: sources(rule["x-source"] ?? []).join("; ") || undefined }, rule.description),
        said.length ? h("p", { class: "limits" }, said.join("; ")) : null,
        inner && h("details", {}, h("summary", {}, "Fields"), inner),
      );
    }),
  );
}

function typeOf(schema) {
  const rule = resolved(schema);
  if (rule.anyOf || rule.oneOf) return [...new Set((rule.anyOf ?? rule.oneOf).map(typeOf))].join(" or ");
  if (rule.type === "array") return `array of ${typeOf(rule.items ?? {})}`;
  return [rule.type ?? "any"].flat().join(" or ");
}

function examples(found) {
  const all = Object.entries(found ?? {}).map(([name, example]) => [name, resolved(example)]);
  if (!all.length) return null;
  const id = uniqueId("example");
  const place = h("div");
  const show = () => {
    const example = all[Number(choice.value)][1];
    const evidence = example["x-evidence"];
    place.replaceChildren(
      h("p", { class: "hint" }, [evidence && `${evidence}: `, sources(example["x-source"]).join("; ")]),
      json(example.value),
    );
  };
  const choice = h(
    "select",
    { id, onchange: show },
    all.map(([name, example], index) =>
      h("option", { value: index }, example.summary ? `${example.summary} (${name})` : name),
    ),
  );
  show();
  return h(
    "div",
    { class: "examples" },
    h("label", { for: id }, all.length === 1 ? "Example" : `${all.length} examples`),
    choice,
    place,
  );
}

function sourceLine(ids) {
  const from = sources(ids);
  return from.length ? h("p", { class: "hint" }, `Source: ${from.join("; ")}`) : null;
}
