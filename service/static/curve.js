// The measured recall of the approximate search against its cost, as a small drawing.

import { data, el, percent, short } from "./dom.js";

const WIDTH = 360, HEIGHT = 160, LEFT = 46, BOTTOM = 28, TOP = 10;
const SVG = "http://www.w3.org/2000/svg";

function shape(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Return nodes for the answers of /curve: a drawing for each vector that has a curve. */
export function recallCurve(answers) {
  const measured = answers.filter((one) => Object.keys(one.curves).length);
  if (!measured.length) {
    return [el("p", {}, "Nothing is measured here: a collection with small segments, or one of BM25 alone, is searched exactly, and its recall is 100 %.")];
  }
  return measured.flatMap((one) => [
    el("p", {}, data(one.using, "name"), `: recall of the first 10 against exact search, by the cost of a query. Measured on ${one.source}.`),
    drawing(one.curves["10"] || Object.values(one.curves)[0]),
  ]);
}

function drawing(points) {
  const sorted = [...points].sort((a, b) => a.cost_us - b.cost_us);
  const most = Math.max(...sorted.map((one) => one.cost_us)) || 1;
  const least = Math.min(...sorted.map((one) => one.recall));
  const x = (one) => LEFT + ((WIDTH - LEFT - 8) * one.cost_us) / most;
  const y = (one) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (one.recall - least) / (1 - least || 1));
  const label = `Recall from ${percent(least)} at ${short(sorted[0].cost_us)} µs to ${percent(Math.max(...sorted.map((one) => one.recall)))} at ${short(most)} µs`;
  const drawn = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curve", role: "img", "aria-label": label });
  drawn.append(
    shape("polyline", { points: sorted.map((one) => `${x(one)},${y(one)}`).join(" ") }),
    ...sorted.map((one) => shape("circle", { cx: x(one), cy: y(one), r: 3 })),
    shape("text", { x: LEFT - 6, y: TOP + 6, "text-anchor": "end" }, "100 %"),
    shape("text", { x: LEFT - 6, y: HEIGHT - BOTTOM, "text-anchor": "end" }, percent(least)),
    shape("text", { x: LEFT, y: HEIGHT - 8 }, "0"),
    shape("text", { x: WIDTH - 8, y: HEIGHT - 8, "text-anchor": "end" }, `${short(most)} µs per query`));
  return drawn;
}
