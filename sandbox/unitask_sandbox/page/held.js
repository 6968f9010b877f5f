// The inputs of the tasks that this tab has submitted or shown.

const MOST = 50;
const kept = new Map();

export function hold(taskId, entry, input) {
  kept.set(taskId, { entry, input });
  if (kept.size > MOST) kept.delete(kept.keys().next().value);
}

export const held = (taskId) => kept.get(taskId);
