/**
 * The gateway's JSON as a client sees it, and the handful of calls every
 * black-box test makes. Shapes are the contract's, written down again here on
 * purpose: a test that imported the server's own types would follow its
 * mistakes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type HttpAnswer, type HttpRequest, json, request, text } from "./http.ts";

export interface WireMessage {
  readonly id: string;
  readonly topic: string;
  readonly queueId: number;
  readonly queueOffset: string;
  readonly cursor: string;
  readonly key?: string;
  readonly text?: string;
  readonly data?: unknown;
  readonly dataBase64?: string;
  readonly publishedAt: string;
  readonly attempt?: number;
}

export interface WireDelivery extends WireMessage {
  readonly receipt: string;
  readonly attempt: number;
  readonly leaseUntil: string;
}

export interface WirePublished {
  readonly id: string;
  readonly topic: string;
  readonly queueId: number;
  readonly queueOffset: string;
  readonly cursor: string;
}

export interface WireProblem {
  readonly code: string;
  readonly status: number;
  readonly retryable: boolean;
  readonly applied: false | "unknown";
  readonly detail?: string;
}

export interface WirePage {
  readonly messages: readonly WireMessage[];
  readonly cursor: string;
  readonly upToDate: boolean;
}

export type SettleStatus = "ok" | "late" | "lost" | "invalid";

export interface WireSettled {
  readonly results: readonly {
    readonly receipt: string;
    readonly status: SettleStatus;
    readonly leaseUntil?: string;
  }[];
}

export interface WireLag {
  readonly topics: readonly {
    readonly topic: string;
    readonly total: number;
    readonly queues: readonly {
      readonly queueId: number;
      readonly committedOffset: number | string;
      readonly endOffset: number | string;
    }[];
  }[];
}

export const JSON_TYPE = { "Content-Type": "application/json" };

/** Whoever can send a request: a connection, or {@linkcode client}. */
export interface Sender {
  request(request: HttpRequest): Promise<HttpAnswer>;
}

/** Sends each request on a connection of its own. */
export function client(port: number): Sender {
  return { request: (one) => request(port, one) };
}

export function post(path: string, body: unknown, more: Partial<HttpRequest> = {}): HttpRequest {
  return { method: "POST", path, headers: JSON_TYPE, body: JSON.stringify(body), ...more };
}

export function put(path: string, body: unknown): HttpRequest {
  return { method: "PUT", path, headers: JSON_TYPE, body: JSON.stringify(body) };
}

/** Sends a request that has to be answered with one of `statuses`. */
export async function call(
  sender: Sender,
  wanted: HttpRequest,
  ...statuses: number[]
): Promise<HttpAnswer> {
  const answer = await sender.request(wanted);
  const what = `${wanted.method ?? "GET"} ${wanted.path} → ${answer.status}`;
  assert(statuses.includes(answer.status), `${what} ${text(answer).slice(0, 500)}`);
  return answer;
}

export async function putTopic(sender: Sender, topic: string, config: object = {}): Promise<void> {
  await call(sender, put(`/v1/topics/${topic}`, config), 201);
}

export async function putGroup(sender: Sender, group: string, config: object): Promise<void> {
  await call(sender, put(`/v1/groups/${group}`, config), 201);
}

export async function publish(
  sender: Sender,
  topic: string,
  message: { readonly body: string; readonly headers?: Readonly<Record<string, string>> },
): Promise<WirePublished> {
  const answer = await call(
    sender,
    {
      method: "POST",
      path: `/v1/topics/${topic}/messages`,
      headers: { "Content-Type": "text/plain", ...message.headers },
      body: message.body,
    },
    201,
  );
  return json(answer) as WirePublished;
}

export async function publishTexts(
  sender: Sender,
  topic: string,
  texts: readonly string[],
): Promise<void> {
  const messages = texts.map((text) => ({ text }));
  const answer = await call(sender, post(`/v1/topics/${topic}/messages/batch`, { messages }), 200);
  for (const result of (json(answer) as { results: object[] }).results) assert("id" in result);
}

/** Reads a topic, or one queue of it, from its beginning to its present end. */
export async function readAll(
  sender: Sender,
  topic: string,
  options: { readonly queueId?: number; readonly limit?: number } = {},
): Promise<WireMessage[]> {
  const queue = options.queueId === undefined ? "" : `&queue=${options.queueId}`;
  const messages: WireMessage[] = [];
  let after = "earliest";
  for (;;) {
    const path = `/v1/topics/${topic}/messages?limit=${options.limit ?? 1000}${queue}&after=${encodeURIComponent(after)}`;
    const answer = await call(sender, { path }, 200, 204);
    if (answer.status === 204) return messages;
    const page = json(answer) as WirePage;
    messages.push(...page.messages);
    if (page.upToDate) return messages;
    assert.notEqual(page.cursor, after, `the cursor of ${topic} moves while there is more to read`);
    after = page.cursor;
  }
}

/** Leases messages; none when the wait ran out. */
export async function receive(
  sender: Sender,
  group: string,
  wish: { readonly max?: number; readonly waitMs?: number; readonly leaseMs?: number },
): Promise<readonly WireDelivery[]> {
  const answer = await call(sender, post(`/v1/groups/${group}/receive`, wish), 200, 204);
  return answer.status === 204 ? [] : (json(answer) as { messages: WireDelivery[] }).messages;
}

export interface SettleWish {
  readonly ack?: readonly string[];
  readonly release?: readonly { readonly receipt: string; readonly delayMs?: number }[];
  readonly extend?: readonly { readonly receipt: string; readonly leaseMs: number }[];
}

export async function settle(
  sender: Sender,
  group: string,
  wish: SettleWish,
): Promise<WireSettled["results"]> {
  const answer = await call(sender, post(`/v1/groups/${group}/settle`, wish), 200);
  return (json(answer) as WireSettled).results;
}

export async function lagOf(sender: Sender, group: string): Promise<number> {
  const answer = await call(sender, { path: `/v1/groups/${group}/lag` }, 200);
  return (json(answer) as WireLag).topics.reduce((sum, topic) => sum + topic.total, 0);
}
