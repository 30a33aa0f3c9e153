/**
 * What breaks a server, or the disk under it, from outside, while it is under
 * load; and what it takes to start the next one. Each says whether it was seen to
 * take effect: a fault that nobody met proves nothing.
 *
 *   kill    SIGKILL
 *   power   the file system is shut down without writing what it holds, then
 *           mounted anew: ext4 (or XFS) on a loop device
 *   sync    the n-th fdatasync of a thread is answered EIO
 *   write   the n-th pwrite is answered ENOSPC, or EIO
 *   errors  no block is taken for a while; the next server finds in the page cache what
 *           the disk does not have, or the disk is mounted anew
 *   full    a tmpfs of a few MiB fills up, by the server's doing or another's, to
 *           the last byte: short writes, ENOSPC; it stays so for a while, then there
 *           is room, and the server must publish again within ten seconds, without a
 *           restart
 *
 * n and sizes are drawn by the seed. The tracer stands in for the disk: the server
 * is its tracee from the first instruction on, started as any other.
 *
 * @module
 */

import { existsSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Prng } from "../../storage/base/prng.ts";
import { type RuntimeName, type Server, startServer } from "../e2e/server.ts";
import { needs } from "../fakes/needs.ts";
import { cannotFail, FailingDisk } from "./failing_disk.ts";
import { cannotLoop, LoopDisk } from "./loop_disk.ts";
import { sh } from "./own_disk.ts";
import { pause } from "./target.ts";

export interface Breaker {
  /** Without `fault` the server runs as if nothing could fail. */
  start(options: { readonly fault: boolean; readonly prng: Prng }): Promise<Server>;
  /** Returns whether the fault was seen to take effect. */
  strike(server: Server): Promise<boolean>;
  /** After the server is gone: makes the disk fit for the next start. */
  mend(): Promise<void>;
  /** Gives back what it took of the machine. */
  close?(): void;
  /** Clients may be told that the disk has no room. */
  readonly takesRoom?: boolean;
}

export interface Place {
  readonly runtime: RuntimeName;
  /** Where the breaker keeps what it needs; the data directory is in it, or is mounted there. */
  readonly dir: string;
}

export const FAULTS = ["kill", "power", "sync", "write", "errors", "full"] as const;
export type Fault = (typeof FAULTS)[number];

export function openBreaker(fault: Fault, place: Place): { breaker: Breaker; dataDir: string } {
  const dataDir = join(place.dir, "disk", "data");
  mkdirSync(join(place.dir, "disk"), { recursive: true });
  const on = { runtime: place.runtime, dataDir };
  return { breaker: BREAKERS[fault](place, on), dataDir };
}

const BREAKERS: Readonly<Record<Fault, (place: Place, on: On) => Breaker>> = {
  kill: (_, on) => killer(on),
  power: powerCut,
  sync: (place, on) => tracer(place, on, { call: "fdatasync", errors: ["EIO"], most: 40 }),
  write: (place, on) =>
    tracer(place, on, { call: "pwrite64", errors: ["ENOSPC", "EIO"], most: 400 }),
  errors: refusedBlocks,
  full: fullDisk,
};

/** Why a fault cannot be injected here; false where it can. */
export function cannot(fault: Fault): string | false {
  if (fault === "kill") return false;
  if (fault === "sync" || fault === "write") return needs("strace");
  if (fault === "power") return cannotLoop();
  if (fault === "errors") return cannotFail();
  if (process.getuid?.() !== 0) return "needs root, to mount a file system";
  return canMount(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
}

function canMount(args: readonly string[]): string | false {
  const at = join("/tmp", `tidegate-mount-${process.pid}`);
  mkdirSync(at, { recursive: true });
  try {
    sh("mount", ...args, at);
    sh("umount", at);
    return false;
  } catch (error) {
    return `cannot mount here: ${(error as Error).message.split("\n")[0]}`;
  } finally {
    rmSync(at, { recursive: true, force: true });
  }
}

interface On {
  readonly runtime: RuntimeName;
  readonly dataDir: string;
}

const PATIENCE = { readyWithinMs: 60_000 };

export function killer(on: On): Breaker {
  return {
    start: () => startServer({ ...on, ...PATIENCE }),
    async strike(server) {
      await server.kill("SIGKILL");
      return true;
    },
    mend: () => Promise.resolve(),
  };
}

function powerCut({ dir }: Place, on: On): Breaker {
  const disk = new LoopDisk({ image: join(dir, "disk.img"), path: join(dir, "disk") });
  return {
    start: () => startServer({ ...on, ...PATIENCE }),
    async strike(server) {
      disk.cutPower([server.pid]);
      await server.kill("SIGKILL");
      return true;
    },
    async mend() {
      await disk.unmount();
      disk.mount();
    },
    close: () => disk.close(),
  };
}

interface Injected {
  readonly call: string;
  readonly errors: readonly string[];
  /** The greatest n. */
  readonly most: number;
}

const STRIKES_WITHIN_MS = 10_000;
/** A call of a background job may fail without ending the server. */
const ENDS_WITHIN_MS = 1500;

/** Each start fails one call, the n-th of a thread. */
function tracer({ dir }: Place, on: On, { call, errors, most }: Injected): Breaker {
  const seen = join(dir, "injected");
  const injected = () => existsSync(seen) && readFileSync(seen, "utf8").includes("INJECTED");
  let n = 0;
  let armed = false;
  return {
    takesRoom: errors.includes("ENOSPC"),
    start({ fault, prng }) {
      armed = fault;
      if (!fault) return startServer({ ...on, ...PATIENCE });
      rmSync(seen, { force: true });
      n = n < 12 ? n + 1 : 1 + prng.below(most); // the first ones all, then by chance
      const inject = `inject=${call}:error=${prng.pick(errors)}:when=${n}`;
      const under = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", seen];
      return startServer({
        ...on,
        ...PATIENCE,
        under: [...under, "-e", `trace=${call}`, "-e", inject],
      });
    },
    async strike(server) {
      let ended = false;
      void server.exited.then(() => {
        ended = true;
      });
      for (let left = STRIKES_WITHIN_MS; armed && !ended && left > 0 && !injected(); left -= 50)
        await pause(50);
      if (armed) await Promise.race([server.exited, pause(ENDS_WITHIN_MS)]);
      return injected();
    },
    mend: () => Promise.resolve(),
  };
}

function refusedBlocks({ dir }: Place, on: On): Breaker {
  const disk = new FailingDisk({ path: join(dir, "disk") });
  let isAfresh = false;
  return {
    start({ prng }) {
      isAfresh = prng.chance(50);
      return startServer({ ...on, ...PATIENCE });
    },
    async strike(server) {
      disk.refuseWrites();
      let ended = false;
      void server.exited.then(() => {
        ended = true;
      });
      for (let left = STRIKES_WITHIN_MS; !ended && left > 0; left -= 50) await pause(50);
      return ended;
    },
    async mend() {
      disk.acceptWrites();
      if (!isAfresh && !disk.isReadOnly) return;
      await disk.unmount();
      disk.mount();
    },
    close: () => disk.close(),
  };
}

/** From room on the disk to published again: I33. */
const RECOVERS_WITHIN_MS = 10_000;

function fullDisk({ dir }: Place, on: On): Breaker {
  const disk = join(dir, "disk");
  const filler = join(disk, "others");
  let size = 1;
  let [holdMs, isOthers] = [0, false];
  sh("mount", "-t", "tmpfs", "-o", `size=${size}m`, "tmpfs", disk);
  const grow = (by: number) => {
    size += by;
    sh("mount", "-o", `remount,size=${size}m`, disk);
  };
  const free = () => {
    const { bavail, bsize } = statfsSync(disk);
    return bavail * bsize;
  };
  const takeAll = () => {
    try {
      writeFileSync(filler, new Uint8Array(free()));
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ENOSPC") throw error; // the server was faster
    }
  };
  return {
    takesRoom: true,
    start({ fault, prng }) {
      // Room for a start, and then for some load or for more than there will be.
      grow(fault ? 2 + prng.below(6) : 512);
      holdMs = prng.below(8000);
      isOthers = prng.chance(50);
      return startServer({ ...on, ...PATIENCE });
    },
    async strike(server) {
      if (isOthers) takeAll();
      const isFull = async () => ["full", "stuck"].includes(await diskOf(server));
      for (let left = 200; left > 0 && !(await isFull()); left--) await pause(50);
      const struck = await isFull();
      await pause(struck ? holdMs : 0);
      rmSync(filler, { force: true });
      grow(8);
      const since = Date.now();
      while (await isFull()) {
        const took = Date.now() - since;
        if (took > RECOVERS_WITHIN_MS) throw new Error(`It takes no publish ${took} ms after`);
        await pause(50);
      }
      return struck;
    },
    mend: () => Promise.resolve(grow(1)),
    close() {
      sh("umount", disk);
    },
  };
}

/** How full the server takes its disk to be. */
async function diskOf({ origin }: Server): Promise<string> {
  const answer = await fetch(`${origin}/readyz`);
  const { disk = "ample" } = (await answer.json()) as { disk?: string };
  return disk;
}
