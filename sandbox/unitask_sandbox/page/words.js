// Numbers and times for display.

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export function moment(seconds) {
  const time = new Date(seconds * 1000);
  const today = time.toDateString() === new Date().toDateString();
  return today ? CLOCK.format(time) : `${DAY.format(time)} ${CLOCK.format(time)}`;
}

export function duration(seconds) {
  if (seconds < 0.0995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function took(task) {
  return Math.max(0, (task.ended_at ?? Date.now() / 1000) - task.created_at);
}

export function usd(amount) {
  if (amount === null) return "not known";
  const size = Math.abs(amount);
  const digits = size && size < 0.0001 ? size.toPrecision(2) : size.toFixed(4).replace(/0{1,2}$/, "");
  return `${amount < 0 ? "−" : ""}$${digits}`;
}

export function bytes(size) {
  if (size < 1024) return `${size} B`;
  if (size < 1024 ** 2) return `${Math.round(size / 1024)} kB`;
  return `${(size / 1024 ** 2).toFixed(1)} MB`;
}

// The name of a field in words: target_image is "Target image", imageUrl is "Image URL".
export function labelOf(name) {
  const words = name.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase();
  const spelt = words.replace(/\burl(s?)\b/g, "URL$1").replace(/\b(id|cfg|tts)\b/g, (word) => word.toUpperCase());
  return spelt[0].toUpperCase() + spelt.slice(1);
}
