/**
 * A fault under load, again and again, over one data directory: kill -9, or what
 * another breaker does (breakers.ts).
 *
 *   start ─▶ load for a random while ─▶ SIGKILL ─▶ start ─▶ …
 *                                          └▶ sometimes killed again while it recovers
 *
 * After the last one the publishers stop, consumers and readers finish, the
 * server is killed once more at rest, and everything is read back. The verdict
 * is the checker's. One seed gives one schedule of kills and one stream of
 * messages per client; the interleaving is the machine's.
 *
 * @module
 */

import { Prng } from "../../storage/base/prng.ts";
import { type RuntimeName, type Server, spawnServer } from "../e2e/server.ts";
import { check, type Violation } from "./checker.ts";
import { type Breaker, killer } from "./breakers.ts";
import { type Crowd, prepare, readBack, startClients } from "./clients.ts";
import type { FinalState } from "./history.ts";
import { Recorder } from "./recorder.ts";
import { pause, Target } from "./target.ts";

export interface CampaignOptions {
  readonly runtime: RuntimeName;
  readonly dataDir: string;
  readonly seed: number;
  /** How many times it strikes. */
  readonly kills: number;
  /** kill -9 where there is none. */
  readonly breaker?: Breaker | undefined;
  /** Hears how it goes on. */
  readonly log: (line: string) => void;
}

export interface CampaignResult {
  readonly violations: readonly Violation[];
  /** Kills that hit a server that was still starting. */
  readonly killsInStart: number;
  /** Faults that were seen to take effect. */
  readonly effective: number;
  readonly published: number;
  readonly acked: number;
  readonly unknown: number;
  /** Publishes that the disk had no room for. */
  readonly forRoom: number;
  /** Repeats of what was answered before. */
  readonly repeats: number;
  readonly transactions: { readonly begun: number; readonly checked: number };
  readonly stored: number;
  readonly deliveries: number;
  readonly slowestStartMs: number;
}

const CROWD: Crowd = {
  single: 40,
  batch: 8,
  repeaters: { key: 8, "batch key": 4, sequence: 4 },
  transactors: 8,
  delayers: 2,
  consumers: 8,
};
const LOAD_MS = { least: 200, most: 2000 };

export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const prng = new Prng(options.seed);
  const breaker = options.breaker ?? killer(options);
  const recorder = new Recorder({ outages: breaker.takesRoom === true });
  const target = new Target();
  let server = await start(breaker, { fault: true, recorder, prng });
  try {
    await prepare(server.port);
    target.up(server.port);
    const clients = startClients(target, { recorder, prng, crowd: CROWD });
    let killsInStart = 0;
    let effective = 0;
    for (let kill = 1; kill <= options.kills; kill++) {
      const loadMs = LOAD_MS.least + prng.below(LOAD_MS.most - LOAD_MS.least);
      await Promise.race([pause(loadMs), clients.failed]);
      if (await Promise.race([breaker.strike(server), clients.failed])) effective++;
      target.down();
      await server.kill("SIGKILL");
      await breaker.mend();
      if (prng.chance(25)) killsInStart += await killWhileStarting(options, prng);
      server = await start(breaker, { fault: kill < options.kills, recorder, prng });
      target.up(server.port);
      options.log(progress(kill, { options, recorder, server }));
    }
    await Promise.race([pause(LOAD_MS.least), clients.failed]);
    await clients.finish(server.port);

    await server.kill("SIGKILL");
    server = await start(breaker, { fault: false, recorder, prng });
    const final = await readBack(server.port);
    if (recorder.forRoom > 0 && !breaker.takesRoom) {
      recorder.complain("clients were told that the disk has no room");
    }
    return summarize(recorder, { final, killsInStart, effective });
  } catch (error) {
    options.log(`The server wrote:\n${server.output().slice(-4000)}`);
    throw error;
  } finally {
    target.stop();
    await server.kill("SIGKILL");
  }
}

/** A fault may strike while it starts: then it is mended, and started again without. */
async function start(
  breaker: Breaker,
  { fault, recorder, prng }: { fault: boolean; recorder: Recorder; prng: Prng },
): Promise<Server> {
  const server = await breaker.start({ fault, prng }).catch(async (error: unknown) => {
    if (!fault) throw error;
    await breaker.mend();
    return breaker.start({ fault: false, prng });
  });
  recorder.history.startsMs.push(server.readyMs);
  return server;
}

/** Returns 1: another kill, before or after the server came up. */
async function killWhileStarting(options: CampaignOptions, prng: Prng): Promise<1> {
  const starting = spawnServer(options);
  const gaveUp = starting.ready.catch(() => {});
  await pause(prng.below(400));
  await starting.kill("SIGKILL");
  await gaveUp;
  return 1;
}

function progress(
  kill: number,
  { options, recorder, server }: { options: CampaignOptions; recorder: Recorder; server: Server },
): string {
  const { acked, settled } = recorder;
  const ready = `ready in ${Math.round(server.readyMs)} ms`;
  return `${options.runtime} kill ${kill}/${options.kills}: ${ready}, ${acked} acknowledged, ${settled} settled`;
}

function summarize(
  recorder: Recorder,
  found: { final: FinalState; killsInStart: number; effective: number },
): CampaignResult {
  const { final, killsInStart, effective } = found;
  const { publishes, deliveries, startsMs } = recorder.history;
  return {
    violations: check(recorder.history, final),
    killsInStart,
    effective,
    published: publishes.length,
    acked: recorder.acked,
    forRoom: recorder.forRoom,
    unknown: publishes.filter((one) => one.outcome === "unknown").length,
    repeats: recorder.repeats,
    transactions: recorder.transactions,
    stored: final.queues.flat().length,
    deliveries: deliveries.length,
    slowestStartMs: Math.round(Math.max(...startsMs)),
  };
}
