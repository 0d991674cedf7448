// The hits: title, text, metadata that narrows the search, and why each is where it is.

import { data, el, short, withStyle } from "./dom.js";
import { go } from "./address.js";
import { foldingText, marked, marksIn, titleEnd } from "./text.js";
import { pretty } from "./words.js";
import { addValue } from "./facets.js";

const FEW = 6; // rows of a list that are shown at once
const narrow = matchMedia("(max-width: 60rem)");

/** Return the nodes of hits. `context`: {collection, colours: by list, strength, exactIds (or null)}. */
export function hitNodes(hits, context) {
  const largest = new Map();
  for (const leg of hits.flatMap((hit) => hit.legs)) {
    for (const one of leg.words || leg.matched || []) {
      largest.set(leg.using, Math.max(largest.get(leg.using) || 0, one.contribution));
    }
  }
  return hits.map((hit) => hitNode(hit, { ...context, largest }));
}

function hitNode(hit, context) {
  const heading = `hit-${hit.rank}`;
  const { shown, toggle } = foldingText(hit.text || "", marksIn(hit.text || "", hit.highlights, "text"));
  const title = hit.title || "";
  const end = titleEnd(title);
  const marks = marksIn(title, hit.highlights, "title");
  const name = title ? [...marked(title, marks, 0, end), end < title.length ? " …" : ""] : [hit.id];
  return el("li", {}, el("article", { class: "hit", tabindex: "-1", "aria-labelledby": heading },
    el("div", { class: "what" },
      el("h2", { id: heading }, el("span", { class: "rank", "aria-label": `Hit ${hit.rank}:` }, String(hit.rank)), el("bdi", { class: "title", dir: "auto" }, ...name)),
      label(hit, context), shown, metadata(hit, context.collection), group(hit),
      el("div", { class: "actions" }, toggle,
        el("button", { type: "button", class: "link", onclick: () => go({ q: "", like: hit.id, terms: {}, doc: "" }) }, "More like this"),
        el("button", { type: "button", class: "link", onclick: () => go({ view: "collection", doc: hit.id }) }, "Whole vector"))),
    why(hit, context)));
}

function label(hit, { strength, exactIds }) {
  const said = { weak: "Weak match: only pieces of an unknown word", related: "Related: none of your words, only terms that the encoder added" }[strength(hit)];
  const notes = said ? [el("span", { class: "flag" }, said)] : [];
  if (exactIds && !exactIds.has(hit.id)) notes.push(el("span", { class: "flag" }, "Not among the exact hits"));
  return notes.length ? el("p", { class: "flags" }, notes) : null;
}

/** Metadata of the schema's fields are buttons that narrow the search; other metadata is text. */
function metadata(hit, collection) {
  const shown = [el("span", { class: "field id" }, "id ", data(hit.id))];
  if (hit.parent) shown.push(el("span", { class: "field" }, "in ", data(hit.parent)));
  for (const [name, value] of Object.entries(hit.metadata || {}).slice(0, 24)) {
    const kind = Object.hasOwn(collection.schema, name) ? collection.schema[name] : null;
    const values = (Array.isArray(value) ? value : [value]).slice(0, 12);
    shown.push(el("span", { class: "field" }, data(name), " ", values.map((one) => (kind && one !== null && typeof one !== "object"
      ? el("button", { type: "button", class: "value", title: `Only documents with this ${name}`, onclick: () => addValue(name, kind, one) }, data(one))
      : data(cut(typeof one === "object" ? JSON.stringify(one) : String(one)), "other")))));
  }
  return el("div", { class: "meta" }, shown);
}

const cut = (text) => (text.length > 120 ? `${text.slice(0, 120)} …` : text);

function group(hit) {
  const further = hit.group?.hits || [];
  if (!further.length && !hit.duplicates?.length) return null;
  return el("p", { class: "group" }, further.length ? [`${further.length} more with `, data(hit.group.field), " ", data(hit.group.value), ": "] : "Near-duplicates: ",
    (further.length ? further.map((one) => one.id) : hit.duplicates).map((id, at) => [at ? ", " : "", data(id, "id")]));
}

// --- why

function why(hit, { colours, largest }) {
  const parts = [
    ...hit.legs.filter((leg) => leg.contribution > 0).map((leg) => ({ name: leg.using, value: leg.contribution })),
    ...(hit.boosts || []).map((one) => ({ name: `boost ${one.field}`, value: one.contribution })),
  ];
  const sum = parts.reduce((total, one) => total + Math.max(0, one.value), 0);
  const stack = el("span", { class: "stack", role: "img", "aria-label": parts.map((one) => `${one.name} ${short(one.value)}`).join(", ") || "no parts" },
    parts.map((one) => withStyle(withStyle(el("span", {}), "--share", sum ? Math.max(0, one.value) / sum : 0), "--colour", colours(one.name))));
  return el("details", { class: "why", open: !narrow.matches },
    el("summary", {}, el("span", {}, "Score ", el("b", {}, short(hit.score))), parts.length > 1 && stack),
    hit.legs.map((leg) => legTable(leg, hit, colours, largest)),
    (hit.boosts || []).map((one) => legHead(`boost ${one.field}`, "", one.contribution, colours)));
}

function legTable(leg, hit, colours, largest) {
  if (leg.rank === null && !(leg.contribution > 0)) return null;
  const rows = (leg.words || []).map((one) => ({ ...one, label: one.word ?? pretty(one.tokens[0]) }));
  const weights = new Map((leg.matched || []).map((one) => [one.token, `${short(one.query_weight)} × ${short(one.doc_weight)}`]));
  const note = leg.rank === null ? "" : `rank ${leg.rank}`;
  const table = rows.length ? el("table", { "aria-label": `Terms of ${leg.using} in hit ${hit.rank}` },
      el("tbody", {}, folded(rows.map((one) => row(leg, one, weights, colours, largest))),
      leg.other_terms > 1e-6 && el("tr", { class: "other" }, el("th", { scope: "row" }, "other terms"), el("td", {}), el("td", { class: "sum" }, short(leg.other_terms))))) : null;
  return el("div", { class: "leg" }, legHead(leg.using, hit.legs.length > 1 ? `${note} · raw ${short(leg.score)}` : note, leg.contribution, colours), table);
}

/** The first rows, and a button for the others. */
function folded(rows) {
  if (rows.length <= FEW + 1) return rows;
  const more = el("tr", {}, el("td", { colspan: "3" }, el("button", { type: "button", class: "link", onclick: () => more.replaceWith(...rows.slice(FEW)) }, `${rows.length - FEW} more terms`)));
  return [...rows.slice(0, FEW), more];
}

function legHead(name, note, contribution, colours) {
  return el("p", { class: "leg-head" }, withStyle(el("span", { class: "swatch" }), "--colour", colours(name)), data(name, "name"),
    el("span", { class: "note" }, note), el("b", {}, short(contribution)));
}

function row(leg, one, weights, colours, largest) {
  const products = one.tokens.map((token) => weights.get(token)).filter(Boolean).join(" + ");
  const bar = withStyle(withStyle(el("span", { class: "bar" }), "--share", one.contribution / (largest.get(leg.using) || 1)), "--colour", colours(leg.using));
  return el("tr", { "data-token": one.tokens.join("\n"), title: `${one.tokens.map(pretty).join(" ")}: ${products}` },
    el("th", { scope: "row" }, data(one.label)), el("td", {}, el("span", { class: "track" }, bar)),
    el("td", { class: "sum" }, short(one.contribution)));
}

/** Light up the same terms elsewhere: chips and rows. */
export function lightOnHover() {
  for (const [type, on] of [["mouseover", true], ["mouseout", false]]) {
    document.addEventListener(type, (event) => {
      const tokens = event.target.closest?.("[data-token]")?.dataset.token;
      if (!tokens) return;
      const wanted = new Set(tokens.split("\n"));
      for (const node of document.querySelectorAll("[data-token]")) {
        if (node.dataset.token.split("\n").some((token) => wanted.has(token))) node.classList.toggle("lit", on);
      }
    });
  }
}

/** The names of what a score is made of get colours in their order; the same name, the same colour. */
export function colourNames(names) {
  const known = [...new Set(names)];
  return (name) => {
    if (name.startsWith("boost ")) return "var(--leg-boost)";
    const at = known.indexOf(name);
    return `var(--leg-${Math.max(0, at) % 4})`;
  };
}

