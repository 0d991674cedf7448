// Building DOM nodes and writing numbers. Data only ever becomes text nodes or values of harmless attributes, so nothing
// that a document or an error says can become markup.

export const byId = (id) => document.getElementById(id);

/** Return a new element. `on…` attributes are listeners; false and null leave an attribute out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Data in a line of ours: its direction and its control characters end with it. */
export const data = (text, className = "") => el("bdi", className ? { class: className } : {}, String(text));

export const button = (text, onclick, attributes = {}) => el("button", { type: "button", class: "plain", onclick, ...attributes }, text);

/** Set a custom property; the style sheet makes a width or a colour of it. (The policy forbids style attributes.) */
export function withStyle(node, name, value) {
  node.style.setProperty(name, String(value));
  return node;
}

export const number = new Intl.NumberFormat("en");

export function short(x) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  return size >= 100 ? x.toFixed(0) : size >= 10 ? x.toFixed(1) : size >= 0.01 ? x.toFixed(2) : x.toPrecision(1);
}

export const milliseconds = (x) => `${x < 10 ? x.toFixed(1) : x.toFixed(0)} ms`;
export const percent = (share) => `${Math.round(100 * share)} %`;
export const percent1 = (share) => `${Number((100 * share).toFixed(1))} %`;
export const plural = (n, word) => `${number.format(n)} ${word}${n === 1 ? "" : "s"}`;
export const sentence = (text) => `${text.slice(0, 1).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;

export function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  for (; count >= 1000 && at < units.length - 1; at += 1) count /= 1000;
  return `${at && count < 10 ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

/** Say something to screen readers. */
export function announce(text) {
  byId("status").textContent = text;
}

let waiting = 0;

/** Show the progress line while `work` runs, if that takes longer than a moment. */
export async function whileBusy(work) {
  const slow = setTimeout(() => { waiting += 1; byId("progress").hidden = false; announce("Searching …"); }, 200);
  const before = waiting;
  try {
    return await work();
  } finally {
    clearTimeout(slow);
    if (waiting > before) waiting -= 1;
    if (waiting === 0) byId("progress").hidden = true;
  }
}
