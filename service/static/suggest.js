// Suggestions while typing: the collection's own titles and words, in a list that arrows and Enter work in.

import { byId, data, el, number } from "./dom.js";
import { call, collectionPath } from "./api.js";
import { ask, state } from "./address.js";

const PAUSE = 120;
const input = byId("q");
const list = byId("suggestions");
let timer = 0, running = null, chosen = -1;

export async function examples(collection, size = 5) {
  const found = await call(collectionPath(collection, `/suggest?size=${size}`));
  return found.titles;
}

export function closeSuggestions() {
  clearTimeout(timer);
  running?.abort();
  chosen = -1;
  list.hidden = true;
  input.setAttribute("aria-expanded", "false");
  input.removeAttribute("aria-activedescendant");
}

async function load() {
  running?.abort();
  running = new AbortController();
  const typed = input.value.trimStart();
  if (!typed.trim() || !state.c) { closeSuggestions(); return; }
  try {
    const found = await call(collectionPath(state.c, `/suggest?size=5&prefix=${encodeURIComponent(typed.slice(0, 200))}`), { signal: running.signal });
    show(typed, found);
  } catch {
    closeSuggestions(); // suggestions are a help: the search itself says what is wrong
  }
}

function show(typed, found) {
  const start = typed.replace(/\S*$/, "");
  const items = [
    ...found.words.map((one) => ({ text: start + one.word, shown: [data(start + one.word)], note: `in ${number.format(one.documents)}` })),
    ...found.titles.map((title) => ({ text: title, shown: [data(title)], note: "title" })),
  ];
  if (!items.length || document.activeElement !== input) { closeSuggestions(); return; }
  list.replaceChildren(...items.map((one, at) => el("li", {
    role: "option", id: `suggestion-${at}`, "aria-selected": "false", "data-text": one.text,
    // Not the click: the field would lose the focus before it, and the list close.
    onmousedown: (event) => { event.preventDefault(); take(at); },
  }, el("span", { class: "suggested" }, ...one.shown), el("span", { class: "note" }, one.note))));
  chosen = -1;
  list.hidden = false;
  input.setAttribute("aria-expanded", "true");
}

function take(at) {
  input.value = list.children[at].dataset.text;
  closeSuggestions();
  ask(input.value);
}

function move(step) {
  const places = list.children.length + 1; // one more place: nothing is chosen, the text as typed
  chosen = ((chosen + 1 + step + places) % places) - 1;
  [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === chosen)));
  if (chosen < 0) input.removeAttribute("aria-activedescendant");
  else {
    input.setAttribute("aria-activedescendant", `suggestion-${chosen}`);
    list.children[chosen].scrollIntoView({ block: "nearest" });
  }
}

/** Handle a key in the search field; true when the list took it. */
function onKey(event) {
  if (list.hidden) return false;
  if (event.key === "ArrowDown") move(1);
  else if (event.key === "ArrowUp") move(-1);
  else if (event.key === "Escape") closeSuggestions();
  else if (event.key === "Enter" && chosen >= 0) take(chosen);
  else return false;
  return true;
}

export function startSuggestions() {
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(load, PAUSE); });
  input.addEventListener("blur", closeSuggestions);
  input.addEventListener("keydown", (event) => {
    if (onKey(event)) { event.preventDefault(); event.stopPropagation(); }
  });
}
