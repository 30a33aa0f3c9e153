/**
 * What is measured: Tidegate, and the empty handler beside it, each a process
 * of its own on the same runtime, in the environment that `npm start` gives it.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { RUN_ENVIRONMENT } from "../deploy/runtimes.mjs";
import { type RuntimeName, spawnScript, startServer, until } from "../test/e2e/server.ts";

export type BenchRuntime = Exclude<RuntimeName, "node">;

export interface Subject {
  readonly name: "tidegate" | "empty";
  readonly port: number;
  readonly pid: number;
  readonly adapter: string;
  stop(): Promise<void>;
}

export async function startTidegate(runtime: BenchRuntime, dataDir: string): Promise<Subject> {
  const server = await startServer({ runtime, dataDir, env: RUN_ENVIRONMENT[runtime] });
  return {
    name: "tidegate",
    port: server.port,
    pid: server.pid,
    adapter: server.adapter,
    async stop() {
      await server.kill("SIGKILL");
    },
  };
}

export async function startEmpty(runtime: BenchRuntime): Promise<Subject> {
  const script = spawnScript(runtime, "bench/empty.ts", { env: RUN_ENVIRONMENT[runtime] });
  const port = () => Number(/ready on (\d+)/.exec(script.output())?.[1]);
  try {
    await until(() => port() > 0, "the empty handler is ready");
  } catch (error) {
    await script.kill("SIGKILL");
    throw new Error(script.output(), { cause: error });
  }
  return {
    name: "empty",
    port: port(),
    pid: script.child.pid as number,
    adapter: `${runtime === "bun" ? "Bun" : "Deno"}.serve`,
    async stop() {
      await script.kill("SIGKILL");
    },
  };
}

/** Resident memory of a process, in bytes. */
export function rssBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

/** The kernel counts CPU time in hundredths of a second on every Linux. */
const TICKS_PER_SECOND = 100;

/** User and system CPU time a process has used, in seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The program's name may hold spaces; what follows its parenthesis does not.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
