/**
 * Runs a program to its end, within a time limit, keeping what it wrote.
 *
 * It runs in a process group of its own, so that when the time is up, or when
 * this process is told to stop, everything it started ends with it.
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { ROOT } from "./runtimes.mjs";

const running = new Set();
const onWindows = process.platform === "win32";

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
]) {
  process.on(signal, () => {
    for (const child of running) killTree(child);
    process.exit(code);
  });
}

/** @returns `{ code, output, seconds, late }`; `code` is undefined when a signal ended it. */
export function run([program, ...args], { limitSeconds, env = {} }) {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    let output = "";
    let late = false;
    const child = spawn(program, args, {
      cwd: ROOT,
      detached: !onWindows,
      stdio: ["ignore", "pipe", "pipe"],
      env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", ...process.env, ...env },
    });
    running.add(child);
    const timer = setTimeout(() => {
      late = true;
      killTree(child);
    }, limitSeconds * 1000);
    const end = (code) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ code, output, seconds: (performance.now() - startedAt) / 1000, late });
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        output += text;
      });
    }
    child.on("error", (error) => {
      output += `${error.message}\n`;
      end(undefined);
    });
    child.on("close", (code) => {
      killTree(child); // A test that failed may have left a server behind.
      end(code ?? undefined);
    });
  });
}

function killTree(child) {
  try {
    if (onWindows) child.kill("SIGKILL");
    else process.kill(-child.pid, "SIGKILL");
  } catch {
    // The group is empty: everything has ended already.
  }
}
