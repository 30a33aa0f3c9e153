/**
 * Clients that follow the log and own their position: one by long-poll, one by
 * SSE. They go on after a kill from the last cursor they were given, and so
 * see whether anything that was once visible is gone, repeated or skipped.
 *
 * @module
 */

import { json } from "../e2e/http.ts";
import { EventStream } from "../e2e/event_stream.ts";
import type { WireMessage, WirePage } from "../e2e/wire.ts";
import type { Reader } from "./history.ts";
import { type Recorder, storedFrom } from "./recorder.ts";
import { pause, type Target } from "./target.ts";

export interface ReaderOptions {
  readonly topic: string;
  readonly recorder: Recorder;
}

function newReader(name: string, recorder: Recorder): Reader {
  const reader: Reader = { name, seen: [] };
  recorder.history.readers.push(reader);
  return reader;
}

export async function followByPolling(
  target: Target,
  signal: AbortSignal,
  { topic, recorder }: ReaderOptions,
): Promise<void> {
  const reader = newReader("the long-poll reader", recorder);
  let after = "earliest";
  while (!signal.aborted) {
    const connection = await target.connect();
    if (!connection) return;
    try {
      while (!signal.aborted) {
        const path = `/v1/topics/${topic}/messages?limit=500&wait=1&after=${encodeURIComponent(after)}`;
        const answer = await connection.request({ path, timeoutMs: 15_000 });
        if (answer.status === 204) {
          after = answer.headers.get("next-cursor") ?? after;
        } else if (answer.status === 200) {
          const page = json(answer) as WirePage;
          for (const message of page.messages) reader.seen.push(storedFrom(message));
          after = page.cursor;
        } else {
          recorder.notNow("a log read", answer);
          await pause(100);
        }
      }
    } catch (error) {
      recorder.lost(error);
    } finally {
      connection.close();
    }
  }
}

export async function followByStream(
  target: Target,
  signal: AbortSignal,
  { topic, recorder }: ReaderOptions,
): Promise<void> {
  const reader = newReader("the SSE reader", recorder);
  let lastEventId: string | undefined;
  while (!signal.aborted) {
    const port = await target.port();
    if (port === undefined) return;
    try {
      const path = `/v1/topics/${topic}/messages?after=earliest`;
      const stream = await EventStream.open(port, path, { lastEventId });
      const hangUp = () => stream.close();
      signal.addEventListener("abort", hangUp);
      for (;;) {
        const event = await stream.next(() => true, 60_000);
        if (!event) break;
        if (event.event === "message") {
          reader.seen.push(storedFrom(JSON.parse(event.data) as WireMessage));
        } else if (event.event === "gap") {
          recorder.complain(`the stream reported a gap: ${event.data}`);
        }
        lastEventId = event.id ?? lastEventId;
      }
      signal.removeEventListener("abort", hangUp);
      await pause(5);
    } catch (error) {
      recorder.lost(error);
      await pause(5);
    }
  }
}
