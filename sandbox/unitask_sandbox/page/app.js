// The frame of the page: the view of the address, the key, the colours, the balance.

import { key, fetchState, poke } from "./api.js";
import { h, setCurrent } from "./dom.js";
import { showFaults } from "./faults.js";
import { showForm } from "./form.js";
import { showReference } from "./reference.js";
import { showRequests } from "./requests.js";
import { load } from "./spec.js";
import { showTasks } from "./tasks.js";
import { usd } from "./words.js";

const VIEWS = {
  tasks: [showTasks, "tasks"],
  task: [showTasks, "tasks"],
  new: [showForm, "new"],
  requests: [showRequests, "requests"],
  faults: [showFaults, "faults"],
  reference: [showReference, "reference"],
};
const TITLES = { tasks: "Tasks", new: "New task", requests: "Requests", faults: "Faults", reference: "Reference" };

const main = document.querySelector("#main");
const trouble = document.querySelector("#trouble");
const balance = document.querySelector("#balance");
let [view, shown, round] = [null, null, 0];

function route() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const mine = ++round; // a response to an earlier view, or for another key, is ignored
  const [word, ...rest] = location.hash.slice(2).split("/").map(decode);
  const [show, name] = VIEWS[word] ?? VIEWS.tasks;
  if (name !== shown) {
    view?.close();
    view = show(main, onOverview);
    shown = name;
    for (const link of document.querySelectorAll("[data-view]")) setCurrent(link, link.dataset.view === name);
    scrollTo(0, 0);
  }
  document.title = `${[rest[0] && name !== "tasks" && rest[0], TITLES[name]].filter(Boolean).join(" · ")} · unitask sandbox`;
  view.open(...(word === "tasks" ? [] : rest));
  if (document.activeElement === document.body) main.focus({ preventScroll: true }); // Tab goes on in the view
  if (name === "tasks") return;
  const tell = (body, error) => mine === round && onOverview(body, error);
  fetchState("tasks?limit=1").then(tell, (error) => tell(null, error));
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function onOverview(body, error) {
  if (body) balance.replaceChildren(h("strong", {}, usd(body.balance_usd)), " left");
  trouble.hidden = !error;
  if (!error) return;
  const unknown = `The sandbox does not accept the key "${key.shown()}". Use another one above, or start it with --key KEY=USD.`;
  trouble.textContent =
    error.status === 401
      ? unknown
      : error.status
        ? error.message
        : "The sandbox does not answer. This page goes on as soon as it does.";
}

function setUpKey() {
  const box = document.querySelector("#key");
  const field = document.querySelector("#key-value");
  const show = () => {
    document.querySelector("#key-shown").textContent = key.shown();
    field.value = key.get();
  };
  show();
  // A busy browser reports late that the box was opened or closed; text typed meanwhile is kept.
  box.addEventListener("toggle", () => {
    if (!box.open) field.value = key.get();
    else if (field.value === key.get()) field.select();
  });
  box.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    key.set(field.value.trim());
    show();
    box.open = false;
    balance.replaceChildren();
    view?.close();
    shown = null;
    location.hash = "#/tasks";
    route();
    box.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => box.contains(event.target) || (box.open = false));
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    box.open = false;
    box.querySelector("summary").focus();
  });
}

function setUpColours() {
  const select = document.querySelector("#theme");
  select.value = document.documentElement.dataset.theme;
  select.addEventListener("change", () => {
    document.documentElement.dataset.theme = select.value;
    localStorage.setItem("theme", select.value);
  });
}

setUpKey();
setUpColours();
try {
  await load();
  addEventListener("hashchange", route);
  addEventListener("online", poke);
  route();
} catch (error) {
  trouble.hidden = false;
  trouble.textContent = `The page could not read the spec: ${error.message}. Load it again.`;
}
