// A form for each task type of the spec, with the request that it makes.

import { call } from "./api.js";
import { asCurl, asJson, asPython } from "./code.js";
import { copyButton, h, json, say } from "./dom.js";
import { written } from "./drop.js";
import { field } from "./fields.js";
import { held, hold } from "./held.js";
import { hasFlatPrice, inputOf, isReal, operation, prices, taskType, taskTypes } from "./spec.js";

export function showForm(main) {
  const picker = makePicker();
  const place = h("div", { class: "form-place" });
  main.replaceChildren(h("div", { class: "new" }, picker.element, place));
  return {
    open(name, from) {
      const entry = taskType(name);
      picker.choose(entry?.name);
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
    h("p", {}, "Choose a task type. Each form is made from the spec; the work is done on this machine."),
    h("h2", {}, "Really done here"),
    h(
      "ul",
      { class: "cards" },
      real.map((entry) =>
        h("li", {}, h("a", { href: `#/new/${entry.name}` }, h("strong", {}, entry.name), h("span", {}, entry.summary))),
      ),
    ),
    h("p", { class: "hint" }, "Every other task type ends with a small file of the right kind, marked SIMULATED."),
  );
}

function makePicker() {
  const links = new Map();
  const groups = new Map();
  for (const entry of taskTypes()) {
    const link = h(
      "a",
      { href: `#/new/${entry.name}`, title: entry.summary },
      entry.name,
      isReal(entry) && h("span", { class: "badge soft" }, "real"),
    );
    const item = h("li", { class: entry.deprecated ? "deprecated" : undefined }, link);
    links.set(entry.name, {
      link,
      item,
      text: `${entry.name} ${entry.family} ${entry.model} ${entry.task_type} ${entry.summary}`.toLowerCase(),
    });
    if (!groups.has(entry.family)) groups.set(entry.family, []);
    groups.get(entry.family).push(item);
  }
  const search = h("input", {
    type: "search",
    placeholder: "Find a task type",
    "aria-label": "Find a task type",
    oninput: filter,
  });
  const lists = [...groups].map(([family, items]) =>
    h("div", { class: "family" }, h("h2", {}, family), h("ul", {}, items)),
  );
  const summary = h("summary", {}, "Task types");
  const element = h(
    "details",
    { class: "picker", open: matchMedia("(min-width: 60rem)").matches },
    summary,
    h("nav", { "aria-label": "Task types" }, search, h("div", { class: "families" }, lists)),
  );

  function filter() {
    const words = search.value.trim().toLowerCase();
    for (const { item, text } of links.values()) item.hidden = !text.includes(words);
    for (const list of lists) list.hidden = !list.querySelector("li:not([hidden])");
  }

  return {
    element,
    choose(name) {
      for (const [other, { link }] of links)
        other === name ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
      links.get(name)?.link.scrollIntoView({ block: "nearest" });
      if (!matchMedia("(min-width: 60rem)").matches) element.open = !name;
    },
  };
}

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
    !fields.length && h("p", { class: "hint" }, "No page says what its input is; it is sent empty."),
    config.length
      ? h(
          "details",
          { class: "more" },
          h("summary", {}, "Webhook and service mode"),
          config.map((one) => one.element),
        )
      : null,
    h(
      "div",
      { class: "send" },
      send,
      h(
        "span",
        { class: "hint" },
        hasFlatPrice(entry) ? `costs ${prices(entry)[0]}` : "the cost depends on the input; the task says it",
      ),
    ),
  );

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

  function read(complain) {
    const input = {};
    const options = {};
    let good = true;
    for (const one of [...fields, ...config]) {
      try {
        const value = one.read();
        if (complain) one.complain(null);
        if (value === undefined) continue;
        if (fields.includes(one)) input[one.name] = value;
        else if (one.name === "service_mode") options.service_mode = value;
        else options.webhook_config = { ...options.webhook_config, [one.name]: value };
      } catch (error) {
        good = false;
        if (complain) one.complain(error.message);
      }
    }
    return { good, input, options };
  }

  function refresh() {
    const { input, options } = read(false);
    preview.show(input, options);
  }

  async function submit(event) {
    event.preventDefault();
    const { good, input, options } = read(true);
    trouble.hidden = true;
    if (!good) return point();
    send.disabled = true;
    send.textContent = "Sending…";
    try {
      const request = requestOf(entry, input, options);
      const answer = await call(request.method, request.path, await written(request.body));
      done(answer, input);
    } catch (error) {
      complain([`No answer: ${error.message}. Whether a task was created, the list tells.`], `No answer`);
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
    complain(message.replace(/^invalid request: /, "").split("; "), `The API answered HTTP ${answer.status}`);
  }

  // Errors about a field are shown at the field, others above the form.
  function complain(faults, title) {
    const left = faults.filter((fault) => {
      const name =
        /^input\.([A-Za-z0-9_]+)/.exec(fault)?.[1] ?? /: "([A-Za-z0-9_]+)" is a required property/.exec(fault)?.[1];
      const one = fields.find((candidate) => candidate.name === name);
      one?.complain(fault.replace(/^(input|the body): /, ""));
      return !one;
    });
    trouble.replaceChildren(
      h("strong", {}, title),
      h("span", {}, left.length ? left.join("; ") : "See what is marked below."),
    );
    trouble.hidden = false;
    point();
  }

  function point() {
    const wrong = form.querySelector(".field.wrong");
    wrong?.closest("details")?.setAttribute("open", "");
    (wrong?.querySelector("input:not(.hidden):not([hidden]), select, textarea, button") ?? trouble).focus();
  }
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
      h("span", { class: "badge soft" }, isReal(entry) ? "really done here" : "simulated here"),
      entry.deprecated && h("span", { class: "badge soft" }, "deprecated"),
    ),
    h("p", { class: "names" }, h("code", {}, entry.model), h("code", {}, entry.task_type)),
    h("p", {}, entry.summary),
    entry.description && h("p", { class: "hint" }, entry.description),
    h(
      "dl",
      { class: "facts" },
      h(
        "div",
        {},
        h("dt", {}, "Price"),
        h(
          "dd",
          {},
          costs.length === 1
            ? costs[0]
            : h(
                "details",
                {},
                h("summary", {}, `${costs.length} rates`),
                h(
                  "ul",
                  {},
                  costs.map((line) => h("li", {}, line)),
                ),
              ),
        ),
      ),
      h("div", {}, h("dt", {}, "Usually takes"), h("dd", {}, `${entry.typical_seconds.value} s at the provider`)),
      docs && h("div", {}, h("dt", {}, "Source"), h("dd", {}, docs)),
    ),
  );
}

function requestOf(entry, input, options) {
  if (entry.create) {
    const { path, method } = operation(entry.create);
    return { path, method, body: input };
  }
  const body = { model: entry.model, task_type: entry.task_type, input };
  if (Object.keys(options).length) body.config = options;
  return { path: "/api/v1/task", method: "POST", body };
}

function makePreview(entry) {
  const shown = { Python: "", curl: "", JSON: "" };
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
