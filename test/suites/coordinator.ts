/**
 * What every coordinator does, for all of them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Coordinator, DecidedOutcome } from "../../src/cluster/coordinator.ts";
import { foundingState, type Member } from "../../src/cluster/group_state.ts";
import { LEASE_TTL_MS } from "../../src/cluster/lease.ts";

export interface OpenedCoordinator {
  readonly coordinator: Coordinator;
  /** Another one of the same cluster: what another node would hold. */
  other(): Coordinator;
  elapsed(): number;
  /** Lets time and other work pass. */
  pause(ms: number): Promise<void>;
  close(): Promise<void>;
}

export interface CoordinatorSuite {
  readonly name: string;
  readonly skip: string | false;
  open(): Promise<OpenedCoordinator>;
}

const A: Member = { node: "a", boot: "a1", disk: "da" };
const A2: Member = { node: "a", boot: "a2", disk: "da" };
const B: Member = { node: "b", boot: "b1", disk: "db" };
const STATE = foundingState(A, 1);
const PATIENCE_MS = 10_000;

function revisionOf(outcome: DecidedOutcome): number {
  assert.equal(outcome.kind, "done");
  return outcome.kind === "done" ? outcome.revision : 0;
}

export function testCoordinator({ name, skip, open }: CoordinatorSuite): void {
  const run = (does: string, body: (opened: OpenedCoordinator) => Promise<void>): void => {
    it(does, { skip, timeout: 30_000 }, async () => {
      const opened = await open();
      try {
        await body(opened);
      } finally {
        await opened.close();
      }
    });
  };

  async function until(opened: OpenedCoordinator, holds: () => Promise<boolean> | boolean) {
    for (let waited = 0; !(await holds()); waited += 20) {
      assert(waited < PATIENCE_MS, "it comes to hold");
      await opened.pause(20);
    }
  }

  describe(`Coordinator, ${name}`, () => {
    run("knows no group that was not founded", async ({ coordinator }) => {
      assert.deepEqual(await coordinator.look("g"), { revision: 0, state: undefined, live: [] });
    });

    run("found() makes a state once", async ({ coordinator, other }) => {
      const revision = revisionOf(await coordinator.found("g", STATE));
      assert.deepEqual(await other().found("g", STATE), { kind: "changed" });
      assert.deepEqual(await other().look("g"), { revision, state: STATE, live: [] });
      assert.equal((await coordinator.look("h")).state, undefined);
    });

    run("swap() needs the revision that was seen", async ({ coordinator, other }) => {
      const revision = revisionOf(await coordinator.found("g", STATE));
      const swap = { revision, state: { ...STATE, epoch: 1 }, alive: [], gone: undefined };
      const next = revisionOf(await other().swap("g", swap));
      assert(next > revision);
      assert.deepEqual(await coordinator.swap("g", swap), { kind: "changed" });
      assert.equal((await coordinator.look("g")).state?.epoch, 1);
      assert.equal((await coordinator.look("g")).revision, next);
    });

    run("of many swaps at once one is made", async ({ coordinator, other }) => {
      const revision = revisionOf(await coordinator.found("g", STATE));
      const from = [coordinator, other(), coordinator, other(), coordinator];
      const outcomes = await Promise.all(
        from.map((one, i) =>
          one.swap("g", {
            revision,
            state: { ...STATE, epoch: i + 1 },
            alive: [],
            gone: undefined,
          }),
        ),
      );
      assert.equal(outcomes.filter(({ kind }) => kind === "done").length, 1);
    });

    run("live() is seen by others until it ends", async (opened) => {
      const { coordinator, other } = opened;
      await coordinator.found("g", STATE);
      const leases: { until: number; fresh: boolean }[] = [];
      const before = opened.elapsed();
      const liveness = coordinator.live("g", A, { onLease: (lease) => leases.push(lease) });
      await until(opened, () => leases.length > 0);
      assert.equal(leases[0]?.fresh, true);
      assert((leases[0]?.until ?? 0) > before);
      assert((leases[0]?.until ?? 0) < opened.elapsed() + LEASE_TTL_MS, "it is not believed whole");
      assert.deepEqual((await other().look("g")).live, [A]);
      assert.deepEqual((await other().look("h")).live, []);
      await liveness.end();
      assert.deepEqual((await other().look("g")).live, []);
    });

    run("live() prolongs its lease past its time", async (opened) => {
      const leases: { until: number; fresh: boolean }[] = [];
      opened.coordinator.live("g", A, { onLease: (lease) => leases.push(lease) });
      await until(opened, () => leases.length >= 5); // four seconds of them
      assert.deepEqual(leases.map(({ fresh }) => fresh).slice(0, 5), [
        true,
        false,
        false,
        false,
        false,
      ]);
      assert.deepEqual((await opened.other().look("g")).live, [A]);
    });

    run("a later boot of a node takes its place", async (opened) => {
      const { coordinator, other } = opened;
      let leases = 0;
      const onLease = () => void leases++;
      const first = coordinator.live("g", A, { onLease });
      await until(opened, () => leases >= 1);
      const second = other().live("g", A2, { onLease });
      await until(opened, async () => (await coordinator.look("g")).live[0]?.boot === "a2");
      await first.end();
      assert.deepEqual((await coordinator.look("g")).live, [A2]);
      await second.end();
    });

    run("swap() holds members to be alive, and gone", async (opened) => {
      const { coordinator } = opened;
      const revision = revisionOf(await coordinator.found("g", STATE));
      let leases = 0;
      const liveness = coordinator.live("g", B, { onLease: () => void leases++ });
      await until(opened, () => leases > 0);
      const swap = { revision, state: STATE, alive: [], gone: undefined };
      const changed = { kind: "changed" };
      assert.deepEqual(await coordinator.swap("g", { ...swap, alive: [A] }), changed);
      const otherBoot = { ...B, boot: "b2" };
      assert.deepEqual(await coordinator.swap("g", { ...swap, alive: [otherBoot] }), changed);
      assert.deepEqual(await coordinator.swap("g", { ...swap, gone: B }), changed);
      const alive = await coordinator.swap("g", { ...swap, alive: [B], gone: A });
      const gone = await coordinator.swap("g", {
        ...swap,
        revision: revisionOf(alive),
        gone: otherBoot,
      });
      assert.equal(gone.kind, "done");
      await liveness.end();
    });

    run("watch() hints at changes of the state and of who lives", async (opened) => {
      let hints = 0;
      const end = opened.coordinator.watch("g", () => void hints++);
      const hintedBy = async (change: () => Promise<unknown>) => {
        // A watch begins when it begins: what came before it is found by looking.
        for (let waited = 0; ; waited += 200) {
          assert(waited < PATIENCE_MS, "it hints");
          const before = hints;
          await change();
          await opened.pause(200);
          if (hints > before) return;
        }
      };
      await opened.pause(500);
      let revision = revisionOf(await opened.other().found("g", STATE));
      await hintedBy(async () => {
        const swap = { revision, state: STATE, alive: [], gone: undefined };
        revision = revisionOf(await opened.other().swap("g", swap));
      });
      await hintedBy(async () => {
        const liveness = opened.other().live("g", B, { onLease() {} });
        await opened.pause(100);
        await liveness.end();
      });
      end();
      await opened.pause(300);
      const after = hints;
      await opened.other().swap("g", { revision, state: STATE, alive: [], gone: undefined });
      await opened.pause(300);
      assert.equal(hints, after);
    });

    run("define() makes, changes and removes by revision", async ({ coordinator, other }) => {
      const none = await coordinator.definition("topic", "orders");
      assert.deepEqual(none, { name: "orders", value: "", revision: 0 });
      const define = (revision: number, value: string | undefined) =>
        coordinator.define({ kind: "topic", name: "orders", value, revision });
      const first = revisionOf(await define(0, "{}"));
      assert.deepEqual(await define(0, "{}"), { kind: "changed" });
      const second = revisionOf(await define(first, '{"queues":"8 – ä"}'));
      const found = await other().definition("topic", "orders");
      assert.deepEqual(found, { name: "orders", value: '{"queues":"8 – ä"}', revision: second });
      assert.deepEqual(await define(first, undefined), { kind: "changed" });
      assert.equal((await define(second, undefined)).kind, "done");
      assert.equal((await other().definition("topic", "orders")).revision, 0);
    });

    run("definitions() gives pages in order of name, of one kind", async ({ coordinator }) => {
      for (const name of ["b", "a", "c", "a-1"]) {
        await coordinator.define({ kind: "group", name, value: name, revision: 0 });
      }
      await coordinator.define({ kind: "topic", name: "t", value: "t", revision: 0 });
      const page = async (after: string) =>
        (await coordinator.definitions({ kind: "group", after, limit: 2 })).map(({ name }) => name);
      assert.deepEqual(await page(""), ["a", "a-1"]);
      assert.deepEqual(await page("a-1"), ["b", "c"]);
      assert.deepEqual(await page("c"), []);
    });

    run("watchDefinitions() hints at its kind", async (opened) => {
      let hints = 0;
      opened.coordinator.watchDefinitions("topic", () => void hints++);
      await opened.pause(500);
      const before = hints;
      await opened.other().define({ kind: "group", name: "g", value: "1", revision: 0 });
      await opened.pause(300);
      assert.equal(hints, before);
      await opened.other().define({ kind: "topic", name: "t", value: "1", revision: 0 });
      await until(opened, () => hints > before);
    });

    run("nextGeneration() gives no number twice", async ({ coordinator, other }) => {
      const second = other();
      const taken = await Promise.all(
        [coordinator, second, coordinator, second].map((one) => one.nextGeneration()),
      );
      assert.equal(new Set(taken).size, 4);
      assert(Math.max(...taken) < (await coordinator.nextGeneration()));
    });
  });
}
