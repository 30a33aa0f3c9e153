/**
 * Errors on the wire: one code, one status, one shape (RFC 9457).
 *
 * Wherever a request fails, in the edge, the router, the framework, a schema
 * or the broker, it ends here. Nothing outside this file knows which status a
 * code has. Every problem says whether to retry and whether the request may
 * have taken effect; a stranger's message is reported, never sent.
 *
 * @module
 */

import { HTTPException } from "hono/http-exception";
import { CODES, type ErrorCode, TidegateError } from "../storage/base/errors.ts";
import type { Call } from "./call.ts";

/** A code without a status does not compile. */
export const STATUS = {
  "invalid-request": 400,
  "invalid-cursor": 400,
  unauthorized: 401,
  forbidden: 403,
  "producer-fenced": 403,
  "not-found": 404,
  "topic-not-found": 404,
  "group-not-found": 404,
  "message-not-found": 404,
  "transaction-not-found": 404,
  "producer-group-not-found": 404,
  "method-not-allowed": 405,
  "request-timeout": 408,
  "topic-exists": 409,
  "group-exists": 409,
  "already-delivered": 409,
  "id-in-use": 409,
  "key-order": 409,
  "group-busy": 409,
  "topic-busy": 409,
  "transaction-decided": 409,
  "producer-group-exists": 409,
  "immutable-field": 409,
  "idempotency-in-progress": 409,
  "producer-sequence-gap": 409,
  "producer-sequence-old": 409,
  "cursor-expired": 410,
  "cursor-generation": 410,
  "message-too-large": 413,
  "body-too-large": 413,
  "unsupported-media-type": 415,
  "validation-failed": 422,
  "message-type-mismatch": 422,
  "delay-too-long": 422,
  "filter-invalid": 422,
  "check-url-refused": 422,
  "idempotency-mismatch": 422,
  "quota-exceeded": 429,
  "headers-too-large": 431,
  internal: 500,
  "data-damaged": 500,
  "not-implemented": 501,
  overloaded: 503,
  draining: 503,
  unavailable: 503,
  "outcome-unknown": 504,
  "disk-full": 507,
} as const satisfies Record<ErrorCode, number>;

/** One broken rule: where, as a JSON pointer, and what about it. */
export interface Fault {
  readonly pointer: string;
  readonly detail: string;
}

/** The path, a query parameter or a header breaks a rule. */
export function malformed(pointer: string, detail: string): TidegateError {
  return new TidegateError("invalid-request", `Cannot read the request: ${detail}`, {
    errors: [{ pointer, detail }],
  });
}

/** A JSON body was understood, and breaks these rules. */
export function invalid(errors: readonly Fault[]): TidegateError {
  const first = errors[0];
  const where = first === undefined || first.pointer === "" ? "" : ` at ${first.pointer}`;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
  return new TidegateError(
    "validation-failed",
    `Cannot accept the body: ${first?.detail ?? "it breaks a rule"}${where}${more}`,
    { errors },
  );
}

/** A feature of the contract that this build does not have. */
export function notImplemented(feature: string): TidegateError {
  return new TidegateError("not-implemented", `This build does not have ${feature} yet`, {
    feature,
  });
}

export function noSuchPath(): TidegateError {
  return new TidegateError("not-found", "Cannot find anything under this path");
}

/** The problem's members; the standard ones cannot be overwritten by details. */
export function problemOf(error: TidegateError, about: { call: Call; instance: string }) {
  const { title, retryable, applied } = CODES[error.code];
  return {
    ...error.details,
    type: `/problems/${error.code}`,
    title,
    status: STATUS[error.code],
    detail: error.message,
    instance: about.instance,
    code: error.code,
    retryable,
    applied,
    traceId: about.call.traceId,
  };
}

export function problemResponse(
  error: TidegateError,
  about: { call: Call; instance: string },
): Response {
  const status = STATUS[error.code];
  const headers: Record<string, string> = {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
  };
  if (status === 429 || status === 503 || status === 507)
    headers["retry-after"] = retryAfterSeconds();
  if (status === 401) headers["www-authenticate"] = "Bearer";
  const allow = error.code === "method-not-allowed" ? error.details["allow"] : undefined;
  if (Array.isArray(allow)) headers["allow"] = allow.join(", ");
  const body = JSON.stringify(problemOf(error, about));
  return new Response(body, { status, headers: about.call.headers(headers) });
}

/** Spread, so that clients refused together do not come back together. */
function retryAfterSeconds(): string {
  return String(1 + Math.floor(Math.random() * 5));
}

/** What went wrong, as one of ours. */
export function asTidegateError(error: unknown): TidegateError {
  if (error instanceof TidegateError) return error;
  if (error instanceof HTTPException && error.status < 500) {
    return new TidegateError("invalid-request", error.message, {}, error);
  }
  return new TidegateError("internal", "The node failed; its log knows why", {}, error);
}
