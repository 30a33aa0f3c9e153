/**
 * Serving on Node, with `node:http`.
 *
 * @module
 */

import { serveNodeHttp } from "./node_http.ts";
import type { Runtime } from "./runtime.ts";

export const runtime: Runtime = { name: "node", serve: serveNodeHttp };
