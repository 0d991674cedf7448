// The search view: one search at a time, its further pages, and the panels around its hits.

import { announce, button, byId, data, el, milliseconds, number, percent1, plural, sentence, whileBusy } from "./dom.js";
import { call, collectionPath } from "./api.js";
import { fresh, go, state } from "./address.js";
import { anyEdited, asText, copy, legsOf, rescoreOf, searchBody } from "./request.js";
import { chipPanel } from "./chips.js";
import { facetPanel, filterPills } from "./facets.js";
import { colourNames, hitNodes } from "./hits.js";
import { strengthOf } from "./words.js";
import { comparison, rankingPanel, timingBar } from "./ranking.js";
import { notice, show } from "./notices.js";

let running = null;
let known = { key: "", terms: [] }; // the terms of the query without changes by hand
let last = null; // {body, answer, context, shown}

const path = (rest = "") => collectionPath(state.c, `/search${rest}`);

/** Run the search of the state and show it. Throws Problem. */
export async function runSearch(collection) {
  running?.abort();
  const { signal } = running = new AbortController();
  await whileBusy(async () => {
    const base = anyEdited(state) ? await baseTerms(collection, signal) : [];
    const body = searchBody(state, collection, base);
    if (body === null) { allOff(collection, base); return; }
    const [answer, exact] = await Promise.all([
      call(path(), { body, signal }),
      state.compare ? call(path(), { body: { ...withoutExtras(body), cache: false, params: { exact: true } }, signal }) : null,
    ]);
    await widenFacets(body, answer, signal);
    const terms = anyEdited(state) ? base : answer.query.terms;
    if (!anyEdited(state)) known = { key: baseKey(), terms };
    const context = {
      collection, colours: colourNames([...Object.keys(legsOf(state, collection)), rescoreOf(state, collection)?.using ?? "", ...answer.hits.flatMap((hit) => hit.legs.map((leg) => leg.using))].filter(Boolean)),
      strength: state.like ? () => "" : strengthOf(terms, state.q), exactIds: exact && new Set(exact.hits.map((hit) => hit.id)),
    };
    last = { body, answer, context, shown: answer.hits.length };
    render(collection, terms, exact);
  });
}

export const stopSearch = () => running?.abort();

const baseKey = () => JSON.stringify([state.c, state.q, state.like, state.legs, state.prf]);

function withoutExtras(body) {
  const { cursor, facets, highlight, explain, ...rest } = body;
  return { ...rest, include: [] };
}

async function baseTerms(collection, signal) {
  if (known.key !== baseKey()) {
    const body = withoutExtras(searchBody({ ...state, terms: {}, sort: "", group: "", filter: {} }, collection));
    const answer = await call(path(), { body: { ...body, k: 1, total: false }, signal });
    known = { key: baseKey(), terms: answer.query.terms };
  }
  return known.terms;
}

/** The counts of a filtered field without its own filter: what else could be chosen there. */
async function widenFacets(body, answer, signal) {
  const fields = Object.keys(state.filter).filter((field) => body.facets?.fields.includes(field));
  if (!fields.length) return;
  const searches = fields.map((field) => {
    const { [field]: _, ...filter } = state.filter;
    return { ...withoutExtras(body), k: 1, total: false, filter, facets: { ...body.facets, fields: [field] } };
  });
  const { results } = await call(path(":batch"), { body: { searches }, signal });
  fields.forEach((field, at) => { answer.facets[field] = results[at].facets[field]; });
}

// --- showing

function render(collection, terms, exact) {
  const { answer, context } = last;
  show("results");
  byId("results-title").replaceChildren(...(state.like ? ["Like ", data(state.like)] : [data(state.q)]));
  document.title = `${state.like || state.q} · lsr`;
  byId("summary").replaceChildren(...summary(answer));
  byId("timing").replaceChildren(timingBar(answer));
  byId("compared").replaceChildren(...(exact ? [comparison(answer, exact)] : []));
  byId("terms").replaceChildren(...chipPanel(terms, state.like ? "" : state.q));
  byId("pills").replaceChildren(...filterPills());
  const focused = byId("ranking").contains(document.activeElement) ? focusPath() : null;
  byId("ranking").replaceChildren(...rankingPanel(collection).filter(Boolean));
  focused?.();
  const facets = facetPanel(answer.facets, collection.schema);
  byId("facets").replaceChildren(...facets);
  byId("filters").hidden = !facets.length;
  byId("results").classList.toggle("plain-results", !facets.length);
  byId("warnings").replaceChildren(...warnings(answer, context));
  byId("hits").replaceChildren(...hitNodes(answer.hits, context));
  byId("more").hidden = !answer.next_cursor;
  byId("after").hidden = !answer.hits.length;
  if (!answer.hits.length) nothing(answer);
  announce(`${plural(answer.hits.length, "hit")} of ${number.format(answer.total.value)}, ${milliseconds(answer.took_ms)}`);
}

/** Remember which control of the ranking had the focus, since the panel is built anew. */
function focusPath() {
  const controls = () => [...byId("ranking").querySelectorAll("input, select, button")];
  const at = controls().indexOf(document.activeElement);
  return () => controls()[at]?.focus({ preventScroll: true });
}

function summary(answer) {
  const { total } = answer;
  const found = total.relation === "eq" ? plural(total.value, "document") : `at least ${plural(total.value, "document")}`;
  return [`${found} in `, data(state.c), answer.approximate ? ` · approximate${expected(answer)}` : " · exact", answer.cached ? " · from the cache" : ""];
}

const expected = ({ expected_recall: recall }) => (recall === null ? "" : `, recall of ${percent1(recall)} expected`);

function warnings(answer, context) {
  const said = answer.hits.length ? answer.warnings.map((text) => el("p", { class: "warning" }, sentence(text))) : [];
  const weak = answer.hits.filter((hit) => context.strength(hit) === "weak").length;
  if (answer.hits.length && weak === answer.hits.length) {
    said.unshift(el("p", { class: "warning" }, "No document fits well: your words are unknown to the encoder, and these hits share only pieces of them. Check the spelling, or use other words."));
  }
  if (anyEdited(state) && rescoreOf(state, context.collection) && !answer.hits.some((hit) => hit.rescored)) {
    said.push(el("p", { class: "warning" }, "Not rescored: a list of changed terms has no text that a dense vector could be made of."));
  }
  return said;
}

function nothing(answer) {
  const filtered = Object.keys(state.filter).length > 0;
  const why = answer.warnings[0] ? sentence(answer.warnings[0]) : "No document shares a term with this query.";
  const actions = [];
  if (filtered) actions.push(button("Search without filters", () => go({ filter: {} })));
  if (anyEdited(state)) actions.push(button("Undo changes of terms", () => go({ terms: {} })));
  actions.push(button("Back to the start", () => go(fresh(state.c))));
  notice("No hits", `${why} ${filtered ? "The filters may leave nothing." : "Try other words, or another collection."}`, actions, { beside: true });
}

function allOff(collection, base) {
  show("results");
  byId("results-title").replaceChildren(data(state.q));
  for (const id of ["summary", "timing", "compared", "pills", "warnings", "hits", "facets"]) byId(id).replaceChildren();
  byId("after").hidden = byId("filters").hidden = true;
  byId("terms").replaceChildren(...chipPanel(base, state.q));
  byId("ranking").replaceChildren(...rankingPanel(collection).filter(Boolean));
  notice("Every term is switched off", "A search needs at least one term.", [button("Undo changes of terms", () => go({ terms: {} }))], { beside: true });
}

// --- further pages, copying

async function more(collection) {
  const { body, answer, context } = last;
  const next = await whileBusy(() => call(path(), { body: { ...body, cursor: answer.next_cursor } }));
  if (last.answer !== answer) return; // another search was asked meanwhile
  const nodes = hitNodes(next.hits, context);
  byId("hits").append(...nodes);
  last = { ...last, answer: { ...answer, next_cursor: next.next_cursor }, shown: last.shown + next.hits.length };
  byId("more").hidden = !next.next_cursor;
  announce(`${plural(next.hits.length, "more hit")}, ${last.shown} in all`);
  nodes[0]?.querySelector(".hit").focus();
}

/** Connect the buttons below the hits. `failed` shows a Problem. */
export function startSearchView(collectionOf, failed) {
  byId("filters").open = !matchMedia("(max-width: 60rem)").matches; // on a phone the hits come first
  byId("more").addEventListener("click", () => more(collectionOf()).catch((error) => {
    if (error.name === "AbortError") return;
    if (error.status === 410 || error.type === "cursor-gone") {
      byId("more").hidden = true;
      byId("after").prepend(el("p", { class: "warning" }, "The list is not kept any longer. ", button("Search again", () => go({}, { replace: true }))));
    } else failed(error);
  }));
  for (const pressed of document.querySelectorAll("[data-copy]")) {
    pressed.addEventListener("click", () => copy(asText(pressed.dataset.copy, state.c, last.body), pressed));
  }
}
