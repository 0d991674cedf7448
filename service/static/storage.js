// What a collection's files hold, in bytes: one bar for each kind.

import { bytes, data, el, percent, withStyle } from "./dom.js";

const KINDS = {
  catalog: ["Catalog", "settings, vocabularies, pending documents"],
  documents: ["Documents", "texts, metadata, ids"],
  forward: ["Forward index", "each document's terms and impacts"],
  candidates: ["Blocks", "and their summaries, for approximate search"],
  postings: ["Postings", "for exact search"],
  neighbours: ["Neighbours", "the nearest documents of each"],
  dense: ["Dense rows", "to rescore"],
};

/** Return the panel of bytes by kind, or null where they are not shown (a bound key). */
export function storagePanel(collection) {
  if (!collection.stored?.length) return null;
  const largest = Math.max(...collection.stored.map((one) => one.bytes));
  const rows = collection.stored.map(({ kind, vector, bytes: size }) => {
    const [name, note] = KINDS[kind] ?? [kind, ""];
    return el("tr", {}, el("th", { scope: "row", title: note }, name, vector === null ? null : [" ", data(vector, "note")]),
      el("td", {}, el("span", { class: "track" }, withStyle(withStyle(el("span", { class: "bar" }), "--share", size / largest), "--colour", colour(kind)))),
      el("td", { class: "sum" }, bytes(size)), el("td", { class: "sum" }, percent(size / (collection.bytes || 1))));
  });
  return el("section", { class: "panel", "aria-labelledby": "storage-title" }, el("h2", { id: "storage-title" }, "Bytes by kind"),
    el("table", { class: "storage", "aria-label": "What the files hold" },
      el("tbody", {}, rows)));
}

const colour = (kind) => ({ catalog: "var(--bar-other)", documents: "var(--leg-1)", dense: "var(--leg-2)" }[kind] ?? "var(--leg-0)");
