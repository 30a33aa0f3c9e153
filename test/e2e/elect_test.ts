/**
 * A broker group whose SyncStateSet is lost for good: it says so, does nothing about it
 * by itself, and goes on at an operator's word, which costs what only the lost ones had.
 * Real processes, a real etcd.
 *
 *   n1 n2 n3   "both"     all have it
 *   n1 n2      "lost"     f is down meanwhile, and does not count
 *   f          nobody leads: n1 and n2 are gone, another begins with an empty directory
 *   f leads    by tidegate elect; "after"
 *   n1 n2 n3   one of the lost comes back as it was, and follows
 *
 * @module
 */

import assert from "node:assert/strict";
import { renameSync, rmSync } from "node:fs";
import { describe, it } from "node:test";
import { compareLogs } from "../faults/cluster_compare.ts";
import { ETCD } from "../faults/cluster_etcd.ts";
import { BrokerGroup, type BrokerNode, NODES } from "../faults/cluster_group.ts";
import { openLoopback } from "../faults/cluster_net.ts";
import { freePort } from "../fakes/etcd_server.ts";
import { needs } from "../fakes/needs.ts";
import { type HttpAnswer, request } from "./http.ts";
import { currentRuntime, until, withTempDir } from "./server.ts";

const skip = needs("etcd");
const WHOLE_MS = 60_000;
const EXIT_USAGE = 64;
const MESSAGES = 20;
const TEXT = { "content-type": "text/plain" };

interface Opened {
  readonly group: BrokerGroup;
  readonly port: number;
  readonly admin: ReadonlyMap<string, number>;
}

function withGroup(body: (opened: Opened) => Promise<void>): Promise<void> {
  return withTempDir(async (dir) => {
    const admin = new Map<string, number>();
    for (const name of NODES) admin.set(name, await freePort());
    const group = await BrokerGroup.open({
      runtime: currentRuntime,
      dir,
      net: await openLoopback([...NODES, ETCD]),
      gateways: 1,
      clocks: false,
      flags: (name) => ["--admin-port", `${admin.get(name)}`],
    });
    try {
      await body({ group, port: group.ports[0] as number, admin });
    } catch (error) {
      console.error(group.describe(6000));
      throw error;
    } finally {
      await group.close();
    }
  });
}

function publish(port: number, text: string): Promise<HttpAnswer> {
  return request(port, {
    method: "POST",
    path: "/v1/topics/orders/messages",
    headers: TEXT,
    body: text,
  });
}

async function publishAll(port: number, name: string): Promise<readonly string[]> {
  const texts = Array.from({ length: MESSAGES }, (_, i) => `${name}-${i}`);
  for (const text of texts) {
    const taken = async () => (await publish(port, text)).status === 201;
    await until(taken, `${text} is taken`, WHOLE_MS);
  }
  return texts;
}

async function stored(port: number): Promise<string> {
  const path = "/v1/topics/orders/messages?after=earliest&limit=1000";
  const { status, body } = await request(port, { path });
  assert.equal(status, 200);
  return Buffer.from(body).toString();
}

const textOf = ({ body }: HttpAnswer) => Buffer.from(body).toString();

/** The set counts nobody but those named, and one of them leads. */
async function counts(group: BrokerGroup, names: readonly string[]): Promise<void> {
  const reached = async () => {
    const { state } = (await group.look()) ?? {};
    const set = (state?.syncSet ?? []).map(({ node }) => node).toSorted();
    return state?.leader !== undefined && set.join() === [...names].toSorted().join();
  };
  await until(reached, `${names.join()} count`, WHOLE_MS);
}

const aside = ({ dataDir }: BrokerNode) => `${dataDir}.aside`;

describe("a broker group whose SyncStateSet is lost", { skip, timeout: 240_000 }, () => {
  it("waits for an operator's word, says so, and goes on by it", () =>
    withGroup(async ({ group, port, admin }) => {
      const both = await publishAll(port, "both");
      const [left, other] = (await group.followers()) as [BrokerNode, BrokerNode];
      const leader = await group.leader();
      await left.kill();
      await counts(group, [leader.name, other.name]);
      const lost = await publishAll(port, "lost");
      for (const node of [leader, other]) {
        await node.kill();
        renameSync(node.dataDir, aside(node));
      }
      const before = (await group.look())?.state;
      left.start();
      other.start();

      const unready = async () => {
        const path = "/readyz";
        const answer = await request(admin.get(left.name) ?? 0, { path }).catch(() => undefined);
        if (answer?.status !== 503) return false;
        const { leaderless, leader: who } = JSON.parse(textOf(answer)) as Record<string, unknown>;
        return leaderless === true && who === undefined;
      };
      await until(unready, "/readyz of the node says that nobody leads", WHOLE_MS);
      const says = () => /Nobody leads the broker group.*tidegate elect/.test(left.output);
      await until(says, "its log says so, and what can be done", WHOLE_MS);
      const cluster = textOf(await request(port, { path: "/v1/cluster" }));
      const [told] = (JSON.parse(cluster) as { groups: { leader?: string }[] }).groups;
      assert(told && told.leader === undefined, cluster);
      assert.notEqual((await publish(port, "nobody takes this")).status, 201);

      const asked = group.elect("--node", left.name);
      assert.equal((await asked.exited).code, EXIT_USAGE, asked.output());
      assert.match(asked.output(), /leader +\S+, who is gone/);
      assert.match(asked.output(), /lost +all that was confirmed since/);
      assert.match(asked.output(), /Nothing was changed: --force/);
      assert.deepEqual((await group.look())?.state, before, "and nothing was changed");

      const forced = group.elect("--node", left.name, "--force");
      assert.equal((await forced.exited).code, 0, forced.output());
      await counts(group, [left.name, other.name]);
      const after = await publishAll(port, "after");
      const again = group.elect("--node", other.name, "--force");
      assert.equal((await again.exited).code, EXIT_USAGE, "a group that is led needs no word");
      assert.match(again.output(), /leads "g1" and is alive/);

      rmSync(leader.dataDir, { recursive: true, force: true });
      renameSync(aside(leader), leader.dataDir);
      leader.start();
      await group.whole(WHOLE_MS);
      const held = await stored(port);
      for (const text of [...both, ...after])
        assert(held.includes(`"${text}"`), `${text} is there`);
      for (const text of lost) assert(!held.includes(`"${text}"`), `${text} was given up`);
      assert.deepEqual((await group.look())?.state?.unclean.length, 1);
      for (const node of group.nodes) await node.kill();
      assert.deepEqual(compareLogs(group.nodes), []);
    }));
});
