// The measured recall of the approximate search against its cost, as a small drawing.

import { data, el, percent, percent1, short } from "./dom.js";

const WIDTH = 360, HEIGHT = 160, LEFT = 46, BOTTOM = 28, TOP = 10;
const SVG = "http://www.w3.org/2000/svg";

function shape(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Return nodes for the answers of /curve: a drawing for each vector that has a curve, with the setting that `search`
 *  ({exact, recall}, of the address) uses now. */
export function recallCurve(answers, search) {
  const measured = answers.filter((one) => Object.keys(one.curves).length);
  if (!measured.length) {
    return [el("p", {}, "No curve is measured: small segments, and weights that are as even as those of BM25, are searched exactly, and recall is 100 %.")];
  }
  return measured.flatMap((one) => {
    const k = Object.hasOwn(one.curves, "10") ? "10" : Object.keys(one.curves)[0];
    const point = operatingPoint(one, k, search);
    return [
      el("p", {}, data(one.using, "name"), `: recall of the first ${k} against exact search, by the cost of a query. Measured on ${one.source}.`),
      drawing(one.curves[k], point), el("p", { class: "curve-note" }, said(point, one, search)),
    ];
  });
}

/** The measured point of the present setting; null where it is exact, or was not measured. */
function operatingPoint(answer, k, { exact, recall }) {
  if (exact) return null;
  if (recall) return answer.curves[k].find((one) => one.floor >= Number(recall)) ?? null;
  return answer.usual[k] ?? null;
}

function said(point, answer, { exact, recall }) {
  if (exact) return [el("b", {}, "Now: exact search"), ", recall 100 %."];
  const name = recall ? `Now, target ${percent1(Number(recall))}: ` : "Now: ";
  if (point) return [el("b", {}, `${name}recall ${percent1(point.recall)}`), ` at ${short(point.cost_us)} µs per query. A target is set under Ranking; a query that is cheap to search exactly is searched so.`];
  return recall ? [el("b", {}, name), "no setting reached it, so searches are exact."] : "The setting of a search without a target was not measured when this was built.";
}

function drawing(points, now) {
  const sorted = [...points].sort((a, b) => a.cost_us - b.cost_us);
  const all = now ? [...sorted, now] : sorted;
  const most = Math.max(...all.map((one) => one.cost_us)) || 1;
  const least = Math.min(...all.map((one) => one.recall));
  const x = (one) => LEFT + ((WIDTH - LEFT - 8) * one.cost_us) / most;
  const y = (one) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (one.recall - least) / (1 - least || 1));
  const where = now ? `; now ${percent1(now.recall)} at ${short(now.cost_us)} µs` : "";
  const label = `Recall from ${percent1(least)} at ${short(sorted[0].cost_us)} µs to ${percent1(Math.max(...sorted.map((one) => one.recall)))} at ${short(sorted.at(-1).cost_us)} µs${where}`;
  const drawn = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curve", role: "img", "aria-label": label });
  drawn.append(
    ...(now ? [shape("line", { class: "guide", x1: LEFT, x2: x(now), y1: y(now), y2: y(now) }), shape("line", { class: "guide", x1: x(now), x2: x(now), y1: y(now), y2: HEIGHT - BOTTOM })] : []),
    shape("polyline", { points: sorted.map((one) => `${x(one)},${y(one)}`).join(" ") }),
    ...sorted.map((one) => shape("circle", { cx: x(one), cy: y(one), r: 3 })),
    ...(now ? [shape("circle", { class: "point", cx: x(now), cy: y(now), r: 5 })] : []),
    shape("text", { x: LEFT - 6, y: TOP + 6, "text-anchor": "end" }, "100 %"),
    shape("text", { x: LEFT - 6, y: HEIGHT - BOTTOM, "text-anchor": "end" }, percent(least)),
    shape("text", { x: LEFT, y: HEIGHT - 8 }, "0"),
    shape("text", { x: WIDTH - 8, y: HEIGHT - 8, "text-anchor": "end" }, `${short(most)} µs per query`));
  return drawn;
}
