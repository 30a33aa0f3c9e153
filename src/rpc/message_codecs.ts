/**
 * How messages lie in payloads, in both directions.
 *
 * All integers are big-endian; `text` is a size u32 and UTF-8, `bytes` a size u32
 * and bytes; a time, an offset or a number a client chose is an f64, which holds
 * whatever the JSON of a client could.
 *
 *   new message   present u16: 1 idempotencyKey · 2 producer · 4 deliverAt ·
 *                   8 delayMs · 16 idGenerated
 *                 attributes bytes (message_attributes.ts)
 *                 idempotencyKey text · producer {id text, epoch f64, seq f64} ·
 *                   deliverAt f64 · delayMs f64, those that are present
 *                 body bytes
 *
 *   published     kind u8: 0 now · 1 scheduled · 2 error; bit 7: replayed
 *                 now        id text, queueId u32, queueOffset f64, cursor text, publishedAt f64
 *                 scheduled  id text, queueId u32, deliverAt f64, publishedAt f64
 *                 error      as error_codec.ts has it, bytes
 *
 *   stored        topic text, queueId u32, queueOffset f64, cursor text,
 *                 publishedAt f64, payload bytes (message.ts)
 *
 *   delivery      stored, receipt text, attempt u32, leaseUntil f64
 *
 * @module
 */

import type {
  Delivery,
  NewMessage,
  Published,
  PublishedNow,
  Scheduled,
  StoredMessage,
} from "../broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { messageSizeMax } from "../../storage/base/message.ts";
import { readAttributes, writeAttributes } from "../../storage/base/message_attributes.ts";
import { ByteReader } from "./byte_reader.ts";
import type { ByteWriter } from "./byte_writer.ts";
import type { Codec } from "./codec.ts";
import { errorCodec } from "./error_codec.ts";
import { ProtocolError } from "./protocol_error.ts";

const PRESENT = {
  idempotencyKey: 1,
  producer: 2,
  deliverAt: 4,
  delayMs: 8,
  idGenerated: 16,
} as const;

const KIND = { now: 0, scheduled: 1, error: 2, replayed: 0x80 } as const;

const NONE = new Uint8Array(0);

export const newMessage: Codec<NewMessage> = {
  write(writer, message) {
    const { idempotencyKey, producer, deliverAt, delayMs, idGenerated } = message;
    writer.u16(
      (idempotencyKey === undefined ? 0 : PRESENT.idempotencyKey) |
        (producer ? PRESENT.producer : 0) |
        (deliverAt === undefined ? 0 : PRESENT.deliverAt) |
        (delayMs === undefined ? 0 : PRESENT.delayMs) |
        (idGenerated ? PRESENT.idGenerated : 0),
    );
    writeAttributesOf(writer, message);
    if (idempotencyKey !== undefined) writer.text(idempotencyKey);
    if (producer) {
      writer.text(producer.id);
      writer.f64(producer.epoch);
      writer.f64(producer.seq);
    }
    if (deliverAt !== undefined) writer.f64(deliverAt);
    if (delayMs !== undefined) writer.f64(delayMs);
    writer.sized(message.body);
  },
  read(reader) {
    const present = reader.u16();
    const range = reader.range();
    const attributes = readAttributes(range, range);
    if (!attributes) throw new ProtocolError("the attributes of a message cannot be read");
    const message: { -readonly [K in keyof NewMessage]: NewMessage[K] } = {
      ...attributes,
      body: NONE,
    };
    if (present & PRESENT.idempotencyKey) message.idempotencyKey = reader.text();
    if (present & PRESENT.producer) {
      message.producer = { id: reader.text(), epoch: reader.f64(), seq: reader.f64() };
    }
    if (present & PRESENT.deliverAt) message.deliverAt = reader.f64();
    if (present & PRESENT.delayMs) message.delayMs = reader.f64();
    if (present & PRESENT.idGenerated) message.idGenerated = true;
    message.body = reader.sized();
    return message;
  },
};

function writeAttributesOf(writer: ByteWriter, message: NewMessage): void {
  writer.reserve(4 + messageSizeMax(message, 0));
  const { bytes, view, at } = writer;
  const end = writeAttributes({ bytes, view }, at + 4, message);
  view.setUint32(at, end - at - 4);
  writer.at = end;
}

export const published: Codec<Published | TidegateError> = {
  write(writer, one) {
    if (one instanceof TidegateError) {
      writer.u8(KIND.error);
      const sizeAt = writer.pending;
      writer.u32(0);
      errorCodec.write(writer, one);
      const size = writer.pending - sizeAt - 4;
      writer.view.setUint32(writer.at - size - 4, size);
      return;
    }
    const replayed = one.replayed ? KIND.replayed : 0;
    writer.u8((one.state ? KIND.scheduled : KIND.now) | replayed);
    writer.text(one.id);
    writer.u32(one.queueId);
    if (one.state) writer.f64(one.deliverAt);
    else {
      writer.f64(one.queueOffset);
      writer.text(one.cursor);
    }
    writer.f64(one.publishedAt);
  },
  read(reader) {
    const kind = reader.u8();
    if (kind === KIND.error) return errorCodec.read(new ByteReader(reader.range()));
    const replayed = (kind & KIND.replayed) === 0 ? {} : { replayed: true as const };
    if ((kind & ~KIND.replayed) === KIND.now) return readNow(reader, replayed);
    if ((kind & ~KIND.replayed) === KIND.scheduled) return readScheduled(reader, replayed);
    throw new ProtocolError(`nothing is published as ${kind}`);
  },
};

function readNow(reader: ByteReader, replayed: { replayed?: true }): PublishedNow {
  const [id, queueId] = [reader.text(), reader.u32()];
  const [queueOffset, cursor] = [reader.f64(), reader.text()];
  return { id, queueId, queueOffset, cursor, publishedAt: reader.f64(), ...replayed };
}

function readScheduled(reader: ByteReader, replayed: { replayed?: true }): Scheduled {
  const [id, queueId, deliverAt] = [reader.text(), reader.u32(), reader.f64()];
  return { state: "scheduled", id, queueId, deliverAt, publishedAt: reader.f64(), ...replayed };
}

export const stored: Codec<StoredMessage> = {
  write(writer, { topic, queueId, queueOffset, cursor, publishedAt, payload }) {
    writer.text(topic);
    writer.u32(queueId);
    writer.f64(queueOffset);
    writer.text(cursor);
    writer.f64(publishedAt);
    writer.sized(payload);
  },
  read(reader) {
    return {
      topic: reader.text(),
      queueId: reader.u32(),
      queueOffset: reader.f64(),
      cursor: reader.text(),
      publishedAt: reader.f64(),
      payload: reader.sized(),
    };
  },
};

export const delivery: Codec<Delivery> = {
  write(writer, one) {
    stored.write(writer, one);
    writer.text(one.receipt);
    writer.u32(one.attempt);
    writer.f64(one.leaseUntil);
  },
  read(reader) {
    const message = stored.read(reader);
    const [receipt, attempt] = [reader.text(), reader.u32()];
    return { ...message, receipt, attempt, leaseUntil: reader.f64() };
  },
};

/** A count u32, and so many; what says it is more than there is, is found out by reading. */
export function listOf<T>(codec: Codec<T>): Codec<readonly T[]> {
  return {
    write(writer, list) {
      writer.u32(list.length);
      for (const one of list) codec.write(writer, one);
    },
    read(reader) {
      const list: T[] = [];
      for (let left = reader.u32(); left > 0; left--) list.push(codec.read(reader));
      return list;
    },
  };
}
