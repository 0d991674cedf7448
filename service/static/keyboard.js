// Keys for the whole page: / to the search field, arrows (or j, k) through the hits, Enter for the whole text, Esc back.

import { byId } from "./dom.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");
const TAKES_KEYS = "input, select, textarea, dialog *, [role=region]";

function focusHit(step) {
  const hits = [...document.querySelectorAll(".hit")];
  if (!hits.length || byId("results").hidden) return false;
  const at = hits.indexOf(document.activeElement.closest(".hit"));
  const next = hits[Math.min(hits.length - 1, Math.max(0, at + step))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "center", behavior: still.matches ? "auto" : "smooth" });
  return true;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { key, target } = event;
  const inField = target === byId("q");
  if (key === "Escape") {
    if (inField && !byId("results").hidden) focusHit(1);
    else if (target.matches("input, select, textarea") && !target.closest("dialog")) target.blur();
    else if (target.closest(".hit")) byId("q").focus();
    return;
  }
  if (inField && key === "ArrowDown" && byId("suggestions").hidden && focusHit(1)) { event.preventDefault(); return; }
  if (target.matches(TAKES_KEYS)) return;
  if (key === "/") {
    event.preventDefault();
    byId("q").focus();
    byId("q").select();
  } else if (key === "j" || key === "ArrowDown") {
    if ((key === "j" || onHits(target)) && focusHit(1)) event.preventDefault();
  } else if (key === "k" || key === "ArrowUp") {
    if ((key === "k" || onHits(target)) && focusHit(-1)) event.preventDefault();
  } else if (key === "Enter" && target.matches(".hit")) {
    target.querySelector(".whole")?.click();
  }
}

// Arrows scroll the page until a hit has the focus.
const onHits = (target) => target.closest(".hit") !== null;

export const startKeyboard = () => document.addEventListener("keydown", onKey);
