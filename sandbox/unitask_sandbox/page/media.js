// Pictures, films and sounds. Only files of this origin and data URIs are loaded.

import { FileValue } from "./code.js";
import { h, isOurs, isSafe } from "./dom.js";

const KINDS = {
  image: ["png", "jpg", "jpeg", "webp", "gif", "bmp", "avif"],
  video: ["mp4", "webm", "mov", "m4v"],
  audio: ["wav", "mp3", "ogg", "m4a", "flac"],
  model: ["glb", "gltf", "obj"],
};
const SIGNATURES = { iVBOR: "image/png", "/9j/": "image/jpeg", UklGR: "image/webp", R0lGO: "image/gif" };

export function kindOf(address) {
  const data = /^data:(image|video|audio)\//i.exec(address);
  if (data) return data[1].toLowerCase();
  const path = address.split(/[?#]/, 1)[0];
  const extension = path.slice(path.lastIndexOf(".") + 1).toLowerCase();
  return Object.keys(KINDS).find((kind) => KINDS[kind].includes(extension)) ?? "file";
}

// Every URL in a value with its path, each URL once.
export function addresses(value, path = "", found = []) {
  if (typeof value === "string" && /^https?:\/\//i.test(value)) {
    if (!found.some((one) => one.address === value)) found.push({ path, address: value });
  } else if (value && typeof value === "object" && !(value instanceof FileValue)) {
    for (const [name, part] of Object.entries(value)) {
      addresses(part, Array.isArray(value) ? `${path}[${name}]` : path ? `${path}.${name}` : name, found);
    }
  }
  return found;
}

// The media in an input field, if the text is a URL, a data URI or base64.
export function inValue(value) {
  if (value instanceof FileValue)
    return { source: value.preview, kind: value.file.type.split("/", 1)[0], note: value.file.name };
  if (typeof value !== "string") return null;
  if (/^data:(image|video|audio)\//i.test(value)) return { source: value, kind: kindOf(value), note: "in the request" };
  const signature = value.length > 200 && Object.keys(SIGNATURES).find((head) => value.startsWith(head));
  if (signature)
    return { source: `data:${SIGNATURES[signature]};base64,${value}`, kind: "image", note: "base64 in the request" };
  if (/^https?:\/\//i.test(value)) return { source: value, kind: kindOf(value), note: value };
  return null;
}

// The file in a data URI, or in the base64 of a picture; null for any other value.
export function fileIn(value) {
  const inside = typeof value === "string" && !/^https?:/i.test(value) && inValue(value);
  const [, type, content] = /^data:([\w/+.-]+);base64,(.*)$/is.exec(inside?.source ?? "") ?? [];
  if (!content) return null;
  try {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    return new File([bytes], `${inside.kind}.${type.split("/")[1]}`, { type });
  } catch {
    return null; // it is not base64
  }
}

export const isShown = (source) => /^(blob|data):/i.test(source) || isOurs(source);

// Two pictures of one shape, one over the other, with a slider. When the shapes differ, only the second one is shown.
export function compare(before, after, caption) {
  const slider = h("input", {
    type: "range",
    value: 50,
    "aria-label": "Before and after",
    "aria-valuetext": "50 % before",
    oninput: () => {
      both.style.setProperty("--cut", `${slider.value}%`);
      slider.setAttribute("aria-valuetext", `${slider.value} % before`);
    },
  });
  const first = h("img", { class: "before", src: before, alt: "Before" });
  const second = h("img", { src: after, alt: `After: ${caption}` });
  const sides = [h("span", { class: "side-before" }, "Before"), h("span", { class: "side-after" }, "After")];
  const both = h("div", { class: "compare" }, second, first, sides, slider);
  const shape = (image) => image.naturalWidth / image.naturalHeight;
  Promise.all([first.decode(), second.decode()])
    .then(() => Math.abs(shape(first) / shape(second) - 1) < 0.02)
    .catch(() => false)
    .then((fits) => fits || both.replaceWith(player(after, "image", caption)));
  return both;
}

export function figure(source, kind, caption, { note, before } = {}) {
  const name = note ?? source.slice(source.lastIndexOf("/") + 1);
  const link = /^https?:/i.test(source) && isSafe(source);
  const label = [
    h("span", { class: "field" }, caption),
    link ? h("a", { href: source, target: "_blank", rel: "noreferrer", title: source }, name) : h("span", {}, name),
  ];
  return h(
    "figure",
    { class: `medium ${kind}` },
    h(
      "div",
      { class: "frame" },
      !isShown(source) && h("p", { class: "hint" }, "On another server: not loaded here."),
      isShown(source) && (before ? compare(before, source, caption) : player(source, kind, caption)),
    ),
    h(
      "figcaption",
      {},
      h("div", {}, label),
      link && isOurs(source) && h("a", { class: "button quiet", href: source, download: name }, "Download"),
    ),
  );
}

function player(source, kind, caption) {
  const instead = (event) =>
    event.target.replaceWith(h("p", { class: "hint" }, "The browser cannot show this file, or it is gone."));
  if (kind === "image")
    return h(
      "a",
      { href: source, target: "_blank", rel: "noreferrer" },
      h("img", { src: source, alt: caption, onerror: instead }),
    );
  if (kind === "video")
    return h("video", { src: source, controls: true, preload: "metadata", "aria-label": caption, onerror: instead });
  if (kind === "audio")
    return h("audio", { src: source, controls: true, preload: "metadata", "aria-label": caption, onerror: instead });
  return h("p", { class: "hint" }, kind === "model" ? "3-D model" : "File");
}
