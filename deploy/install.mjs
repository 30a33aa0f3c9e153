/**
 * Makes node_modules what package-lock.json says, when it is not that already.
 *
 * npm is asked first, wherever it is; a machine with Bun alone uses Bun, one
 * with Deno alone runs npm on Deno. All three read package-lock.json.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ownRuntime, ROOT } from "./runtimes.mjs";

/** Installs what is missing or stale; ends the process with a clear line when it cannot. */
export function ensureInstalled() {
  const stale = firstStale();
  if (!stale) return;
  console.error(`Installing dependencies (${stale}) ...`);
  const [program, ...args] = installer();
  const { status, error } = spawnSync(program, args, {
    cwd: ROOT,
    stdio: ["ignore", process.stderr, process.stderr],
  });
  if (status === 0) return;
  const command = [program, ...args].join(" ");
  console.error(`Cannot install the dependencies: ${command}: ${error ?? `exit code ${status}`}`);
  process.exit(69);
}

/** What differs from the lock file, for people to read; undefined when nothing does. */
function firstStale() {
  const locked = readJson("package-lock.json").packages;
  const installed = readJson("node_modules/.package-lock.json")?.packages;
  for (const [path, { version, optional }] of Object.entries(locked)) {
    if (path === "" || optional) continue;
    // Only npm leaves a lock file of what it installed; other installers are asked package by package.
    const found = (installed ? installed[path] : readJson(join(path, "package.json")))?.version;
    if (found !== version) return `${path.slice("node_modules/".length)} is not ${version}`;
  }
  return undefined;
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, path), "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

function installer() {
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  if (spawnSync(npm, ["--version"]).status === 0) return [npm, "ci", ...quiet];
  if (ownRuntime() === "bun") return [process.execPath, "install", "--frozen-lockfile"];
  const npmOnDeno = ["run", "--allow-all", "--no-lock", "--node-modules-dir=none", "npm:npm@11"];
  return [process.execPath, ...npmOnDeno, "ci", ...quiet];
}
