// The named faults of the library: arm one, and see which are still to happen.

import { fetchState, poke, watch } from "./api.js";
import { h, say } from "./dom.js";

const TITLES = {
  create_task: "Creating a task",
  get_task: "Polling a task",
  run_task: "The work on a task",
  get_file: "Downloading a file",
  send_webhook: "Webhooks",
  upload_file: "Uploading a file",
};
const OFTEN = [
  ["happens as described", undefined],
  ["happens once", 1],
  ["happens 5 times", 5],
  ["happens until cleared", null],
];
const KINDS = {
  refuse: "refused with HTTP",
  replace: "answered with HTTP",
  edit: "changed",
  slow: "slow",
  cut: "cut in the middle of the response",
  short: "cut at the end of the response",
  lose: "carried out without a response",
  drop: "not carried out, without a response",
  repeat: "sent twice",
  fail: "failed",
};

export function showFaults(main, onOverview) {
  const search = h("input", {
    type: "search",
    placeholder: "Filter by name, effect",
    "aria-label": "Filter faults",
    oninput: filter,
  });
  const often = h(
    "select",
    { "aria-label": "How often a fault happens" },
    OFTEN.map(([words], index) => h("option", { value: index }, words)),
  );
  const coming = h("div", { class: "coming", "aria-live": "polite" });
  const groups = h("div");
  main.replaceChildren(
    h(
      "section",
      { class: "list faults", "aria-label": "Faults" },
      h("div", { class: "tools" }, h("h1", {}, "Faults"), search, often),
      h(
        "p",
        { class: "hint" },
        "Arm a fault, and it happens to the next fitting request, of any client. This page's own requests to the API count, too.",
      ),
      coming,
      groups,
    ),
  );
  const stop = watch("faults", ({ body, error }) => {
    if (error) onOverview(null, error);
    if (body) coming.replaceChildren(...showComing(body.coming));
  });
  fetchState("library").then(({ faults }) => fill(faults), (error) => onOverview(null, error));

  function fill(faults) {
    const byOperation = Map.groupBy(faults, ({ outcome }) => Object.keys(outcome)[0]);
    const titled = Map.groupBy(byOperation.keys(), (name) => TITLES[name] ?? "Other requests");
    groups.replaceChildren(
      ...[...titled].map(([title, names]) =>
        h(
          "section",
          {},
          h("h2", {}, title),
          h("ul", {}, names.flatMap((name) => byOperation.get(name)).map(row)),
        ),
      ),
    );
    filter();
  }

  function row({ name, what, source, evidence, outcome }) {
    const operations = Object.keys(outcome);
    const effect = h("p", { class: "hint", title: `Source: ${evidence}: ${source}` });
    const choice =
      operations.length > 1 &&
      h(
        "select",
        { "aria-label": `Operation of ${name}`, onchange: show },
        operations.map((operation) => h("option", {}, operation)),
      );
    const chosen = () => (choice ? choice.value : operations[0]);
    function show() {
      const ends = outcome[chosen()];
      effect.textContent = ends === "done" ? "The call of unitask succeeds." : `The call of unitask raises ${ends}.`;
    }
    show();
    return h(
      "li",
      {},
      h("div", {}, h("code", { class: "name" }, name), h("p", {}, what), effect),
      h(
        "div",
        { class: "arm" },
        choice || h("span", { class: "sub" }, operations[0]),
        h("button", { type: "button", "aria-label": `Arm ${name}`, onclick: () => arm(name, chosen()) }, "Arm"),
      ),
    );
  }

  async function arm(fault, operation) {
    const times = OFTEN[often.value][1];
    await send("POST", { fault, operation, ...(times !== undefined && { times }) });
    say(`${fault} is armed`);
  }

  async function send(method, content) {
    try {
      await fetchState("faults", method, content);
    } catch (error) {
      onOverview(null, error);
    }
    poke();
  }

  function showComing(orders) {
    if (!orders.length) return [h("p", { class: "hint" }, "No fault is armed.")];
    return [
      h("strong", {}, `${orders.length} armed`),
      h("ul", {}, orders.map((order) => h("li", {}, inShort(order)))),
      h("button", { type: "button", onclick: () => send("DELETE") }, "Clear all"),
    ];
  }

  function filter() {
    const words = search.value.trim().toLowerCase();
    for (const section of groups.children) {
      const items = [...section.querySelectorAll("li")];
      for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(words);
      section.hidden = items.every((item) => item.hidden);
    }
  }

  return { open() {}, close: stop };
}

function inShort({ operation, kind, status = 200, times = 1 }) {
  const often = times === null ? "until cleared" : times === 1 ? "once" : `${times} times`;
  return [h("code", {}, operation), ` is ${KINDS[kind]}${KINDS[kind].endsWith("HTTP") ? ` ${status}` : ""}, ${often}`];
}
