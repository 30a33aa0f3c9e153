/**
 * What makes a publish one that may be repeated: `Idempotency-Key`, or
 * `Producer-Id`, `Producer-Epoch` and `Producer-Seq`, all three or none.
 *
 * They are headers only. On a batch the key of each message is `key#index`, and
 * its place in the sequence is seq + index.
 *
 * @module
 */

import type { NewMessage } from "../src/broker/api.ts";
import { idempotencyKeyFault, producerIdFault } from "./attributes.ts";
import { malformed } from "./problem.ts";
import { decodeHeader } from "./publish_attributes.ts";
import type { RequestHead } from "./request_head.ts";

export type Once = Pick<NewMessage, "idempotencyKey" | "producer">;

/** Told in the answer to a repeat. */
export const REPLAYED = "idempotency-replayed";

/** Undefined for a publish that is stored as often as it comes. @throws `invalid-request` */
export function onceOf(head: RequestHead): Once | undefined {
  const { idempotencyKey } = head;
  const producer = producerOf(head);
  if (idempotencyKey === undefined) return producer && { producer };
  if (producer !== undefined) {
    const detail = "Idempotency-Key and Producer-Id must not come together";
    throw malformed("/header/Idempotency-Key", detail);
  }
  const key = decodeHeader(idempotencyKey, "Idempotency-Key");
  const fault = idempotencyKeyFault(key);
  if (fault === undefined) return { idempotencyKey: key };
  throw malformed("/header/Idempotency-Key", `Idempotency-Key ${fault}`);
}

function producerOf(head: RequestHead): NewMessage["producer"] {
  const { producerId, producerEpoch, producerSeq } = head;
  if (producerId === undefined && producerEpoch === undefined && producerSeq === undefined) {
    return undefined;
  }
  if (producerId === undefined || producerEpoch === undefined || producerSeq === undefined) {
    const detail = "Producer-Id, Producer-Epoch and Producer-Seq must come together";
    throw malformed("/header/Producer-Id", detail);
  }
  const id = decodeHeader(producerId, "Producer-Id");
  const fault = producerIdFault(id);
  if (fault !== undefined) throw malformed("/header/Producer-Id", `Producer-Id ${fault}`);
  const epoch = countOf(producerEpoch, { name: "Producer-Epoch", max: EPOCH_MAX });
  return { id, epoch, seq: countOf(producerSeq, { name: "Producer-Seq", max: SEQ_MAX }) };
}

/** As the record holds them; a sequence leaves room for a batch. */
export const EPOCH_MAX = 2 ** 32 - 1;
export const SEQ_MAX = 10 ** 15;

function countOf(value: string, { name, max }: { name: string; max: number }): number {
  const count = /^\d{1,16}$/.test(value) ? Number(value) : Infinity;
  if (count <= max) return count;
  throw malformed(`/header/${name}`, `${name} must be a whole number from 0 to ${max}`);
}

/** What the message at `index` of a batch is known by. */
export function onceAt({ idempotencyKey, producer }: Once, index: number): Once {
  if (idempotencyKey !== undefined) return { idempotencyKey: `${idempotencyKey}#${index}` };
  return { producer: producer && { ...producer, seq: producer.seq + index } };
}
