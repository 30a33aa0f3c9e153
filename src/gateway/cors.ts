/**
 * Browsers on other origins: whom to answer, and whom to keep out.
 *
 * An origin on the allow-list may read answers and make any request. From any
 * other origin a browser would still send simple POSTs, with a body of its
 * choice, to a node that asks for no credential: those are refused, or any page
 * its user visits could publish to a developer's own machine.
 *
 * @module
 */

import type { Cors } from "../../routes/call.ts";
import type { RequestHead } from "../../routes/request_head.ts";
import { TidegateError } from "../../storage/base/errors.ts";

const ALLOW_HEADERS =
  "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Message-Id, Message-Index, Message-Key, Message-Tag, Prefer, Producer-Epoch, Producer-Id, Producer-Seq, Tidegate-Namespace, Traceparent, Tracestate, X-Request-Id";
const MAX_AGE_SECONDS = "7200";
const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

export class CorsPolicy {
  readonly #any: boolean;
  readonly #answers: ReadonlyMap<string, Cors>;
  readonly #others: Cors;

  /** `origins`: as browsers send them, "https://app.example"; "*" for all. */
  constructor(origins: readonly string[]) {
    this.#any = origins.includes("*");
    this.#others = { allow: this.#any ? "*" : undefined, varies: !this.#any && origins.length > 0 };
    this.#answers = new Map(
      this.#any ? [] : origins.map((origin) => [origin, { allow: origin, varies: true }]),
    );
  }

  answerTo(origin: string | undefined): Cors {
    return (origin === undefined ? undefined : this.#answers.get(origin)) ?? this.#others;
  }

  /** @throws `forbidden` for a state-changing request of a page we do not know */
  refuseForgery(request: Request, head: RequestHead): void {
    const { origin, secFetchSite } = head;
    if (origin === undefined || this.#any || this.#answers.has(origin)) return;
    if (SAFE.has(request.method)) return;
    const own =
      secFetchSite === undefined
        ? origin.endsWith(`//${head.host ?? ""}`)
        : secFetchSite === "same-origin" || secFetchSite === "none";
    if (own) return;
    throw new TidegateError(
      "forbidden",
      `Cannot take a ${request.method} from pages of ${origin.slice(0, 100)}: the origin is not allowed`,
    );
  }

  /** What a preflight asks for; headers of a user's own properties are allowed by name. */
  preflight(request: Request, allow: readonly string[]): Record<string, string> {
    const asked = request.headers.get("access-control-request-headers") ?? "";
    const properties = asked
      .split(",")
      .map((name) => name.trim())
      .filter((name) => /^message-property-[\w.-]{1,100}$/i.test(name));
    return {
      "access-control-allow-methods": allow.join(", "),
      "access-control-allow-headers": [ALLOW_HEADERS, ...properties].join(", "),
      "access-control-max-age": MAX_AGE_SECONDS,
    };
  }
}
