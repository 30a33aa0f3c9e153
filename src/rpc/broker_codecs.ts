/**
 * The requests and answers of the methods that are called for every message; all
 * others are JSON (codec.ts). The parts are drawn in message_codecs.ts.
 *
 *   publish       topic text, new message                ▷ published
 *   publishBatch  topic text, atomic u8, new messages    ▷ list of published
 *   read          the request as JSON                    ▷ present u8: 1 upToDate ·
 *                   2 queueId · 4 cursors · 8 from; cursor text, generation f64, queueId
 *                   u32, cursors list of text, from text, messages list of stored
 *   receive       the request as JSON                    ▷ list of delivery
 *   settle        group text, lists of {receipt text} for ack · {receipt, delayMs
 *                   f64 or NaN} for release · {receipt, leaseMs f64} for extend ·
 *                   {receipt, has u8, reason text} for reject
 *                                                        ▷ list of {receipt text,
 *                                                          status u8, leaseUntil f64 or NaN}
 *
 * A list is a count u32 and so many.
 *
 * @module
 */

import type {
  NewMessage,
  Published,
  ReadPage,
  SettleRequest,
  SettleResult,
} from "../broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Codec } from "./codec.ts";
import { listOf, newMessage, published, stored } from "./message_codecs.ts";
import { ProtocolError } from "./protocol_error.ts";

export type PublishArguments = [topic: string, message: NewMessage];

export const publishArguments: Codec<PublishArguments> = {
  write(writer, [topic, message]) {
    writer.text(topic);
    newMessage.write(writer, message);
  },
  read: (reader) => [reader.text(), newMessage.read(reader)],
};

export const publishedOne: Codec<Published> = {
  write: published.write,
  read(reader) {
    const one = published.read(reader);
    if (one instanceof TidegateError) throw new ProtocolError("an error instead of an answer");
    return one;
  },
};

export type BatchArguments = [
  topic: string,
  messages: readonly NewMessage[],
  options: { readonly atomic: boolean },
];

const newMessages = listOf(newMessage);

export const batchArguments: Codec<BatchArguments> = {
  write(writer, [topic, messages, { atomic }]) {
    writer.text(topic);
    writer.u8(atomic ? 1 : 0);
    newMessages.write(writer, messages);
  },
  read(reader) {
    const [topic, atomic] = [reader.text(), reader.u8() === 1];
    return [topic, newMessages.read(reader), { atomic }];
  },
};

const text: Codec<string> = {
  write: (writer, value) => writer.text(value),
  read: (reader) => reader.text(),
};

const PRESENT = { upToDate: 1, queueId: 2, cursors: 4, from: 8 } as const;
const cursorList = listOf(text);
const storedList = listOf(stored);

export const readPage: Codec<ReadPage> = {
  write(writer, { messages, cursor, cursors, from, upToDate, generation, queueId }) {
    writer.u8(
      (upToDate ? PRESENT.upToDate : 0) |
        (queueId === undefined ? 0 : PRESENT.queueId) |
        (cursors ? PRESENT.cursors : 0) |
        (from === undefined ? 0 : PRESENT.from),
    );
    writer.text(cursor);
    writer.f64(generation);
    if (queueId !== undefined) writer.u32(queueId);
    if (cursors) cursorList.write(writer, cursors);
    if (from !== undefined) writer.text(from);
    storedList.write(writer, messages);
  },
  read(reader) {
    const present = reader.u8();
    const [cursor, generation] = [reader.text(), reader.f64()];
    const queue = present & PRESENT.queueId ? { queueId: reader.u32() } : {};
    const places = present & PRESENT.cursors ? { cursors: cursorList.read(reader) } : {};
    const start = present & PRESENT.from ? { from: reader.text() } : {};
    const upToDate = (present & PRESENT.upToDate) !== 0;
    const messages = storedList.read(reader);
    return { messages, cursor, upToDate, generation, ...queue, ...places, ...start };
  },
};

const released: Codec<SettleRequest["release"][number]> = {
  write(writer, { receipt, delayMs }) {
    writer.text(receipt);
    writer.f64(delayMs ?? Number.NaN);
  },
  read(reader) {
    const [receipt, delayMs] = [reader.text(), reader.f64()];
    return Number.isNaN(delayMs) ? { receipt } : { receipt, delayMs };
  },
};

const extended: Codec<SettleRequest["extend"][number]> = {
  write(writer, { receipt, leaseMs }) {
    writer.text(receipt);
    writer.f64(leaseMs);
  },
  read: (reader) => ({ receipt: reader.text(), leaseMs: reader.f64() }),
};

const rejected: Codec<SettleRequest["reject"][number]> = {
  write(writer, { receipt, reason }) {
    writer.text(receipt);
    writer.u8(reason === undefined ? 0 : 1);
    writer.text(reason ?? "");
  },
  read(reader) {
    const [receipt, has, reason] = [reader.text(), reader.u8(), reader.text()];
    return has === 1 ? { receipt, reason } : { receipt };
  },
};

const acks = listOf(text);
const releases = listOf(released);
const extensions = listOf(extended);
const rejections = listOf(rejected);

export type SettleArguments = [group: string, request: SettleRequest];

export const settleArguments: Codec<SettleArguments> = {
  write(writer, [group, { ack, release, extend, reject }]) {
    writer.text(group);
    acks.write(writer, ack);
    releases.write(writer, release);
    extensions.write(writer, extend);
    rejections.write(writer, reject);
  },
  read(reader) {
    const [group, ack, release] = [reader.text(), acks.read(reader), releases.read(reader)];
    const [extend, reject] = [extensions.read(reader), rejections.read(reader)];
    return [group, { ack, release, extend, reject }];
  },
};

/** Their places are wire format: append new ones. */
const STATUSES = ["ok", "late", "lost", "invalid"] as const satisfies SettleResult["status"][];

export const settleResult: Codec<SettleResult> = {
  write(writer, { receipt, status, leaseUntil }) {
    writer.text(receipt);
    writer.u8(STATUSES.indexOf(status));
    writer.f64(leaseUntil ?? Number.NaN);
  },
  read(reader) {
    const [receipt, status, leaseUntil] = [reader.text(), STATUSES[reader.u8()], reader.f64()];
    if (!status) throw new ProtocolError("a settle has no such status");
    return Number.isNaN(leaseUntil) ? { receipt, status } : { receipt, status, leaseUntil };
  },
};
