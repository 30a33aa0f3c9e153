/**
 * Types of `junit.mjs` for the test that imports it.
 *
 * @module
 */

export interface ReportedTest {
  readonly path: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly detail: string;
}

export function parseJunit(xml: string): ReportedTest[];

/** By path, `test/…`. */
export function fileSeconds(xml: string): Map<string, number>;
