/**
 * A whole cluster on this machine, for trying out: etcd, three brokers of one group,
 * two gateways, on loopback.
 *
 *   node deploy/cluster.mjs [--port 8080] [--data-dir <folder>] [--runtime bun|deno|node]
 *
 * The gateways listen on the port and the next one, the others on free ones. A broker
 * that ends is started again some seconds later, so that one can be killed to see
 * what happens. Ctrl-C ends all of it, brokers before etcd; without `--data-dir` the
 * data goes too. What each process writes is in a file of its name in the folder.
 *
 * @module
 */

import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { ensureInstalled } from "./install.mjs";
import { needRuntime, ROOT, runArguments, runEnvironment, RUNTIMES } from "./runtimes.mjs";

const BROKERS = ["n1", "n2", "n3"];
const READY_MS = 60_000;
const ENDS_MS = 15_000;
const AGAIN_MS = 5000;
const LAST_BYTES = 2000;

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8080" },
    "data-dir": { type: "string" },
    runtime: { type: "string", default: "bun" },
  },
});
const port = Number(values.port);
if (!RUNTIMES.includes(values.runtime) || !(port > 0 && port < 65_535)) {
  console.error(
    `Usage: cluster [--port 8080] [--data-dir <folder>] [--runtime ${RUNTIMES.join("|")}]`,
  );
  process.exit(64);
}
if (spawnSync("etcd", ["--version"]).status !== 0) {
  console.error("Cannot find etcd in PATH. Debian and Ubuntu: apt-get install etcd-server");
  process.exit(69);
}
ensureInstalled();
const runtime = needRuntime(values.runtime);
const folder = values["data-dir"] ?? mkdtempSync(join(tmpdir(), "tidegate-cluster-"));
mkdirSync(folder, { recursive: true });

const secret = randomBytes(32).toString("hex");
/** Of those that run, by name, in the order they were started. */
const children = new Map();
let ending = false;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => void end(0));
process.on("exit", () => {
  for (const child of children.values()) process.kill(child.pid, "SIGKILL");
});

const etcd = await startEtcd();
const rpcPorts = new Map();
for (const name of BROKERS) {
  rpcPorts.set(name, await freePort());
  startBroker(name);
}
const gateways = [port, port + 1];
for (const [i, at] of gateways.entries()) startGateway(`gateway${i + 1}`, at);
for (const at of gateways) await answers(`http://127.0.0.1:${at}/readyz`);
if (!ending) tell();

async function startEtcd() {
  const [url, peer] = [await freePort(), await freePort()].map((at) => `http://127.0.0.1:${at}`);
  const args = ["--name", "n", "--data-dir", join(folder, "etcd"), "--log-level", "error"];
  args.push("--listen-client-urls", url, "--advertise-client-urls", url);
  args.push("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer);
  args.push("--initial-cluster", `n=${peer}`, "--force-new-cluster");
  start("etcd", ["etcd", ...args]);
  await answers(`${url}/health`);
  return url;
}

function startBroker(name) {
  const place = ["--data-dir", join(folder, name), "--rpc-port", String(rpcPorts.get(name))];
  tidegate(name, ["broker", "--group", "g1", "--node", name, ...place], () => {
    console.error(`${name} ended; it is started again in ${AGAIN_MS / 1000} seconds`);
    setTimeout(() => ending || startBroker(name), AGAIN_MS);
  });
}

function startGateway(name, at) {
  tidegate(name, ["gateway", "--host", "127.0.0.1", "--port", String(at)]);
}

function tidegate(name, args, onExit) {
  const command = [runtime.program, ...runArguments(runtime, "src/main.ts"), ...args];
  start(name, [...command, "--cluster", "try", "--etcd", etcd], onExit);
}

/** In a process group of its own: Ctrl-C reaches this process alone, which ends the others in order. */
function start(name, [program, ...args], onExit = () => fail(name)) {
  const log = openSync(join(folder, `${name}.log`), "a");
  const child = spawn(program, args, {
    cwd: ROOT,
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...runEnvironment(runtime), TIDEGATE_CLUSTER_SECRET: secret },
  });
  closeSync(log);
  children.set(name, child);
  child.on("exit", () => {
    children.delete(name);
    if (!ending) onExit();
  });
}

function fail(name) {
  console.error(`${name} ended. It wrote:\n${lastOf(name)}`);
  void end(1);
}

function lastOf(name) {
  return readFileSync(join(folder, `${name}.log`), "utf8").slice(-LAST_BYTES);
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: free } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return free;
}

async function answers(url) {
  const deadline = performance.now() + READY_MS;
  while (!ending) {
    const response = await fetch(url).catch(() => undefined);
    await response?.body?.cancel();
    if (response?.ok) return;
    if (performance.now() > deadline) {
      for (const name of children.keys()) console.error(`${name} wrote:\n${lastOf(name)}`);
      console.error(`No answer from ${url} within ${READY_MS / 1000} s`);
      return end(1);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function tell() {
  const [one, other] = gateways.map((at) => `http://127.0.0.1:${at}`);
  const pids = BROKERS.map((name) => `${name} ${children.get(name)?.pid}`).join(", ");
  console.log(`A cluster is ready: gateways ${one} and ${other}, brokers ${pids}
etcd ${etcd}, data and logs in ${folder}

Publish through one gateway, read through the other:

  curl ${one}/v1/topics/orders/messages -H 'Content-Type: text/plain' -d 'hello'
  curl '${other}/v1/topics/orders/messages?after=earliest'

Kill a broker, be it the one that leads, and do both again:

  kill -9 ${children.get("n1")?.pid}

Ctrl-C ends it all.`);
}

/** Gateways first, then brokers, then etcd: each finds what it needs until it is gone. */
async function end(code) {
  if (ending) return;
  ending = true;
  const names = [...children.keys()].toReversed();
  for (const part of ["gateway", "n", "etcd"]) {
    await Promise.all(names.filter((name) => name.startsWith(part)).map(stop));
  }
  if (values["data-dir"] === undefined) rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}

async function stop(name) {
  const child = children.get(name);
  if (!child) return;
  const gone = new Promise((resolve) => child.on("exit", resolve));
  process.kill(child.pid, "SIGTERM");
  const timer = setTimeout(() => process.kill(child.pid, "SIGKILL"), ENDS_MS);
  await gone;
  clearTimeout(timer);
}
