// A request as code to copy and run. A file is written as its name.

import { key } from "./api.js";
import { copyButton, h, json } from "./dom.js";
import { address, operation } from "./spec.js";

export class FileValue {
  constructor(file) {
    this.file = file;
    this.preview = URL.createObjectURL(file);
  }
}

const KEY = () => (key.get() === "sandbox" ? "sandbox" : "YOUR_KEY");
// Quoted for a shell, where it must be.
const quoted = (text) => (/^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

// Text escaped for an unquoted here-document.
const inHereDocument = (text) => text.replace(/[\\$`]/g, "\\$&");

function asJson(value) {
  const shown = (node) => {
    if (node instanceof FileValue) return `data:${node.file.type};base64,… (${node.file.name})`;
    if (Array.isArray(node)) return node.map(shown);
    if (node && typeof node === "object")
      return Object.fromEntries(Object.entries(node).map(([name, part]) => [name, shown(part)]));
    return node;
  };
  return shown(value);
}

function asCurl(path, body) {
  const files = [];
  const marked = JSON.stringify(
    body,
    (_name, node) => (node instanceof FileValue ? `\u0000${files.push(node.file) - 1}\u0000` : node),
    2,
  );
  const content = inHereDocument(marked).replace(/\\\\u0000(\d+)\\\\u0000/g, (whole, index) => {
    const file = files[Number(index)];
    if (!file) return whole;
    return `data:${inHereDocument(file.type)};base64,$(base64 < ${quoted(file.name)} | tr -d '\\n')`;
  });
  return [
    `curl ${quoted(address() + path)} \\`,
    `  -H ${quoted(`x-api-key: ${KEY()}`)} -H 'content-type: application/json' \\`,
    `  --data-binary @- <<JSON`,
    content,
    "JSON",
  ].join("\n");
}

// A list of texts is one FIELD=ITEM each; what is not text, or would be read as a file, is FIELD:=JSON.
function asCommandLine(entry, input, config = {}) {
  const isText = (value) => value instanceof FileValue || (typeof value === "string" && !/^[@[-]/.test(value));
  const given = Object.entries(input).filter(([name]) => !(name in (entry.match ?? {})));
  const fields = given.flatMap(([name, value]) => {
    const items = [value].flat();
    if (!items.every(isText)) return `${name}:=${quoted(JSON.stringify(value, fileName))}`;
    return items.map((item) => `${name}=${quoted(item.file?.name ?? item)}`);
  });
  const { endpoint, secret } = config.webhook_config ?? {};
  const options = [endpoint !== undefined && `--webhook-url ${quoted(endpoint)}`, "--to out/"].filter(Boolean);
  const name = entry.name.replace(/(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?<![tgo]2)(?=[A-Z][a-z])/g, "-").toLowerCase();
  return [
    `export UNITASK_BASE_URL=${quoted(address())}`,
    `export UNITASK_API_KEY=${quoted(KEY())}`,
    (secret ?? config.service_mode) && "# without webhook secret and service mode, which this command does not have",
    [`unitask run ${name}`, ...fields, ...options].join(" \\\n  "),
  ]
    .filter(Boolean)
    .join("\n");
}

const fileName = (_name, node) => (node instanceof FileValue ? node.file.name : node);

function asPython(entry, input, config = {}) {
  const webhook = config.webhook_config ?? {};
  const options = [
    webhook.endpoint !== undefined && `webhook_url=${python(webhook.endpoint)}`,
    webhook.secret !== undefined && `webhook_secret=${python(webhook.secret)}`,
    config.service_mode !== undefined && `service_mode=${python(config.service_mode)}`,
  ].filter(Boolean);
  const given = Object.entries(input).filter(([name]) => !(name in (entry.match ?? {}))); // the class sets these
  const fields = given.map(([name, value]) => `            ${name}=${python(value, "            ")},\n`);
  const made = `tasks.${entry.name}(\n${fields.join("")}        )`;
  return [
    "from unitask import Client, tasks",
    "",
    `with Client(${python(KEY())}, ${python(address())}) as client:`,
    "    task = client.run(",
    `        ${fields.length ? made : `tasks.${entry.name}()`},`,
    ...options.map((option) => `        ${option},`),
    "    )",
    "    print(task.id, task.cost_usd)",
    '    client.download(task, "out/")',
  ].join("\n");
}

function python(value, margin = "") {
  if (value instanceof FileValue) return JSON.stringify(value.file.name);
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const parts = Array.isArray(value)
    ? value.map((item) => python(item, `${margin}    `))
    : Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}: ${python(part, `${margin}    `)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const line = open + parts.join(", ") + close;
  if (line.length < 80 && !line.includes("\n")) return line;
  return `${open}\n${parts.map((part) => `${margin}    ${part},\n`).join("")}${margin}${close}`;
}

export function requestOf(entry, input, options) {
  if (entry.create) {
    const { path, method } = operation(entry.create);
    return { path, method, body: input };
  }
  const body = { model: entry.model, task_type: entry.task_type, input };
  if (Object.keys(options).length) body.config = options;
  return { path: "/api/v1/task", method: "POST", body };
}

export function makePreview(entry) {
  const shown = { Python: "", "Command line": "", curl: "", JSON: "" };
  let now = sessionStorage.getItem("code") ?? "Python";
  const code = h("div", { class: "code-place", role: "tabpanel", "aria-label": "Request" });
  const tabs = Object.keys(shown).map((name) =>
    h("button", { type: "button", role: "tab", onclick: () => choose(name), onkeydown: byArrow }, name),
  );
  const element = h(
    "aside",
    { class: "request", "aria-label": "The request as code" },
    h(
      "div",
      { class: "tabs" },
      h("div", { role: "tablist", "aria-label": "Form of the request" }, tabs),
      copyButton(() => shown[now], "Request"),
    ),
    code,
  );
  let given = [{}, {}];

  function choose(name) {
    now = name;
    sessionStorage.setItem("code", name);
    draw();
  }

  function byArrow(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    choose(next.textContent);
    next.focus();
  }

  function draw() {
    const request = requestOf(entry, ...given);
    shown.Python = asPython(entry, ...given);
    shown["Command line"] = asCommandLine(entry, ...given);
    shown.curl = asCurl(request.path, request.body);
    shown.JSON = JSON.stringify(asJson(request.body), null, 2);
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab.textContent === now));
      tab.tabIndex = tab.textContent === now ? 0 : -1;
    }
    code.replaceChildren(
      now === "JSON" ? json(asJson(request.body)) : h("pre", { class: "json", tabindex: "0" }, shown[now]),
    );
  }

  return {
    element,
    show: (...values) => {
      given = values;
      draw();
    },
  };
}
