// A form for each task type of the spec, with the request that it makes.

import { call, fetchState } from "./api.js";
import { FileValue, makePreview, requestOf } from "./code.js";
import { facts, h, isWide, picker, say } from "./dom.js";
import { written } from "./drop.js";
import { field } from "./fields.js";
import { held, hold } from "./held.js";
import { inputOf, isReal, prices, taskType, taskTypes } from "./spec.js";
import { usd } from "./words.js";

const PAUSE = 200; // milliseconds after the last key until an input is checked
const ANY_FILE = "https://sandbox.invalid/file"; // in place of a file, when an input is checked

export function showForm(main) {
  const list = makePicker();
  const place = h("div", { class: "form-place" });
  main.replaceChildren(h("div", { class: "new" }, list.element, place));
  return {
    open(name, from) {
      const entry = taskType(name);
      list.choose(entry?.name);
      place.replaceChildren(entry ? makeForm(entry, held(from)) : choose(name));
    },
    close() {},
  };
}

function choose(name) {
  const real = taskTypes().filter(isReal);
  return h(
    "section",
    { class: "intro" },
    h("h1", {}, name ? `There is no task type ${name}` : "New task"),
    h("p", {}, "Choose a task type. Tasks cost play money."),
    h("h2", {}, "Real: the work is done on this machine"),
    h(
      "ul",
      { class: "cards" },
      real.map((entry) =>
        h("li", {}, h("a", { href: `#/new/${entry.name}` }, h("strong", {}, entry.name), h("span", {}, entry.summary))),
      ),
    ),
    h("p", { class: "hint" }, "Every other task type is SIMULATED: its result is a small file of the right kind that says so."),
  );
}

function makePicker() {
  const search = h("input", {
    type: "search",
    placeholder: "Find a task type",
    "aria-label": "Find a task type",
    oninput: filter,
    onkeydown: (event) => event.key === "ArrowDown" && (event.preventDefault(), stops.enter()),
  });
  const items = new Map(taskTypes().map((entry) => [entry, linkTo(entry)]));
  const groups = Map.groupBy(taskTypes(), (entry) => entry.family);
  const named = [...groups].map(([family, inside]) => [family, inside.map((entry) => [entry.name, items.get(entry)])]);
  const { element, list, stops, choose } = picker("Task types", named, search);

  function filter() {
    const words = search.value.trim().toLowerCase();
    for (const [{ name, family, model, task_type, summary }, link] of items)
      link.parentElement.hidden = ![name, family, model, task_type, summary].join(" ").toLowerCase().includes(words);
    for (const group of list.children) group.hidden = !group.querySelector("li:not([hidden])");
    stops.update();
  }

  return {
    element,
    choose(name) {
      choose(name);
      element.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
      if (!isWide()) element.open = !name;
    },
  };
}

const linkTo = (entry) =>
  h(
    "a",
    { href: `#/new/${entry.name}`, title: entry.summary, class: entry.deprecated && "deprecated" },
    entry.name,
    isReal(entry) && h("span", { class: "badge soft" }, "real"),
  );

function makeForm(entry, again) {
  const schema = inputOf(entry);
  const required = schema.required ?? [];
  const made = Object.entries(schema.properties ?? {}).map(([name, part]) =>
    field(name, part, required.includes(name), refresh),
  );
  const fields = [...made.filter((one) => one.required), ...made.filter((one) => !one.required)];
  const config = entry.create ? [] : configFields(refresh);
  const trouble = h("div", { class: "problem", role: "alert", tabindex: "-1", hidden: true });
  const send = h("button", { class: "primary", type: "submit" }, "Create task");
  const clear = h("button", { type: "button", onclick: empty }, "Clear");
  const cost = h("output", { class: "hint" });
  const preview = makePreview(entry);
  const optional = fields.filter((one) => !one.required).map((one) => one.element);
  const form = h(
    "form",
    { novalidate: true, class: "task-form", "aria-label": entry.name, onsubmit: submit },
    about(entry),
    trouble,
    fields.filter((one) => one.required).map((one) => one.element),
    optional.length
      ? h(
          "details",
          { class: "more", open: optional.length <= 6 || !required.length },
          h("summary", {}, `${optional.length} optional ${optional.length === 1 ? "field" : "fields"}`),
          optional,
        )
      : null,
    !fields.length && h("p", { class: "hint" }, "The input is not documented; it is sent empty."),
    config.length
      ? h(
          "details",
          { class: "more" },
          h("summary", {}, "Webhook and service mode"),
          config.map((one) => one.element),
        )
      : null,
    h("div", { class: "send" }, send, clear, cost),
  );
  let [timer, round] = [0, 0];

  for (const one of fields) one.onSurplus?.(spread);
  form.addEventListener("dragover", (event) => event.preventDefault());
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    spread([...event.dataTransfer.files]);
  });
  for (const one of fields) if (again?.input[one.name] !== undefined) one.write(again.input[one.name]);
  refresh();
  return h("div", { class: "form-split" }, form, preview.element);

  // Dropped files go, one each, to the empty fields that take such a file.
  function spread(files) {
    for (const file of files) fields.find((one) => one.takes?.(file))?.take([file]);
  }

  function empty() {
    for (const one of [...fields, ...config]) {
      one.write(undefined);
      one.complain(null);
    }
    trouble.hidden = true;
    refresh();
    form.querySelector("input:not(.hidden), select, textarea").focus();
  }

  // What the fields hold, and the words for each field that cannot be read.
  function read() {
    const [input, options, words] = [{}, {}, new Map()];
    for (const one of [...fields, ...config]) {
      try {
        const value = one.read();
        if (value === undefined) continue;
        if (fields.includes(one)) input[one.name] = value;
        else if (one.name === "service_mode") options.service_mode = value;
        else options.webhook_config = { ...options.webhook_config, [one.name]: value };
      } catch (error) {
        words.set(one, `${one.label} ${error.message}.`);
      }
    }
    return { input, options, words };
  }

  function refresh() {
    const { input, options } = read();
    preview.show(input, options);
    clearTimeout(timer);
    timer = setTimeout(() => form.isConnected && inspect().catch(() => (cost.textContent = "")), PAUSE);
  }

  // Let the sandbox check the input; show its price, and remove the complaints about fields that are right now.
  async function inspect() {
    const mine = ++round;
    const { input, options, words } = read();
    const counted = Object.values(entry.price?.count ?? {}); // the names of files that decide the price
    const light = ([name, value]) => [name, counted.includes(name) ? value : withoutFiles(value)];
    const content = await written(Object.fromEntries(Object.entries(input).map(light)));
    const { problems, usd: price } = await fetchState(`check/${entry.name}`, "POST", content);
    for (const problem of problems) {
      const one = fields.find((candidate) => candidate.name === problem.path[0]);
      if (one && !words.has(one)) words.set(one, sentence(one, problem));
    }
    if (mine === round) {
      cost.textContent = price !== null ? `costs ${usd(price)}` : entry.price ? "price depends on the input" : "";
      for (const one of [...fields, ...config]) if (one.isWrong()) one.complain(words.get(one) ?? null);
      if (!words.size && trouble.dataset.from === "fields") trouble.hidden = true;
    }
    return { input, options, words };
  }

  async function submit(event) {
    event.preventDefault();
    trouble.hidden = true;
    send.disabled = true;
    send.textContent = "Sending…";
    try {
      const { input, options, words } = await inspect();
      if (words.size) return point(words);
      const request = requestOf(entry, input, options);
      done(await call(request.method, request.path, await written(request.body)), input);
    } catch (error) {
      complain("No answer", `${error.message}. The list of tasks shows whether a task was created.`);
    } finally {
      send.disabled = false;
      send.textContent = "Create task";
    }
  }

  function done(answer, input) {
    const id = answer.body?.data?.task_id ?? answer.body?.task_id;
    if (answer.status === 200 && id) {
      hold(id, entry, input);
      say(`${entry.name} created`);
      if (form.isConnected) location.hash = `#/task/${encodeURIComponent(id)}`; // otherwise another view was chosen meanwhile
      return;
    }
    const message = answer.body?.message ?? answer.body?.error?.message ?? answer.text ?? "";
    complain(`The API answered HTTP ${answer.status}`, message.replace(/^invalid request: /, ""));
  }

  function complain(title, words, from = "api") {
    trouble.replaceChildren(h("strong", {}, title), h("span", {}, words));
    trouble.dataset.from = from;
    trouble.hidden = false;
    if (from === "api") trouble.focus();
  }

  // Show the words at their fields, and move to the first of them.
  function point(words) {
    for (const one of [...fields, ...config]) one.complain(words.get(one) ?? null);
    complain("Nothing was sent", words.size === 1 ? "Correct the marked field." : "Correct the marked fields.", "fields");
    for (const wrong of form.querySelectorAll(".field.wrong")) wrong.closest("details")?.setAttribute("open", "");
    form
      .querySelector(".field.wrong")
      .querySelector("input:not(.hidden):not([hidden]), select, textarea, button")
      .focus();
  }
}

const withoutFiles = (value) =>
  value instanceof FileValue ? ANY_FILE : Array.isArray(value) ? value.map(withoutFiles) : value;

// A problem as a sentence that begins with the label: of a part of the field, with the way to it.
function sentence(one, { path, words }) {
  const way = path.slice(1).map((step) => (typeof step === "number" ? `entry ${step + 1}` : step));
  return `${one.label}${way.length ? `: ${way.join(" > ")}` : ""} ${words}.`;
}

function configFields(onChange) {
  const schema = inputOf({ input: "TaskConfig" });
  const webhook = inputOf({ input: "WebhookConfig" });
  return [...Object.entries(webhook.properties), ...Object.entries(schema.properties)]
    .filter(([name]) => name !== "webhook_config")
    .map(([name, part]) => field(name, part, false, onChange));
}

function about(entry) {
  const docs = entry.docs ? [entry.docs.page, entry.docs.date].filter(Boolean).join(", ") : null;
  const costs = prices(entry);
  return h(
    "header",
    {},
    h(
      "div",
      { class: "title" },
      h("h1", {}, entry.name),
      h("span", { class: "badge soft" }, isReal(entry) ? "real" : "simulated"),
      entry.deprecated && h("span", { class: "badge soft" }, "deprecated"),
    ),
    h("p", { class: "names" }, h("code", {}, entry.model), h("code", {}, entry.task_type)),
    h("p", {}, entry.summary),
    entry.description && h("p", { class: "hint" }, entry.description),
    facts(
      [
        ["Price", costs.length === 1 ? costs[0] : rates(costs)],
        ["Usually takes", `${entry.typical_seconds.value} s at the provider`],
        docs && ["Source", docs],
      ].filter(Boolean),
    ),
  );
}

function rates(costs) {
  const lines = costs.map((line) => h("li", {}, line));
  return h("details", {}, h("summary", {}, `${costs.length} rates`), h("ul", {}, lines));
}
