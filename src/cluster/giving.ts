/**
 * The beginning of a leader's log, given to nodes whose own does not reach it: its
 * facts and the files that go with them, piece by piece, as they ask.
 *
 *   begin ──▶ held ──piece, piece, …──▶ held ──▶ let go: a minute without a question,
 *                                                 another beginning for the same node,
 *                                                 or this node leads no longer
 *
 * What is held stays as it was when it was asked for, so that the pieces fit together.
 * All pieces share the rate of those that catch up. A node has one beginning at a time.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { LentBeginning, KeysPiece } from "../../storage/mod.ts";
import type { GivenBeginning, PieceWish } from "./messages.ts";
import type { Pace } from "./pace.ts";

/** Nobody needs longer from one piece to the next. */
const HELD_MS = 60_000;
/** Nodes of a group, and some that are leaving it. */
const HELD_MAX = 16;

interface Held {
  readonly id: number;
  readonly held: LentBeginning;
  cancel: () => void;
}

export class Giving {
  readonly #clock: Clock;
  readonly #pace: Pace;
  readonly #beginning: () => Promise<LentBeginning>;
  readonly #held = new Map<string, Held>();
  #ids = 0;
  #ended = false;

  constructor(parts: {
    readonly clock: Clock;
    readonly pace: Pace;
    beginning(): Promise<LentBeginning>;
  }) {
    this.#clock = parts.clock;
    this.#pace = parts.pace;
    this.#beginning = () => parts.beginning();
  }

  async begin(node: string): Promise<GivenBeginning> {
    const held = await this.#beginning();
    const before = this.#held.get(node);
    if (this.#ended || (!before && this.#held.size >= HELD_MAX)) {
      await held.release();
      throw unavailable();
    }
    const one: Held = { id: ++this.#ids, held, cancel: () => {} };
    this.#held.set(node, one);
    this.#wait(node, one);
    before?.cancel();
    await before?.held.release();
    return { ...held.beginning, id: one.id, files: held.files };
  }

  /** @throws rejects: `unavailable` when another beginning is held by now, or none. */
  async piece(node: string, { id, file, at }: PieceWish): Promise<KeysPiece> {
    await this.#pace.turn();
    const one = this.#held.get(node);
    if (one?.id !== id) throw unavailable();
    this.#wait(node, one);
    const piece = await one.held.read(file, { at, size: this.#pace.share });
    this.#pace.spend(piece.bytes.length);
    return piece;
  }

  #wait(node: string, one: Held): void {
    one.cancel();
    one.cancel = this.#clock.after(HELD_MS, () => void this.#letGo(node));
  }

  async #letGo(node: string): Promise<void> {
    const one = this.#held.get(node);
    one?.cancel();
    this.#held.delete(node);
    await one?.held.release();
  }

  async end(): Promise<void> {
    this.#ended = true;
    for (const node of [...this.#held.keys()]) await this.#letGo(node);
  }
}

function unavailable(): TidegateError {
  return new TidegateError("unavailable", "Cannot give that beginning of the log: ask anew");
}
