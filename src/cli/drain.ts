/**
 * The way down of a serving node.
 *
 *   serving ──signal──▶ draining ──▶ closed
 *
 * Draining: readiness goes first, so that nobody is sent here any more; waiting
 * requests are ended; requests under way are answered; the log is flushed and
 * closed. Requests that take too long are cut off: a node that was told to
 * stop has stopped within ten seconds, or service managers kill it.
 *
 * @module
 */

import type { Log } from "../../storage/base/logger.ts";

/** For requests under way; the rest of the ten seconds is the flush's. */
export const REQUESTS_MS_MAX = 7_000;

export interface Draining {
  /** Turns readiness off and refuses new work. */
  readonly broker: { drain(): void; close(): Promise<void> };
  /** Ends long-polls and streams; resolves when they are told. */
  readonly gateway: { drain(): void | Promise<void> };
  readonly server: { stop(): Promise<void>; abort(): void };
}

/** Resolves when everything acknowledged lies safe and the log is closed. */
export async function drain(
  { broker, gateway, server }: Draining,
  { log, requestsMs = REQUESTS_MS_MAX }: { log: Log; requestsMs?: number },
): Promise<void> {
  broker.drain();
  const answered = (async () => {
    await gateway.drain();
    await server.stop();
  })();
  if ((await within(answered, requestsMs)) === "late") {
    log("warn", "Requests were cut off", { afterMs: requestsMs });
    server.abort();
  }
  await broker.close();
}

async function within(work: Promise<void>, ms: number): Promise<"done" | "late"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(resolve, ms, "late");
  });
  try {
    return await Promise.race([work.then(() => "done" as const), late]);
  } finally {
    clearTimeout(timer);
  }
}
