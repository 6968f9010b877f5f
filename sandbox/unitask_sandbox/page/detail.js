// One task: output, input, times, cost, webhook and JSON.

import { call, fetchState, poke, watch } from "./api.js";
import { badge, copyButton, facts, h, json, uniqueId } from "./dom.js";
import { held, hold } from "./held.js";
import { addresses, figure, inValue, isShown, kindOf } from "./media.js";
import { entryOf, nameOf } from "./spec.js";
import { duration, moment, usd } from "./words.js";

export function showTask(side, id) {
  const head = h("header", { class: "detail-head" }, h("h1", {}, "Task"));
  const body = h("div", { class: "detail-body" }, h("p", { class: "hint" }, "Loading…"));
  const panel = h(
    "article",
    { class: "detail", "aria-label": "Task" },
    h("a", { class: "back", href: "#/tasks" }, "← All tasks"),
    head,
    body,
  );
  side.replaceChildren(panel);
  const parts = new Map();
  let [asked, last, loading] = [held(id)?.input ?? null, null, false]; // the input: null until it was requested

  const stop = watch(`tasks/${encodeURIComponent(id)}`, ({ body: seen, error }) => {
    if (error?.status === 404) body.replaceChildren(h("p", { class: "problem" }, `This key has no task ${id}.`));
    if (seen) update((last = seen));
  });

  function update(seen) {
    const { task, data, ledger, webhook } = seen;
    if (asked === null && !loading) askInput(task);
    part("head", head, [task, Boolean(asked)], () => heading(task));
    if (body.firstElementChild?.tagName !== "SECTION")
      body.replaceChildren(
        ...["error", "output", "input", "times", "webhook", "raw"].map((name) =>
          h("section", { dataset: { part: name } }),
        ),
      );
    fill("error", [task.error, data.error], () => problem(data));
    fill("output", [task.status, task.output, task.simulated, Boolean(asked)], () => output(task, asked));
    if (!loading) fill("input", [Boolean(asked)], () => input(asked));
    body.classList.toggle(
      "beside",
      ["output", "input"].every((name) => body.querySelector(`[data-part=${name}] .medium`)),
    );
    fill("times", [task, ledger], () => times(task, ledger));
    fill("webhook", [data.config?.webhook_config?.endpoint, webhook, task.status], () => hook(data, webhook, task));
    fill("raw", [data], () => raw(id, data));
  }

  const fill = (name, values, make) => part(name, body.querySelector(`[data-part=${name}]`), values, make);

  // A part is rebuilt only when its values change, so that a playing film continues.
  function part(name, element, values, make) {
    const now = JSON.stringify(values);
    if (parts.get(name) === now) return;
    parts.set(name, now);
    const made = make();
    element.hidden = !made.length;
    element.replaceChildren(...made);
  }

  async function askInput(task) {
    loading = true;
    try {
      asked = (await fetchState(`tasks/${encodeURIComponent(id)}/input`)).input ?? undefined;
      const entry = asked && entryOf(task, asked);
      if (entry) hold(id, entry, asked);
    } catch {
      // requested again at the next change; the task view shows the error
    }
    loading = false;
    if (asked !== null) update(last);
  }

  return { close: stop };
}

function heading(task) {
  const again = held(task.task_id);
  const trouble = h("p", { class: "problem", role: "alert", hidden: true });
  const complain = (words) => {
    trouble.hidden = false;
    trouble.textContent = words;
    cancel.disabled = false;
  };
  const cancel = h(
    "button",
    {
      type: "button",
      class: "danger",
      onclick: async () => {
        cancel.disabled = true;
        try {
          const answer = await call("DELETE", `/api/v1/task/${encodeURIComponent(task.task_id)}`);
          if (answer.status !== 200) complain(answer.body?.message ?? `HTTP ${answer.status}`);
        } catch (error) {
          complain(`No answer: ${error.message}. The state shows whether the task was cancelled.`);
        }
        poke();
      },
    },
    "Cancel",
  );
  return [
    h(
      "div",
      { class: "title" },
      h("h1", {}, nameOf(task)),
      badge(task.status),
      task.simulated &&
        h("span", { class: "badge soft", title: "A small file stands for the result." }, "simulated"),
    ),
    h("p", { class: "names" }, h("code", {}, task.model), h("code", {}, task.task_type)),
    h(
      "div",
      { class: "idline" },
      h("code", { class: "id" }, task.task_id),
      copyButton(task.task_id, "Task id"),
      again && h("a", { class: "button quiet", href: `#/new/${again.entry.name}/${task.task_id}` }, "Use again"),
      task.status === "pending" && cancel,
    ),
    trouble,
  ];
}

function problem(data) {
  if (data.status !== "failed") return [];
  const { code, message, raw_message } = data.error ?? {};
  return [
    h(
      "div",
      { class: "problem" },
      h("strong", {}, raw_message || message || "failed"),
      h("span", {}, `${raw_message && message ? `${message}, ` : ""}code ${code}`),
    ),
  ];
}

function output(task, given) {
  const found = addresses(task.output);
  const pictures = found.filter(({ address }) => kindOf(address) === "image");
  const before = !task.simulated && pictures.length === 1 ? pictureIn(given ?? {}) : undefined;
  if (!task.output)
    return task.ended_at === null ? [h("h2", {}, "Output"), h("p", { class: "hint" }, "None yet.")] : [];
  return [
    h("h2", {}, "Output"),
    found.length
      ? h(
          "div",
          { class: "media" },
          found.map(({ path, address }) =>
            figure(address, kindOf(address), path, { before: kindOf(address) === "image" && before }),
          ),
        )
      : json(task.output),
    found.length &&
      task.simulated &&
      h(
        "p",
        { class: "hint" },
        "SIMULATED: a small file of the right kind, because this machine cannot do this task.",
      ),
  ].filter(Boolean);
}

// The picture of an input that the task has changed.
function pictureIn(given) {
  const pictures = Object.entries(given).flatMap(([name, value]) => {
    const found = inValue(value);
    return found?.kind === "image" && isShown(found.source) ? [[name, found.source]] : [];
  });
  return (pictures.find(([name]) => name.startsWith("target")) ?? pictures[0])?.[1];
}

function input(given) {
  if (!given)
    return [
      h("h2", {}, "Input"),
      h("p", { class: "hint" }, "Not kept: the sandbox holds the inputs of the newest tasks, in memory."),
    ];
  const shown = [];
  const rest = {};
  for (const [name, value] of Object.entries(given)) {
    const several = Array.isArray(value) ? value : [value];
    const media = several.map(inValue);
    if (media.length && media.every(Boolean))
      media.forEach((one) => shown.push(figure(one.source, one.kind, name, { note: one.note })));
    else rest[name] = value;
  }
  return [
    h("h2", {}, "Input"),
    shown.length && h("div", { class: "media small" }, shown),
    Object.keys(rest).length && json(rest),
  ].filter(Boolean);
}

function times(task, ledger) {
  const { created_at: created, started_at: started, ended_at: ended } = task;
  const rows = [["Created", moment(created)]];
  if (started) rows.push(["Started", moment(started), `after ${duration(started - created)} pending`]);
  if (ended)
    rows.push([
      "Ended",
      moment(ended),
      `after ${duration(ended - (started ?? created))} ${started ? "processing" : "pending"}`,
    ]);
  rows.push([
    "Cost",
    usd(task.cost_usd),
    task.status === "failed" || task.status === "cancelled" ? "refunded" : undefined,
  ]);
  const bar =
    started &&
    ended &&
    ended > created &&
    h(
      "div",
      {
        class: "bar",
        role: "img",
        "aria-label": `pending ${duration(started - created)}, processing ${duration(ended - started)}`,
      },
      h("i"),
      h("b"),
    );
  if (bar) bar.style.setProperty("--share", (started - created) / (ended - created));
  return [
    h("h2", {}, "Times and cost"),
    bar,
    facts(rows.map(([name, value, note]) => [name, value, note && h("small", {}, note)])),
    table(
      "Charges and refunds",
      ["Time", "Reason", "USD"],
      ledger.map((entry) => [moment(entry.at), entry.reason, usd(entry.usd)]),
    ),
  ].filter(Boolean);
}

function hook(data, webhook, task) {
  const endpoint = data.config?.webhook_config?.endpoint ?? "";
  if (!endpoint && !webhook.attempts.length) return [];
  const notes = (data.logs ?? []).map((line) => h("p", { class: "hint" }, line.message));
  const tried = webhook.attempts.length;
  const delivered = webhook.attempts.some((attempt) => attempt.status >= 200 && attempt.status < 300);
  const over = delivered
    ? "delivered"
    : tried >= webhook.at_most
      ? `given up after ${tried} attempts`
      : task.status === "cancelled"
        ? "not sent for a cancelled task"
        : task.ended_at === null
          ? "sent when the task ends"
          : tried
            ? "another attempt follows"
            : "";
  return [
    h("h2", {}, "Webhook"),
    h("p", {}, h("code", { class: "id" }, endpoint), " ", h("span", { class: "hint" }, over)),
    ...notes,
    tried &&
      table(
        "Attempts",
        ["Time", "Answer", "Endpoint"],
        webhook.attempts.map((attempt) => [
          moment(attempt.at),
          attempt.status === null ? attempt.error : `HTTP ${attempt.status}`,
          attempt.endpoint,
        ]),
      ),
  ].filter(Boolean);
}

function table(caption, heads, rows) {
  if (!rows.length) return null;
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            {},
            row.map((cell) => h("td", {}, cell)),
          ),
        ),
      ),
    ),
  );
}

function raw(id, data) {
  const path = `/api/v1/task/${encodeURIComponent(id)}`;
  const place = h("div", { class: "answer", "aria-live": "polite" });
  const ask = h(
    "button",
    {
      type: "button",
      class: "quiet",
      title: "A request as your client sends it: it appears under Requests, and faults happen to it.",
      onclick: async () => {
        ask.disabled = true; // one request at a time, so that no response overwrites a later one
        try {
          const { status, body, text, took } = await call("GET", path);
          place.replaceChildren(
            h("p", { class: "hint" }, `HTTP ${status} after ${duration(took)}`),
            json(body ?? text),
          );
        } catch (error) {
          place.replaceChildren(h("p", { class: "problem" }, `No answer: ${error.message}`));
        }
        ask.disabled = false;
      },
    },
    `Send GET ${path.slice(0, 15)}…`,
  );
  const heading = uniqueId("raw");
  return [
    h(
      "div",
      { class: "titled" },
      h("h2", { id: heading }, "JSON"),
      copyButton(() => JSON.stringify(data, null, 2), "JSON"),
      ask,
    ),
    json(data),
    place,
  ];
}
