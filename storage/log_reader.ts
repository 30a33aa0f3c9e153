/**
 * Reading frames of the log: young ones from memory, others from disk. What is not
 * what was written is noted as damage.
 *
 * @module
 */

import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { readRange } from "./base/disk.ts";
import type { CommitLog } from "./commit_log.ts";
import {
  type Frame,
  FRAME_HEADER_SIZE,
  FRAME_SIZE_MAX,
  type FrameSource,
  readFrame,
} from "./frame.ts";
import { SEGMENT_HEADER_SIZE } from "./segment.ts";

export interface FrameAt {
  readonly logOffset: number;
  readonly size: number;
}

type Log = Pick<CommitLog, "tail" | "segmentAt" | "writtenEnd" | "confirmOffset" | "damage">;

export class LogReader {
  readonly #log: Log;
  readonly #crc32: Crc32;

  constructor(log: Log, crc32: Crc32) {
    this.#log = log;
    this.#crc32 = crc32;
  }

  async read(at: FrameAt): Promise<Frame | undefined> {
    const frame = await this.#read(at);
    if (!frame) this.missed(at);
    return frame;
  }

  async #read({ logOffset, size }: FrameAt): Promise<Frame | undefined> {
    const bytes = await this.bytes(logOffset, size);
    return bytes && this.verify({ bytes, view: viewOf(bytes), at: 0 }, logOffset);
  }

  missed({ logOffset, size }: FrameAt): void {
    const { damage, confirmOffset } = this.#log;
    const there = this.#log.segmentAt(logOffset) !== undefined && logOffset + size <= confirmOffset;
    if (there && size > 0) damage.add({ from: logOffset, to: logOffset + size }, "read");
  }

  async readAt(logOffset: number): Promise<Frame | undefined> {
    const header = await this.bytes(logOffset, FRAME_HEADER_SIZE);
    const size = header && viewOf(header).getUint32(0);
    if (!size || size < FRAME_HEADER_SIZE || size > FRAME_SIZE_MAX) return undefined;
    return this.#read({ logOffset, size });
  }

  async bytes(from: number, size: number): Promise<Uint8Array | undefined> {
    return this.#log.tail.find(from, size) ?? (await this.#fromDisk(from, size));
  }

  verify(source: FrameSource, logOffset: number): Frame | undefined {
    const expected = { logOffset, prevCrc: undefined, crc32: this.#crc32 };
    const read = readFrame(source, expected);
    return read.kind === "frame" ? read.frame : undefined;
  }

  async #fromDisk(logOffset: number, size: number): Promise<Uint8Array | undefined> {
    const segment = this.#log.segmentAt(logOffset);
    if (!segment || logOffset + size > this.#log.writtenEnd) return undefined;
    const position = SEGMENT_HEADER_SIZE + logOffset - segment.base;
    const bytes = await readRange(segment.file, position, size);
    return bytes.length === size ? bytes : undefined;
  }
}
