// The log of requests to the API, of all keys, with bodies.

import { fetchState, poke, watch } from "./api.js";
import { arrange, copyButton, facts, h, json } from "./dom.js";
import { bytes, moment } from "./words.js";

const SHOWN = 100;

export function showRequests(main, onOverview) {
  const rows = new Map();
  const search = h("input", {
    type: "search",
    placeholder: "Filter by path, operation, status",
    "aria-label": "Filter requests",
    oninput: filter,
  });
  const clear = h("button", { type: "button", onclick: () => fetchState("arrivals", "DELETE").finally(poke) }, "Clear");
  const list = h("ol", { class: "requests", "aria-label": "Requests" });
  const empty = h("p", { class: "foot hint" }, `No requests yet. The newest ${SHOWN} requests to the API, of all keys, appear here.`);
  main.replaceChildren(
    h(
      "section",
      { class: "list", "aria-label": "List of requests" },
      h("div", { class: "tools" }, h("h1", {}, "Requests"), search, clear),
      list,
      empty,
    ),
  );
  const stop = watch(`arrivals?limit=${SHOWN}`, ({ body, error }) => {
    if (error) onOverview(null, error);
    if (body) update(body.arrivals);
  });

  function update(arrivals) {
    const order = arrivals.toReversed().map((arrival) => {
      const id = `${arrival.number} ${arrival.time}`;
      if (!rows.has(id)) rows.set(id, makeRow());
      rows.get(id).update(arrival);
      return id;
    });
    for (const id of [...rows.keys()]) if (!order.includes(id)) rows.delete(id);
    arrange(list, order.map((id) => rows.get(id).element));
    empty.hidden = order.length > 0;
    clear.hidden = order.length === 0;
    filter();
  }

  function filter() {
    const words = search.value.trim().toLowerCase();
    for (const { element } of rows.values())
      element.hidden = !element.querySelector("summary").textContent.toLowerCase().includes(words);
  }

  return { open() {}, close: stop };
}

function makeRow() {
  const summary = h("summary");
  const inside = h("div", { class: "exchange" });
  const details = h("details", { ontoggle: fill }, summary, inside);
  let [shown, last] = [null, ""];

  // What is inside is made when the row is open.
  function fill() {
    if (details.open) inside.replaceChildren(...parts(shown));
  }

  return {
    element: h("li", {}, details),
    update(arrival) {
      const now = JSON.stringify(arrival);
      if (now === last) return;
      [shown, last] = [arrival, now];
      const { method, path, status, time, operation } = arrival;
      const refused = status === null || status >= 400;
      summary.replaceChildren(
        h("span", { class: "created" }, moment(time)),
        h("span", { class: `method ${method}` }, method),
        h("code", { class: "path" }, path),
        h("span", { class: "sub" }, operation ?? "not in the API"),
        h("span", { class: "badge", dataset: { status: refused ? "failed" : "completed" } }, status ?? "no answer"),
      );
      fill();
    },
  };
}

function parts({ key, query, headers, request, response }) {
  const task = response?.json?.data?.task_id;
  const lines = [...Object.entries(query).map(([name, value]) => [`?${name}`, value]), ...Object.entries(headers)];
  return [
    facts([["account", key ?? "no key"], ...lines]),
    typeof task === "string" && h("p", {}, h("a", { href: `#/task/${encodeURIComponent(task)}` }, `Task ${task}`)),
    ...content("Request", request),
    ...content("Response", response),
  ].filter(Boolean);
}

function content(name, body) {
  const size = body ? [body.kind, bytes(body.size)].filter(Boolean).join(", ") : "no body, or it is not kept";
  return [
    h(
      "div",
      { class: "titled" },
      h("h2", {}, name, " ", h("small", {}, size)),
      body?.json !== undefined && copyButton(() => JSON.stringify(body.json, null, 2), name),
    ),
    body && (body.json === undefined ? h("p", { class: "hint" }, `SHA-256 ${body.sha256}`) : json(body.json)),
  ].filter(Boolean);
}
