// The switches of the ranking: lists and their weights, fusion, rescoring, exact search, feedback, groups, order; and how
// long each step took.

import { data, el, milliseconds, percent, percent1, withStyle } from "./dom.js";
import { go, state } from "./address.js";
import { denseVectors, legsOf, rescoreOf, sparseVectors, targets } from "./request.js";

const METHODS = { scaled: "scaled scores", rrf: "ranks (RRF)", minmax: "min-max", zscore: "z-scores", sum: "raw sum" };
const STEPS = { encode: "encode", search: "search", rescore: "rescore", fetch: "fetch", explain: "explain", other: "other" };

/** Return the form of switches. */
export function rankingPanel(collection) {
  const legs = legsOf(state, collection);
  const names = [...new Set([...Object.keys(legs), ...sparseVectors(collection)])]; // in the order of the fusion
  const several = Object.keys(legs).length > 1;
  const setLeg = (using, weight) => {
    const wanted = { ...legs, [using]: weight };
    if (Object.values(wanted).some((one) => one > 0)) go({ legs: wanted });
    else go({}, { replace: true });
  };
  return [
    el("fieldset", {}, el("legend", {}, "Lists"), names.map((using) => listRow(using, collection.vectors[using].encoder, legs[using] ?? 0, names.length > 1, setLeg)),
      several && field("Fusion by", choice("method", Object.entries(METHODS), state.method || collection.search.method || "scaled"))),
    rescoring(collection),
    el("fieldset", {}, el("legend", {}, "Search"),
      field("Recall target", choice("recall", [["", "usual"], ...targets.map((one) => [one, percent1(Number(one))])], state.recall, state.exact)),
      toggle("exact", "Exact search", "Scores every matching document"),
      toggle("compare", "Compare with exact search", "Searches twice and shows the overlap"),
      toggle("prf", "Feedback from the first hits", "Adds terms of the first three hits")),
    el("fieldset", {}, el("legend", {}, "Hits"),
      field("One hit per", choice("group", [["", "document"], ["parent", "parent"], ...groupable(collection)], state.group)),
      field("Ordered by", choice("sort", [["", "score"], ...sortable(collection)], state.sort))),
    el("button", { type: "button", class: "link", onclick: () => go({ legs: null, method: "", rescore: null, recall: "", exact: false, compare: false, prf: false, group: "", sort: "" }) }, "Back to the collection's defaults"),
  ];
}

const groupable = (collection) => Object.entries(collection.schema).filter(([, kind]) => ["keyword", "int", "bool"].includes(kind)).map(([name]) => [name, name]);
const sortable = (collection) => Object.entries(collection.schema).filter(([, kind]) => kind !== "keyword[]")
  .flatMap(([name]) => [[`asc:${name}`, `${name}, ascending`], [`desc:${name}`, `${name}, descending`]]);

function choice(name, options, value, disabled = false) {
  return el("select", { disabled, onchange: (event) => go({ [name]: event.target.value }) },
    options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
}

const field = (label, control) => el("label", { class: "row" }, el("span", {}, label), control);

function toggle(name, label, title) {
  return el("label", { class: "row switch", title }, el("input", { type: "checkbox", checked: state[name], onchange: (event) => go({ [name]: event.target.checked }) }), el("span", {}, label));
}

function listRow(using, encoder, weight, optional, set) {
  const on = el("input", { type: "checkbox", checked: weight > 0, disabled: !optional, onchange: (event) => set(using, event.target.checked ? 1 : 0) });
  return el("div", { class: "row list" }, el("label", {}, on, data(using, "name"), encoder && encoder !== using ? el("span", { class: "faint" }, " ", data(encoder)) : null),
    optional && weightInput(`Weight of ${using}`, weight, (value) => set(using, value)));
}

function weightInput(label, value, set) {
  const output = el("output", {}, String(value));
  const slider = el("input", {
    type: "range", min: "0", max: String(Math.max(5, Math.ceil(value))), step: "0.1", value: String(value), "aria-label": label,
    oninput: () => { output.textContent = slider.value; }, onchange: () => set(Number(slider.value)),
  });
  return el("span", { class: "slider" }, slider, output);
}

function rescoring(collection) {
  if (!denseVectors(collection).length) return null;
  const rescore = rescoreOf(state, collection);
  const usual = collection.search.rescore?.weight || 1;
  return el("fieldset", {}, el("legend", {}, "Rescoring"),
    el("div", { class: "row list" }, el("label", {},
      el("input", { type: "checkbox", checked: rescore !== null, onchange: (event) => go({ rescore: event.target.checked ? usual : 0 }) }),
      "by ", data(rescore?.using ?? denseVectors(collection)[0], "name")),
    rescore && weightInput("Weight of the rescoring", rescore.weight, (value) => go({ rescore: value }))));
}

// --- what came of it

/** The time of each step as a bar with its names. */
export function timingBar(answer) {
  const steps = { ...answer.timings };
  const known = Object.values(steps).reduce((sum, one) => sum + one, 0);
  steps.other = Math.max(0, answer.took_ms - known);
  const total = known + steps.other;
  const shown = Object.keys(STEPS).filter((name) => steps[name] > 0.0005 * total && steps[name] >= 0.01);
  const text = shown.map((name) => `${STEPS[name]} ${milliseconds(steps[name])}`).join(", ");
  return el("div", { class: "timing" }, el("b", {}, milliseconds(answer.took_ms)),
    el("span", { class: "stack", role: "img", "aria-label": `Time: ${text}` }, shown.map((name) => withStyle(el("span", { class: `step ${name}`, title: `${STEPS[name]} ${milliseconds(steps[name])}` }), "--share", steps[name] / total))),
    el("span", { class: "steps" }, shown.map((name) => el("span", {}, el("i", { class: `step ${name}` }), `${STEPS[name]} ${milliseconds(steps[name])}`))));
}

/** How the approximate hits agree with the exact ones; `approximate` and `exact` are answers to the same search. */
export function comparison(approximate, exact) {
  const ids = new Set(exact.hits.map((hit) => hit.id));
  const shared = approximate.hits.filter((hit) => ids.has(hit.id)).length;
  const of = Math.max(approximate.hits.length, exact.hits.length);
  const how = approximate.approximate ? "Approximate" : "This search was exact by itself";
  return el("p", { class: "comparison" }, `${how}: ${shared} of ${of} hits are those of exact search (overlap ${percent(of ? shared / of : 1)}), `
    + `${milliseconds(approximate.timings.search)} against ${milliseconds(exact.timings.search)} of searching.`);
}
