/**
 * What the contract says of failures: one response per status, an example per
 * code, made from the same tables the answers are made from.
 *
 * Operations share their failures, so each set of codes is one component of
 * the document, named after them, and operations refer to it.
 *
 * @module
 */

import type { OpenAPIHono } from "@hono/zod-openapi";
import { CODES, type ErrorCode } from "../storage/base/errors.ts";
import type { GatewayEnv } from "./call.ts";
import { STATUS } from "./problem.ts";
import { Problem } from "./schemas.ts";

/** What any operation may answer. */
const ANYWHERE: readonly ErrorCode[] = [
  "invalid-request",
  "unauthorized",
  "forbidden",
  "headers-too-large",
  "internal",
  "not-implemented",
  "draining",
  "overloaded",
  "unavailable",
  "outcome-unknown",
  "disk-full",
];

/** Every operation that reads a JSON body. */
export const JSON_BODY: readonly ErrorCode[] = [
  "request-timeout",
  "body-too-large",
  "unsupported-media-type",
  "validation-failed",
];

/** Sets of codes that some operation may answer with, by the name of their component. */
const used = new Map<string, readonly ErrorCode[]>();

/** Response entries for `codes` and for what may happen anywhere, in order of status. */
export function failures(...codes: readonly ErrorCode[]) {
  return onlyFailures(...new Set([...ANYWHERE, ...codes]));
}

/** Response entries for `codes` alone. */
export function onlyFailures(...codes: readonly ErrorCode[]) {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codes) {
    const status = STATUS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const entries = [...byStatus].sort(([a], [b]) => a - b);
  return Object.fromEntries(
    entries.map(([status, group]) => {
      const name = group.toSorted().join("-or-");
      used.set(name, group);
      return [status, { $ref: `#/components/responses/${name}` }];
    }),
  );
}

/** Puts what {@linkcode failures} refers to into the document; after all operations. */
export function registerFailures({ openAPIRegistry }: OpenAPIHono<GatewayEnv>): void {
  for (const [name, codes] of [...used].sort(([a], [b]) => (a < b ? -1 : 1))) {
    openAPIRegistry.registerComponent("responses", name, failure(codes));
  }
  for (const code of new Set([...used.values()].flat())) {
    const example = { summary: CODES[code].title, value: exampleOf(code) };
    openAPIRegistry.registerComponent("examples", code, example);
  }
  openAPIRegistry.register("Problem", Problem);
}

function failure(codes: readonly ErrorCode[]) {
  const examples = codes.map((code) => [code, { $ref: `#/components/examples/${code}` }]);
  const later = codes.some((code) => RETRY_LATER.has(STATUS[code]));
  return {
    description: codes.map((code) => CODES[code].title).join("; "),
    ...(later ? { headers: { "Retry-After": RETRY_AFTER } } : {}),
    content: {
      "application/problem+json": {
        schema: { $ref: "#/components/schemas/Problem" },
        examples: Object.fromEntries(examples),
      },
    },
  };
}

const RETRY_LATER = new Set<number>([429, 503, 507]);
const RETRY_AFTER = {
  description: "Seconds to wait before trying again",
  schema: { type: "integer" as const, minimum: 1 },
};

function exampleOf(code: ErrorCode) {
  const { title, about, retryable, applied } = CODES[code];
  return {
    type: `/problems/${code}`,
    title,
    status: STATUS[code],
    detail: about,
    code,
    retryable,
    applied,
    traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  };
}
