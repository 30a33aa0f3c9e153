/**
 * Reading a log: `GET` and `HEAD /v1/topics/{topic}/messages`, as one page, as
 * a long-poll, or as an event stream by `Accept`.
 *
 * The reader owns its cursor; nothing is kept here. A wait ends with the first
 * message, when its time is up, when the client goes or when the node drains;
 * an empty answer is a 204 that says where to go on.
 *
 * @module
 */

import type { ReadPage, ReadRequest, Start } from "../src/broker/api.ts";
import { ByteWriter } from "./byte_writer.ts";
import type { Call } from "./call.ts";
import { writeMessage } from "./message_json.ts";
import { refuseOtherNamespace } from "./namespace.ts";
import { freshSeconds, matches, PAGE_VARY, pageETag } from "./page_cache.ts";
import type { Ports } from "./ports.ts";
import { readQuery } from "./query.ts";
import { type LogRead, logRead, resumePosition } from "./read_request.ts";

export type ReadLog = (topic: string, request: Request, call: Call) => Promise<Response>;

export function readingLog(ports: Ports): ReadLog {
  return async (topic, request, call) => {
    const query = readQuery(call.url);
    refuseOtherNamespace(call.head, query);
    const wanted = logRead(call.head, query);
    if (request.method === "HEAD") return tail(ports, { call, topic, queueId: wanted.queueId });
    if (wanted.form === "sse") {
      const resume = resumePosition(call.head, query);
      return openStream(ports, { call, request, topic, wanted, resume });
    }
    const read = readRequest(topic, wanted);
    if (wanted.waitMs === 0) {
      return pageResponse(ports, {
        call,
        topic,
        wanted,
        page: await ports.broker.messages.read(read),
      });
    }
    call.held = true;
    const hold = ports.holds.begin(call, request);
    let page: ReadPage;
    try {
      // In no function of its own: thousands wait here, and each that awaits keeps half a kilobyte.
      page = await ports.broker.messages.read(read, { signal: hold.signal });
    } finally {
      hold.end();
    }
    return pageResponse(ports, { call, topic, wanted, page });
  };
}

function openStream(
  { feeds }: Ports,
  about: {
    call: Call;
    request: Request;
    topic: string;
    wanted: LogRead;
    resume: Start | undefined;
  },
): Promise<Response> {
  const { call, request, topic, wanted, resume } = about;
  call.connection.holdOpen(request);
  const { queueId, key, filter } = wanted;
  const start = resume ?? wanted.start;
  return feeds.open({ topic, start, resumed: resume !== undefined, queueId, key, filter }, request);
}

function readRequest(topic: string, wanted: LogRead): ReadRequest {
  const { start, queueId, key, filter, limit, maxBytes, waitMs } = wanted;
  return { topic, start, queueId, key, filter, limit, maxBytes, waitMs };
}

/** Where the log ends now; asks for nothing and waits for nothing. */
async function tail(
  { broker }: Ports,
  about: { call: Call; topic: string; queueId: number | undefined },
): Promise<Response> {
  const { call, topic, queueId } = about;
  const read = {
    topic,
    queueId,
    start: { kind: "latest" },
    limit: 1,
    maxBytes: 1,
    waitMs: 0,
  } as const;
  const { cursor } = await broker.messages.read(read);
  const headers = call.headers({
    "content-type": "application/json",
    "cache-control": "no-cache",
    vary: PAGE_VARY,
    "next-cursor": cursor,
    "up-to-date": "?1",
  });
  return new Response(null, { headers });
}

async function pageResponse(
  ports: Ports,
  about: { call: Call; topic: string; wanted: LogRead; page: ReadPage },
): Promise<Response> {
  const { call, topic, wanted, page } = about;
  const headers: Record<string, string> = {
    vary: PAGE_VARY,
    "cache-control": "no-cache",
    "next-cursor": page.cursor,
    "up-to-date": page.upToDate ? "?1" : "?0",
  };
  if (wanted.applied !== undefined) headers["preference-applied"] = wanted.applied;
  if (page.messages.length === 0 && page.upToDate) {
    return new Response(null, { status: 204, headers: call.headers(headers) });
  }

  // Full: something lay behind it and yet the page ended.
  if (!page.upToDate && page.messages.length > 0 && wanted.start.kind !== "latest") {
    const etag = pageETag(page, wanted.form);
    headers["etag"] = etag;
    const { topics } = ports.broker;
    const fresh = await freshSeconds(page, {
      start: wanted.start,
      topic,
      topics,
      now: ports.now(),
    });
    const whose = ports.authenticated ? "private" : "public";
    if (fresh > 0) headers["cache-control"] = `${whose}, max-age=${fresh}, immutable`;
    const { ifNoneMatch } = call.head;
    if (ifNoneMatch !== undefined && matches(ifNoneMatch, etag)) {
      return new Response(null, { status: 304, headers: call.headers(headers) });
    }
  }
  const ndjson = wanted.form === "ndjson";
  headers["content-type"] = ndjson ? "application/x-ndjson" : "application/json";
  const body = ndjson ? pageLines(page) : pageJson(page);
  return new Response(body, { headers: call.headers(headers) });
}

function writerFor(page: ReadPage): ByteWriter {
  let bytes = 256;
  for (const { payload } of page.messages) bytes += payload.length + 320;
  return new ByteWriter(bytes);
}

/** `{"messages":[…],"cursor":…,"upToDate":…}` */
function pageJson(page: ReadPage): Uint8Array<ArrayBuffer> {
  const out = writerFor(page);
  out.text('{"messages":[');
  let first = true;
  for (const stored of page.messages) {
    if (!first) out.text(",");
    first = false;
    writeMessage(out, stored);
  }
  out.text(`],"cursor":${JSON.stringify(page.cursor)},"upToDate":${page.upToDate}}`);
  return out.written();
}

/** A message a line; where to go on is in `Next-Cursor`. */
function pageLines(page: ReadPage): Uint8Array<ArrayBuffer> {
  const out = writerFor(page);
  for (const stored of page.messages) {
    writeMessage(out, stored);
    out.text("\n");
  }
  return out.written();
}
