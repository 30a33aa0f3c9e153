/**
 * Finds what a misspelt word was meant to be.
 *
 * @module
 */

/** The word of `known` that takes the fewest typing errors to become `word`; undefined when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of known) {
    const distance = editDistance(word, candidate);
    if (distance < (best?.distance ?? Infinity)) best = { candidate, distance };
  }
  const most = Math.ceil(word.length * 0.3);
  return best && best.distance <= most ? best.candidate : undefined;
}

/** Levenshtein: insertions, deletions and replacements, a row at a time. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let at = 1; at <= left.length; at++) {
    const next = [at];
    for (let other = 1; other <= right.length; other++) {
      const replaced = (row[other - 1] ?? 0) + (left[at - 1] === right[other - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[other] ?? 0) + 1, (next[other - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
