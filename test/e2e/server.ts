/**
 * A real Tidegate process to test from outside: started as an operator starts
 * it, awaited by its ready line, ended by its own process id and nothing else.
 *
 * A test run uses the runtime it runs on, so `bun test` proves the server on
 * Bun and `deno test` on Deno. A process that outlived its test would disturb
 * the next one, so whatever is still running is killed when this process ends.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..", "..");

export const RUNTIMES = ["bun", "deno", "node"] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

/** The runtime this test itself runs on. */
export const currentRuntime: RuntimeName =
  "Bun" in globalThis ? "bun" : "Deno" in globalThis ? "deno" : "node";

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Server {
  readonly runtime: RuntimeName;
  readonly pid: number;
  readonly port: number;
  readonly origin: string;
  /** From the ready line: which HTTP adapter serves. */
  readonly adapter: string;
  /** From spawning the process to its ready line. */
  readonly readyMs: number;
  readonly exited: Promise<Exit>;
  /** What it has written so far, stdout and stderr together. */
  output(): string;
  /** Sends the signal and resolves when the process is gone. */
  kill(signal: NodeJS.Signals): Promise<Exit>;
}

export interface StartOptions {
  readonly dataDir: string;
  readonly runtime?: RuntimeName | undefined;
  /** A free one when absent; named when a client must find the server again. */
  readonly port?: number | undefined;
  /** More arguments of `serve`. */
  readonly args?: readonly string[] | undefined;
  /** Settings beside the path and home, which are all a server inherits from a test. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** How long a start may take; longer is a failure. */
  readonly readyWithinMs?: number | undefined;
  /** A program, with its arguments, that starts the server's in its own place: a tracer. */
  readonly under?: readonly string[] | undefined;
}

/** The program and its arguments that run a script of this repository on `runtime`. */
export function commandLine(runtime: RuntimeName, script: string): [string, ...string[]] {
  const program = runtime === currentRuntime ? process.execPath : installed(runtime);
  if (runtime === "bun") return [program, "--no-install", script];
  if (runtime === "deno") return [program, "run", "-A", "--no-check", script];
  return [program, script];
}

/** The real binary: a launcher in between would take the signal in the server's stead. */
function installed(runtime: RuntimeName): string {
  return realpathSync(join(ROOT, "node_modules", ".bin", runtime));
}

/** Starts a server and resolves at its ready line; kills it when that does not come. */
export async function startServer(options: StartOptions): Promise<Server> {
  const starting = spawnServer(options);
  await starting.ready;
  return starting.server();
}

export interface StartingServer {
  readonly pid: number;
  /** Rejects when the process ends first or is too slow. */
  readonly ready: Promise<void>;
  readonly exited: Promise<Exit>;
  kill(signal: NodeJS.Signals): Promise<Exit>;
  /** Only after `ready`. */
  server(): Server;
}

const READY_LINE = /tidegate \S+ ready on (https?:\/\/127\.0\.0\.1:(\d+)) \(([^,)]+)/;

/** Starts a server without waiting for it: a start can be interrupted, too. */
export function spawnServer(options: StartOptions): StartingServer {
  const runtime = options.runtime ?? currentRuntime;
  const port = String(options.port ?? 0);
  const startedAt = performance.now();
  const { child, output, exited, kill } = spawnScript(runtime, "src/main.ts", {
    args: ["serve", "--port", port, "--data-dir", options.dataDir, ...(options.args ?? [])],
    env: options.env,
    under: options.under,
  });
  let server: Server | undefined;
  const ready = readyLine(child, output, options.readyWithinMs ?? 20_000).then((match) => {
    server = {
      runtime,
      pid: child.pid as number,
      port: Number(match[2]),
      origin: match[1] as string,
      adapter: match[3] as string,
      readyMs: performance.now() - startedAt,
      exited,
      output,
      kill,
    };
  });
  ready.catch(() => child.kill("SIGKILL"));
  return {
    pid: child.pid as number,
    ready,
    exited,
    kill,
    server() {
      assert(server, "The server is ready before it is used");
      return server;
    },
  };
}

function readyLine(
  child: ChildProcess,
  output: () => string,
  withinMs: number,
): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`Cannot start the server: ${why}\n${output()}`));
    const timer = setTimeout(() => fail(`no ready line within ${withinMs} ms`), withinMs);
    child.stdout?.on("data", () => {
      const match = READY_LINE.exec(output());
      if (match) {
        clearTimeout(timer);
        resolve(match);
      }
    });
    child.on("error", (error) => fail(error.message));
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      fail(`it ended with ${signal ?? code}`);
    });
  });
}

export interface Script {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  readonly output: () => string;
  readonly kill: (signal: NodeJS.Signals) => Promise<Exit>;
}

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Runs a script of this repository as a process of `runtime`. */
export function spawnScript(
  runtime: RuntimeName,
  script: string,
  options: {
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>> | undefined;
    readonly under?: readonly string[] | undefined;
  } = {},
): Script {
  const line = [...(options.under ?? []), ...commandLine(runtime, join(ROOT, script))];
  const [program, ...before] = line as [string, ...string[]];
  const child = spawn(program, [...before, ...(options.args ?? [])], {
    cwd: ROOT,
    env: { ...inherited(), ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      text += chunk;
    });
  }
  const exited = new Promise<Exit>((resolve) => {
    child.on("exit", (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
  return {
    child,
    exited,
    output: () => text,
    kill(signal) {
      send(child, signal);
      return exited;
    },
  };
}

/**
 * Not `child.kill()`: after it Deno reports the signal as the cause of the end,
 * even of a process that handled it and exited with a code.
 */
function send(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (running.has(child)) process.kill(child.pid as number, signal);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ESRCH") throw error; // it has just ended
  }
}

/** A server under test sees no setting of the shell that runs the test. */
function inherited(): Record<string, string> {
  const kept = ["PATH", "HOME", "TMPDIR", "DENO_DIR", "NODE_COMPILE_CACHE", "LANG"];
  return Object.fromEntries(
    kept.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** Runs `body` with a directory of its own and removes it afterwards. */
export async function withTempDir<T>(body: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), "tidegate-test-"));
  try {
    return await body(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Runs `body` against a server over a fresh data directory; kills what `body` leaves running. */
export function withServer<T>(
  body: (server: Server, dataDir: string) => Promise<T>,
  options: Omit<StartOptions, "dataDir"> = {},
): Promise<T> {
  return withTempDir((dataDir) =>
    withServerOver({ ...options, dataDir }, (server) => body(server, dataDir)),
  );
}

/** The same over a data directory that is there; what the server wrote is shown when `body` fails. */
export async function withServerOver<T>(
  options: StartOptions,
  body: (server: Server) => Promise<T>,
): Promise<T> {
  const server = await startServer(options);
  try {
    return await body(server);
  } catch (error) {
    console.error(`The server wrote:\n${server.output().slice(-OUTPUT_SHOWN)}`);
    throw error;
  } finally {
    await server.kill("SIGKILL");
  }
}

/** The end of it is what tells. */
const OUTPUT_SHOWN = 4000;

/** Polls until `condition` holds; fails naming `what` when it takes too long. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  withinMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadline) assert.fail(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
