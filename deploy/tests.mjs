/**
 * Runs the tests on a runtime and says what came of them.
 *
 * A runner that says nothing is not believed: a run without tests fails, and
 * so does one that ends badly although every test it reported passed.
 *
 * @module
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, sep } from "node:path";
import process from "node:process";
import { fileSeconds, parseJunit } from "./junit.mjs";
import { run } from "./run.mjs";
import { findRuntime, ROOT, RUNTIMES } from "./runtimes.mjs";

/** For all tests on one runtime. */
const LIMIT_SECONDS = 600;
/** Files at a time: one more than the smallest machine has cores, for many wait for a process. */
const AT_A_TIME = 3;
/** For a test that sets no limit of its own; Bun's default is five seconds, the others have none. */
const TEST_LIMIT_MS = 90_000;
/** For a file of Node's: a test that waits for ever is named, and the others are told. */
const FILE_LIMIT_MS = 300_000;
/**
 * What runs on Node, the third of the runtimes, unless EFFORT=full: what meets sockets, files and
 * processes. The rest is the same TypeScript as on Bun and Deno.
 */
const ON_NODE = /^\.\/test\/((cli|deploy|e2e|rpc|runtime|storage|webhook)\/|[^/]+$)/;
const LAST_LINES = 200;
const SLOWEST_FILES = 10;

const RUNNERS = {
  bun: (report) => [
    "test",
    `--parallel=${AT_A_TIME}`,
    `--timeout=${TEST_LIMIT_MS}`,
    "--reporter=junit",
    `--reporter-outfile=${report}`,
  ],
  deno: (report) => [
    "test",
    "--allow-all",
    "--no-check",
    "--no-lock",
    "--parallel", // DENO_JOBS says how many
    `--junit-path=${report}`,
  ],
  node: (report) => [
    "--test",
    "--disable-warning=ExperimentalWarning",
    `--test-concurrency=${AT_A_TIME}`,
    `--test-timeout=${FILE_LIMIT_MS}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    "--test-reporter=junit",
    `--test-reporter-destination=${report}`,
  ],
};

/**
 * Runs the tests whose path contains one of `parts`, all when there are none,
 * on each runtime of `on`, and prints a paragraph for each.
 *
 * @returns `{ passed, failed, skipped }`, added up.
 */
export async function runTests({ on = RUNTIMES, parts = [] } = {}) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const tests = [];
  for (const name of on) {
    const result = await runOn(name, testFiles(name, parts));
    for (const key of Object.keys(total)) total[key] += result[key];
    tests.push(...result.tests.map((test) => ({ ...test, on: name })));
  }
  return applySkips(total, tests);
}

function testFiles(name, parts) {
  const isPart = name === "node" && parts.length === 0 && process.env.EFFORT !== "full";
  return readdirSync(join(ROOT, "test"), { recursive: true })
    .map((path) => `./test/${path.split(sep).join("/")}`)
    .filter((path) => path.endsWith("_test.ts") && !path.includes("/node_modules/"))
    .filter((path) => parts.length === 0 || parts.some((part) => path.includes(part)))
    .filter((path) => !isPart || ON_NODE.test(path))
    .sort();
}

async function runOn(name, files) {
  const runtime = findRuntime(name);
  if (!runtime) return missing(name);
  const folder = mkdtempSync(join(tmpdir(), "tidegate-report-"));
  const report = join(folder, "report.xml");
  const command = [runtime.program, ...RUNNERS[name](report), ...files];
  try {
    // Each file is a process of Node: compiled code that is kept saves half of its start.
    const env = { DENO_JOBS: String(AT_A_TIME), NODE_COMPILE_CACHE: join(folder, "compiled") };
    const ended = await run(command, { limitSeconds: LIMIT_SECONDS, env });
    const xml = readReport(report);
    const result = judge(`${name} ${runtime.version}`, { ...ended, tests: parseJunit(xml) });
    tellSlowest(fileSeconds(xml));
    return result;
  } finally {
    remove(folder);
  }
}

/** What was left running, and ends just now, may still write compiled code: that is no result. */
function remove(folder) {
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  } catch (error) {
    console.log(`Left ${folder}: ${error.message}`);
  }
}

/** Bun and Deno come with the dependencies; only for Node is there a platform without. */
function missing(name) {
  const failed = name === "node" && process.env.TEST_SKIPS !== "deny" ? 0 : 1;
  console.log(
    `${failed ? "FAILED" : "SKIPPED"} ${name}: none is installed that can run the source`,
  );
  return { passed: 0, failed, skipped: 1 - failed, tests: [] };
}

function readReport(report) {
  try {
    return readFileSync(report, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return "";
    throw error;
  }
}

function tellSlowest(seconds) {
  const slowest = [...seconds].sort(([, a], [, b]) => b - a).slice(0, SLOWEST_FILES);
  const shown = slowest.map(([path, time]) => `${path.slice("test/".length)} ${time.toFixed(0)}`);
  if (shown.length > 1) console.log(`  slowest files, s: ${shown.join(", ")}`);
}

function judge(title, { code, late, seconds, output, tests }) {
  const by = (outcome) => tests.filter((test) => test.outcome === outcome);
  const [passed, failures, skips] = [by("passed"), by("failed"), by("skipped")];
  const beside = trouble({ code, late, tests, failures });
  const failed = failures.length + (beside ? 1 : 0);
  if (failed > 0) {
    console.log(output.split("\n").filter(isNews).slice(-LAST_LINES).join("\n"));
    for (const { path, detail } of failures) console.log(`FAILED ${path}: ${firstLine(detail)}`);
    if (beside) console.log(`FAILED ${title}: ${beside}`);
  }
  const counts = `${passed.length} passed, ${failed} failed, ${skips.length} skipped`;
  console.log(`${title}: ${counts} in ${seconds.toFixed(1)} s`);
  return { passed: passed.length, failed, skipped: skips.length, tests };
}

/** Lines that only say that a test passed hide the others. */
function isNews(line) {
  return !/^\(pass\)|\.\.\. ok \(|^\s*✔/.test(line);
}

/** What is wrong with a run beside the tests that failed. */
function trouble({ code, late, tests, failures }) {
  if (late) return `not done within ${LIMIT_SECONDS} s`;
  if (tests.length === 0) return "no test ran";
  if (code !== 0 && failures.length === 0) return `exit code ${code}, an error outside of tests`;
  return undefined;
}

function firstLine(text) {
  return text.trim().split("\n")[0] ?? "";
}

/** Lists what was skipped; see `deploy/test.mjs` for what becomes of it. */
function applySkips(total, tests) {
  const denied = process.env.TEST_SKIPS === "deny";
  let unproven = 0;
  const skipped = tests.filter(isSkipped);
  for (const path of new Set(skipped.map((test) => test.path))) {
    const skips = skipped.filter((test) => test.path === path);
    const on = skips.map((skip) => skip.on).join(", ");
    const reason = firstLine(skips.find((skip) => skip.detail)?.detail ?? "reason not told");
    const proven = tests.some((test) => test.outcome === "passed" && isWithin(test.path, path));
    if (!proven) unproven += skips.length;
    console.log(`${denied && !proven ? "FAILED" : "SKIPPED"} ${path} (${on}): ${reason}`);
  }
  if (!denied || unproven === 0) return total;
  const { passed, failed } = total;
  return { passed, failed: failed + unproven, skipped: total.skipped - unproven };
}

function isSkipped({ outcome }) {
  return outcome === "skipped";
}

/** A `describe` that is skipped is one test to some runners, all of its tests to others. */
function isWithin(path, outer) {
  return path === outer || path.startsWith(`${outer} > `);
}
