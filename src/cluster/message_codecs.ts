/**
 * How the messages of replication lie in a payload (messages.ts says what they
 * mean). Offsets and ids are f64, whole and not below 0; an epoch and a crc are u32.
 *
 *   member     node text · boot text · disk text
 *   head       epoch · boot text · id
 *   fetch      epoch · member · id · from · lastEpoch · lastCrc · durableEnd · flags u8
 *   entries    head · from · confirmOffset · to · frameEpoch · prevCrc · lastCrc · the frames
 *   diverged   head · epoch · end
 *   behind     head · start
 *   stale      epoch
 *   mend       head · from · to
 *   mended     epoch · boot text · from · to · the bytes
 *   canvass    id
 *   standing   id · member · lastEpoch · durableEnd · able u8
 *   began      epoch · start · confirmOffset
 *
 * Frames travel as they lie in the log, to the payload's end: they are copied once,
 * into the bytes that are sent, and what is read back is a view.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import { type ByteReader, type ByteWriter, type Codec, ProtocolError } from "../rpc/mod.ts";
import type { LogRange } from "./effects.ts";
import type { Member } from "./group_state.ts";
import type {
  AnswerHead,
  Began,
  Behind,
  Canvass,
  Diverged,
  Entries,
  Fetch,
  Mend,
  Mended,
  Stale,
  Standing,
} from "./messages.ts";

const EMPTY = new Uint8Array(0);

/** A count, an offset or an id. */
function writeCount(writer: ByteWriter, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "a count is whole and not below 0");
  writer.f64(value);
}

function readCount(reader: ByteReader): number {
  const value = reader.f64();
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new ProtocolError("a count is not whole, or below 0");
}

function writeEpoch(writer: ByteWriter, epoch: number): void {
  assert(Number.isInteger(epoch) && epoch >= 0 && epoch <= 0xffff_ffff, "an epoch fits 32 bits");
  writer.u32(epoch);
}

function readFlag(reader: ByteReader): boolean {
  const value = reader.u8();
  if (value > 1) throw new ProtocolError("a flag is neither 0 nor 1");
  return value === 1;
}

const WHOLE = 1;
const LEAVING = 2;

function readFetchFlags(reader: ByteReader): Pick<Fetch, "whole" | "leaving"> {
  const flags = reader.u8();
  if (flags > (WHOLE | LEAVING)) throw new ProtocolError("a flag that nobody knows");
  return { whole: (flags & WHOLE) !== 0, leaving: (flags & LEAVING) !== 0 };
}

function writeMember(writer: ByteWriter, { node, boot, disk }: Member): void {
  writer.text(node);
  writer.text(boot);
  writer.text(disk);
}

function readMember(reader: ByteReader): Member {
  return { node: reader.text(), boot: reader.text(), disk: reader.text() };
}

function writeHead(writer: ByteWriter, { epoch, boot, id }: AnswerHead): void {
  writeEpoch(writer, epoch);
  writer.text(boot);
  writeCount(writer, id);
}

function readHead(reader: ByteReader): AnswerHead {
  return { epoch: reader.u32(), boot: reader.text(), id: readCount(reader) };
}

function writeRange(writer: ByteWriter, { from, to }: LogRange): void {
  writeCount(writer, from);
  writeCount(writer, to);
}

function readRange(reader: ByteReader): LogRange {
  const [from, to] = [readCount(reader), readCount(reader)];
  if (from >= to) throw new ProtocolError("a range is empty");
  return { from, to };
}

function bytesOf(bytes: unknown): Uint8Array {
  assert(bytes === undefined || bytes instanceof Uint8Array, "what travels are bytes");
  return bytes ?? EMPTY;
}

export const fetchCodec: Codec<Fetch> = {
  write(writer, fetch) {
    writeEpoch(writer, fetch.epoch);
    writeMember(writer, fetch.member);
    writeCount(writer, fetch.id);
    writeCount(writer, fetch.from);
    writeEpoch(writer, fetch.lastEpoch);
    writer.u32(fetch.lastCrc);
    writeCount(writer, fetch.durableEnd);
    writer.u8((fetch.whole ? WHOLE : 0) | (fetch.leaving ? LEAVING : 0));
  },
  read: (reader) => ({
    kind: "fetch",
    epoch: reader.u32(),
    member: readMember(reader),
    id: readCount(reader),
    from: readCount(reader),
    lastEpoch: reader.u32(),
    lastCrc: reader.u32(),
    durableEnd: readCount(reader),
    ...readFetchFlags(reader),
  }),
};

export const entriesCodec: Codec<Entries> = {
  write(writer, entries) {
    writeHead(writer, entries);
    writeCount(writer, entries.from);
    writeCount(writer, entries.confirmOffset);
    writeCount(writer, entries.to);
    writeEpoch(writer, entries.frameEpoch);
    writer.u32(entries.prevCrc);
    writer.u32(entries.lastCrc);
    writer.raw(bytesOf(entries.bytes));
  },
  read(reader) {
    const head = readHead(reader);
    const [from, confirmOffset, to] = [readCount(reader), readCount(reader), readCount(reader)];
    const [frameEpoch, prevCrc, lastCrc] = [reader.u32(), reader.u32(), reader.u32()];
    if (reader.left !== to - from) throw new ProtocolError("entries of another size than they say");
    if (frameEpoch > head.epoch)
      throw new ProtocolError("frames of a later epoch than the leader's");
    const bytes = reader.rest();
    return {
      kind: "entries",
      ...head,
      from,
      confirmOffset,
      to,
      frameEpoch,
      prevCrc,
      lastCrc,
      bytes,
    };
  },
};

export const divergedCodec: Codec<Diverged> = {
  write(writer, { proof, ...head }) {
    writeHead(writer, head);
    writeEpoch(writer, proof.epoch);
    writeCount(writer, proof.end);
  },
  read(reader) {
    const head = readHead(reader);
    return { kind: "diverged", ...head, proof: { epoch: reader.u32(), end: readCount(reader) } };
  },
};

export const behindCodec: Codec<Behind> = {
  write(writer, { start, ...head }) {
    writeHead(writer, head);
    writeCount(writer, start);
  },
  read: (reader) => ({ kind: "behind", ...readHead(reader), start: readCount(reader) }),
};

export const staleCodec: Codec<Stale> = {
  write: (writer, { epoch }) => writeEpoch(writer, epoch),
  read: (reader) => ({ kind: "stale", epoch: reader.u32() }),
};

export const mendCodec: Codec<Mend> = {
  write(writer, mend) {
    writeHead(writer, mend);
    writeRange(writer, mend);
  },
  read: (reader) => ({ kind: "mend", ...readHead(reader), ...readRange(reader) }),
};

export const mendedCodec: Codec<Mended> = {
  write(writer, { epoch, boot, from, to, bytes }) {
    writeEpoch(writer, epoch);
    writer.text(boot);
    writeRange(writer, { from, to });
    writer.raw(bytesOf(bytes));
  },
  read(reader) {
    const [epoch, boot] = [reader.u32(), reader.text()];
    const { from, to } = readRange(reader);
    if (reader.left !== to - from) throw new ProtocolError("a range of another size than it says");
    return { kind: "mended", epoch, boot, from, to, bytes: reader.rest() };
  },
};

export const canvassCodec: Codec<Canvass> = {
  write: (writer, { id }) => writeCount(writer, id),
  read: (reader) => ({ kind: "canvass", id: readCount(reader) }),
};

export const beganCodec: Codec<Began> = {
  write(writer, { epoch, start, confirmOffset }) {
    writeEpoch(writer, epoch);
    writeCount(writer, start);
    writeCount(writer, confirmOffset);
  },
  read: (reader) => ({
    epoch: reader.u32(),
    start: readCount(reader),
    confirmOffset: readCount(reader),
  }),
};

export const standingCodec: Codec<Standing> = {
  write(writer, { id, member, lastEpoch, durableEnd, able }) {
    writeCount(writer, id);
    writeMember(writer, member);
    writeEpoch(writer, lastEpoch);
    writeCount(writer, durableEnd);
    writer.u8(able ? 1 : 0);
  },
  read: (reader) => ({
    kind: "standing",
    id: readCount(reader),
    member: readMember(reader),
    lastEpoch: reader.u32(),
    durableEnd: readCount(reader),
    able: readFlag(reader),
  }),
};
