/**
 * How many requests were answered, how, and how long it took.
 *
 * By route, method and status: routes are patterns, so neither topics nor ids nor
 * made-up paths become labels, and methods nobody knows are one. Requests that
 * asked to wait (long-polls, receives) are apart: how long those take says how
 * quiet the topic is. A stream is answered when it begins.
 *
 * @module
 */

import type { Call } from "../../routes/call.ts";
import { counter, type Family, Histogram, histogram } from "../../storage/base/metrics.ts";
import { LATENCY_SECONDS, type Labels } from "../../storage/base/metrics.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";

/** Up to the longest wait there is. */
const HELD_SECONDS = [0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 75];

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** What people and their tools read, rather than programs. */
const PAGES = /^\/(?:docs|openapi\.|problems\/)/;

/** What of a request counts. */
type Asked = Pick<Call, "method" | "route" | "path" | "held">;

interface Row {
  readonly method: string;
  readonly status: number;
  readonly held: boolean;
  readonly seconds: Histogram;
}

export class RequestFigures {
  /** A few rows each: comparing is faster than making a key. */
  readonly #byRoute = new Map<string, Row[]>();
  readonly #refused = new Map<ErrorCode, number>();

  answered(call: Asked, { status, seconds }: { status: number; seconds: number }): void {
    const { method, held } = call;
    const route = routeOf(call);
    for (const row of this.#byRoute.get(route) ?? []) {
      if (row.status !== status || row.method !== method || row.held !== held) continue;
      row.seconds.observe(seconds);
      return;
    }
    this.#row(route, { status, method, held }).seconds.observe(seconds);
  }

  #row(route: string, about: Omit<Row, "seconds">): Row {
    const method = METHODS.has(about.method) ? about.method : "(other)";
    const { status, held } = about;
    const rows = this.#byRoute.get(route) ?? [];
    this.#byRoute.set(route, rows);
    const known = rows.find(
      (row) => row.status === status && row.method === method && row.held === held,
    );
    if (known) return known;
    const seconds = new Histogram(held ? HELD_SECONDS : LATENCY_SECONDS);
    const row = { method, status, held, seconds };
    rows.push(row);
    return row;
  }

  refused(code: ErrorCode): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1);
  }

  families(): Family[] {
    return [
      histogram({
        name: "tidegate_http_request_seconds",
        help: "Requests that did not ask to wait, from their head to the head of the answer",
        series: this.#series(false),
      }),
      histogram({
        name: "tidegate_http_held_request_seconds",
        help: "Requests that asked to wait, the wait included",
        series: this.#series(true),
      }),
      counter({
        name: "tidegate_http_problems_total",
        help: "Requests answered with a problem, by its code",
        samples: Array.from(this.#refused, ([code, value]) => ({ labels: { code }, value })),
      }),
    ];
  }

  #series(held: boolean): { labels: Labels; histogram: Histogram }[] {
    return [...this.#byRoute].flatMap(([route, rows]) =>
      rows
        .filter((row) => row.held === held)
        .map(({ method, status, seconds }) => ({
          labels: { route, method, status: String(status) },
          histogram: seconds,
        })),
    );
  }
}

/** The pattern of the request's path; nothing a stranger made up. */
export function routeOf({ route, path }: Pick<Call, "route" | "path">): string {
  return route ?? (PAGES.test(path) ? "(page)" : "(none)");
}
