/**
 * What the two processes of the RPC measurement have in common: the methods that
 * only it has, and how a figure is taken.
 *
 * @module
 */

import type { CallMethod } from "../src/rpc/mod.ts";
import { json, rawBytes } from "../src/rpc/mod.ts";
import { MESSAGE_BYTES } from "./scenario.ts";

export const SECRET = new Uint8Array(32).fill(7);
export const TOPIC = "rpc";
export const BODY: Uint8Array = new Uint8Array(MESSAGE_BYTES).fill(109);

export interface Wish {
  /** Calls under way at once. */
  readonly concurrency: number;
  readonly seconds: number;
}

export interface Rate {
  readonly perSecond: number;
  readonly count: number;
}

/** As many bytes as a message has; four come back. */
export const SMALL: CallMethod<Uint8Array, Uint8Array> = {
  kind: "call",
  id: 65_000,
  name: "bench.small",
  about: "Takes a few bytes and gives fewer",
  effect: "none",
  request: rawBytes,
  response: rawBytes,
};

/** Publishes in the broker's own process, without a wire. */
export const DIRECT: CallMethod<Wish, Rate> = {
  kind: "call",
  id: 65_001,
  name: "bench.direct",
  about: "The same publishes by direct calls",
  effect: "once",
  request: json(),
  response: json(),
};

/** Calls again and again, so many at once, until the time is over. */
export async function measure(
  { concurrency, seconds }: Wish,
  call: () => Promise<unknown>,
): Promise<Rate> {
  const from = performance.now();
  const until = from + seconds * 1000;
  let count = 0;
  const worker = async () => {
    while (performance.now() < until) {
      await call();
      count++;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return { perSecond: (count * 1000) / (performance.now() - from), count };
}
