/**
 * What happens to the disks of a broker group, of a minority or of all.
 *
 *   power, all-power   the file system goes down unwritten (loop_disk.ts)
 *   power-pause        the power of one, while another is stopped
 *   sync               an fdatasync is answered EIO
 *   block-errors       for some seconds no block is taken (failing_disk.ts), and whoever
 *                      ends for it is started again, into the same
 *   full               no room is left, and then there is again
 *   slow               whoever writes waits for some seconds
 *   damage             bits, blocks and ends of files, of one node, of any kind
 *   wipe               a node comes back with an empty directory
 *   old-backup         or with what a backup held some time ago
 *
 * @module
 */

import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Prng } from "../../storage/base/prng.ts";
import type { BrokerNode } from "./cluster_group.ts";
import { type Blow, type ClusterFault, pickNode, some } from "./cluster_faults.ts";
import type { FailingDisk } from "./failing_disk.ts";
import { type OwnDisk, sh } from "./own_disk.ts";
import { pause } from "./target.ts";

const KiB = 1024;

async function powerCycle(nodes: readonly BrokerNode[], downMs: number): Promise<void> {
  const disks = nodes.map(({ disk }) => disk as OwnDisk);
  const users = nodes.filter(({ running }) => running).map(({ pid }) => pid);
  for (const disk of disks) disk.cutPower(users);
  await Promise.all(nodes.map((node) => node.kill()));
  await pause(downMs);
  for (const disk of disks) {
    await disk.unmount();
    disk.mount();
  }
  for (const node of nodes) node.start();
}

const power: ClusterFault = {
  needs: ["disks"],
  async strike(blow) {
    const node = await pickNode(blow);
    blow.acks.mark();
    await powerCycle([node], blow.prng.below(3000));
    return true;
  },
};

const allPower: ClusterFault = {
  needs: ["disks"],
  async strike({ group, prng, acks }) {
    acks.mark();
    await powerCycle(group.nodes, prng.below(1000));
    return true;
  },
};

const powerPause: ClusterFault = {
  needs: ["disks", "others"],
  async strike(blow) {
    const { group, prng } = blow;
    const node = await pickNode(blow);
    const other = prng.pick(group.nodes.filter((one) => one !== node));
    blow.acks.mark();
    other.signal("SIGSTOP");
    await pause(prng.below(500));
    const effective = other.running && other.isPaused;
    await powerCycle([node], prng.below(2000));
    await pause(prng.below(4000));
    other.signal("SIGCONT");
    return effective;
  },
};

const FAILS_WITHIN_MS = 20_000;

const sync: ClusterFault = {
  needs: ["tracer"],
  async strike(blow) {
    const node = await pickNode(blow);
    const seen = `${node.dataDir}.injected`;
    rmSync(seen, { force: true });
    await node.kill();
    const inject = `inject=fdatasync:error=EIO:when=${1 + blow.prng.below(40)}`;
    const trace = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", seen];
    node.start([...trace, "-e", "trace=fdatasync", "-e", inject]);
    await Promise.race([node.exited, pause(FAILS_WITHIN_MS)]);
    const injected = existsSync(seen) && readFileSync(seen, "utf8").includes("INJECTED");
    await node.kill();
    node.start();
    return injected;
  },
};

const blockErrors: ClusterFault = {
  needs: ["errors"],
  async strike(blow) {
    const { prng } = blow;
    const node = await pickNode(blow);
    const disk = node.disk as FailingDisk;
    blow.acks.mark();
    disk.refuseWrites();
    let ended = 0;
    for (let leftMs = 100 + prng.below(4900); leftMs > 0; leftMs -= 100) {
      await pause(100);
      if (node.running) continue;
      ended++;
      node.start();
    }
    disk.acceptWrites();
    await some(prng, 0, 1000);
    if (disk.isReadOnly) await afresh(node);
    else if (!node.running) node.start(); // with whatever the page cache makes of its files
    if (prng.chance(50)) {
      await some(prng, 0, 3000);
      await afresh(node); // with what is on the disk
    }
    return ended > 0;
  },
};

/** The node is started again, and sees what its disk has. */
async function afresh(node: BrokerNode): Promise<void> {
  await node.kill();
  await node.disk?.unmount();
  node.disk?.mount();
  node.start();
}

const full: ClusterFault = {
  needs: ["disks"],
  async strike(blow) {
    const { prng } = blow;
    const node = await pickNode(blow);
    const path = (node.disk as OwnDisk).path;
    const filler = join(path, "filler");
    const free = () => {
      const { bavail, bsize } = statfsSync(path);
      return bavail * bsize;
    };
    blow.acks.mark();
    sh("fallocate", "-l", String(Math.max(4 * KiB, free() - prng.below(512) * KiB)), filler);
    for (let left = 100; left > 0 && free() > 64 * KiB; left--) await pause(50);
    const effective = free() <= 64 * KiB;
    await pause(500 + prng.below(4000));
    rmSync(filler);
    if (!node.running) node.start();
    return effective;
  },
};

const slow: ClusterFault = {
  needs: ["disks"],
  async strike(blow) {
    const node = await pickNode(blow);
    const disk = node.disk as OwnDisk;
    blow.acks.mark();
    disk.freeze();
    await pause(500 + blow.prng.below(8000));
    disk.thaw();
    if (!node.running) node.start();
    return true;
  },
};

/** Files of the store, of every kind. */
function filesOf(dataDir: string): string[] {
  const names = readdirSync(dataDir, { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => /(^checkpoint$|\.(log|idx|snap|run|tmr)$)/.test(name));
  return files.map((name) => join(dataDir, name)).filter((path) => statSync(path).size > 0);
}

/** @returns what was done; undefined: the bytes are as they were. */
function spoil(path: string, prng: Prng): string | undefined {
  const { size } = statSync(path);
  const how = prng.pick(["bit", "block", "end"] as const);
  if (how === "end") {
    truncateSync(path, prng.below(size));
    return `cut ${path}`;
  }
  const file = openSync(path, "r+");
  try {
    const at = prng.below(size);
    const before = Buffer.alloc(how === "bit" ? 1 : Math.min(4 * KiB, size - at));
    readSync(file, before, 0, before.length, at);
    const after = Buffer.from(before);
    if (how === "bit") after[0] = (after[0] ?? 0) ^ (1 << prng.below(8));
    else after.fill(0);
    writeSync(file, after, 0, after.length, at);
    return before.equals(after) ? undefined : `${how} at ${at} of ${path}`;
  } finally {
    closeSync(file);
  }
}

const damage: ClusterFault = {
  needs: ["others"], // who heal it
  async strike(blow: Blow) {
    const { prng } = blow;
    const node = await pickNode(blow);
    const stopped = prng.chance(60);
    blow.acks.mark();
    if (stopped) await node.kill();
    const done: string[] = [];
    for (let left = 1 + prng.below(4); left > 0; left--) {
      const files = filesOf(node.dataDir);
      const what = files.length > 0 ? spoil(prng.pick(files), prng) : undefined;
      if (what !== undefined) done.push(what);
    }
    if (!stopped) await pause(prng.below(2000));
    if (!node.running) node.start();
    return done.length > 0;
  },
};

const wipe: ClusterFault = {
  needs: ["others"], // alone it has lost what it acknowledged
  async strike(blow) {
    const node = await pickNode(blow);
    blow.acks.mark();
    await node.kill();
    rmSync(node.dataDir, { recursive: true });
    await pause(blow.prng.below(2000));
    node.start();
    return true;
  },
};

const oldBackup: ClusterFault = {
  needs: ["others"], // alone it has lost what it acknowledged
  async strike(blow: Blow) {
    const { prng, group } = blow;
    const node = await pickNode(blow);
    const copy = `${node.dataDir}.backup`;
    rmSync(copy, { recursive: true, force: true });
    await group.tidegate("backup", node.dataDir, copy);
    await pause(500 + prng.below(2500)); // what is acknowledged from here on it lacks
    blow.acks.mark();
    await node.kill();
    rmSync(node.dataDir, { recursive: true });
    await group.tidegate("restore", copy, node.dataDir);
    node.start();
    return true;
  },
};

export const DISK_FAULTS = {
  power,
  "all-power": allPower,
  "power-pause": powerPause,
  sync,
  "block-errors": blockErrors,
  full,
  slow,
  damage,
  wipe,
  "old-backup": oldBackup,
} as const satisfies Record<string, ClusterFault>;
