// The API for any client (`call`), and the sandbox's own endpoints (`watch`, `fetchState`), which are not logged as
// requests and trigger no faults.

const PAUSE = 700; // milliseconds between two requests
const PAUSE_HIDDEN = 5000;
const PAUSE_TROUBLE = 2000;
const changed = new EventTarget();

export const key = {
  get: () => sessionStorage.getItem("key") ?? "sandbox",
  set: (value) => {
    sessionStorage.setItem("key", value);
    changed.dispatchEvent(new Event("key"));
  },
  onChange: (tell) => changed.addEventListener("key", tell),
  // The key, shortened for display.
  shown: () => (key.get() === "sandbox" ? "sandbox" : `${key.get().slice(0, 3)}…`),
};

export const base = () => new URL(".", document.baseURI).href.replace(/\/$/, "");

export async function call(method, path, body) {
  const headers = { "x-api-key": key.get() };
  if (body !== undefined) headers["content-type"] = "application/json";
  const content = body === undefined ? undefined : JSON.stringify(body);
  const begun = performance.now();
  const answer = await fetch(base() + path, { method, headers, body: content, cache: "no-store" });
  const text = await answer.text();
  const took = (performance.now() - begun) / 1000;
  try {
    return { status: answer.status, body: JSON.parse(text), took };
  } catch {
    return { status: answer.status, body: null, text, took };
  }
}

export async function fetchState(path, method = "GET", content = undefined) {
  const headers = { "x-api-key": key.get() };
  const answer = await fetch(`_sandbox/${path}`, { method, headers, body: JSON.stringify(content), cache: "no-store" });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body.message);
  return body;
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function upload(file) {
  const body = { file_name: file.name, file_data: await dataUri(file) };
  const answer = await call("POST", "/api/ephemeral_resource", body);
  if (answer.body?.data?.url === undefined) throw new Error(answer.body?.message ?? `HTTP ${answer.status}`);
  return answer.body.data.url;
}

export function dataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

// Request a state repeatedly; `tell` receives {body} when it has changed and {error} when no request succeeds. An unchanged
// state costs a 304. No connection stays open between two requests, so the server can close at any time.
export function watch(path, tell) {
  let [stopped, tag, timer, round, asking] = [false, "", 0, 0, null];
  const ask = async (mine, signal) => {
    const headers = { "x-api-key": key.get(), ...(tag && { "if-none-match": tag }) };
    const answer = await fetch(`_sandbox/${path}`, { headers, cache: "no-store", signal });
    const body = answer.status === 304 ? null : await answer.json();
    if (mine !== round) return;
    if (answer.ok) tag = answer.headers.get("etag") ?? "";
    if (body && !answer.ok) throw new Refused(answer.status, body.message);
    tell(body ? { body } : {});
  };
  const next = async () => {
    const mine = ++round;
    let pause = document.hidden ? PAUSE_HIDDEN : PAUSE;
    clearTimeout(timer);
    asking?.abort(); // only the response to the latest request counts
    asking = new AbortController();
    try {
      await ask(mine, asking.signal);
    } catch (error) {
      if (mine !== round) return;
      tag = "";
      pause = PAUSE_TROUBLE;
      tell({ error });
    }
    if (mine === round && !stopped) timer = setTimeout(next, pause);
  };
  const wake = () => document.hidden || next();
  const restart = () => {
    tag = "";
    next();
  };
  document.addEventListener("visibilitychange", wake);
  changed.addEventListener("key", restart);
  changed.addEventListener("poke", next);
  next();
  return () => {
    stopped = true;
    round++;
    clearTimeout(timer);
    asking?.abort();
    document.removeEventListener("visibilitychange", wake);
    changed.removeEventListener("key", restart);
    changed.removeEventListener("poke", next);
  };
}

// Request the state now, because an action was just taken.
export const poke = () => changed.dispatchEvent(new Event("poke"));
