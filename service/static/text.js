// A document's title and text with its highlights: the best part first, the whole on request.

import { el, number, withStyle } from "./dom.js";

export const TITLE = 160;
const SNIPPET = 340;
const PIECE = 50_000; // characters of a long text that are shown at once: a browser needs seconds to lay out a million

/** Return what turns the service's offsets (Unicode characters) into JavaScript's (UTF-16 units). */
function unitOffsets(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (offset) => offset;
  const starts = [];
  for (let at = 0; at < text.length; at += text.codePointAt(at) > 0xffff ? 2 : 1) starts.push(at);
  return (offset) => starts[offset] ?? text.length;
}

/** The highlights of one field, as offsets that a string takes. */
export function marksIn(text, highlights, field) {
  const units = unitOffsets(text);
  return (highlights || []).filter((one) => one.field === field)
    .map((one) => ({ start: units(one.start), end: units(one.end), weight: one.weight }));
}

/** The nodes of the text from `start` to `end`; the stronger a word's terms, the stronger its mark. */
export function marked(text, marks, start = 0, end = text.length) {
  const nodes = [];
  const strongest = Math.max(0, ...marks.map((one) => one.weight));
  let at = start;
  for (const one of marks) {
    if (one.start < at || one.end > end) continue;
    if (one.start > at) nodes.push(text.slice(at, one.start));
    nodes.push(withStyle(el("mark", {}, text.slice(one.start, one.end)), "--share", strongest ? one.weight / strongest : 1));
    at = one.end;
  }
  nodes.push(text.slice(at, end));
  return nodes;
}

/** The title's first characters, never in the middle of one. */
export function titleEnd(title) {
  if (title.length <= TITLE) return title.length;
  const blank = title.lastIndexOf(" ", TITLE);
  return blank > TITLE / 2 ? blank : TITLE - (isLow(title, TITLE) ? 1 : 0);
}

const isLow = (text, at) => text.charCodeAt(at) >= 0xdc00 && text.charCodeAt(at) <= 0xdfff;

/** The window of some hundred characters whose distinct highlights weigh most; the earliest of equals. */
export function snippet(text, marks) {
  const { length } = text;
  if (length <= SNIPPET * 1.25) return { start: 0, end: length };
  let best = 0, most = -1;
  for (const from of [{ start: 0 }, ...marks]) {
    const words = new Map();
    for (const one of marks) {
      if (one.start < from.start || one.end > from.start + SNIPPET - 60) continue;
      words.set(one.weight, (words.get(one.weight) || 0) + 1);
    }
    let weight = 0;
    for (const [value, times] of words) weight += value * (1 + 0.1 * Math.min(times, 4));
    if (weight > most * 1.001) { most = weight; best = from.start; }
  }
  const blank = (at) => /\s/.test(text[at]);
  let start = Math.max(0, best - 50);
  while (start > 0 && start < best && !blank(start - 1)) start += 1;
  let end = Math.min(length, start + SNIPPET);
  while (end < length && end > start + SNIPPET - 30 && !blank(end)) end -= 1;
  return { start: start - (start > 0 && isLow(text, start) ? 1 : 0), end: end - (isLow(text, end) ? 1 : 0) };
}

/** Append the next characters of a text, and a button for those behind them. */
function appendPiece(shown, text, marks, from) {
  let end = Math.min(text.length, from + PIECE);
  if (isLow(text, end)) end -= 1;
  shown.append(...marked(text, marks, from, end));
  if (end === text.length) return;
  const more = el("button", { type: "button", class: "link", onclick: () => { more.remove(); appendPiece(shown, text, marks, end); } },
    ` … ${number.format(text.length - end)} more characters`);
  shown.append(more);
}

/** A paragraph with the best part of the text, and the button that shows all of it (null where all is shown). */
export function foldingText(text, marks) {
  const { start, end } = snippet(text, marks);
  const shown = el("p", { class: "text", dir: "auto" });
  const fold = () => shown.replaceChildren(start > 0 ? "… " : "", ...marked(text, marks, start, end), end < text.length ? " …" : "");
  fold();
  if (start === 0 && end === text.length) return { shown, toggle: null };
  const toggle = el("button", { type: "button", class: "link whole", "aria-expanded": "false", onclick: () => {
    const open = toggle.getAttribute("aria-expanded") !== "true";
    toggle.setAttribute("aria-expanded", String(open));
    toggle.textContent = open ? "Less text" : "Whole text";
    shown.classList.toggle("open", open);
    // A long text scrolls in a box of its own, which the keyboard must reach.
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", "Whole text"]]) {
      if (open) shown.setAttribute(name, value);
      else shown.removeAttribute(name);
    }
    if (!open) { fold(); return; }
    shown.replaceChildren();
    appendPiece(shown, text, marks, 0);
  } }, "Whole text");
  return { shown, toggle };
}
