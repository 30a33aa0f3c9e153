/**
 * The directory tells of every coordinator the same: where nodes are found, who
 * leads, and numbers that are never given twice.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout } from "node:timers";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { systemClock } from "../../storage/base/clock_node.ts";
import type { Coordinator } from "../../src/cluster/coordinator.ts";
import { EmbeddedCoordinator } from "../../src/cluster/coordinator_embedded.ts";
import { EtcdCoordinator } from "../../src/cluster/coordinator_etcd.ts";
import { Directory } from "../../src/cluster/directory.ts";
import { EtcdClient } from "../../src/cluster/etcd_client.ts";
import { openEtcdTransport } from "../../src/cluster/etcd_transport_node.ts";
import { foundingState } from "../../src/cluster/group_state.ts";
import { type EtcdServer, startEtcd } from "../fakes/etcd_server.ts";
import { needs } from "../fakes/needs.ts";

const A = { node: "a", boot: "a1", disk: "da" };
const A2 = { ...A, boot: "a2" };

async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  for (let waited = 0; !(await holds()); waited += 20) {
    assert(waited < 15_000, "it comes to hold");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function testDirectory(name: string, skip: string | false, open: () => Coordinator): void {
  const run = (does: string, body: (coordinator: Coordinator) => Promise<void>): void => {
    it(does, { skip }, async () => {
      const coordinator = open();
      try {
        await body(coordinator);
      } finally {
        await coordinator.close();
      }
    });
  };

  describe(`Directory, ${name}`, () => {
    run("numbers groups from 1 on, each once", async (coordinator) => {
      const directories = Array.from({ length: 4 }, () => new Directory(coordinator));
      const names = ["x", "y", "x", "y"];
      const given = await Promise.all(directories.map((one, i) => one.number(names[i] as string)));
      assert.equal(given[0], given[2]);
      assert.equal(given[1], given[3]);
      assert.deepEqual(
        [...new Set(given)].toSorted((a, b) => a - b),
        [1, 2],
      );
      assert.equal(await (directories[0] as Directory).number("x"), given[0]);
    });

    run("tells where nodes are found and who leads", async (coordinator) => {
      const directory = new Directory(coordinator);
      await directory.number("g");
      await directory.announce({ node: "b", group: "g", address: "b:1" });
      await directory.announce({ node: "a", group: "g", address: "a:1" });
      await directory.announce({ node: "a", group: "g", address: "a:2" });
      const members = [
        { node: "a", address: "a:2", live: false },
        { node: "b", address: "b:1", live: false },
      ];
      const view = { group: "g", number: 1, epoch: 0, leader: undefined, members };
      assert.deepEqual(await directory.groups(), [view]);

      await coordinator.found("g", { ...foundingState(A, 1), epoch: 3, leader: A });
      const [led] = await directory.groups();
      assert.equal(led?.epoch, 3);
      assert.deepEqual(led?.leader, { node: "a", address: "a:2", live: false });

      coordinator.live("g", A2, { onLease: () => {} });
      await until(async () => (await directory.groups())[0]?.members[0]?.live === true);
      const [later] = await directory.groups();
      assert.equal(later?.leader?.live, false, "a later boot lives: not the one that leads");
    });

    run("keeps a node to its group", async (coordinator) => {
      const directory = new Directory(coordinator);
      await directory.announce({ node: "a", group: "g", address: "a:1" });
      const moved = directory.announce({ node: "a", group: "h", address: "a:1" });
      await assert.rejects(moved, {
        code: "validation-failed",
        details: { node: "a", group: "g" },
      });
    });

    run("says nothing once stopped, not even of what it is looking at", async (coordinator) => {
      const directory = new Directory(coordinator);
      await directory.number("g");
      let hints = 0;
      const stop = directory.watch(() => void hints++);
      stop();
      await directory.groups();
      assert.equal(hints, 0);
    });

    run("hints at new groups, nodes and elections", async (coordinator) => {
      const directory = new Directory(coordinator);
      let hints = 0;
      const stop = directory.watch(() => void hints++);
      await hinted(async () => {});
      await hinted(async () => void (await directory.number("g")));
      await hinted(() => directory.announce({ node: "a", group: "g", address: "a:1" }));
      await hinted(async () => void (await coordinator.found("g", foundingState(A, 1))));
      stop();
      const before = hints;
      await directory.announce({ node: "a", group: "g", address: "a:2" });
      await until(async () => (await directory.groups())[0]?.members[0]?.address === "a:2");
      assert.equal(hints, before);

      async function hinted(change: () => Promise<void>): Promise<void> {
        const seen = hints;
        await change();
        await until(() => hints > seen);
      }
    });
  });
}

testDirectory("embedded", false, () => new EmbeddedCoordinator(new ManualClock()));

const skip = needs("etcd");
describe("over a real etcd", { skip }, () => {
  let etcd: EtcdServer;
  let clusters = 0;
  before(async () => {
    if (!skip) etcd = await startEtcd();
  });
  after(async () => {
    if (!skip) await etcd.stop();
  });
  testDirectory("etcd", skip, () => {
    const client = new EtcdClient(openEtcdTransport({ urls: [etcd.url], callMs: 2000 }));
    const cluster = `directory-${++clusters}`;
    return new EtcdCoordinator(client, { clock: systemClock, cluster });
  });
});
