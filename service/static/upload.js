// Upload of a JSONL file: sent in parts, so that the progress is real and a large file needs no memory. Refused lines are
// named; the others are kept.

import { button, bytes, data, el, number, plural } from "./dom.js";
import { call, collectionPath, pause, Problem } from "./api.js";

const PART = 512 * 1024;
const LISTED = 200;
const NEWLINE = 10;

export function uploadPanel(collection, reload) {
  const file = el("input", { type: "file", id: "upload-file", accept: ".jsonl,.ndjson,.json,application/x-ndjson", required: true });
  const send = el("button", { type: "submit", class: "plain strong" }, "Upload");
  const result = el("div", { class: "upload-result" });
  let cancelled = null;
  const form = el("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      cancelled = new AbortController();
      send.disabled = true;
      await upload(collection.name, file.files[0], result, cancelled);
      send.disabled = false;
      reload();
    },
  }, el("label", { for: "upload-file" }, "A file with one document per line"), file, send);
  return el("section", { class: "panel", "aria-labelledby": "upload-title" }, el("h2", { id: "upload-title" }, "Add documents"), form,
    el("p", { class: "faint" }, "JSONL, for instance ", el("code", {}, '{"id": "d1", "title": "…", "text": "…", "metadata": {…}}'), ". A known id is replaced."), result);
}

async function upload(name, file, result, controller) {
  const bar = el("progress", { max: file.size, value: 0, "aria-label": `Upload of ${file.name}` });
  const line = el("p", { role: "status" });
  const refused = el("ul", { class: "refused" });
  const stop = button("Stop", () => controller.abort());
  const counts = { accepted: 0, failed: 0, lines: 0 };
  result.replaceChildren(bar, line, stop, refused);
  const say = (text) => { line.textContent = `${text} ${number.format(counts.accepted)} accepted, ${number.format(counts.failed)} refused.`; };
  const list = (lineNumber, detail) => {
    counts.failed += 1;
    if (counts.failed <= LISTED) refused.append(el("li", {}, el("b", {}, `Line ${number.format(lineNumber)}`), " ", data(detail)));
    else if (counts.failed === LISTED + 1) refused.append(el("li", {}, "Further lines were refused as well."));
  };
  try {
    for await (const part of parts(file)) {
      const sent = await send(name, part.blob, controller.signal);
      counts.accepted += sent.accepted;
      for (const one of sent.errors) list(counts.lines + one.line, one.detail);
      counts.lines += part.lines;
      bar.value = part.end;
      say(`${bytes(part.end)} of ${bytes(file.size)} sent.`);
    }
    say("Done: what was accepted is durable and can be found.");
  } catch (error) {
    say(error.name === "AbortError" ? "Stopped. What was accepted is kept." : `${error.title || "The file cannot be read"}: ${error.message}.`);
  }
  stop.remove();
}

/** Yield the file in parts of whole lines: {blob, lines, end}. */
async function* parts(file) {
  for (let start = 0; start < file.size;) {
    let end = Math.min(file.size, start + PART);
    let content = new Uint8Array(await file.slice(start, end).arrayBuffer());
    while (end < file.size && content.lastIndexOf(NEWLINE) < 0) { // a line longer than a part
      end = Math.min(file.size, end + PART);
      content = new Uint8Array(await file.slice(start, end).arrayBuffer());
    }
    if (end < file.size) content = content.subarray(0, content.lastIndexOf(NEWLINE) + 1);
    end = start + content.length;
    const lines = content.reduce((count, one) => count + (one === NEWLINE ? 1 : 0), 0);
    if (content.some((one) => one > 32)) yield { blob: content, lines, end };
    start = end;
  }
}

/** Send one part and return {accepted, errors: [{line, detail}]}; waits while the service asks for it. */
async function send(name, body, signal) {
  for (;;) {
    try {
      const answer = await call(collectionPath(name, "/documents"), { body, type: "application/x-ndjson", signal });
      const done = answer.job ? await finished(answer.job, signal) : answer;
      return { accepted: done.accepted, errors: done.errors.map((one) => ({ line: one.line, detail: said(one.id, `${one.code}: ${one.detail}`) })) };
    } catch (error) {
      if (error.status === 429 || error.type === "not-ready") { await pause(Math.max(1, error.retryAfter)); continue; }
      const errors = error.status === 422 ? refusedLines(error.errors) : [];
      if (!errors.length) throw error;
      return { accepted: 0, errors };
    }
  }
}

const said = (id, detail) => (id ? `(${id}) ${detail}` : detail);

/** The lines that a problem names, where every document of a part was refused. */
function refusedLines(errors) {
  return errors.map((one) => ({ line: Number(/^line (\d+)$/.exec(one.field)?.[1]), detail: one.detail })).filter((one) => one.line);
}

async function finished(job, signal) {
  for (;;) {
    await pause(1);
    const answer = await call(`v1/jobs/${encodeURIComponent(job)}`, { signal });
    if (answer.status === "done") return answer.result;
    if (answer.status === "failed") throw new Problem(answer.problem);
  }
}
