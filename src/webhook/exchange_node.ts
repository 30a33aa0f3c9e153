/**
 * One HTTP request to addresses that were checked, and its bounded answer.
 *
 * The connection goes to those addresses and to no other: the name is not
 * resolved again, so a name server that gives another answer the second time
 * changes nothing. The name still counts for TLS and for the `Host` header.
 *
 * Every request has a connection of its own, closed at the end: no agent's
 * settings, no proxy from the environment, no redirect, nothing unpacked.
 *
 * Measured on Bun 1.4.5, Deno 2.9.6 and Node 26.10: `lookup` is honoured, a
 * second address is tried when the first one refuses, the certificate is judged
 * by the name, and proxy variables are ignored.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type ClientRequest, request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps, type RequestOptions } from "node:https";
import { isIPv6, type LookupFunction } from "node:net";
import { CheckFailure, type Deadline } from "./deadline.ts";
import { ANSWER_BYTES_MAX, type Incoming, type Outgoing } from "./message.ts";
import type { CheckTarget } from "./url.ts";

const HEADER_BYTES_MAX = 16 * 1024;

export interface Destination {
  readonly target: CheckTarget;
  /** Checked, at least one. */
  readonly addresses: readonly string[];
  /** Authorities to trust instead of the runtime's own, in PEM. */
  readonly authorities?: string | undefined;
}

/** @throws {CheckFailure} when there is no whole answer, for whatever reason. */
export async function exchange(
  destination: Destination,
  { message, deadline }: { readonly message: Outgoing; readonly deadline: Deadline },
): Promise<Incoming> {
  const request = open(destination, message);
  const connectedBy = destination.target.secure ? "secureConnect" : "connect";
  request.on("socket", (socket) => socket.once(connectedBy, () => deadline.connected()));
  try {
    return await deadline.race(answerTo(request, message.body));
  } finally {
    request.destroy(); // and with it the connection, whatever is still coming
  }
}

function open({ target, addresses, authorities }: Destination, message: Outgoing): ClientRequest {
  const { secure, host, hostIsAddress, port, path, authority } = target;
  const options: RequestOptions = {
    method: "POST",
    host,
    port,
    path,
    headers: { host: authority, ...message.headers },
    agent: false,
    lookup: pinned(addresses),
    maxHeaderSize: HEADER_BYTES_MAX,
  };
  if (!secure) return requestHttp(options);
  const servername = hostIsAddress ? "" : host; // an address is no server name (RFC 6066)
  return requestHttps({ ...options, servername, ...(authorities && { ca: authorities }) });
}

/** Is asked for a name only; a host that is an address is connected to as it is. */
function pinned(addresses: readonly string[]): LookupFunction {
  const all = addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }));
  return (_host, { all: wantsAll }, done) => {
    const [first] = all;
    if (wantsAll) done(null, all);
    else done(null, first?.address ?? "", first?.family);
  };
}

/**
 * Every way a request can end settles this once, within its event: what comes
 * later changes nothing, and on Deno `close` comes before the next microtask.
 */
function answerTo(request: ClientRequest, body: Uint8Array): Promise<Incoming> {
  return new Promise((resolve, reject) => {
    const fail = (error: CheckFailure) => reject(error);
    request.on("response", (response) => collect(response, { done: resolve, fail }));
    request.on("error", (error) => fail(failureOf(error)));
    request.on("upgrade", (_response, socket) => {
      socket.destroy();
      fail(new CheckFailure("answered 101"));
    });
    request.on("close", () => fail(new CheckFailure("closed without a whole answer")));
    request.end(body);
  });
}

function collect(
  response: IncomingMessage,
  to: { readonly done: (answer: Incoming) => void; readonly fail: (error: CheckFailure) => void },
): void {
  const chunks: Uint8Array[] = [];
  let size = 0;
  response.on("data", (chunk: Uint8Array) => {
    size += chunk.length;
    if (size <= ANSWER_BYTES_MAX) chunks.push(chunk);
    else to.fail(new CheckFailure(`answered more than ${ANSWER_BYTES_MAX} bytes`));
  });
  response.on("end", () => {
    to.done({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) });
  });
  response.on("error", (error) => to.fail(failureOf(error)));
}

/** The code alone, as texts differ between runtimes and may quote the other side. */
function failureOf(error: Error & { readonly code?: string }): CheckFailure {
  return new CheckFailure(`cannot talk to it: ${error.code ?? error.name}`);
}
