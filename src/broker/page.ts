/**
 * The page of a log read while it is filled: which messages it takes, what it
 * passes over, and when it is full.
 *
 *   look at units ─▶ the candidates ─▶ loaded ─▶ keep those wanted ─▶ look …
 *
 * The hashes in a unit only nominate, so keys and filters are compared once
 * the message is here. Candidates are loaded a chunk at a time; a page that
 * wants every message makes do with one chunk, which is just what it takes.
 *
 * A page looks at a bounded number of messages and loads a bounded number of
 * bytes. What it passed over moves its position, so nobody looks there again.
 *
 * @module
 */

import { stableHash } from "../../storage/base/hash.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import type { Unit } from "../../storage/mod.ts";
import { type CompiledFilter, nominates } from "../filter/mod.ts";
import type { ReadRequest } from "./api.ts";
import type { Visible } from "./bodies.ts";
import type { Position } from "./reading.ts";
import type { UnitSource } from "./unit_source.ts";

/** Messages a page looks at, at most, when it does not want them all. */
export const SCAN_MAX = 20_000;

/** Bytes of candidates that it loads, at most, before its last one. */
const SCAN_BYTES_MAX = 16 * 1024 * 1024;

/** What is looked at and loaded in one go, which bounds how long others wait. */
const CHUNK = { units: 1000, messagesMin: 32, messagesMax: 256, bytes: 128 * 1024 } as const;

const READ_AHEAD = { min: 16, max: 1000, scan: 256 } as const;

/** Which messages a read wants. */
export interface Wanted {
  readonly key?: string | undefined;
  readonly filter?: CompiledFilter | undefined;
  /** One of its index keys; places that have another are not looked at. */
  readonly index?: string | undefined;
}

function wantsAll({ key, filter, index }: Wanted): boolean {
  return key === undefined && index === undefined && (filter === undefined || filter.all);
}

/** Units to read at once per queue: few more than a page takes when queues share the load. */
export function readAhead(
  { limit, wanted }: { readonly limit: number; readonly wanted: Wanted },
  queues: number,
): number {
  const all = wantsAll(wanted);
  const fair = all ? (limit * (queues === 1 ? 1 : 2)) / queues : SCAN_MAX / queues;
  return Math.min(
    all ? READ_AHEAD.max : READ_AHEAD.scan,
    Math.max(READ_AHEAD.min, Math.ceil(fair)),
  );
}

/** A place in the order of the read, and the position after it. */
export interface Step<P = Position> {
  readonly visible: Visible;
  readonly after: P;
}

/** A message of the page. */
export interface Kept<P = Position> {
  readonly place: Visible;
  readonly payload: Uint8Array;
  readonly after: P;
}

export class PageBuilder<P = Position> {
  readonly kept: Kept<P>[] = [];
  /** The candidate that could not be read; the page ends before it, or steps over it. */
  damaged: Step<P> | undefined;
  readonly #overDamage: boolean;
  readonly #limit: number;
  readonly #wanted: Wanted;
  readonly #keyHash: number | undefined;
  readonly #certain: boolean;
  #position: P;
  #bytesLeft: number;
  #scanLeft = SCAN_MAX;
  #scanBytesLeft = SCAN_BYTES_MAX;
  #over = false;
  #cutShort = false;
  #candidates: Step<P>[] = [];
  /** The position before each candidate. */
  #befores: P[] = [];
  #chunkUnits = 0;
  #chunkBytes = 0;

  constructor(
    request: Pick<ReadRequest, "limit" | "maxBytes">,
    from: { readonly position: P; readonly wanted: Wanted; readonly overDamage?: boolean },
  ) {
    const { key } = from.wanted;
    this.#limit = request.limit;
    this.#bytesLeft = request.maxBytes;
    this.#position = from.position;
    this.#wanted = from.wanted;
    this.#keyHash = key === undefined ? undefined : stableHash(key);
    this.#certain = wantsAll(from.wanted);
    this.#overDamage = from.overDamage ?? false;
  }

  /** After all that it took or passed over. */
  get position(): P {
    return this.#position;
  }

  /** It ended before places that it had looked at. */
  get cutShort(): boolean {
    return this.#cutShort;
  }

  get full(): boolean {
    const scanned = !this.#certain && (this.#scanLeft <= 0 || this.#scanBytesLeft <= 0);
    return this.#over || this.kept.length >= this.#limit || scanned;
  }

  /** What to load next, before {@linkcode keep}. */
  get candidates(): readonly Visible[] {
    return this.#candidates.map(({ visible }) => visible);
  }

  /** Takes or passes over one place. False: it does not fit, the chunk or the page ends before it. */
  look(step: Step<P>): boolean {
    if (this.full || this.#chunkUnits >= CHUNK.units) return false;
    const { unit } = step.visible;
    if (this.#nominates(unit)) {
      if (!this.#fits(unit.size)) {
        this.#over = this.#certain; // there will be no other chunk
        return false;
      }
      this.#candidates.push(step);
      this.#befores.push(this.#position);
      this.#chunkBytes += unit.size;
    }
    this.#chunkUnits++;
    this.#scanLeft--;
    this.#position = step.after;
    return true;
  }

  /** Keeps of the loaded candidates those that are wanted; undefined is one that is damaged. */
  keep(payloads: readonly (Uint8Array | undefined)[]): void {
    const [candidates, befores] = [this.#candidates, this.#befores];
    this.#scanBytesLeft -= this.#chunkBytes;
    this.#candidates = [];
    this.#befores = [];
    this.#chunkUnits = 0;
    this.#chunkBytes = 0;
    for (const [i, candidate] of candidates.entries()) {
      const payload = payloads[i];
      const before = befores[i] as P;
      if (!payload) this.damaged = candidate;
      if (!payload && !this.#overDamage) return this.#endAt(before);
      if (!payload || !this.#wants(payload)) continue;
      const { visible: place, after } = candidate;
      const { size } = place.unit;
      if (this.kept.length > 0 && size > this.#bytesLeft) return this.#endAt(before);
      this.kept.push({ place, payload, after });
      this.#bytesLeft -= size;
      const last = this.kept.length === this.#limit || this.#bytesLeft <= 0;
      if (last && i + 1 < candidates.length) return this.#endAt(after);
      this.#over ||= last;
    }
  }

  #nominates({ keyHash, tagHash }: Unit): boolean {
    if (this.#keyHash !== undefined && keyHash !== this.#keyHash) return false;
    const { filter } = this.#wanted;
    return filter === undefined || nominates(filter, tagHash);
  }

  /** Whether one more candidate of this size belongs to the chunk. */
  #fits(size: number): boolean {
    const missing = this.#limit - this.kept.length;
    if (this.#certain) {
      const first = this.kept.length + this.#candidates.length === 0;
      return (
        this.#candidates.length < missing &&
        this.#chunkBytes < this.#bytesLeft &&
        (first || this.#chunkBytes + size <= this.#bytesLeft)
      );
    }
    const most = Math.min(CHUNK.messagesMax, Math.max(CHUNK.messagesMin, missing));
    if (this.#candidates.length >= most) return false;
    return this.#candidates.length === 0 || this.#chunkBytes + size <= CHUNK.bytes;
  }

  #wants(payload: Uint8Array): boolean {
    const { key, filter, index } = this.#wanted;
    const message = key === undefined && index === undefined ? undefined : decodeMessage(payload);
    if (key !== undefined && message?.key !== key) return false;
    if (index !== undefined && !message?.index.includes(index)) return false;
    return filter === undefined || filter.all || filter.matchesPayload(payload);
  }

  #endAt(position: P): void {
    this.#position = position;
    this.#over = true;
    this.#cutShort = true;
  }
}

/** Fills a page from a source, letting others work between its chunks. */
export async function fillPage<P>(
  page: PageBuilder<P>,
  {
    source,
    load,
    pause,
  }: {
    readonly source: UnitSource<P>;
    /** Their payloads; undefined for one that is damaged. */
    load(visible: readonly Visible[]): Promise<readonly (Uint8Array | undefined)[]>;
    pause(): Promise<void>;
  },
): Promise<void> {
  for (;;) {
    const more = await look(page, source);
    page.keep(await load(page.candidates));
    if (!more || page.full) return;
    await pause();
  }
}

/** Looks at a chunk of places; false when none is left behind it. */
async function look<P>(page: PageBuilder<P>, source: UnitSource<P>): Promise<boolean> {
  for (;;) {
    const filling = source.fill();
    if (filling) await filling;
    const next = source.peek();
    if (!next || !page.look(next)) return next !== undefined;
    source.advance();
  }
}
