/**
 * LIKE: matching a text with `%`, any run of characters, and `_`, any one.
 * CONTAINS, STARTSWITH and ENDSWITH are patterns too.
 *
 * A pattern is the pieces between its `%`s. The first must lie at the start of
 * the text, the last at its end, and those between are looked for one behind
 * the other, each where it comes first: going farther never helps the rest. A
 * piece is looked for by an automaton, Knuth-Morris-Pratt's where it is plain
 * and Shift-And where it has a `_`, so that a text is walked once and no step
 * is taken back, whatever the pattern is.
 *
 * A character is a code point, so `_` takes an emoji whole.
 *
 * @module
 */

/** Characters; undefined: any one. */
export type Piece = readonly (string | undefined)[];

/** One piece: the text is just that. More: `%` between each two. */
export type Pattern = readonly Piece[];

/** Here the runtime's own search is faster, and can compare a unit only so often. */
const SHORT_SIZE_MAX = 8;

/** Shift-And keeps a bit for each character of a piece, in one number. */
const BLANKED_SIZE_MAX = 32;

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
  if (escaped) return { fault: "nothing follows the escape character" };
  // The first and the last are compared where they are, so they may be of any size.
  const long = pieces
    .slice(1, -1)
    .some((piece) => piece.includes(undefined) && piece.length > BLANKED_SIZE_MAX);
  const fault = `between two % stand at most ${BLANKED_SIZE_MAX} characters where one is _`;
  return long ? { fault } : { pattern: pieces };
}

/** How a pattern is asked whether it matches a text. */
export function matcher(pattern: Pattern): (text: string) => boolean {
  const finders = pattern.map(finderOf);
  const [first, last] = [finders[0], finders.at(-1)];
  if (!first || !last) return () => false;
  if (finders.length === 1) return (text) => first.behindStart(text) === text.length;
  const between = finders.slice(1, -1);
  return (text) => {
    const end = last.beforeEnd(text);
    let at = first.behindStart(text);
    for (const finder of between) {
      if (at < 0 || at > end) return false;
      at = finder.behindNext(text, at);
    }
    return at >= 0 && at <= end;
  };
}

function finderOf(piece: Piece): Finder {
  const characters = piece.filter((one) => one !== undefined);
  if (characters.length < piece.length) return new BlankedFinder(piece);
  return new PlainFinder(characters.join(""));
}

/** Finds a piece in a text; places are −1 where it is not. */
interface Finder {
  /** Behind the piece that the text begins with. */
  behindStart(text: string): number;
  /** Behind the first piece at or behind `from`. */
  behindNext(text: string, from: number): number;
  /** Before the piece that the text ends with. */
  beforeEnd(text: string): number;
}

class PlainFinder implements Finder {
  readonly #piece: string;
  #falls: Uint16Array | undefined;

  constructor(piece: string) {
    this.#piece = piece;
  }

  behindStart(text: string): number {
    return text.startsWith(this.#piece) ? this.#piece.length : -1;
  }

  beforeEnd(text: string): number {
    return text.endsWith(this.#piece) ? text.length - this.#piece.length : -1;
  }

  behindNext(text: string, from: number): number {
    const piece = this.#piece;
    if (piece.length <= SHORT_SIZE_MAX) {
      const found = text.indexOf(piece, from);
      return found < 0 ? -1 : found + piece.length;
    }
    const falls = (this.#falls ??= fallsOf(piece));
    let matched = 0;
    for (let at = from; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      while (matched > 0 && piece.charCodeAt(matched) !== unit) matched = falls[matched] as number;
      if (piece.charCodeAt(matched) === unit) matched++;
      if (matched === piece.length) return at + 1;
    }
    return -1;
  }
}

/** By how much of the piece is matched: the most that still is when the next unit is another. */
function fallsOf(piece: string): Uint16Array {
  const falls = new Uint16Array(piece.length + 1);
  let matched = 0;
  for (let at = 1; at < piece.length; at++) {
    falls[at] = matched;
    while (matched > 0 && piece[at] !== piece[matched]) matched = falls[matched] as number;
    if (piece[at] === piece[matched]) matched++;
  }
  return falls;
}

class BlankedFinder implements Finder {
  readonly #codes: readonly (number | undefined)[];
  /** By character: a bit for each place where it fits. */
  readonly #fits = new Map<number, number>();
  /** The places that fit any. */
  #blanks = 0;

  constructor(piece: Piece) {
    this.#codes = piece.map((character) => character?.codePointAt(0));
    for (const [i, code] of this.#codes.entries()) if (code === undefined) this.#blanks |= 1 << i;
    for (const [i, code] of this.#codes.entries()) {
      if (code === undefined) continue;
      this.#fits.set(code, (this.#fits.get(code) ?? this.#blanks) | (1 << i));
    }
  }

  behindStart(text: string): number {
    let at = 0;
    for (const wanted of this.#codes) {
      const code = text.codePointAt(at);
      if (code === undefined || (wanted !== undefined && wanted !== code)) return -1;
      at += sizeOf(code);
    }
    return at;
  }

  beforeEnd(text: string): number {
    let at = text.length;
    for (const wanted of this.#codes.toReversed()) {
      const code = codeBefore(text, at);
      if (code === undefined || (wanted !== undefined && wanted !== code)) return -1;
      at -= sizeOf(code);
    }
    return at;
  }

  behindNext(text: string, from: number): number {
    const whole = 1 << (this.#codes.length - 1);
    // Bit i: the last i + 1 characters fit the first i + 1 of the piece.
    let state = 0;
    for (let at = from; at < text.length; ) {
      const code = text.codePointAt(at) as number;
      at += sizeOf(code);
      state = ((state << 1) | 1) & (this.#fits.get(code) ?? this.#blanks);
      if ((state & whole) !== 0) return at;
    }
    return -1;
  }
}

/** In UTF-16 units. */
function sizeOf(code: number): number {
  return code > 0xffff ? 2 : 1;
}

function codeBefore(text: string, at: number): number | undefined {
  const code = text.codePointAt(at - 2);
  return code !== undefined && code > 0xffff ? code : text.codePointAt(at - 1);
}
