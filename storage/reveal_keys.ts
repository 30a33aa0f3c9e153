/**
 * The index keys of what a sealed segment reveals, read from the bodies: for its sidecar, which
 * lists every visible message under its keys, whatever segment the body lies in.
 *
 * Bodies lie anywhere before the reveal. Those in segments without deferred messages that have index
 * keys are not looked at, which is nearly all; a body that is damaged has no keys that anyone could
 * compare.
 *
 * @module
 */

import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, readRange } from "./base/disk.ts";
import { indexKeyHashes } from "./base/message_keys.ts";
import { salvaging } from "./base/salvage.ts";
import { type Frame, FRAME_HEADER_SIZE, FRAME_SIZE_MAX, readFrame } from "./frame.ts";
import type { KeyTable } from "./keys.ts";
import { KINDS } from "./records/mod.ts";
import { LOG_DIR, SEGMENT_HEADER_SIZE, segmentBases, segmentPath } from "./segment.ts";
import { messageIn } from "./stored_message.ts";

export class RevealKeys {
  readonly #table: KeyTable;
  readonly #holding: ReadonlySet<number>;
  readonly #bases: readonly number[];
  readonly #ports: { readonly disk: Disk; readonly crc32: Crc32 };
  /** Undefined: it is gone. */
  readonly #files = new Map<number, DiskFile | undefined>();
  /** Reveals of bodies in other segments: where their records lie, and how long they are. */
  readonly #later: { readonly logOffset: number; readonly size: number }[] = [];

  private constructor(
    table: KeyTable,
    parts: {
      readonly holding: readonly number[];
      readonly bases: readonly number[];
      readonly ports: { readonly disk: Disk; readonly crc32: Crc32 };
    },
  ) {
    this.#table = table;
    this.#holding = new Set(parts.holding);
    this.#bases = parts.bases;
    this.#ports = parts.ports;
  }

  /** @param about.holding bases of segments with deferred messages that have index keys, or may have. */
  static async of(
    about: { readonly table: KeyTable; readonly holding: readonly number[] },
    ports: { readonly disk: Disk; readonly crc32: Crc32 },
  ): Promise<RevealKeys> {
    const bases = segmentBases(await ports.disk.list(LOG_DIR));
    return new RevealKeys(about.table, { holding: about.holding, bases, ports });
  }

  /** Takes in a frame of the segment; a reveal that needs bodies from elsewhere waits for the end. */
  apply(frame: Frame): void {
    if (frame.kind !== KINDS.reveal.id) return this.#table.applyMessage(frame);
    const { logOffset, size, payload } = frame;
    const { items = [] } = KINDS.reveal.decode(payload) ?? {};
    const elsewhere = items.some(({ bodyLogOffset }) => this.#mustRead(bodyLogOffset));
    if (elsewhere) this.#later.push({ logOffset, size });
    else this.#table.applyReveal(items, logOffset, (body) => this.#table.heldBy(body) ?? []);
  }

  #baseOf(logOffset: number): number | undefined {
    return this.#bases.findLast((base) => base <= logOffset);
  }

  #mustRead(bodyLogOffset: number): boolean {
    const base = this.#baseOf(bodyLogOffset);
    return base !== undefined && base !== this.#table.base && this.#holding.has(base);
  }

  /** Reads the bodies that have to be read, a reveal at a time. */
  async finish(): Promise<void> {
    try {
      for (const place of this.#later) await this.#readBodies(place);
    } finally {
      for (const file of this.#files.values()) await file?.close();
    }
  }

  async #readBodies({ logOffset, size }: { logOffset: number; size: number }): Promise<void> {
    const frame = await this.#read({ logOffset, size });
    const { items = [] } = (frame && KINDS.reveal.decode(frame.payload)) ?? {};
    const keys = new Map<number, readonly number[]>();
    for (const item of items.toSorted((a, b) => a.bodyLogOffset - b.bodyLogOffset)) {
      const { bodyLogOffset } = item;
      if (!this.#mustRead(bodyLogOffset)) continue;
      const body = await this.#read({ logOffset: bodyLogOffset, size: item.size });
      const message = messageIn(body);
      if (body && message) keys.set(bodyLogOffset, indexKeyHashes(body, message));
    }
    const keysOf = (body: number) => keys.get(body) ?? this.#table.heldBy(body) ?? [];
    this.#table.applyReveal(items, logOffset, keysOf);
  }

  /** Undefined when its bytes are not what was written. */
  async #read(place: { logOffset: number; size: number }): Promise<Frame | undefined> {
    const { logOffset, size } = place;
    const base = this.#baseOf(logOffset);
    if (base === undefined || size < FRAME_HEADER_SIZE || size > FRAME_SIZE_MAX) return undefined;
    const file = await this.#file(base);
    if (!file) return undefined;
    const bytes = await readRange(file, SEGMENT_HEADER_SIZE + logOffset - base, size);
    if (bytes.length < size) return undefined;
    const source = { bytes, view: viewOf(bytes), at: 0 };
    const { crc32 } = this.#ports;
    const read = readFrame(source, { logOffset, prevCrc: undefined, crc32 });
    return read.kind === "frame" ? read.frame : undefined;
  }

  async #file(base: number): Promise<DiskFile | undefined> {
    if (!this.#files.has(base)) {
      const opening = this.#ports.disk.open(segmentPath(base), { create: false });
      this.#files.set(base, await opening.then(salvaging, () => undefined));
    }
    return this.#files.get(base);
  }
}
