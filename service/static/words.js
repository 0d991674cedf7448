// Terms as words. An encoder's terms are stems and pieces of words (`##ing`); a reader thinks in words.

const WORD = /[\p{L}\p{M}\p{N}]+/gu;

export const wordsOf = (text) => [...new Set((text.toLowerCase().match(WORD) || []))];

/** A term as a reader sees it: a piece of a word is shown as a word's end. */
export const pretty = (token) => (token.startsWith("##") ? `…${token.slice(2)}` : token);

/** Fold the terms of one vector into what is shown as one chip: [{label, terms, whole, note}].
 *  A word of the query that was cut into pieces is one chip with all of them; `whole` is false for it. */
export function foldedTerms(terms, query) {
  const words = wordsOf(query);
  const tokens = new Set(terms.map((term) => term.token));
  const input = terms.filter((term) => term.origin === "input");
  const used = new Set();
  const folded = [];
  for (const word of words) {
    if (tokens.has(word)) continue;
    const ends = input.filter((term) => term.token.startsWith("##") && word.indexOf(term.token.slice(2)) > 0 && !used.has(term));
    if (!ends.length) continue;
    const heads = input.filter((term) => !term.token.startsWith("##") && !words.includes(term.token) && word.startsWith(term.token));
    const pieces = [...heads, ...ends];
    pieces.forEach((term) => used.add(term));
    folded.push({ label: word, terms: pieces, whole: false, note: `unknown word, read as ${pieces.map((term) => pretty(term.token)).join(" ")}` });
  }
  for (const term of terms) {
    if (used.has(term)) continue;
    const stemOf = term.origin === "input" && !words.includes(term.token) ? words.find((word) => isStem(term.token, word)) : null;
    const piece = term.token.startsWith("##");
    folded.push({
      label: stemOf || pretty(term.token), terms: [term], whole: !piece,
      note: stemOf ? `as ${term.token}` : piece ? "a piece of a word" : "",
    });
  }
  const heaviest = (one) => Math.max(...one.terms.map((term) => term.weight));
  return folded.sort((a, b) => heaviest(b) - heaviest(a));
}

function isStem(token, word) {
  if (token.length < 3 || word.length < 3) return false;
  return word.startsWith(token) || (token.length >= 4 && (word.startsWith(token.slice(0, -1)) || token.startsWith(word)));
}

/** Return the function that says how well a hit fits: "" for a word of the query, "related" for added terms only,
 *  "weak" for nothing but pieces of unknown words. */
export function strengthOf(terms, query) {
  const words = new Set(wordsOf(query));
  const whole = new Set();
  const pieces = new Set();
  for (const using of new Set(terms.map((term) => term.using))) {
    for (const one of foldedTerms(terms.filter((term) => term.using === using), query)) {
      for (const term of one.terms) if (term.origin === "input") (one.whole ? whole : pieces).add(`${using} ${term.token}`);
    }
  }
  return (hit) => {
    const legs = hit.legs.filter((leg) => leg.matched);
    if (!legs.length || (!whole.size && !pieces.size)) return "";
    const matched = legs.flatMap((leg) => leg.matched.map((term) => `${leg.using} ${term.token}`));
    const written = legs.some((leg) => (leg.words || []).some((one) => one.word && words.has(one.word.toLowerCase())));
    if (written || matched.some((name) => whole.has(name))) return "";
    return pieces.size ? "weak" : "related";
  };
}
