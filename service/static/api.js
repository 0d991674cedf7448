// The service's API: one function for a call, and what went wrong as a Problem.

const KEY = "lsr-key";

export const savedKey = () => sessionStorage.getItem(KEY);
export function saveKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** A problem of RFC 9457, or no answer at all (status 0). */
export class Problem extends Error {
  constructor(problem, retryAfter = 0) {
    super(problem.detail || problem.title || "the service gave no reason");
    this.title = problem.title || "Something went wrong";
    this.status = problem.status;
    this.type = String(problem.type || "").replace("/problems/", "");
    this.errors = problem.errors || [];
    this.requestId = problem.request_id;
    this.retryAfter = retryAfter;
  }
}

/** Call the API and return the answer's JSON. Throws Problem, and AbortError when `signal` says so. */
export async function call(path, { body, signal, type = "application/json", method } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": type };
  if (savedKey()) headers["X-API-Key"] = savedKey();
  const sent = body === undefined || type !== "application/json" ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, { method: method || (body === undefined ? "GET" : "POST"), headers, body: sent, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The service does not answer", detail: "Is it still running?", status: 0 });
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Problem({ ...answer, status: response.status }, Number(response.headers.get("Retry-After")) || 0);
}

export const collectionPath = (name, rest = "") => `v1/collections/${encodeURIComponent(name)}${rest}`;

/** A document's id in a path: it may hold slashes, which stay. */
export const idInPath = (id) => id.split("/").map(encodeURIComponent).join("/");

export const pause = (seconds) => new Promise((done) => { setTimeout(done, 1000 * seconds); });
