/**
 * Targets on loopback that behave as badly as told, and a caller to meet them.
 * The caller's clock is moved by hand, so a time limit is over when the test
 * says so and never sooner.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createServer as createHttp, type RequestListener } from "node:http";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { type CheckCallerOptions, openCheckCaller } from "../../src/webhook/caller_node.ts";
import type { CheckAnswer, CheckCall, CheckCaller } from "../../src/webhook/mod.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { TEST_CERTIFICATE, TEST_KEY } from "../fakes/test_certificate.ts";

export class Target {
  /** Connections so far. */
  connections = 0;
  readonly open = new Set<Socket>();
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      this.connections++;
      this.open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.open.delete(socket));
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async listen(host = "127.0.0.1"): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, host, resolve));
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.open) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

export function httpTarget(listener: RequestListener, host?: string): Promise<Target> {
  return new Target(createHttp(listener)).listen(host);
}

export function httpsTarget(listener: RequestListener): Promise<Target> {
  const server = createHttps({ key: TEST_KEY, cert: TEST_CERTIFICATE }, listener);
  return new Target(server).listen();
}

/** Reads whatever comes, and says what `talk` says. */
export function rawTarget(talk: (socket: Socket) => void): Promise<Target> {
  const server = createTcp((socket) => {
    socket.resume();
    talk(socket);
  });
  return new Target(server).listen();
}

export const answering =
  (decision: string): RequestListener =>
  (_request, response) =>
    void response.end(JSON.stringify({ decision }));

export interface Kit {
  readonly clock: ManualClock;
  readonly caller: CheckCaller;
  ask(url: string, more?: Partial<CheckCall> & { signal?: AbortSignal }): Promise<CheckAnswer>;
}

export function kit(options: Partial<CheckCallerOptions> = {}): Kit {
  const clock = new ManualClock();
  const caller = openCheckCaller({ allowPrivate: true, clock, ...options });
  const check = {
    secret: undefined,
    transactionId: "tx1",
    producerGroup: "pay",
    checkNumber: 1,
    messages: [{ id: "m1", topic: "orders" }],
  };
  return {
    clock,
    caller,
    ask: (url, { signal = new AbortController().signal, ...more } = {}) =>
      caller.call({ ...check, url, ...more }, { signal }),
  };
}

/** Polls; fails after some seconds instead of hanging. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let round = 0; round < 2000; round++) {
    if (condition()) return;
    await setTimeout(5);
  }
  assert.fail(`waited in vain until ${what}`);
}

export function failedWith(answer: CheckAnswer, reason: RegExp): void {
  assert(answer.kind === "failed", JSON.stringify(answer));
  assert.match(answer.reason, reason);
}

export function refusedWith(answer: CheckAnswer, reason: RegExp): void {
  assert(answer.kind === "refused", JSON.stringify(answer));
  assert.match(answer.reason, reason);
}
