/** The runtime this process runs on. @module */

import type { Runtime } from "../runtime/runtime.ts";

/** Only the adapter of the runtime that is running can be loaded at all. */
export async function currentRuntime(): Promise<Runtime> {
  const name = "Bun" in globalThis ? "bun" : "Deno" in globalThis ? "deno" : "node";
  const adapter = (await import(`../runtime/${name}.ts`)) as { runtime: Runtime };
  return adapter.runtime;
}
