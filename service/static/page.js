// The page's whole logic: one search at a time, its state in the URL (?q=…&c=…), its results as DOM nodes.
// Data only ever becomes text nodes, so nothing that a document or an error says can become markup.
"use strict";

const PAGE = 10, MOST = 100, SNIPPET = 340;
const byId = (id) => document.getElementById(id);
const state = { collections: [], q: "", c: "", using: "", exact: false, k: PAGE, running: null, last: null };

// --- small helpers -----------------------------------------------------------------------------------------------

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

const number = new Intl.NumberFormat("en");
const short = (x) => (x === 0 ? "0" : Math.abs(x) >= 100 ? x.toFixed(0) : Math.abs(x) >= 10 ? x.toFixed(1) : x.toFixed(2));
const ms = (x) => (x < 10 ? x.toFixed(1) : x.toFixed(0)) + " ms";
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
const plural = (n, word) => `${number.format(n)} ${word}${n === 1 ? "" : "s"}`;

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let i = 0;
  while (bytes >= 1000 && i < units.length - 1) { bytes /= 1000; i += 1; }
  return `${i && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[i]}`;
}

class Problem extends Error {
  constructor(problem, retryAfter) {
    super(problem.detail || problem.title || "the service gave no reason");
    this.title = problem.title || "Something went wrong";
    this.status = problem.status;
    this.requestId = problem.request_id;
    this.retryAfter = retryAfter;
  }
}

async function call(path, body, signal) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const key = sessionStorage.getItem("lsr-key");
  if (key) headers["X-API-Key"] = key;
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "No connection", detail: "The service does not answer. Is it still running?", status: 0 });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Problem({ status: response.status, ...answer }, Number(response.headers.get("Retry-After")) || 0);
  }
  return answer;
}

// --- display -----------------------------------------------------------------------------------------------------

function show(section) {
  for (const id of ["start", "results", "message", "key-panel"]) byId(id).hidden = id !== section;
}

function showProblem(error) {
  if (error.status === 401) {
    const refused = sessionStorage.getItem("lsr-key") !== null;
    byId("key-panel").querySelector("h2").textContent = refused ? "That key was not accepted" : "This service needs an API key";
    show("key-panel");
    byId("key").select();
    return;
  }
  const box = byId("message");
  box.classList.toggle("bad", error.status === 0 || error.status >= 500);
  box.querySelector("h2").textContent = error.title || "Something went wrong";
  box.querySelector("p").textContent = error.message + (error.requestId ? `\n\nRequest ${error.requestId}` : "");
  show("message");
}

function showNothing(title, text) {
  const box = byId("message");
  box.classList.remove("bad");
  box.querySelector("h2").textContent = title;
  box.querySelector("p").textContent = text;
  box.hidden = false;
}

function showStart() {
  document.title = "lsr";
  const cards = state.collections.map((one) => {
    const vectors = Object.entries(one.vectors).map(([name, v]) => (name === "default" ? v.encoder : `${name}: ${v.encoder}`) || "vectors");
    return el("button", { type: "button", class: "card", "aria-pressed": String(one.name === state.c), onclick: () => choose(one.name) },
      el("b", {}, one.name), el("span", {}, `${plural(one.documents, "document")} · ${size(one.bytes)}`), el("span", {}, vectors.join(", ")));
  });
  const broken = (state.broken || []).map((one) =>
    el("div", { class: "card broken" }, el("b", {}, one.name), el("span", {}, `cannot be used: ${one.reason}`)));
  byId("cards").replaceChildren(...cards, ...broken);
  show("start");
  if (!state.collections.length && !broken.length) {
    showNothing("No collection yet", "Create one with `lsr index CORPUS --out DIR` and serve its folder,\nor with PUT /v1/collections/NAME.");
  }
}

function showResults(answer, request) {
  state.last = request;
  document.title = `${state.q} · lsr`;
  const { hits, timings, total } = answer;
  byId("message").hidden = true;
  const more = total.value > hits.length ? ` of ${total.relation === "gte" ? "at least " : ""}${number.format(total.value)}` : "";
  byId("summary").replaceChildren(
    ...(hits.length ? [el("b", {}, plural(hits.length, "hit")), `${more} in ${state.c} · `] : []),
    el("b", {}, ms(answer.took_ms)),
    el("span", { class: "detail" }, ` (encode ${ms(timings.encode)}, search ${ms(timings.search)}, fetch ${ms(timings.fetch)})`),
    answer.approximate ? " · approximate" : " · exact");
  const terms = [...answer.query.terms].sort((a, b) => b.weight - a.weight).slice(0, 40);
  byId("terms").replaceChildren(...terms.map((term) =>
    el("span", { class: `chip ${term.origin}`, "data-token": term.token, title: term.origin === "input" ? "from your query" : `added by ${term.origin}` },
      term.token, el("i", {}, short(term.weight)))));
  byId("warnings").replaceChildren(...(hits.length ? answer.warnings : []).map((text) => el("p", { class: "warning" }, text)));
  const largest = Math.max(0, ...hits.flatMap((hit) => [...hit.words.map((word) => word.contribution), hit.other_terms]));
  byId("hits").replaceChildren(...hits.map((hit) => hitNode(hit, largest)));
  byId("after").hidden = !hits.length;
  byId("more").hidden = hits.length < state.k || state.k >= MOST;
  show("results");
  if (!hits.length) showNothing("No hits", `${answer.warnings[0] ? sentence(answer.warnings[0]) : "No document shares a term with this query."}\nTry other words, or another collection.`);
}

function hitNode(hit, largest) {
  const weights = new Map(hit.matched.map((one) => [one.token, `${short(one.query_weight)} × ${short(one.doc_weight)}`]));
  const bars = hit.words.map((one) => barRow(one.word ?? one.tokens[0], one.tokens, one.contribution, largest,
    [`${one.tokens.map((token) => weights.get(token)).join(" + ")} = `, el("b", {}, short(one.contribution))]));
  if (hit.other_terms > 1e-6) bars.push(barRow("other terms", null, hit.other_terms, largest, [el("b", {}, short(hit.other_terms))]));
  const text = el("p", { class: "text" });
  const inText = hit.highlights.filter((one) => one.field === "text");
  const characters = Array.from(hit.text || "");
  const window = snippet(characters, inText);
  const cut = window.start > 0 || window.end < characters.length;
  const fill = (whole) => text.replaceChildren(...(whole ? marked(characters, inText, 0, characters.length)
    : [window.start > 0 ? "… " : "", ...marked(characters, inText, window.start, window.end), window.end < characters.length ? " …" : ""]));
  fill(false);
  const toggle = el("button", { type: "button", class: "link", "aria-expanded": "false", onclick: () => {
    const open = toggle.getAttribute("aria-expanded") !== "true";
    toggle.setAttribute("aria-expanded", String(open));
    toggle.textContent = open ? "less" : "whole text";
    fill(open);
  } }, "whole text");
  const meta = Object.entries(hit.metadata || {}).map(([name, value]) =>
    el("span", {}, `${name} `, el("b", {}, Array.isArray(value) ? value.join(", ") : typeof value === "object" && value ? JSON.stringify(value) : String(value))));
  const title = hit.title ? marked(Array.from(hit.title), hit.highlights.filter((one) => one.field === "title"), 0, Infinity) : [hit.id];
  return el("li", {}, el("article", { class: "hit", tabindex: "-1" },
    el("div", {}, el("h2", {}, el("span", { class: "rank" }, String(hit.rank)), ...title), text,
      el("div", { class: "meta" }, el("span", { class: "id" }, hit.id), ...(hit.parent ? [el("span", {}, "in ", el("b", {}, hit.parent))] : []), ...meta, ...(cut ? [toggle] : []))),
    el("details", { class: "why", open: !narrow.matches }, el("summary", {}, "score ", el("b", {}, short(hit.score))),
      el("table", {}, el("tbody", {}, ...bars)))));
}

// `tokens` are the terms of the word; null for the row "other terms".
function barRow(name, tokens, value, largest, sum) {
  const bar = el("span", { class: "bar" });
  bar.style.width = `${largest ? Math.max(1, (100 * value) / largest) : 0}%`;
  return el("tr", { class: tokens ? "" : "other", "data-token": tokens ? tokens.join("\n") : false },
    el("td", { class: "token", title: tokens ? tokens.join(" ") : name }, name), el("td", {}, el("span", { class: "track" }, bar)), el("td", { class: "sum" }, ...sum));
}

// The text's nodes from `start` to `end`, with highlights as <mark>. Offsets count characters, not UTF-16 units.
function marked(characters, highlights, start, end) {
  const nodes = [];
  const strongest = Math.max(0, ...highlights.map((one) => one.weight));
  let at = start;
  for (const one of highlights) {
    if (one.start < at || one.end > end) continue;
    if (one.start > at) nodes.push(characters.slice(at, one.start).join(""));
    const mark = el("mark", {}, characters.slice(one.start, one.end).join(""));
    mark.style.setProperty("--share", String(strongest ? one.weight / strongest : 1));
    nodes.push(mark);
    at = one.end;
  }
  nodes.push(characters.slice(at, Math.min(end, characters.length)).join(""));
  return nodes;
}

// The window of SNIPPET characters whose distinct highlights have the largest total weight; if equal, the earliest.
function snippet(characters, highlights) {
  const length = characters.length;
  if (length <= SNIPPET * 1.25) return { start: 0, end: length };
  let best = 0, most = -1;
  for (const from of [{ start: 0 }, ...highlights]) {
    const words = new Map();
    for (const one of highlights) {
      if (one.start < from.start || one.end > from.start + SNIPPET - 60) continue;
      words.set(one.weight, (words.get(one.weight) || 0) + 1);
    }
    let weight = 0;
    for (const [value, times] of words) weight += value * (1 + 0.1 * Math.min(times, 4));
    if (weight > most * 1.001) { most = weight; best = from.start; }
  }
  const blank = (i) => /\s/.test(characters[i]);
  let start = Math.max(0, best - 50);
  while (start > 0 && start < best && !blank(start - 1)) start += 1;
  let end = Math.min(length, start + SNIPPET);
  while (end < length && end > start + SNIPPET - 30 && !blank(end)) end -= 1;
  return { start, end };
}

// --- user actions ------------------------------------------------------------------------------------------------

async function run({ push = true } = {}) {
  state.running?.abort();
  if (push) history.pushState(null, "", address());
  if (!state.q.trim() || !state.c) {
    showStart();
    return;
  }
  const controller = new AbortController();
  state.running = controller;
  const request = { query: { text: state.q }, k: state.k, explain: { max_terms: 8, words: true }, highlight: true };
  if (state.using && state.using !== "default") request.using = state.using;
  if (state.exact) request.params = { exact: true };
  const slow = setTimeout(() => { byId("progress").hidden = false; }, 150);
  try {
    const answer = await call(`/v1/collections/${encodeURIComponent(state.c)}/search`, request, controller.signal);
    showResults(answer, request);
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error);
  } finally {
    clearTimeout(slow);
    if (state.running === controller) byId("progress").hidden = true;
  }
}

function address() {
  const query = new URLSearchParams();
  if (state.q) query.set("q", state.q);
  if (state.c && (state.collections.length > 1 || !state.collections.length)) query.set("c", state.c);
  if (state.using && state.using !== "default") query.set("using", state.using);
  if (state.exact) query.set("exact", "1");
  if (state.k !== PAGE) query.set("k", state.k);
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

function readAddress() {
  const query = new URLSearchParams(location.search);
  const names = state.collections.map((one) => one.name);
  state.q = query.get("q") || "";
  state.c = query.get("c") || (names.includes(state.c) ? state.c : largestCollection());
  state.using = query.get("using") || "";
  state.exact = query.get("exact") === "1";
  state.k = Math.min(MOST, Math.max(1, Number.parseInt(query.get("k"), 10) || PAGE));
  byId("q").value = state.q;
  byId("exact").checked = state.exact;
  fillChoices();
}

function largestCollection() {
  return state.collections.reduce((best, one) => (best && best.documents >= one.documents ? best : one), null)?.name || "";
}

function fillChoices() {
  const names = state.collections.map((one) => one.name);
  if (state.c && !names.includes(state.c)) names.push(state.c);
  byId("collection").replaceChildren(...names.map((name) => el("option", { value: name, selected: name === state.c }, name)));
  byId("collection").disabled = names.length < 2;
  const chosen = state.collections.find((one) => one.name === state.c);
  // A dense vector is never searched by itself.
  const vectors = chosen ? Object.keys(chosen.vectors).filter((name) => !chosen.vectors[name].dense) : [];
  if (chosen && !vectors.includes(state.using)) state.using = vectors.includes("default") ? "default" : vectors[0] || "";
  byId("using").replaceChildren(...vectors.map((name) => el("option", { value: name, selected: name === state.using }, name)));
  byId("using-label").hidden = vectors.length < 2;
  byId("q").placeholder = chosen ? `Search ${plural(chosen.documents, "document")}` : "Search";
}

function choose(name) {
  state.c = name;
  state.using = "";
  fillChoices();
  if (state.q.trim()) run();
  else { history.replaceState(null, "", address()); showStart(); byId("q").focus(); }
}

// `data-token` has one token, or all tokens of a word, one per line.
function light(tokens, on) {
  const wanted = new Set(tokens.split("\n"));
  for (const node of document.querySelectorAll("[data-token]")) {
    if (node.dataset.token.split("\n").some((token) => wanted.has(token))) node.classList.toggle("lit", on);
  }
}

async function copyCurl() {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const key = sessionStorage.getItem("lsr-key") ? " -H 'X-API-Key: …'" : "";
  const line = `curl -s ${location.origin}/v1/collections/${state.c}/search${key} -H 'Content-Type: application/json' -d ${quote(JSON.stringify(state.last))}`;
  const button = byId("curl");
  try {
    await navigator.clipboard.writeText(line);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed by the browser";
  }
  setTimeout(() => { button.textContent = "Copy as curl"; }, 1500);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape" && typing) { event.target.blur(); return; }
  if (typing) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("q").focus();
    byId("q").select();
    return;
  }
  const hits = [...document.querySelectorAll(".hit")];
  const at = hits.indexOf(document.activeElement.closest(".hit"));
  if ((event.key === "j" || event.key === "k") && hits.length) {
    const next = hits[Math.min(hits.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)))];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  } else if (event.key === "Enter" && event.target.matches(".hit")) {
    event.target.querySelector(".meta .link")?.click();
  }
}

async function start() {
  try {
    const answer = await call("/v1/collections");
    state.collections = answer.collections;
    state.broken = answer.broken;
  } catch (error) {
    showProblem(error);
    if (error.status === 503) setTimeout(start, 1000 * Math.max(1, error.retryAfter));
    return;
  }
  readAddress();
  run({ push: false });
}

const narrow = matchMedia("(max-width: 54rem)");
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.q = byId("q").value;
  state.k = PAGE;
  if (narrow.matches) byId("q").blur(); // the keyboard of a phone would cover the hits
  run();
});
byId("collection").addEventListener("change", (event) => choose(event.target.value));
byId("using").addEventListener("change", (event) => { state.using = event.target.value; run(); });
byId("exact").addEventListener("change", (event) => { state.exact = event.target.checked; run(); });
byId("more").addEventListener("click", () => { state.k = Math.min(MOST, state.k + 20); run(); });
byId("curl").addEventListener("click", copyCurl);
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("lsr-key", byId("key").value.trim());
  start();
});
for (const [type, on] of [["mouseover", true], ["mouseout", false]]) {
  document.addEventListener(type, (event) => {
    const tokens = event.target.closest?.("[data-token]")?.dataset.token;
    if (tokens) light(tokens, on);
  });
}
document.addEventListener("keydown", onKey);
window.addEventListener("popstate", () => { readAddress(); run({ push: false }); });
start();
