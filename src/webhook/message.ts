/**
 * What is sent for a check, and what is read in the answer.
 *
 *   {"type":"transaction.check","timestamp":"2026-01-01T00:00:00.000Z",
 *    "data":{"transactionId","producerGroup","checkNumber","messages":[{"id","topic","key"?}]}}
 *
 * Each check is an event of its own: its id is made of the transaction and the
 * number, so a receiver that remembers ids answers the next check, too.
 *
 * @module
 */

import { type CheckAnswer, type CheckCall, DECISIONS } from "./check.ts";
import type { Hmac } from "../../storage/base/hmac.ts";
import { signatureHeaders } from "./signature.ts";

/** A decision is some 25 bytes; more is room for what a framework puts around it. */
export const ANSWER_BYTES_MAX = 64 * 1024;

export interface Outgoing {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface Incoming {
  readonly status: number;
  readonly body: Uint8Array;
}

const utf8 = new TextEncoder();

/** @param options.now milliseconds since the Unix epoch. */
export function checkMessage(
  check: CheckCall,
  options: { readonly now: number; readonly key: Uint8Array | undefined; readonly hmac: Hmac },
): Outgoing {
  const { transactionId, producerGroup, checkNumber } = check;
  const messages = check.messages.map(({ id, topic, key }) => ({ id, topic, key }));
  const body = utf8.encode(
    JSON.stringify({
      type: "transaction.check",
      timestamp: new Date(options.now).toISOString(),
      data: { transactionId, producerGroup, checkNumber, messages },
    }),
  );
  const signed = { id: `${transactionId}-${checkNumber}`, now: options.now, body };
  const headers = {
    "content-type": "application/json",
    "content-length": String(body.length),
    accept: "application/json",
    "accept-encoding": "identity", // nothing is unpacked here, so nothing can swell
    "user-agent": "tidegate",
    connection: "close",
    ...signatureHeaders(signed, options),
  };
  return { headers, body };
}

/** Never throws, whatever the bytes. */
export function readAnswer({ status, body }: Incoming): CheckAnswer {
  const isRedirect = status >= 300 && status < 400;
  if (isRedirect) return failed(`answered ${status}, and redirects are not followed`);
  if (status < 200 || status >= 300) return failed(`answered ${status}`);
  const value = parse(body);
  const decision = DECISIONS.find((one) => one === decisionIn(value));
  return decision
    ? { kind: "decision", decision }
    : failed(`answered ${status} without a decision: commit, rollback or unknown`);
}

function failed(reason: string): CheckAnswer {
  return { kind: "failed", reason };
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined; // not JSON: no decision
  }
}

function decisionIn(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return (value as { readonly decision?: unknown }).decision;
}
