// The page at `/`: two views of a collection, search.js and collection.js. What is shown is the address (address.js); data
// only ever becomes text nodes (dom.js).

import { byId, bytes, data, el, plural } from "./dom.js";
import { call, savedKey, saveKey } from "./api.js";
import { address, ask, fresh, go, onChange, readAddress, state } from "./address.js";
import { exampleButtons, showCollection } from "./collection.js";
import { lightOnHover } from "./hits.js";
import { startKeyboard } from "./keyboard.js";
import { askForKey, notice, show, showProblem } from "./notices.js";
import { runSearch, startSearchView, stopSearch } from "./search.js";
import { closeSuggestions, examples, startSuggestions } from "./suggest.js";

let collections = [];
let broken = [];
let leftOut = [];

const names = () => collections.map((one) => one.name);
const chosen = () => collections.find((one) => one.name === state.c);
const largest = () => collections.reduce((best, one) => (best && best.documents >= one.documents ? best : one), null)?.name || "";
const failed = (error) => {
  byId("change-key").hidden = savedKey() === null; // also a key that may not read leaves a way back to the field
  if (error.name !== "AbortError") showProblem(error, load, names());
};

async function load() {
  try {
    ({ collections, broken, left_out: leftOut } = await call("v1/collections"));
  } catch (error) {
    failed(error);
    return;
  }
  await render();
}

/** Show what the state says. */
async function render() {
  stopSearch();
  closeSuggestions();
  if (!state.c) state.c = largest();
  fillHeader();
  try {
    const collection = chosen();
    if (!state.c) showStart();
    else if (!collection) await call(`v1/collections/${encodeURIComponent(state.c)}`).then((one) => { collections.push({ ...one, name: state.c }); return render(); }); // an alias
    else if (state.view === "collection") await showCollection(collection, changed);
    else if (state.q.trim() || state.like) await runSearch(collection);
    else showStart();
  } catch (error) {
    failed(error);
  }
}

/** Keep what the service says of a collection that an upload has changed. */
function changed(collection) {
  collections = collections.map((one) => (one.name === collection.name ? collection : one));
  fillHeader();
}

function fillHeader() {
  byId("q").value = state.q;
  const shown = names().includes(state.c) || !state.c ? names() : [...names(), state.c];
  byId("collection").replaceChildren(...shown.map((name) => el("option", { value: name, selected: name === state.c }, name)));
  byId("collection").disabled = shown.length < 2;
  byId("q").placeholder = chosen() ? `Search ${plural(chosen().documents, "document")}` : "Search";
  for (const view of ["search", "collection"]) {
    const link = byId(`to-${view}`);
    link.setAttribute("href", address({ ...state, view, doc: view === "collection" ? state.doc : "" }));
    if (state.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("change-key").hidden = savedKey() === null;
}

async function showStart() {
  document.title = "lsr";
  byId("cards").replaceChildren(...collections.map((one) => {
    const encoders = [...new Set(Object.values(one.vectors).map((vector) => vector.encoder || "ready-made vectors"))];
    return el("button", { type: "button", class: "card", "aria-pressed": String(one.name === state.c), onclick: () => { go(fresh(one.name)); byId("q").focus(); } },
      el("b", {}, data(one.name)), el("span", {}, plural(one.documents, "document") + (one.bytes === null ? "" : ` · ${bytes(one.bytes)}`)), el("span", {}, data(encoders.join(", "))),
      ...(one.read_only ? [el("span", {}, "read only: ", data(one.read_only))] : []));
  }), ...broken.map((one) => el("div", { class: "card broken" }, el("b", {}, data(one.name)), el("span", {}, "cannot be used: ", data(one.reason)))),
  ...leftOut.map((one) => el("div", { class: "card broken" }, el("b", {}, data(one.folder)), el("span", {}, "this folder is not served: ", data(one.reason)))));
  byId("examples").replaceChildren();
  show("start");
  if (!collections.length && !broken.length) {
    notice("No collection yet", ["Create one with ", el("code", {}, "lsr index CORPUS --out DIR"), " and serve its folder, or with ", el("code", {}, "PUT /v1/collections/NAME"), "."]);
    return;
  }
  if (!chosen()?.documents) return;
  const titles = await examples(state.c, 5).catch(() => []); // examples are a help: the page works without
  byId("examples").replaceChildren(...(titles.length ? [el("h2", {}, "Try a title of ", data(state.c)), ...exampleButtons(titles)] : []));
}

function start() {
  const field = byId("q");
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (matchMedia("(max-width: 60rem)").matches) field.blur(); // the keyboard of a phone would cover the hits
    ask(field.value.trim());
  });
  byId("collection").addEventListener("change", (event) => go({ ...fresh(event.target.value), view: state.view, q: state.q }));
  for (const link of document.querySelectorAll("a[data-internal]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      if (link.id === "home") go(fresh(state.c));
      else go({ view: link.id.replace("to-", "") });
    });
  }
  byId("key-form").addEventListener("submit", (event) => { event.preventDefault(); saveKey(byId("key").value.trim()); load(); });
  byId("key-forget").addEventListener("click", () => { saveKey(""); load(); });
  byId("change-key").addEventListener("click", () => askForKey("Another API key"));
  startSearchView(chosen, failed);
  startSuggestions();
  startKeyboard();
  lightOnHover();
  onChange(render);
  readAddress();
  load();
}

start();
