// The collection view: what it holds, what made its vectors, how it is searched; upload, vectors, slow searches.

import { bytes, byId, data, el, milliseconds, number, plural, short } from "./dom.js";
import { call, collectionPath } from "./api.js";
import { go, state } from "./address.js";
import { show } from "./notices.js";
import { examples } from "./suggest.js";
import { sparseVectors } from "./request.js";
import { recallCurve } from "./curve.js";
import { storagePanel } from "./storage.js";
import { uploadPanel } from "./upload.js";
import { vectorPanel } from "./vector.js";

const optional = (promise) => promise.catch(() => null); // a part of the view that may be missing

/** Show the collection of the state; `changed` is called with what the service says of it after an upload. */
export async function showCollection(collection, changed) {
  document.title = `${collection.name} · lsr`;
  show("collection-view");
  const view = byId("collection-view");
  let numbers = figures(collection), stored = storagePanel(collection) ?? "";
  const reload = async () => {
    const now = await optional(call(collectionPath(collection.name)));
    if (!now) return;
    const [next, kinds] = [figures(now), storagePanel(now) ?? ""];
    numbers.replaceWith(next);
    if (stored) stored.replaceWith(kinds);
    [numbers, stored] = [next, kinds];
    changed(now);
  };
  const slow = el("section", { class: "panel", "aria-labelledby": "slow-title" });
  const curve = el("section", { class: "panel", "aria-labelledby": "curve-title" });
  view.replaceChildren(
    el("h1", {}, data(collection.name)), problems(collection), numbers,
    el("div", { class: "panels" }, vectors(collection), defaults(collection), stored, schema(collection), curve, slow, uploadPanel(collection, reload)),
    vectorPanel(collection));
  const [slowest, titles, curves] = await Promise.all([
    optional(call(collectionPath(collection.name, "/slow"))), optional(examples(collection.name, 5)),
    Promise.all(sparseVectors(collection).map((using) => optional(call(collectionPath(collection.name, `/curve?using=${encodeURIComponent(using)}`))))),
  ]);
  slow.replaceChildren(el("h2", { id: "slow-title" }, "Slow searches"), ...[slowTable(slowest)].flat());
  curve.replaceChildren(el("h2", { id: "curve-title" }, "Recall and cost"), ...recallCurve(curves.filter(Boolean), state));
  if (titles?.length) view.append(el("section", {}, el("h2", { class: "try" }, "Try a title of ", data(collection.name)), el("div", { class: "examples" }, exampleButtons(titles))));
}

export const exampleButtons = (titles) => titles.map((title) =>
  el("button", { type: "button", class: "example", onclick: () => go({ view: "search", q: title, like: "", terms: {}, doc: "" }) }, data(title)));

function problems(collection) {
  const damage = collection.damage.map((one) => `Damaged: ${one.file}: ${one.reason}. ${plural(one.documents, "document")} cannot be found; nothing is written until the file is restored.`);
  return [...damage, ...collection.notes, ...(collection.read_only ? [`Nothing can be written now: ${collection.read_only}`] : [])].map((text) => el("p", { class: "warning" }, data(text)));
}

function figures(collection) {
  const figure = (name, value, note = "") => el("div", {}, el("dt", {}, name), el("dd", {}, value, note && el("span", { class: "note" }, note)));
  const whole = collection.bytes !== null; // a key that is bound to a filter sees a part
  const each = collection.documents && whole ? `${bytes(collection.bytes / collection.documents)} per document` : "";
  return el("dl", { class: "figures" },
    figure("Documents", number.format(collection.documents), collection.deleted ? `${number.format(collection.deleted)} deleted, not merged away yet` : ""),
    whole ? figure("On disk", bytes(collection.bytes), each) : null,
    figure("Segments", whole ? number.format(collection.segments) : "not shown", collection.pending ? `${plural(collection.pending, "document")} not sealed yet` : ""),
    figure("Committed changes", number.format(collection.seq)));
}

function table(head, rows) {
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": head.join(", ") }, el("table", { class: "grid" },
    el("thead", {}, el("tr", {}, head.map((one) => el("th", { scope: "col" }, one)))), el("tbody", {}, rows)));
}

function vectors(collection) {
  const rows = Object.entries(collection.vectors).map(([name, one]) => el("tr", {},
    el("th", { scope: "row" }, data(name)), el("td", {}, one.encoder === null ? "none: given ready-made" : data(one.encoder)),
    el("td", {}, one.dense ? `dense, ${plural(one.dimensions, "dimension")}` : `sparse, ${plural(one.terms, "term")}`),
    el("td", {}, el("code", {}, (one.fingerprint || "–").slice(0, 12)))));
  return el("section", { class: "panel" }, el("h2", {}, "Vectors"), table(["name", "encoder", "kind", "fingerprint"], rows));
}

function defaults(collection) {
  const { queries = [], weights = [], method, rescore, cache } = collection.search;
  const lists = queries.map((one, at) => [at ? ", " : "", data(one.using, "name"), queries.length > 1 ? ` × ${weights[at] ?? 1}` : ""]);
  return el("section", { class: "panel" }, el("h2", {}, "Search defaults"),
    el("p", {}, queries.length > 1 ? ["Fused: ", lists, ` (${method})`] : ["Ranked by ", lists]),
    el("p", {}, rescore ? [`The first ${number.format(rescore.candidates)} are rescored by `, data(rescore.using, "name"), ` × ${rescore.weight}`] : "Not rescored"),
    el("p", {}, cache ? "Answers to near queries are kept (semantic cache)" : "No semantic cache"));
}

function schema(collection) {
  const rows = Object.entries(collection.schema).map(([name, kind]) => el("tr", {}, el("th", { scope: "row" }, data(name)), el("td", {}, el("code", {}, kind))));
  return el("section", { class: "panel" }, el("h2", {}, "Metadata fields"),
    rows.length ? table(["field", "type"], rows) : el("p", {}, "None were declared, so nothing can be filtered by. A schema is given when a collection is created."));
}

function slowTable(found) {
  if (!found) return el("p", {}, "Not available.");
  if (!found.searches.length) return el("p", {}, `No search took longer than ${milliseconds(found.slower_than_ms)} since the service started.`);
  const rows = found.searches.slice(0, 10).map((one) => el("tr", {}, el("td", {}, new Date(one.at).toLocaleTimeString()), el("td", {}, milliseconds(one.took_ms)),
    el("td", {}, Object.entries(one.timings).filter(([, took]) => took >= 1).map(([name, took]) => `${name} ${short(took)}`).join(", ")),
    el("td", {}, number.format(one.terms)), el("td", {}, el("code", {}, one.request_id))));
  return [el("p", {}, `Longer than ${milliseconds(found.slower_than_ms)}. What was asked is not kept.`), table(["at", "took", "steps, ms", "terms", "request"], rows)];
}
