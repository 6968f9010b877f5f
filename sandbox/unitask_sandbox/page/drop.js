// A field for media: an area to drop files, a button to choose them, or a URL.

import { about } from "./spec.js";
import { dataUri, upload } from "./api.js";
import { FileValue } from "./code.js";
import { h } from "./dom.js";
import { fileIn } from "./media.js";
import { bytes } from "./words.js";

const IN_BODY = 4 * 1024 * 1024; // a larger file is uploaded, and its URL is sent
const WORDS = { image: ["picture", "image/*"], video: ["video", "video/*"], audio: ["sound", "audio/*"] };

export function mediaField(parts, rule, onChange) {
  const [word, accept] = WORDS[rule.kind] ?? ["file", ""];
  const items = [];
  const most = rule.many ? Infinity : 1;
  let chosen = 0; // counts choices, so that a late sample does not replace a later choice
  const shown = h("ul", { class: "chosen" });
  const chooser = h("input", {
    type: "file",
    class: "hidden",
    accept,
    multiple: rule.many,
    "aria-label": `${parts.label}: choose a ${word}`,
    tabindex: "-1",
    onchange: () => take([...chooser.files]),
  });
  const choose = h("button", { type: "button", onclick: () => chooser.click() }, `Choose a ${word}`);
  const address = h("input", {
    ...parts.describe,
    type: "text",
    inputmode: "url",
    spellcheck: "false",
    autocomplete: "off",
    placeholder: rule.many ? "or a URL, then Enter" : "or a URL",
    oninput: onChange,
    onkeydown: addByEnter,
  });
  const zone = h(
    "div",
    { class: "zone" },
    shown,
    h("div", { class: "ways" }, h("span", {}, `Drop or paste a ${word} here`), choose, samples()),
    chooser,
    address,
  );
  let surplus = () => {};

  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("dragenter", () => zone.classList.add("over"));
  zone.addEventListener("dragleave", (event) => zone.contains(event.relatedTarget) || zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("over");
    if (event.dataTransfer.files.length) offer(event, [...event.dataTransfer.files]);
  });
  zone.addEventListener(
    "paste",
    (event) => event.clipboardData.files.length && offer(event, [...event.clipboardData.files]),
  );
  parts.put(zone);

  function offer(event, files) {
    event.preventDefault();
    event.stopPropagation();
    take(files);
  }

  function samples() {
    if (rule.kind !== "image") return null;
    const take = (name) => async () => {
      const mine = ++chosen;
      const content = await (await fetch(`_sandbox/samples/${encodeURIComponent(name)}`)).blob();
      if (mine === chosen || rule.many) await put([new File([content], name, { type: content.type })]);
    };
    return h(
      "span",
      { class: "samples" },
      "or a sample: ",
      about.samples.map((name) =>
        h(
          "button",
          { type: "button", class: "link", onclick: take(name) },
          name.replace(/\.\w+$/, "").replaceAll("_", " "),
        ),
      ),
    );
  }

  // Surplus files go to the next empty field.
  function take(files) {
    const room = most === 1 ? 1 : files.length;
    put(files.slice(0, room));
    if (files.length > room) surplus(files.slice(room));
  }

  async function put(files) {
    if (!files.length) return;
    chosen++;
    if (most === 1) items.length = 0;
    for (const file of files) await add(new FileValue(file));
  }

  async function add(item) {
    items.push(item);
    parts.complain(null);
    if (rule.accepts?.includes("url") || item.file?.size > IN_BODY) {
      item.uploading = true;
      draw();
      try {
        item.address = await upload(item.file);
      } catch (error) {
        if (drop(item)) parts.complain(`${item.file.name} was not uploaded: ${error.message}`);
      }
      item.uploading = false;
    }
    draw();
  }

  // Returns whether the file was still chosen when its upload ended.
  function drop(item) {
    const index = items.indexOf(item);
    if (index >= 0) items.splice(index, 1);
    return index >= 0;
  }

  function addByEnter(event) {
    if (event.key !== "Enter" || !rule.many || !address.value.trim()) return;
    event.preventDefault();
    items.push(address.value.trim());
    address.value = "";
    draw();
  }

  function draw() {
    shown.replaceChildren(...items.map(chip));
    zone.classList.toggle("full", items.length > 0);
    address.hidden = most === 1 && items.length > 0;
    chooser.value = "";
    onChange();
  }

  function chip(item) {
    const name = item.file?.name ?? item;
    const size = h("small", {}, item.file ? bytes(item.file.size) : "URL");
    const remove = h(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Remove ${name}`,
        onclick: () => {
          drop(item);
          draw();
          choose.focus();
        },
      },
      "Remove",
    );
    if (item.file && rule.kind === "image") measure(item, size);
    return h(
      "li",
      {},
      preview(item),
      h(
        "span",
        { class: "file-name" },
        name,
        h("br"),
        size,
        item.uploading && h("small", {}, " uploading…"),
        item.address && h("small", {}, " uploaded"),
      ),
      remove,
    );
  }

  async function measure(item, size) {
    try {
      const { width, height } = await createImageBitmap(item.file);
      const over = rule.exclusive_max_side && Math.max(width, height) >= rule.exclusive_max_side;
      size.textContent = `${width} × ${height}, ${bytes(item.file.size)}${over ? `; both sides must be below ${rule.exclusive_max_side}` : ""}`;
    } catch {
      size.textContent = `${bytes(item.file.size)}, not a picture that this browser reads`;
    }
  }

  const value = (item) => (typeof item === "string" ? item : (item.address ?? item));
  return {
    read() {
      if (items.some((item) => item.uploading)) throw new Error("has a file that is still being uploaded");
      const all = [...items.map(value), address.value.trim()].filter(Boolean);
      if (!all.length) return undefined;
      return rule.many ? all : all[0];
    },
    write(given) {
      chosen++;
      items.length = 0;
      address.value = "";
      for (const one of given === undefined ? [] : rule.many ? given : [given]) {
        const file = fileIn(one);
        if (file) items.push(new FileValue(file));
        else if (rule.many || typeof one !== "string") items.push(one);
        else address.value = one;
      }
      draw();
    },
    takes: (file) => items.length < most && !address.value && file.type.startsWith(`${rule.kind}/`),
    take,
    onSurplus: (pass) => (surplus = pass),
  };
}

function preview(item) {
  if (!item.file) return null;
  const kind = item.file.type.split("/", 1)[0];
  if (kind === "image") return h("img", { src: item.preview, alt: "" });
  if (kind === "video")
    return h("video", { src: item.preview, muted: true, preload: "metadata", "aria-hidden": "true" });
  return null;
}

// Returns the value with every file as a data URI.
export async function written(value) {
  if (value instanceof FileValue) return (value.data ??= dataUri(value.file));
  if (Array.isArray(value)) return Promise.all(value.map(written));
  if (!value || typeof value !== "object") return value;
  const parts = await Promise.all(Object.entries(value).map(async ([name, part]) => [name, await written(part)]));
  return Object.fromEntries(parts);
}
