/**
 * Each runtime tests its own adapters: they can be loaded nowhere else.
 *
 * @module
 */

import type { Runtime } from "../../src/runtime/runtime.ts";
import { testHttpAdapter } from "../suites/http_adapter.ts";

const name = "Bun" in globalThis ? "bun" : "Deno" in globalThis ? "deno" : "node";
const { runtime } = (await import(`../../src/runtime/${name}.ts`)) as { runtime: Runtime };

if (name === "bun") {
  testHttpAdapter({ runtime, exposed: true, adapter: "Bun.serve", ignored: "x" });
} else testHttpAdapter({ runtime, exposed: true, adapter: "node:http" });
if (name === "deno") {
  const behind = { exposed: false, patient: true, leavesConnections: true } as const;
  testHttpAdapter({ runtime, adapter: "Deno.serve", ...behind });
}
