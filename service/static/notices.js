// What went wrong, or what is not there, and what to do about it.

import { announce, button, byId, data, el } from "./dom.js";
import { savedKey } from "./api.js";
import { fresh, go, state } from "./address.js";

let retry = 0;

/** Show one of the page's sections, and no other. */
export function show(section) {
  clearTimeout(retry);
  for (const id of ["start", "results", "collection-view", "message", "key-panel"]) byId(id).hidden = id !== section;
}

export function notice(title, text, actions = [], { bad = false, beside = false } = {}) {
  const box = byId("message");
  box.classList.toggle("bad", bad);
  box.replaceChildren(el(beside ? "h2" : "h1", {}, title), el("p", {}, ...[text].flat()), el("div", { class: "after" }, actions));
  if (!beside) show("message");
  box.hidden = false;
  announce(`${title}. ${[text].flat().map((one) => (typeof one === "string" ? one : one.textContent)).join("")}`);
}

export function askForKey(title) {
  byId("key-title").textContent = title;
  show("key-panel");
  byId("key").value = "";
  byId("key").focus();
}

const otherKey = () => button("Use another API key", () => askForKey("Another API key"));

/** Show a Problem. `again` repeats what failed; `names` are the collections there are. */
export function showProblem(error, again, names = []) {
  const detail = [error.message, error.requestId ? el("span", { class: "request" }, "Request ", data(error.requestId)) : ""];
  const tryAgain = button("Try again", again);
  if (error.status === 401) {
    askForKey(savedKey() === null ? "This service needs an API key" : "That key was not accepted");
  } else if (error.status === 403) {
    notice("Not allowed with this key", detail, [otherKey()]);
  } else if (error.status === 0) {
    notice(error.title, "Nothing listens at this address, or the network is down. Start it again with `lsr serve DIR`; this page tries again by itself.", [tryAgain], { bad: true });
    retry = setTimeout(again, 5000);
  } else if (error.type === "not-ready") {
    notice("The service is starting", `${sentenceOf(error.message)} This page goes on by itself as soon as it is ready.`);
    retry = setTimeout(again, 1000 * Math.max(1, error.retryAfter));
  } else if (error.status === 429) {
    notice("Too many requests", `${sentenceOf(error.message)} This page tries again by itself.`, [tryAgain]);
    retry = setTimeout(again, 1000 * Math.max(1, error.retryAfter));
  } else if (error.status === 404 && error.type === "collection-not-found") {
    notice("No such collection", detail, names.map((name) => button(name, () => go(fresh(name)))));
  } else if (error.status === 422 && Object.keys(state.filter).length + Object.keys(state.terms).length) {
    notice(error.title, detail, [button("Search without filters and changed terms", () => go({ filter: {}, terms: {} }))]);
  } else if (error.status === 422) {
    notice(error.title, detail, [button("Back to the start", () => go(fresh(state.c)))]);
  } else {
    notice(error.title, detail, [tryAgain], { bad: error.status >= 500 });
  }
}

const sentenceOf = (text) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
