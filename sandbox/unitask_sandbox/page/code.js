// A request as code to copy and run. A file is written as its name.

import { key } from "./api.js";
import { address } from "./spec.js";

export class FileValue {
  constructor(file) {
    this.file = file;
    this.preview = URL.createObjectURL(file);
  }
}

const KEY = () => (key.get() === "sandbox" ? "sandbox" : "YOUR_KEY");
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// Text escaped for an unquoted here-document.
const inHereDocument = (text) => text.replace(/[\\$`]/g, "\\$&");

export function asJson(value) {
  const shown = (node) => {
    if (node instanceof FileValue) return `data:${node.file.type};base64,… (${node.file.name})`;
    if (Array.isArray(node)) return node.map(shown);
    if (node && typeof node === "object")
      return Object.fromEntries(Object.entries(node).map(([name, part]) => [name, shown(part)]));
    return node;
  };
  return shown(value);
}

export function asCurl(path, body) {
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

export function asPython(entry, input, config = {}) {
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
