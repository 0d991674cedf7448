// The terms of the query as chips: what the reader wrote, what the encoder added, what the first hits added. Each can be
// switched off or reweighted; the search is then repeated with that vector.

import { button, data, el, short } from "./dom.js";
import { go, state } from "./address.js";
import { anyEdited } from "./request.js";
import { foldedTerms } from "./words.js";

const narrow = matchMedia("(max-width: 60rem)");
const few = () => (narrow.matches ? 5 : 14); // chips of a list that are shown at once: on a phone the hits come first
const ORIGINS = { input: "from your query", expansion: "added by the encoder", prf: "added from the first hits" };
const expanded = new Set(); // vectors whose chips are all shown

/** Return the panel of chips. `base` are the terms as the encoders gave them, of all vectors. */
export function chipPanel(base, query) {
  const vectors = [...new Set(base.map((term) => term.using))];
  const several = vectors.length > 1;
  const origins = [...new Set(base.map((term) => term.origin))];
  if (!base.length) return [];
  return [
    el("div", { class: "legend" }, Object.keys(ORIGINS).filter((one) => origins.includes(one)).map((origin) =>
      el("span", { class: `origin ${origin}` }, ORIGINS[origin])),
    anyEdited(state) && button("Undo changes of terms", () => go({ terms: {} }), { class: "link" })),
    ...vectors.map((using) => chipList(using, base.filter((term) => term.using === using), query, several)),
  ];
}

function chipList(using, terms, query, several) {
  const folded = foldedTerms(terms, query);
  const edits = state.terms[using] || {};
  const isShown = (one, at) => at < few() || expanded.has(using) || one.terms.some((term) => term.token in edits);
  const list = el("ul", { class: "chips", "aria-label": several ? `Terms of ${using}` : "Terms of the query" },
    folded.filter(isShown).map((one) => chip(using, one, edits)));
  const hidden = folded.filter((one, at) => !isShown(one, at)).length;
  if (hidden) {
    const more = button(`${hidden} more`, () => {
      expanded.add(using);
      list.replaceWith(...chipList(using, terms, query, several).querySelectorAll("ul"));
    }, { class: "link" });
    list.append(el("li", {}, more));
  }
  return el("div", { class: "chip-row" }, several && data(using, "chip-name"), list);
}

function chip(using, one, edits) {
  const weightOf = (term) => Number(edits[term.token] ?? term.weight);
  const off = one.terms.every((term) => weightOf(term) <= 0);
  const changed = one.terms.some((term) => term.token in edits);
  const weight = one.terms.reduce((sum, term) => sum + weightOf(term), 0);
  const name = off ? `${one.label}, switched off` : one.label;
  const toggle = el("button", {
    type: "button", class: "chip-name-button", "aria-pressed": String(!off), title: [ORIGINS[one.terms[0].origin], one.note].filter(Boolean).join("; "),
    onclick: () => edit(using, one.terms, () => (off ? null : 0)),
  }, data(one.label), one.note && !one.whole ? el("span", { class: "visually-hidden" }, `, ${one.note}`) : null);
  const input = el("input", {
    type: "number", class: "weight", min: "0", step: "any", value: short(weight), "aria-label": `Weight of ${name}`,
    onchange: () => {
      const wanted = Number(input.value);
      if (!Number.isFinite(wanted) || wanted < 0) { input.value = short(weight); return; }
      const factor = weight > 0 ? wanted / weight : null;
      edit(using, one.terms, (term) => (factor === null ? wanted / one.terms.length : weightOf(term) * factor));
    },
  });
  return el("li", {
    class: ["chip", one.terms[0].origin, off && "off", changed && "changed", !one.whole && "pieces"].filter(Boolean).join(" "),
    "data-token": one.terms.map((term) => term.token).join("\n"),
  }, toggle, input);
}

/** Give terms new weights; null gives a term the encoder's again. */
function edit(using, terms, weightOf) {
  const edits = { ...(state.terms[using] || {}) };
  for (const term of terms) {
    const weight = weightOf(term);
    if (weight === null) delete edits[term.token];
    else edits[term.token] = Number(weight.toPrecision(4));
  }
  const all = { ...state.terms, [using]: edits };
  if (!Object.keys(edits).length) delete all[using];
  go({ terms: all });
}
