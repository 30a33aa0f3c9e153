/**
 * LIKE: matching a text with `%`, any run of characters, and `_`, any one.
 * CONTAINS, STARTSWITH and ENDSWITH are patterns too.
 *
 * A pattern is the pieces between its `%`s. The first must lie at the start of
 * the text, the last at its end, and those between are looked for one behind
 * the other, each where it comes first: going farther never helps the rest. A
 * short piece without `_` is found by `indexOf`; any other by a Shift-And
 * automaton, 32 characters of the piece to a step. So a text is walked once,
 * and no step is taken back, whatever the pattern is.
 *
 * A character is a code point, so `_` takes an emoji whole.
 *
 * @module
 */

/** Characters; undefined: any one. */
export type Piece = readonly (string | undefined)[];

/** One piece: the text is just that. More: `%` between each two. */
export type Pattern = readonly Piece[];

/** At most this often is a character of the text compared by `indexOf`. */
const SHORT_MAX = 32;

const WORD_BITS = 32;

/** The pattern of `LIKE text ESCAPE escape`, or what is wrong with it. */
export function likePattern(
  text: string,
  escape: string | undefined,
): { readonly pattern: Pattern } | { readonly fault: string } {
  const pieces: (string | undefined)[][] = [[]];
  let escaped = false;
  for (const character of text) {
    if (escaped && character !== "%" && character !== "_" && character !== escape) {
      return { fault: "the escape character stands before % or _ or itself" };
    }
    if (!escaped && character === escape) {
      escaped = true;
      continue;
    }
    if (!escaped && character === "%") pieces.push([]);
    else pieces.at(-1)?.push(!escaped && character === "_" ? undefined : character);
    escaped = false;
  }
  return escaped ? { fault: "nothing follows the escape character" } : { pattern: pieces };
}

/** How a pattern is asked whether it matches a text. */
export function matcher(pattern: Pattern): (text: string) => boolean {
  const short = pattern.map(shortText).filter((text) => text !== undefined);
  if (short.length === pattern.length) {
    const finders = short.map((text) => new TextFinder(text));
    return (text) => matchesInOrder(text, finders);
  }
  const finders = pattern.map((piece) => new PieceFinder(piece));
  return (text) => matchesInOrder(Array.from(text), finders);
}

function shortText(piece: Piece): string | undefined {
  const text = piece.includes(undefined) ? undefined : piece.join("");
  return text !== undefined && text.length <= SHORT_MAX ? text : undefined;
}

interface Finder<T> {
  readonly size: number;
  isAt(text: T, at: number): boolean;
  /** The first place at or behind `from`; −1 for none. */
  find(text: T, from: number): number;
}

function matchesInOrder<T extends { readonly length: number }>(
  text: T,
  finders: readonly Finder<T>[],
): boolean {
  const first = finders[0];
  const last = finders.at(-1);
  if (!first || !last) return false;
  const end = text.length - last.size;
  if (finders.length === 1) return end === 0 && last.isAt(text, 0);
  if (first.size > end || !first.isAt(text, 0) || !last.isAt(text, end)) return false;
  let at = first.size;
  for (const finder of finders.slice(1, -1)) {
    const found = finder.find(text, at);
    at = found + finder.size;
    if (found < 0 || at > end) return false;
  }
  return true;
}

class TextFinder implements Finder<string> {
  readonly #wanted: string;

  constructor(wanted: string) {
    this.#wanted = wanted;
  }

  get size(): number {
    return this.#wanted.length;
  }

  isAt(text: string, at: number): boolean {
    return text.startsWith(this.#wanted, at);
  }

  find(text: string, from: number): number {
    return text.indexOf(this.#wanted, from);
  }
}

/** Exported for the test that counts its steps. */
export class PieceFinder implements Finder<ArrayLike<string>> {
  readonly #piece: Piece;
  /** By character: a bit for each place of the piece where it fits. */
  readonly #masks = new Map<string, Uint32Array>();
  readonly #maskOfOthers: Uint32Array;

  constructor(piece: Piece) {
    this.#piece = piece;
    this.#maskOfOthers = this.#mask(undefined);
    for (const character of piece) {
      if (character !== undefined) this.#masks.set(character, this.#mask(character));
    }
  }

  #mask(character: string | undefined): Uint32Array {
    const mask = new Uint32Array(Math.ceil(this.size / WORD_BITS));
    for (const [i, wanted] of this.#piece.entries()) {
      const fits = wanted === undefined || wanted === character;
      const word = Math.floor(i / WORD_BITS);
      if (fits) mask[word] = (mask[word] as number) | (1 << (i % WORD_BITS));
    }
    return mask;
  }

  get size(): number {
    return this.#piece.length;
  }

  isAt(text: ArrayLike<string>, at: number): boolean {
    return this.#piece.every((wanted, i) => wanted === undefined || wanted === text[at + i]);
  }

  find(text: ArrayLike<string>, from: number): number {
    if (this.size === 0) return from;
    // Bit i: the last i + 1 characters are the first i + 1 of the piece.
    const state = new Uint32Array(this.#maskOfOthers.length);
    const lastBit = 1 << ((this.size - 1) % WORD_BITS);
    for (let i = from; i < text.length; i++) {
      const mask = this.#masks.get(text[i] as string) ?? this.#maskOfOthers;
      const last = step(state, mask);
      if ((last & lastBit) !== 0) return i - this.size + 1;
    }
    return -1;
  }
}

/** One character further; returns the last word of the state. */
function step(state: Uint32Array, mask: Uint32Array): number {
  let carry = 1;
  let last = 0;
  for (let word = 0; word < state.length; word++) {
    const bits = state[word] as number;
    last = ((bits << 1) | carry) & (mask[word] as number);
    state[word] = last;
    carry = bits >>> (WORD_BITS - 1);
  }
  return last;
}
