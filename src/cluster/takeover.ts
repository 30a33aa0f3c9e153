/**
 * Taking over the beginning of the leader's log, where the own log does not reach it
 * or is no use any more: between two lives of a node.
 *
 *            ┌────────────── anything fails, another leads ─────────────┐
 *            ▼                                                          │
 *   ask the leader ──▶ set the own log aside ──▶ files, piece by piece ─┴─▶ counts
 *                      (once there is another)                              │
 *   the next life fetches frames from there, as any learner ◀───────────────┘
 *
 * Nothing counts before all of it is there (storage/replaced_log.ts). The pieces of
 * two leaders are never mixed: with another one it begins anew. Should the leader's
 * log have moved on by the time the node asks for frames, the core says so, and all of
 * this comes again, a while later: what keeps moving is not run after.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Log } from "../../storage/base/logger.ts";
import type { KeysFile } from "../../storage/mod.ts";
import type { GivenBeginning } from "./messages.ts";
import type { LogReplacement } from "./node_ports.ts";
import type { LinkPeer } from "./replica_links.ts";
import { BEGINNING, PIECE } from "./replica_methods.ts";

const AGAIN_MS = 1000;
/** From one takeover to the next, at least. */
const REST_MS = 5000;
const ASK_MS = 10_000;
/** The leader's rate may hold a piece back. */
const PIECE_MS = 30_000;
const PROGRESS_MS = 5000;

export interface TakeoverPorts {
  readonly clock: Clock;
  readonly journal: Log;
  /** Whoever leads now, by name, if it is known and can be reached. */
  leader(): Promise<{ readonly node: string; readonly peer: LinkPeer } | undefined>;
  replaceLog(): Promise<LogReplacement>;
}

export class Takeover {
  readonly #ports: TakeoverPorts;
  readonly #stopping = new AbortController();
  #replacement: LogReplacement | undefined;
  #endedAt = Number.NEGATIVE_INFINITY;
  /** How often a beginning was taken over, and bytes of the files that come with one, as they come. */
  readonly counts = { done: 0, bytes: 0 };

  constructor(ports: TakeoverPorts) {
    this.#ports = ports;
  }

  /** Gives up what is under way: what was brought counts for nothing. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Resolves when a new log is in place, or none is wanted any more. @param end of the own log. */
  async run(end: number | undefined): Promise<void> {
    const { clock, journal } = this.#ports;
    const restMs = this.#endedAt + REST_MS - clock.elapsed();
    if (restMs > 0) await this.#pause(restMs);
    for (let tries = 0; !this.#isOver; tries++) {
      try {
        const leader = await this.#ports.leader();
        if (leader && (await this.#takeOver(leader, end))) {
          this.#endedAt = clock.elapsed();
          return;
        }
      } catch (error) {
        if (this.#isOver) return;
        if (tries % 10 === 0)
          journal("warn", "The leader's log could not be taken over", { error });
      }
      await this.#pause(AGAIN_MS);
    }
  }

  get #isOver(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** @returns whether it is done; false: it is over before. */
  async #takeOver(
    { node, peer }: { readonly node: string; readonly peer: LinkPeer },
    end: number | undefined,
  ): Promise<boolean> {
    const { journal } = this.#ports;
    const { signal } = this.#stopping;
    const given = await peer.call(BEGINNING, undefined, { signal, timeoutMs: ASK_MS });
    const bytes = given.files.reduce((sum, { size }) => sum + size, 0);
    const { start } = given;
    const about = { leader: node, start, end, files: given.files.length, bytes };
    journal("info", "The log gives way to the leader's", about);
    this.#replacement ??= await this.#ports.replaceLog();
    await this.#replacement.clear();
    if (!(await this.#bring(peer, given, bytes))) return false;
    await this.#replacement.finish(start > 0 ? given : undefined);
    this.#replacement = undefined;
    this.counts.done++;
    journal("info", "The log begins where the leader's does", { start, bytes });
    return true;
  }

  async #bring(peer: LinkPeer, given: GivenBeginning, bytes: number): Promise<boolean> {
    const { clock, journal } = this.#ports;
    let [brought, toldAt] = [0, clock.elapsed()];
    for (const [index, file] of given.files.entries()) {
      for (let at = 0; at < file.size; ) {
        if (this.#isOver) return false;
        const size = await this.#piece(peer, given, { index, file, at });
        at += size;
        brought += size;
        if (clock.elapsed() - toldAt < PROGRESS_MS) continue;
        toldAt = clock.elapsed();
        journal("info", "The beginning of the leader's log is on its way", { brought, bytes });
      }
    }
    return true;
  }

  async #piece(
    peer: LinkPeer,
    { id }: GivenBeginning,
    { index, file, at }: { readonly index: number; readonly file: KeysFile; readonly at: number },
  ): Promise<number> {
    const { signal } = this.#stopping;
    const wish = { id, file: index, at };
    const piece = await peer.call(PIECE, wish, { signal, timeoutMs: PIECE_MS });
    if (piece.bytes.length === 0) {
      throw new TidegateError("data-damaged", "Cannot take an empty piece of the log's beginning");
    }
    await this.#replacement?.put(file, at, piece);
    this.counts.bytes += piece.bytes.length;
    return piece.bytes.length;
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#stopping;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const cancel = this.#ports.clock.after(ms, end);
      signal.addEventListener("abort", end);
    });
  }
}
