/**
 * Namespaces come with authentication in a later build: until then there is
 * one, `default`, and asking for another must not quietly be given that one.
 *
 * @module
 */

import { notImplemented } from "./problem.ts";
import type { RequestHead } from "./request_head.ts";

/** @throws `not-implemented` */
export function refuseOtherNamespace(head: RequestHead, query: ReadonlyMap<string, string>): void {
  const namespace = head.namespace ?? query.get("namespace") ?? "default";
  if (namespace !== "default") throw notImplemented("namespaces other than default");
}
