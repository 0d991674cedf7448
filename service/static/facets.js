// Filters made of the schema: values with counts, ranges with a small histogram. Filters are part of the address.

import { button, data, el, number, withStyle } from "./dom.js";
import { go, state } from "./address.js";

const COMPARISONS = { gte: "from", gt: "above", lte: "to", lt: "below" };
const isRange = (kind) => kind === "int" || kind === "float" || kind === "date";
const day = (value) => String(value).slice(0, 10);

/** Narrow the search to documents that have this value. */
export function addValue(field, kind, value) {
  if (isRange(kind)) return setFilter(field, { gte: value, lte: value });
  const values = state.filter[field]?.in || [];
  return values.includes(value) ? undefined : setFilter(field, { in: [...values, value] });
}

function toggleValue(field, value, on) {
  const others = (state.filter[field]?.in || []).filter((one) => one !== value);
  setFilter(field, on ? { in: [...others, value] } : others.length ? { in: others } : null);
}

function setFilter(field, condition) {
  const filter = { ...state.filter };
  if (condition) filter[field] = condition;
  else delete filter[field];
  go({ filter });
}

/** The active filters as buttons that remove them. */
export function filterPills() {
  const pills = Object.entries(state.filter).map(([field, condition]) =>
    el("button", { type: "button", class: "pill", onclick: () => setFilter(field, null) },
      data(field), " ", data(described(condition)), el("span", { class: "visually-hidden" }, ", remove this filter"), el("span", { "aria-hidden": "true" }, " ×")));
  if (pills.length > 1) pills.push(button("Remove all filters", () => go({ filter: {} }), { class: "link" }));
  return pills;
}

function described(condition) {
  if (Array.isArray(condition?.in)) return condition.in.join(" or ");
  if (condition === null || typeof condition !== "object") return String(condition);
  const { gte, lte } = condition;
  if (gte !== undefined && gte === lte) return String(gte);
  return Object.entries(COMPARISONS).filter(([name]) => condition[name] !== undefined)
    .map(([name, word]) => `${word} ${typeof condition[name] === "string" ? day(condition[name]) : condition[name]}`).join(" ") || JSON.stringify(condition);
}

/** Return the panel of facets, from the answer's counts and the schema. */
export function facetPanel(facets, schema) {
  return Object.entries(facets).map(([field, counts]) => {
    const kind = Object.hasOwn(schema, field) ? schema[field] : "keyword";
    const body = isRange(kind) ? range(field, kind, counts) : values(field, counts);
    return body && el("fieldset", { class: "facet" }, el("legend", {}, data(field)), body,
      counts.missing ? el("p", { class: "faint" }, `${number.format(counts.missing)} without`) : null);
  }).filter(Boolean);
}

function values(field, counts) {
  const chosen = state.filter[field]?.in || [];
  const shown = [...(counts.values || [])];
  for (const value of chosen) if (!shown.some((one) => one.value === value)) shown.unshift({ value, count: 0 });
  if (!shown.length) return null;
  return el("ul", {}, shown.map(({ value, count }) => el("li", {}, el("label", {},
    el("input", { type: "checkbox", checked: chosen.includes(value), onchange: (event) => toggleValue(field, value, event.target.checked) }),
    data(value, "name"), el("span", { class: "count" }, number.format(count))))),
  counts.other ? el("li", { class: "faint" }, `and ${number.format(counts.other)} with other values`) : null);
}

function range(field, kind, counts) {
  const buckets = counts.buckets || [];
  const filter = state.filter[field] || {};
  if (!buckets.length && !Object.keys(filter).length) return null;
  const most = Math.max(1, ...buckets.map((one) => one.count));
  const shown = (value) => (kind === "date" ? day(value) : number.format(kind === "int" ? Math.ceil(value) : Number(Number(value).toPrecision(4))));
  const bars = buckets.map((one) => {
    const { count, ...edges } = one;
    const bounds = kind === "int" ? wholeNumbers(edges) : edges;
    const name = `${shown(bounds.gte)} to ${shown(bounds.lte ?? bounds.lt)}: ${number.format(count)}`;
    return el("li", {}, withStyle(el("button", { type: "button", class: "column", title: name, "aria-label": `${field} ${name}`, disabled: !count, onclick: () => setFilter(field, bounds) }), "--share", count / most));
  });
  return [bars.length > 1 && el("ul", { class: "histogram", "aria-label": `How many documents by ${field}` }, bars), limits(field, kind, filter, counts)];
}

/** The integers of a range: the edges of equal ranges may lie between them, a filter's may not. */
const wholeNumbers = ({ gte, lt, lte }) => ({ gte: Math.ceil(gte), lte: lte === undefined ? Math.ceil(lt) - 1 : Math.floor(lte) });

function limits(field, kind, filter, counts) {
  const type = kind === "date" ? "date" : "number";
  const text = (value) => (value === undefined || value === null ? "" : kind === "date" ? day(value) : String(value));
  const make = (name, value, placeholder) => el("input", { type, step: kind === "int" ? "1" : "any", value: text(value), placeholder: text(placeholder), "aria-label": `${field} ${name}` });
  const from = make("from", filter.gte ?? filter.gt, counts.min);
  const to = make("to", filter.lte ?? filter.lt, counts.max);
  const apply = (event) => {
    event.preventDefault();
    const read = (input, end) => (input.value === "" ? undefined : kind === "date" ? input.value + (end ? "T23:59:59.999999Z" : "") : Number(input.value));
    const condition = {};
    const [low, high] = [read(from, false), read(to, true)];
    if (low !== undefined) condition.gte = low;
    if (high !== undefined) condition.lte = high;
    setFilter(field, Object.keys(condition).length ? condition : null);
  };
  return el("form", { class: `limits ${type}`, onsubmit: apply }, from, el("span", { "aria-hidden": "true" }, "–"), to, el("button", { type: "submit", class: "plain", "aria-label": `OK: apply the range of ${field}` }, "OK"));
}
