/**
 * Completes package-lock.json with the platform packages npm left out.
 *
 * A tool such as Biome lists one optional package per platform. Where the
 * registry cannot show npm one of them while it writes the lock file, npm
 * leaves it out without a word, and from then on `npm ci` refuses the lock
 * file on every machine. This adds the missing entries: the version comes from
 * the package that asks for it, the platform from the name. An entry without a
 * hash is only ever fetched on its own platform.
 *
 *   node deploy/complete_lock.mjs           adds what is missing
 *   node deploy/complete_lock.mjs --check   exit code 1 when something is missing
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LOCK = join(import.meta.dirname, "..", "package-lock.json");
const PLATFORMS =
  /\b(aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32|windows)\b/;
const CPUS = { aarch64: "arm64" };
const CPU = /\b(aarch64|arm64|arm|ia32|loong64|mips64el|ppc64|riscv64|s390x|x64)\b/;

function entryOf(name, { version, dev }) {
  const platform = PLATFORMS.exec(name)?.[1];
  const cpu = CPU.exec(name)?.[1];
  return {
    version,
    ...(cpu && { cpu: [CPUS[cpu] ?? cpu] }),
    ...(dev && { dev }),
    ...(name.includes("musl") && { libc: ["musl"] }),
    optional: true,
    ...(platform && { os: [platform === "windows" ? "win32" : platform] }),
  };
}

function missingFrom(lock) {
  const missing = new Map();
  for (const { optionalDependencies = {}, dev } of Object.values(lock.packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const path = `node_modules/${name}`;
      if (!lock.packages[path]) missing.set(path, entryOf(name, { version, dev }));
    }
  }
  return missing;
}

const lock = JSON.parse(readFileSync(LOCK, "utf8"));
const missing = missingFrom(lock);
if (missing.size === 0) {
  console.log("package-lock.json is complete");
} else if (process.argv.includes("--check")) {
  console.error(`package-lock.json lacks ${[...missing.keys()].join(", ")}`);
  console.error("Run: node deploy/complete_lock.mjs");
  process.exitCode = 1;
} else {
  const packages = Object.entries({ ...lock.packages, ...Object.fromEntries(missing) });
  lock.packages = Object.fromEntries(packages.sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(LOCK, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`Added ${missing.size} platform packages to package-lock.json`);
}
