/**
 * A gateway over a broker in memory, asked without a socket.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createGateway, type Gateway, type GatewayOptions } from "../../src/gateway/app.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { FakeBroker, type FakeBrokerOptions } from "./broker.ts";

export interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: BodyInit;
  /** Sent as JSON, with the content type. */
  readonly json?: unknown;
  readonly signal?: AbortSignal;
}

export const NOON = Date.UTC(2026, 10, 22, 12);

export class TestGateway {
  readonly clock = new ManualClock(NOON);
  readonly broker: FakeBroker;
  readonly gateway: Gateway;
  readonly reported: Error[] = [];
  /** How many requests asked for their connection to be held open. */
  held = 0;

  constructor(options: Partial<GatewayOptions> & { readonly fake?: FakeBrokerOptions } = {}) {
    const { fake, ...rest } = options;
    this.broker = new FakeBroker({ now: () => this.clock.now(), ...fake });
    this.gateway = createGateway({
      broker: this.broker,
      apiKeys: [],
      corsOrigins: [],
      version: "0.0.0",
      report: (error) => this.reported.push(error),
      now: () => this.clock.now(),
      after: (ms, run) => this.clock.after(ms, run),
      ...rest,
    });
  }

  /** What the gateway answers; the body is JSON when it is given as `json`. */
  async ask(path: string, { json, headers, ...init }: Ask = {}): Promise<Response> {
    const given = new Headers(headers);
    const body = json === undefined ? init.body : JSON.stringify(json);
    if (json !== undefined && !given.has("content-type")) {
      given.set("content-type", "application/json");
    }
    if (body !== undefined && !given.has("content-length") && typeof body === "string") {
      given.set("content-length", String(new TextEncoder().encode(body).length));
    }
    const request = new Request(`http://gateway.test${path}`, {
      ...init,
      headers: given,
      ...(body === undefined ? {} : { body }),
      // Node asks for it with streams; the others do not mind.
      ...(body instanceof ReadableStream ? { duplex: "half" } : {}),
    });
    return await this.gateway.fetch(request, { holdOpen: () => this.held++ });
  }

  /** The answer's JSON, when the status is as expected. */
  async json(path: string, ask: Ask & { readonly status?: number } = {}): Promise<JsonObject> {
    const { status = 200, ...rest } = ask;
    const response = await this.ask(path, rest);
    const text = await response.text();
    assert.equal(response.status, status, text);
    return JSON.parse(text) as JsonObject;
  }

  /** How many messages `topic` holds. */
  async stored(topic: string): Promise<number> {
    const topics = await this.broker.topics.list({ limit: 1000 });
    const found = topics.topics.find(({ name }) => name === topic);
    return found?.endOffsets.reduce((sum, end) => sum + end, 0) ?? 0;
  }
}

// oxlint-disable-next-line typescript/no-explicit-any -- the tests say what they expect of it
export type JsonObject = Record<string, any>;

/** The problem in `response`, complete and with the code expected. */
export async function problem(
  response: Response,
  expected: { status: number; code: ErrorCode },
): Promise<JsonObject> {
  const text = await response.text();
  assert.equal(response.status, expected.status, text);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  assert.equal(response.headers.get("x-content-type-options"), "nosniff");
  const body = JSON.parse(text) as JsonObject;
  assert.equal(body["code"], expected.code, text);
  assert.equal(body["status"], expected.status);
  assert.equal(body["type"], `/problems/${expected.code}`);
  assert.equal(typeof body["title"], "string");
  assert.equal(typeof body["detail"], "string");
  assert.equal(typeof body["retryable"], "boolean");
  assert(body["applied"] === false || body["applied"] === "unknown");
  assert.equal(typeof body["traceId"], "string");
  assert.match(String(body["instance"]), /^\//);
  return body;
}
