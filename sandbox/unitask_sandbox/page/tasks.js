// The list of tasks with the selected task.

import { key, watch } from "./api.js";
import { showTask } from "./detail.js";
import { arrange, arrows, badge, h, isOurs, say, setCurrent } from "./dom.js";
import { addresses, kindOf } from "./media.js";
import { nameOf } from "./spec.js";
import { duration, moment, took, usd } from "./words.js";

const STEP = 100;
const SIGNS = { video: "▶", audio: "♪", model: "◆", file: "≡" };

export function showTasks(main, onOverview) {
  const rows = new Map();
  let [limit, chosen, detail, known, stop] = [STEP, null, null, null, () => {}];

  const search = h("input", {
    type: "search",
    placeholder: "Filter by name, id, error",
    "aria-label": "Filter tasks",
    oninput: filter,
  });
  const state = h("select", { "aria-label": "State", onchange: filter }, h("option", { value: "" }, "All states"));
  for (const word of ["pending", "processing", "completed", "failed", "cancelled"]) state.append(h("option", {}, word));
  const list = h("ol", { class: "tasks", "aria-label": "Tasks" });
  const count = h("p", { class: "hint count" });
  const more = h("button", { type: "button", class: "quiet", hidden: true, onclick: showMore }, "Show more");
  const empty = h("div", { class: "empty" });
  const heads = ["State", "Task", "Created", "Took", "Cost"].map((word) => h("span", {}, word));
  const side = h("div", { class: "side" });
  const split = h(
    "div",
    { class: "split none" },
    h(
      "section",
      { class: "list", "aria-label": "List of tasks" },
      h("div", { class: "tools" }, h("h1", {}, "Tasks"), search, state),
      h("div", { class: "heads", "aria-hidden": "true" }, heads, h("span", {})),
      list,
      empty,
      h("div", { class: "foot" }, count, more),
    ),
    side,
  );
  main.replaceChildren(split);
  const stops = arrows(list);
  const ticking = setInterval(tick, 1000);
  restart();

  function restart() {
    stop();
    stop = watch(`tasks?limit=${limit}`, ({ body, error }) => {
      onOverview(body, error);
      if (body) update(body);
    });
  }

  function showMore() {
    limit = Math.min(1000, limit + STEP);
    restart();
  }

  function update(overview) {
    announce(overview.tasks);
    known = overview;
    const order = overview.tasks.map((task) => task.task_id);
    for (const task of overview.tasks) {
      if (!rows.has(task.task_id)) rows.set(task.task_id, makeRow(task.task_id));
      rows.get(task.task_id).update(task);
    }
    for (const id of [...rows.keys()]) if (!order.includes(id)) rows.delete(id);
    arrange(list, order.map((id) => rows.get(id).element));
    more.hidden = overview.total <= overview.tasks.length || limit >= 1000;
    mark();
    filter();
  }

  function announce(tasks) {
    if (!known) return;
    const before = new Map(known.tasks.map((task) => [task.task_id, task.status]));
    const news = tasks.filter((task) => before.get(task.task_id) !== task.status);
    if (news.length)
      say(
        news
          .slice(0, 3)
          .map((task) => `${nameOf(task)} ${task.status}`)
          .join(", "),
      );
  }

  function filter() {
    if (!known) return;
    const words = search.value.trim().toLowerCase();
    let shown = 0;
    for (const task of known.tasks) {
      const text = [nameOf(task), task.model, task.task_type, task.task_id, task.error].join(" ").toLowerCase();
      const fits = (!state.value || task.status === state.value) && text.includes(words);
      rows.get(task.task_id).element.hidden = !fits;
      shown += fits;
    }
    const all = known.total;
    count.textContent = all
      ? shown === all
        ? `${all} ${all === 1 ? "task" : "tasks"}`
        : `${shown} of ${all} tasks`
      : "";
    empty.replaceChildren(...(all ? [] : welcome()));
    split.classList.toggle("none", !all);
    stops.update();
  }

  function tick() {
    for (const task of known?.tasks ?? []) if (task.ended_at === null) rows.get(task.task_id)?.tick(task);
  }

  function mark() {
    for (const [id, row] of rows) row.choose(id === chosen);
    stops.update();
  }

  return {
    open(id) {
      chosen = id ?? null;
      detail?.close();
      detail = null;
      side.replaceChildren();
      split.classList.toggle("open", chosen !== null);
      if (chosen !== null) detail = showTask(side, chosen);
      mark();
    },
    close() {
      clearInterval(ticking);
      stop();
      detail?.close();
    },
  };
}

function makeRow(id) {
  const parts = Object.fromEntries(
    ["status", "name", "sub", "created", "took", "cost", "thumb"].map((name) => [name, h("span", { class: name })]),
  );
  const link = h(
    "a",
    { href: `#/task/${encodeURIComponent(id)}` },
    parts.status,
    h("span", { class: "what" }, parts.name, parts.sub),
    parts.created,
    parts.took,
    parts.cost,
    parts.thumb,
  );
  const element = h("li", {}, link);
  let last = "";
  const tick = (task) => (parts.took.textContent = task.status === "cancelled" ? "" : duration(took(task)));
  return {
    element,
    tick,
    choose: (is) => setCurrent(link, is, "true"),
    update(task) {
      const now = JSON.stringify(task);
      if (now === last) return;
      last = now;
      element.dataset.status = task.status;
      parts.status.replaceChildren(badge(task.status));
      parts.name.textContent = nameOf(task);
      parts.sub.textContent = task.error || `${task.model} ${task.task_type}`;
      parts.sub.title = parts.sub.textContent;
      parts.created.textContent = moment(task.created_at);
      tick(task);
      parts.cost.textContent = usd(task.cost_usd);
      parts.thumb.replaceChildren(...thumb(task));
    },
  };
}

function thumb(task) {
  const [first] = addresses(task.output);
  if (!first) return [];
  const kind = kindOf(first.address);
  if (kind !== "image") return [h("span", { class: "sign", title: kind }, SIGNS[kind])];
  return isOurs(first.address) ? [h("img", { src: first.address, alt: "", loading: "lazy" })] : [];
}

function welcome() {
  return [
    h("h2", {}, "No tasks yet"),
    h(
      "p",
      {},
      `The sandbox is up, and tasks of the key "${key.shown()}" appear here as soon as they are created, by this page or by any client.`,
    ),
    h(
      "p",
      {},
      h("a", { class: "button primary", href: "#/new/FaceSwap" }, "Swap two faces"),
      " ",
      h("a", { class: "button", href: "#/new" }, "All task types"),
    ),
  ];
}
