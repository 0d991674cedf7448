// The whole search as the address of the page: what is shown can be shared, and the back button works.

const EMPTY = {
  view: "search", c: "", q: "", like: "", filter: {}, terms: {}, legs: null, method: "", rescore: null, recall: "",
  exact: false, compare: false, prf: false, group: "", sort: "", doc: "",
};
const OBJECTS = ["filter", "terms", "legs"];
const SWITCHES = ["exact", "compare", "prf"];
const TEXTS = ["c", "q", "like", "method", "recall", "group", "sort", "doc"];

/** What is shown. Only `go` and `readAddress` change it.
 *  filter  by field: {in: […]} or {gte, lt, lte}        terms    by vector: {token: new weight, 0 for off}
 *  legs    by vector: its weight; null: the defaults     rescore  the weight, 0 for off; null: the default
 *  recall  the target of the approximate search, "" for the index's own setting */
export const state = { ...EMPTY };

let listener = () => {};
export const onChange = (callback) => { listener = callback; };

/** Change the state, put it into the address and show it. */
export function go(changes, { replace = false } = {}) {
  Object.assign(state, changes);
  history[replace ? "replaceState" : "pushState"](null, "", address());
  listener();
}

/** A new query: what belonged to the terms of the last one is dropped. */
export const ask = (q) => go({ view: "search", q, like: "", terms: {}, doc: "" });

export const fresh = (c) => ({ ...EMPTY, c });

export function address(of = state) {
  const query = new URLSearchParams();
  if (of.view !== "search") query.set("view", of.view);
  for (const name of TEXTS) if (of[name]) query.set(name, of[name]);
  for (const name of SWITCHES) if (of[name]) query.set(name, "1");
  for (const name of OBJECTS) if (of[name] && Object.keys(of[name]).length) query.set(name, JSON.stringify(of[name]));
  if (of.rescore !== null) query.set("rescore", String(of.rescore));
  const text = query.toString();
  return text ? `?${text}` : "./"; // relative: a proxy may put a path before it
}

export function readAddress() {
  const query = new URLSearchParams(location.search);
  Object.assign(state, EMPTY);
  state.view = query.get("view") === "collection" ? "collection" : "search";
  for (const name of TEXTS) state[name] = query.get(name) || "";
  for (const name of SWITCHES) state[name] = query.get(name) === "1";
  for (const name of OBJECTS) state[name] = parsed(query.get(name)) || EMPTY[name];
  const rescore = Number.parseFloat(query.get("rescore"));
  if (Number.isFinite(rescore)) state.rescore = rescore;
}

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

window.addEventListener("popstate", () => { readAddress(); listener(); });
