/**
 * A real etcd of one node on a free port of loopback, with its data in a folder
 * that goes with it.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const START_MS = 15_000;

export interface EtcdServer {
  readonly url: string;
  /** Sends it a signal: `SIGSTOP`, `SIGCONT`, `SIGKILL`. */
  signal(name: NodeJS.Signals): void;
  stop(): Promise<void>;
}

/** A port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}

/** What an etcd of one node is started with. */
export function etcdArguments(places: {
  readonly url: string;
  readonly peer: string;
  readonly folder: string;
}): string[] {
  const { url, peer, folder } = places;
  return [
    ["--name", "n", "--data-dir", join(folder, "data"), "--log-level", "error"],
    ["--listen-client-urls", url, "--advertise-client-urls", url],
    ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
    ["--initial-cluster", `n=${peer}`],
  ].flat();
}

export async function startEtcd(
  options: { readonly scheme?: "http" | "https"; readonly more?: readonly string[] } = {},
): Promise<EtcdServer> {
  const { scheme = "http", more = [] } = options;
  const folder = mkdtempSync(join(tmpdir(), "tidegate-etcd-"));
  const [clientPort, peerPort] = [await freePort(), await freePort()];
  const url = `${scheme}://127.0.0.1:${clientPort}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const child = spawn("etcd", [...etcdArguments({ url, peer, folder }), ...more], {
    stdio: "ignore",
  });
  const server = {
    url,
    // Of a child's own method Deno knows no SIGCONT.
    signal: (name: NodeJS.Signals) => void process.kill(child.pid ?? 0, name),
    stop: () => stop(child, folder),
  };
  try {
    await answers(child, clientPort);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** It listens some time before it answers; whoever asks then has patience. */
async function answers(child: ChildProcess, port: number): Promise<void> {
  for (const startedAt = performance.now(); ; ) {
    if (child.exitCode !== null) throw new Error(`etcd ended with ${child.exitCode}`);
    if (performance.now() - startedAt > START_MS) throw new Error("etcd does not start");
    const connected = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.on("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.on("error", () => resolve(false));
    });
    if (connected) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function stop(child: ChildProcess, folder: string): Promise<void> {
  const ended = child.exitCode !== null || child.signalCode !== null;
  child.kill("SIGKILL");
  if (!ended) await once(child, "exit");
  rmSync(folder, { recursive: true, force: true });
}
