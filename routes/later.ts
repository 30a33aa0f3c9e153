/**
 * What the contract has and this build lacks: 501, naming it, so that nobody
 * takes it for a wrong path. These stay out of the OpenAPI document.
 *
 * @module
 */

import type { App } from "./operation.ts";
import { notImplemented } from "./problem.ts";

const LATER: readonly (readonly [methods: string, path: string, feature: string])[] = [
  ["GET", "/v1/topics/:topic/messages/:id/trace", "message traces"],
  ["GET", "/v1/topics/:topic/search", "searching a topic"],
  ["GET", "/metrics", "metrics"],
];

export function laterRoutes(app: App): void {
  for (const [methods, path, feature] of LATER) {
    app.on(methods.split(" "), path, () => {
      throw notImplemented(feature);
    });
  }
}
