// The state as the body of a search, and that body as something to copy.

import { byId } from "./dom.js";
import { collectionPath, savedKey } from "./api.js";

export const PAGE = 10;
const SHOWN_TERMS = 12;
export const targets = ["0.9", "0.95", "0.98", "0.99", "0.995"]; // recall targets of the approximate search

export const sparseVectors = (collection) => Object.keys(collection.vectors).filter((name) => !collection.vectors[name].dense);
export const denseVectors = (collection) => Object.keys(collection.vectors).filter((name) => collection.vectors[name].dense);

/** The lists of the fusion with their weights: those of the state, else the collection's defaults. */
export function legsOf(state, collection) {
  const known = sparseVectors(collection);
  const chosen = Object.entries(state.legs || {}).filter(([name, weight]) => known.includes(name) && weight > 0);
  if (chosen.length) return Object.fromEntries(chosen);
  const { queries = [], weights = [] } = collection.search;
  const defaults = Object.fromEntries(queries.map((one, at) => [one.using, weights[at] ?? 1]));
  return Object.keys(defaults).length ? defaults : { [known[0]]: 1 };
}

/** How the dense vector rescores: null where it does not. */
export function rescoreOf(state, collection) {
  const byDefault = collection.search.rescore;
  const using = byDefault?.using ?? denseVectors(collection)[0];
  const weight = state.rescore ?? byDefault?.weight ?? 0;
  if (!using || weight <= 0) return null;
  return { using, candidates: byDefault?.candidates ?? 100, weight };
}

const isEdited = (state, using) => Object.keys(state.terms[using] || {}).length > 0;
export const anyEdited = (state) => Object.keys(state.terms).some((using) => isEdited(state, using));

/** The terms of one vector after the changes by hand. */
function editedVector(state, using, base) {
  const edits = state.terms[using] || {};
  const terms = base.filter((term) => term.using === using).map((term) => [term.token, Number(edits[term.token] ?? term.weight)]);
  return Object.fromEntries(terms.filter(([, weight]) => weight > 0));
}

/** Return the body of a search, or null when every term is switched off.
 *  base  the terms of the query as the encoders gave them; needed where terms were changed by hand */
export function searchBody(state, collection, base = []) {
  const source = state.like ? { like: state.like } : { text: state.q };
  const legs = [];
  for (const [using, weight] of Object.entries(legsOf(state, collection))) {
    if (!isEdited(state, using)) legs.push({ weight, query: { using, ...source } });
    else {
      const sparse = editedVector(state, using, base);
      if (Object.keys(sparse).length) legs.push({ weight, query: { using, sparse } });
    }
  }
  if (!legs.length) return null;
  const body = {};
  const changed = state.legs || state.method || anyEdited(state);
  if (!changed) body.query = source;
  else if (legs.length === 1) {
    const { using, ...query } = legs[0].query;
    Object.assign(body, { query, using });
  } else {
    const method = state.method || collection.search.method || "scaled";
    body.query = { fusion: { queries: legs.map((one) => one.query), method, weights: legs.map((one) => one.weight) } };
  }
  addRanking(body, state, collection, Boolean(changed), legs.some((one) => !one.query.sparse));
  return Object.assign(body, {
    k: PAGE, cursor: true, total: true, highlight: highlightable(collection, legs), explain: { max_terms: SHOWN_TERMS, words: true },
  });
}

function addRanking(body, state, collection, changed, hasText) {
  const fields = collection.schema;
  if (state.sort) {
    const [, order, field] = /^(asc|desc):(.*)$/.exec(state.sort) || [];
    if (field) body.sort = { field, order };
  } else {
    const rescore = rescoreOf(state, collection);
    if (rescore && (changed || state.rescore !== null) && hasText) body.rescore = rescore;
    else if (!rescore && state.rescore !== null) body.rescore = false;
    if (state.prf && !state.like) body.prf = { docs: 3, terms: 20, alpha: 0.5 };
    if (state.group) body.group_by = { field: state.group, size: 4 };
  }
  if (Object.keys(state.filter).length) body.filter = state.filter;
  if (state.exact) body.params = { exact: true };
  else if (targets.includes(state.recall)) body.params = { recall: Number(state.recall) };
  const counted = Object.keys(fields).slice(0, 16);
  if (counted.length) body.facets = { fields: counted, over: "matches", size: 12 };
}

/** Highlights need an encoder that reads the text. */
const highlightable = (collection, legs) => legs.some((one) => collection.vectors[one.query.using]?.encoder);

// --- copying

const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** What a reader would send, without what only this page needs. */
function plainBody(body) {
  const { cursor, ...rest } = body;
  return rest;
}

export function asText(kind, collection, body) {
  const json = JSON.stringify(plainBody(body), null, kind === "curl" ? 0 : 2);
  const url = new URL(collectionPath(collection, "/search"), document.baseURI).href;
  if (kind === "JSON") return json;
  if (kind === "curl") {
    const key = savedKey() ? ' -H "X-API-Key: $LSR_API_KEY"' : "";
    return `curl -s ${shellQuoted(url)}${key} -H 'Content-Type: application/json' -d ${shellQuoted(json)}`;
  }
  const headers = `{"Content-Type": "application/json"${savedKey() ? ', "X-API-Key": os.environ["LSR_API_KEY"]' : ""}}`;
  return [
    "import json", ...(savedKey() ? ["import os"] : []), "from urllib.request import Request, urlopen", "",
    `body = json.loads(${JSON.stringify(json)})`,
    `request = Request(${JSON.stringify(url)}, json.dumps(body).encode(), ${headers})`,
    "for hit in json.load(urlopen(request))[\"hits\"]:", "    print(hit[\"rank\"], hit[\"id\"], hit[\"score\"], hit[\"title\"])", "",
  ].join("\n");
}

/** Put text on the clipboard; where the browser does not allow it, show it to be copied by hand. */
export async function copy(text, pressed) {
  const label = pressed.textContent;
  try {
    await navigator.clipboard.writeText(text);
    pressed.textContent = "Copied";
  } catch {
    byId("copy-text").value = text;
    byId("copy-dialog").showModal();
    byId("copy-text").select();
  }
  setTimeout(() => { pressed.textContent = label; }, 1500);
}
