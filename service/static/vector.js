// A document's whole vector: its words, or the numbers of a dense one, as bars.

import { data, el, plural, short, withStyle } from "./dom.js";
import { call, collectionPath, idInPath } from "./api.js";
import { go, state } from "./address.js";
import { pretty } from "./words.js";

const FEW = 24;

export function vectorPanel(collection) {
  const id = el("input", { type: "text", id: "vector-id", value: state.doc, placeholder: "A document's id", required: true, maxlength: "512" });
  const shown = el("div", {});
  const form = el("form", { onsubmit: (event) => { event.preventDefault(); go({ doc: id.value }); } },
    el("label", { for: "vector-id" }, "Document"), id, el("button", { type: "submit", class: "plain" }, "Show"));
  if (state.doc) load(collection, state.doc, shown);
  return el("section", { class: "panel wide", id: "vector-panel", "aria-labelledby": "vector-title" }, el("h2", { id: "vector-title" }, "A document's vector"), form, shown);
}

async function load(collection, id, shown) {
  shown.replaceChildren(el("p", { role: "status" }, "Loading …"));
  try {
    const document = await call(collectionPath(collection.name, `/documents/${idInPath(id)}`));
    const vectors = await Promise.all(Object.keys(collection.vectors).map((name) =>
      call(collectionPath(collection.name, `/vectors/${encodeURIComponent(name)}/${idInPath(id)}`))));
    const title = document.title || document.text;
    shown.replaceChildren(el("h3", {}, data(title.length > 160 ? `${title.slice(0, 160)} …` : title || id)),
      el("div", { class: "vectors" }, vectors.map((one) => (one.dense ? dense(one) : sparse(one)))));
  } catch (error) {
    shown.replaceChildren(el("p", { role: "alert" }, error.status === 404 ? "There is no document of this id here." : `${error.title}: ${error.message}`));
  }
}

function sparse(vector) {
  const words = [...vector.words].sort((a, b) => b.weight - a.weight);
  const most = words[0]?.weight || 1;
  const rows = words.map((one) => el("tr", { class: one.word === null ? "added" : "" },
    el("th", { scope: "row" }, data(one.word ?? pretty(one.tokens[0]))),
    el("td", {}, el("span", { class: "track" }, withStyle(withStyle(el("span", { class: "bar" }), "--share", one.weight / most), "--colour", one.word === null ? "var(--expansion)" : "var(--leg-0)"))),
    el("td", { class: "sum" }, short(one.weight))));
  const body = el("tbody", {}, rows.slice(0, FEW));
  const rest = rows.length - FEW;
  const more = rest > 0 ? el("button", { type: "button", class: "link", onclick: () => { body.append(...rows.slice(FEW)); more.remove(); } }, `${rest} more`) : null;
  return el("div", { class: "vector" }, el("h4", {}, data(vector.using), el("span", { class: "note" }, ` ${plural(vector.terms.length, "term")}`)),
    words.some((one) => one.word === null) && el("p", { class: "faint" }, el("span", { class: "key own" }), "in the text ", el("span", { class: "key added" }), "added by the encoder"),
    el("table", { "aria-label": `Vector ${vector.using}` },
      body), more);
}

function dense(vector) {
  const most = Math.max(...vector.values.map(Math.abs)) || 1;
  const bars = vector.values.map((value) => withStyle(el("span", { class: value < 0 ? "negative" : "" }), "--share", Math.abs(value) / most));
  const length = vector.values.length;
  return el("div", { class: "vector" }, el("h4", {}, data(vector.using), el("span", { class: "note" }, ` ${plural(length, "number")}`)),
    el("p", { class: "faint" }, "Numbers of a dense vector have no words."),
    el("div", { class: "dense", role: "img", "aria-label": `${plural(length, "number")} between ${short(-most)} and ${short(most)}` }, bars));
}
