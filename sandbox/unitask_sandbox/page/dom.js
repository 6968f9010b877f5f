// Elements from values. All text enters the page through `h`, as text. A URL becomes a link or a source only if it is
// http, https, blob, or a data URI of a picture, film or sound.

const MEDIA_DATA = /^data:(image|video|audio)\//i;

export function isSafe(address, name = "href") {
  if (name === "src" && MEDIA_DATA.test(address)) return true;
  try {
    return ["http:", "https:", "blob:"].includes(new URL(address, document.baseURI).protocol);
  } catch {
    return false;
  }
}

export function isOurs(address) {
  try {
    return new URL(address, document.baseURI).origin === location.origin;
  } catch {
    return false;
  }
}

export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else if ((key === "href" || key === "src") && !isSafe(value, key)) continue;
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const badge = (status) => h("span", { class: "badge", dataset: { status } }, status);

// Names with what is said of each: [[name, ...children]].
export const facts = (rows) =>
  h("dl", { class: "facts" }, rows.map(([name, ...said]) => h("div", {}, h("dt", {}, name), h("dd", {}, said))));

// Bring the elements of a list into this order; they keep what is open, playing or selected in them.
export function arrange(list, elements) {
  for (const element of [...list.children]) if (!elements.includes(element)) element.remove();
  elements.forEach((element, index) => {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
}

export function setCurrent(link, is, word = "page") {
  if (is) link.setAttribute("aria-current", word);
  else link.removeAttribute("aria-current");
}

let last = 0;
export const uniqueId = (name) => `${name}-${++last}`;

export function say(words) {
  document.querySelector("#news").textContent = words;
}

export function copyButton(text, what) {
  const label = "Copy";
  const button = h("button", { type: "button", class: "quiet copy", "aria-label": `${label} ${what}` }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? await text() : text);
      button.textContent = "Copied";
      say(`${what} copied`);
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

// A list of links with one Tab stop; the arrow keys, Home and End move inside. Call `update` when links have changed.
export function arrows(list) {
  const links = () => [...list.querySelectorAll("a")].filter((link) => !link.closest("[hidden]"));
  const stopAt = (chosen) => {
    for (const link of list.querySelectorAll("a")) link.tabIndex = link === chosen ? 0 : -1;
  };
  list.addEventListener("focusin", (event) => event.target.closest("a") && stopAt(event.target.closest("a")));
  list.addEventListener("keydown", (event) => {
    const all = links();
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    all[to]?.focus();
  });
  const update = () => {
    const all = links();
    stopAt(all.find((link) => link === document.activeElement) ?? all.find((link) => link.ariaCurrent) ?? all[0]);
  };
  return { update, enter: () => links()[0]?.focus() };
}

// Links in groups beside what they open: [[group, [[name, link]]]]. On a narrow screen, one opens and closes it.
export function picker(label, groups, search) {
  const links = groups.flatMap(([, inside]) => inside);
  const list = h(
    "div",
    { class: "families" },
    groups.map(([title, inside]) =>
      h("div", { class: "family" }, h("h2", {}, title), h("ul", {}, inside.map(([, link]) => h("li", {}, link)))),
    ),
  );
  const nav = h("nav", { "aria-label": label }, search, list);
  const element = h("details", { class: "picker", open: isWide() }, h("summary", {}, label), nav);
  const stops = arrows(list);
  const choose = (name) => {
    for (const [other, link] of links) setCurrent(link, other === name);
    stops.update();
  };
  return { element, list, stops, choose };
}

export const isWide = () => matchMedia("(min-width: 60rem)").matches;

// JSON in colours. Long text is shortened; copying takes all of it.
export function json(value, { cut = 240 } = {}) {
  const block = h("pre", { class: "json", tabindex: "0" });
  const put = (kind, text) => block.append(kind ? h("span", { class: kind }, text) : text);
  const write = (node, margin) => {
    if (node === null || typeof node !== "object") {
      const long = typeof node === "string" && node.length > cut;
      const shown = long ? `${node.slice(0, 60)}… (${node.length.toLocaleString("en")} characters)` : node;
      put(node === null ? "null" : typeof node, JSON.stringify(shown));
      return;
    }
    const parts = Array.isArray(node) ? node.map((item) => [null, item]) : Object.entries(node);
    const [open, close] = Array.isArray(node) ? "[]" : "{}";
    if (!parts.length) return put("", open + close);
    put("", open);
    parts.forEach(([key, part], index) => {
      put("", `${index ? "," : ""}\n${margin}  `);
      if (key !== null) {
        put("name", JSON.stringify(key));
        put("", ": ");
      }
      write(part, `${margin}  `);
    });
    put("", `\n${margin}${close}`);
  };
  write(value, "");
  return block;
}
