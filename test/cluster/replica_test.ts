/**
 * Single decisions of the replication core, one node at a time; what becomes of
 * them among several is simulated in test/sim/cluster_world.ts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Effect, ReplicaEvent, Restored, Sighting } from "../../src/cluster/effects.ts";
import type { GroupState, Member } from "../../src/cluster/group_state.ts";
import type { Fetch, Message } from "../../src/cluster/messages.ts";
import { Replica } from "../../src/cluster/replica.ts";

const A: Member = { node: "a", boot: "a1", disk: "da" };
const B: Member = { node: "b", boot: "b1", disk: "db" };
const C: Member = { node: "c", boot: "c1", disk: "dc" };

const LOG: Restored = {
  start: 0,
  end: 100,
  lastCrc: 7,
  epochs: [{ epoch: 1, from: 0 }],
  confirmOffset: 80,
  promised: undefined,
  damaged: [],
  vouches: true,
};

function stateOf(more: Partial<GroupState> = {}): GroupState {
  return {
    epoch: 1,
    leader: B,
    heir: undefined,
    syncSet: [A, B],
    minSync: 2,
    confirmHint: 80,
    unclean: [],
    ...more,
  };
}

type Kind = Effect["kind"];

/** Node `a`, and what it wants done. */
class Desk {
  readonly replica: Replica;
  now = 0;
  effects: Effect[] = [];

  constructor(restored: Partial<Restored> = {}, self = A) {
    const all = { ...LOG, ...restored };
    this.replica = new Replica({ self, restored: all, crcAt: () => undefined });
  }

  step(event: ReplicaEvent): readonly Effect[] {
    const effects = this.replica.step(this.now, event);
    this.effects.push(...effects);
    return effects;
  }

  hear(from: string, message: Message): readonly Effect[] {
    return this.step({ kind: "message", from, message });
  }

  of<K extends Kind>(kind: K): (Effect & { kind: K })[] {
    return this.effects.filter((one): one is Effect & { kind: K } => one.kind === kind);
  }

  last<K extends Kind>(kind: K): Effect & { kind: K } {
    const found = this.of(kind).at(-1);
    assert(found, `there is an effect "${kind}"`);
    return found;
  }

  sent<K extends Message["kind"]>(kind: K): (Message & { kind: K })[] {
    return this.of("send")
      .map(({ message }) => message)
      .filter((message): message is Message & { kind: K } => message.kind === kind);
  }

  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 100) {
      this.now += 100;
      this.step({ kind: "tick" });
    }
  }

  /** Answers the look that was asked last. */
  see(sighting: Partial<Sighting>): void {
    this.step({ kind: "hint" });
    const { id } = this.last("look");
    const whole = { revision: 5, state: stateOf(), live: [A, B, C], ...sighting };
    this.step({ kind: "looked", id, sighting: whole });
  }

  lastFetch(): Fetch {
    const found = this.sent("fetch").at(-1);
    assert(found, "it fetched");
    return found;
  }
}

function entriesFor(fetch: Fetch, more: { to: number; confirmOffset?: number; epoch?: number }) {
  const { epoch = fetch.epoch, confirmOffset = 0, to } = more;
  const head = { epoch, boot: fetch.member.boot, id: fetch.id, from: fetch.from, confirmOffset };
  const frames = { to, frameEpoch: epoch, prevCrc: fetch.lastCrc, lastCrc: to, bytes: undefined };
  return { kind: "entries", ...head, ...frames } as const;
}

describe("a Replica that follows", () => {
  it("fetches behind its end from the leader, with what it has synced", () => {
    const desk = new Desk();
    desk.see({});
    const { id: _, ...fetch } = desk.lastFetch();
    assert.deepEqual(fetch, {
      kind: "fetch",
      epoch: 1,
      member: A,
      from: 100,
      lastEpoch: 1,
      lastCrc: 7,
      durableEnd: 100,
      whole: true,
      leaving: false,
    });
  });

  it("says at once that it leaves, and goes on acknowledging", () => {
    const desk = new Desk();
    desk.see({});
    desk.step({ kind: "drain" });
    const fetch = desk.lastFetch();
    assert(fetch.leaving);
    desk.hear("b", entriesFor(fetch, { to: 150 }));
    desk.step({ kind: "synced", end: 150 });
    assert.deepEqual([desk.lastFetch().durableEnd, desk.lastFetch().leaving], [150, true]);
  });

  it("runs at once when it is the heir of a leader that stepped down", () => {
    const desk = new Desk();
    const state = stateOf({ leader: undefined, heir: "a", syncSet: [A, C] });
    desk.see({});
    desk.see({ revision: 6, state });
    desk.see({ revision: 6, state });
    assert.equal(desk.sent("canvass").length, 1);
    const standing = { member: C, lastEpoch: 1, durableEnd: 100, able: true };
    const [canvass] = desk.sent("canvass");
    desk.hear("c", { kind: "standing", id: canvass?.id ?? 0, ...standing });
    assert.deepEqual(desk.last("promise").promised, { epoch: 2, revision: 6 });
    assert.equal(desk.now, 0, "no time has passed");
  });

  it("yields to nobody when it is the heir, for nobody else would run", () => {
    const desk = new Desk({}, C);
    const state = stateOf({ leader: undefined, heir: "c", syncSet: [A, C] });
    desk.see({ revision: 6, state });
    desk.see({ revision: 6, state });
    const more = { member: A, lastEpoch: 1, durableEnd: 150, able: true };
    const [canvass] = desk.sent("canvass");
    desk.hear("a", { kind: "standing", id: canvass?.id ?? 0, ...more });
    assert.deepEqual(desk.last("promise").promised, { epoch: 2, revision: 6 });
  });

  it("appends once, and says that it is synced only when it is", () => {
    const desk = new Desk();
    desk.see({});
    const entries = entriesFor(desk.lastFetch(), { to: 150, confirmOffset: 120 });
    desk.hear("b", entries);
    desk.hear("b", entries);
    assert.equal(desk.of("append").length, 1);
    assert.deepEqual([desk.lastFetch().from, desk.lastFetch().durableEnd], [150, 100]);
    assert.equal(desk.last("confirm").confirmOffset, 120);
    desk.step({ kind: "synced", end: 150 });
    assert.equal(desk.lastFetch().durableEnd, 150);
  });

  const strangers: [name: string, change: object][] = [
    ["of another epoch", { epoch: 2 }],
    ["to another boot", { boot: "a0" }],
    ["for another place", { from: 90 }],
  ];
  for (const [name, change] of strangers) {
    it(`does not append what comes ${name}`, () => {
      const desk = new Desk();
      desk.see({});
      desk.hear("b", { ...entriesFor(desk.lastFetch(), { to: 150 }), ...change });
      assert.deepEqual(desk.of("append"), []);
    });
  }

  const proof = { epoch: 1, end: 90 };
  const cutBy = (desk: Desk, change: object) => {
    const { epoch, id, member } = desk.lastFetch();
    desk.hear("b", { kind: "diverged", epoch, id, boot: member.boot, proof, ...change });
  };

  it("cuts by the proof of its leader", () => {
    const desk = new Desk();
    desk.see({});
    cutBy(desk, {});
    assert.equal(desk.last("truncate").to, 90);
    const fetches = desk.sent("fetch").length;
    desk.pass(1000);
    assert.equal(desk.sent("fetch").length, fetches, "it asks nothing while it is cut");
    desk.step({ kind: "truncated", end: 90, lastCrc: 9 });
    assert.deepEqual([desk.lastFetch().from, desk.lastFetch().lastCrc], [90, 9]);
  });

  const late: [name: string, change: object][] = [
    ["an earlier question", { id: 1 }],
    ["an earlier epoch", { epoch: 0 }],
    ["an earlier boot", { boot: "a0" }],
  ];
  for (const [name, change] of late) {
    it(`does not cut by an answer to ${name}`, () => {
      const desk = new Desk();
      desk.see({});
      desk.pass(500); // another fetch
      cutBy(desk, change);
      assert.deepEqual(desk.of("truncate"), []);
    });
  }

  it("cuts nothing it has seen confirmed: it stops, and keeps everything", () => {
    const desk = new Desk();
    desk.see({});
    cutBy(desk, { proof: { epoch: 1, end: 79 } });
    assert.deepEqual(desk.of("truncate"), []);
    assert(desk.replica.quarantined);
    desk.pass(2000);
    assert.equal(desk.sent("fetch").length, 1, "it asks no more");
  });

  it("cuts it where an operator accepted the loss", () => {
    const desk = new Desk();
    desk.see({ revision: 6, state: stateOf({ epoch: 2, unclean: [2] }) });
    cutBy(desk, { proof: { epoch: 1, end: 79 } });
    assert.equal(desk.last("truncate").to, 79);
  });

  it("keeps its log when the coordinator knows no state", () => {
    const desk = new Desk();
    desk.see({ revision: 0, state: undefined });
    desk.pass(5000);
    assert.deepEqual([...desk.of("truncate"), ...desk.of("swap")], []);
  });
});

describe("a Replica without a leader", () => {
  const orphan = (restored: Partial<Restored> = {}) => {
    const desk = new Desk(restored);
    desk.see({ live: [A] });
    desk.pass(1100);
    desk.see({ live: [A] });
    desk.pass(300); // the canvass
    return desk;
  };

  it("asks to be elected only once its promise is on disk, and fetches no more", () => {
    const desk = orphan();
    assert.deepEqual(desk.last("promise").promised, { epoch: 2, revision: 5 });
    assert.deepEqual(desk.of("swap"), []);
    const fetches = desk.sent("fetch").length;
    desk.pass(1000);
    assert.equal(desk.sent("fetch").length, fetches);
    desk.step({ kind: "promised", promised: { epoch: 2, revision: 5 } });
    const { swap } = desk.last("swap");
    assert.deepEqual([swap.revision, swap.gone], [5, B]);
    assert.deepEqual([swap.state.epoch, swap.state.leader], [2, A]);
    assert.deepEqual(swap.state.syncSet, [A, B], "a silent member stays where the set is small");
  });

  it("leads when it is elected", () => {
    const desk = orphan();
    desk.step({ kind: "promised", promised: { epoch: 2, revision: 5 } });
    desk.step({
      kind: "swapped",
      id: desk.last("swap").id,
      outcome: { kind: "done", revision: 6 },
    });
    assert.equal(desk.last("lead").epoch, 2);
    assert(desk.replica.leads);
    assert(!desk.replica.serves, "what it was built on is not confirmed yet");
  });

  it("does not go back to the old epoch while its election may still be made", () => {
    const desk = orphan();
    desk.step({ kind: "promised", promised: { epoch: 2, revision: 5 } });
    desk.step({ kind: "swapped", id: desk.last("swap").id, outcome: { kind: "unknown" } });
    const fetches = desk.sent("fetch").length;
    desk.see({ live: [A, B] });
    desk.pass(400);
    assert.equal(desk.of("swap").length, 2, "it asks again");
    desk.step({ kind: "swapped", id: desk.last("swap").id, outcome: { kind: "changed" } });
    desk.see({ live: [A, B] });
    assert.equal(desk.sent("fetch").length, fetches);
    desk.pass(500);
    assert.deepEqual(desk.last("swap").swap.state, stateOf(), "it rules its election out");
    desk.step({
      kind: "swapped",
      id: desk.last("swap").id,
      outcome: { kind: "done", revision: 6 },
    });
    desk.see({ revision: 6, live: [A, B] });
    assert(desk.sent("fetch").length > fetches);
  });

  it("keeps a promise of an earlier life", () => {
    const desk = new Desk({ promised: { epoch: 2, revision: 5 } });
    desk.see({});
    assert.deepEqual(desk.sent("fetch"), []);
    desk.see({ revision: 6 });
    assert.equal(desk.sent("fetch").length, 1);
  });

  const unable: [name: string, restored: Partial<Restored>][] = [
    ["whose log is damaged", { damaged: [{ from: 10, to: 20 }] }],
    ["whose log ends before what was confirmed", { end: 70 }],
  ];
  for (const [name, restored] of unable) {
    it(`does not run ${name}`, () => assert.deepEqual(orphan(restored).of("promise"), []));
  }

  const lives: [name: string, self: Member, restored: Partial<Restored>, runs: boolean][] = [
    ["a later boot on the same disk", { ...A, boot: "a2" }, {}, true],
    ["one whose disk failed", { ...A, boot: "a2" }, { vouches: false }, false],
    ["one on another disk", { ...A, boot: "a2", disk: "dx" }, {}, false],
    ["one that is no member", C, {}, false],
  ];
  for (const [name, self, restored, runs] of lives) {
    it(`${runs ? "lets" : "does not let"} ${name} run`, () => {
      const desk = new Desk(restored, self);
      desk.see({ live: [] });
      desk.pass(1100);
      desk.see({ live: [] });
      desk.pass(300);
      assert.equal(desk.of("promise").length, runs ? 1 : 0);
    });
  }

  it("is elected by force, with all that says", () => {
    const desk = new Desk({ end: 10, confirmOffset: 10 }, C);
    desk.see({});
    desk.step({ kind: "force" });
    desk.see({});
    desk.step({ kind: "promised", promised: { epoch: 2, revision: 5 } });
    const { state } = desk.last("swap").swap;
    assert.deepEqual([state.epoch, state.unclean, state.syncSet], [2, [2], [C]]);
  });
});

describe("a Replica that leads", () => {
  const leading = () => {
    const desk = new Desk();
    desk.see({ live: [A] });
    desk.pass(1100);
    desk.see({ live: [A] });
    desk.pass(300);
    desk.step({ kind: "promised", promised: { epoch: 2, revision: 5 } });
    desk.step({
      kind: "swapped",
      id: desk.last("swap").id,
      outcome: { kind: "done", revision: 6 },
    });
    desk.step({ kind: "appended", end: 110, lastCrc: 11 });
    desk.step({ kind: "synced", end: 110 });
    return desk;
  };
  let fetchIds = 1000;
  const fetchOf = (member: Member, end: number): Fetch => {
    const place = { from: end, lastEpoch: 2, lastCrc: 11, durableEnd: end };
    return {
      kind: "fetch",
      epoch: 2,
      member,
      id: ++fetchIds,
      ...place,
      whole: true,
      leaving: false,
    };
  };
  const swapped = (desk: Desk, outcome: ReplicaEvent & { kind: "swapped" }) => desk.step(outcome);

  it("confirms what every member has synced, and then serves", () => {
    const desk = leading();
    assert.deepEqual(desk.of("confirm"), []);
    desk.hear("b", fetchOf(B, 110));
    assert.equal(desk.last("confirm").confirmOffset, 110);
    assert(desk.replica.serves && desk.replica.admits);
  });

  it("does not count another boot of a member, nor one whose bytes are damaged", () => {
    const desk = leading();
    desk.hear("b", fetchOf({ ...B, boot: "b2" }, 110));
    desk.hear("b", { ...fetchOf(B, 110), whole: false });
    assert.deepEqual(desk.of("confirm"), []);
  });

  it("counts who may join or may have left, until a later revision says which", () => {
    const desk = leading();
    desk.hear("b", fetchOf(B, 110));
    desk.see({ revision: 6, state: desk.replica.sighting.state, live: [A, B, C] });
    desk.hear("c", fetchOf(C, 110));
    const { id, swap } = desk.last("swap");
    assert.deepEqual(swap.state.syncSet, [A, B, C]);
    assert.deepEqual(swap.alive, [C]);
    desk.step({ kind: "appended", end: 120, lastCrc: 12 });
    desk.step({ kind: "synced", end: 120 });
    swapped(desk, { kind: "swapped", id, outcome: { kind: "unknown" } });
    desk.hear("b", { ...fetchOf(B, 120), lastCrc: 12 });
    assert.equal(desk.last("confirm").confirmOffset, 110);
    const state = desk.replica.sighting.state;
    desk.see({ revision: 6, state });
    assert.equal(desk.last("confirm").confirmOffset, 110, "it may still be made");
    desk.see({ revision: 7, state });
    assert.equal(desk.last("confirm").confirmOffset, 120);
  });

  it("counts a member that is to leave until it is known to have left", () => {
    const desk = leading();
    desk.hear("b", fetchOf(B, 110));
    desk.see({ revision: 6, state: desk.replica.sighting.state, live: [A, B, C] });
    desk.hear("c", fetchOf(C, 110));
    const joined = { kind: "done", revision: 7 } as const;
    swapped(desk, { kind: "swapped", id: desk.last("swap").id, outcome: joined });
    desk.step({ kind: "appended", end: 120, lastCrc: 12 });
    desk.step({ kind: "synced", end: 120 });
    for (let passed = 0; passed < 1500; passed += 100) {
      desk.pass(100);
      desk.hear("b", { ...fetchOf(B, 120), lastCrc: 12 });
    }
    const { id, swap } = desk.last("swap");
    assert.deepEqual(swap.state.syncSet, [A, B]);
    assert.equal(desk.last("confirm").confirmOffset, 110);
    swapped(desk, { kind: "swapped", id, outcome: { kind: "done", revision: 8 } });
    assert.equal(desk.last("confirm").confirmOffset, 120);
  });

  it("confirms nothing alone, however long the other is silent, and takes nothing more", () => {
    const desk = leading();
    desk.hear("b", fetchOf(B, 110));
    desk.step({ kind: "appended", end: 120, lastCrc: 12 });
    desk.step({ kind: "synced", end: 120 });
    desk.pass(1500);
    assert.equal(desk.last("confirm").confirmOffset, 110);
    assert(!desk.replica.admits);
    assert(desk.of("swap").every(({ swap }) => swap.state.syncSet.length === 2));
  });

  it("reads the latest only under a lease it has looked at the state with", () => {
    const desk = leading();
    desk.hear("b", fetchOf(B, 110));
    assert(!desk.replica.readsLatest(desk.now));
    const lease = { kind: "leased", until: desk.now + 2000 } as const;
    desk.step({ ...lease, fresh: true });
    assert(!desk.replica.readsLatest(desk.now));
    const { state } = desk.replica.sighting;
    desk.see({ revision: 6, state }); // asked before the lease: it proves nothing
    assert(!desk.replica.readsLatest(desk.now));
    desk.see({ revision: 6, state });
    assert(desk.replica.readsLatest(desk.now));
    assert(!desk.replica.readsLatest(desk.now + 2000));
    desk.step({ ...lease, fresh: true });
    assert(!desk.replica.readsLatest(desk.now), "there was a time without");
  });

  it("hands over on drain, and reads no more from the moment it asks to", () => {
    const desk = leading();
    desk.step({ kind: "leased", until: desk.now + 9000, fresh: true });
    desk.hear("b", fetchOf(B, 110));
    const { state } = desk.replica.sighting;
    desk.see({ revision: 6, state });
    desk.see({ revision: 6, state });
    assert(desk.replica.readsLatest(desk.now));
    desk.step({ kind: "drain" });
    assert(!desk.replica.admits);
    desk.hear("b", fetchOf(B, 110));
    const { id, swap } = desk.last("swap");
    assert.deepEqual([swap.state.leader, swap.state.heir], [undefined, "b"]);
    assert(!desk.replica.readsLatest(desk.now));
    swapped(desk, { kind: "swapped", id, outcome: { kind: "done", revision: 7 } });
    assert(!desk.replica.leads);
  });

  /** All three count, and all of them have everything. */
  const leadingThree = () => {
    const desk = leading();
    desk.hear("b", fetchOf(B, 110));
    desk.see({ revision: 6, state: desk.replica.sighting.state, live: [A, B, C] });
    desk.hear("c", fetchOf(C, 110));
    const { id, swap } = desk.last("swap");
    assert.deepEqual(swap.state.syncSet, [A, B, C]);
    swapped(desk, { kind: "swapped", id, outcome: { kind: "done", revision: 7 } });
    desk.now += 400; // it may ask for something again
    desk.hear("b", fetchOf(B, 110));
    return desk;
  };

  it("does without a member that leaves, at once, and takes it in no more", () => {
    const desk = leadingThree();
    desk.hear("c", { ...fetchOf(C, 110), leaving: true });
    const { id, swap } = desk.last("swap");
    assert.deepEqual(swap.state.syncSet, [A, B]);
    assert(desk.replica.admits, "it acknowledges as long as it is there");
    swapped(desk, { kind: "swapped", id, outcome: { kind: "done", revision: 8 } });
    desk.step({ kind: "appended", end: 120, lastCrc: 11 });
    desk.step({ kind: "synced", end: 120 });
    desk.hear("b", fetchOf(B, 120));
    assert.equal(desk.last("confirm").confirmOffset, 120, "nobody waits for it");
    const asked = desk.of("swap").length;
    desk.now += 400;
    desk.hear("c", fetchOf(C, 120)); // sent before, and late
    assert.equal(desk.of("swap").length, asked);
  });

  it("waits for a member that leaves until the set may be without it", () => {
    const desk = leading();
    desk.hear("b", fetchOf(B, 110));
    const asked = desk.of("swap").length;
    desk.now += 400;
    desk.hear("b", { ...fetchOf(B, 110), leaving: true });
    assert.equal(desk.of("swap").length, asked, "two of two are needed");
    desk.see({ revision: 6, state: desk.replica.sighting.state, live: [A, B, C] });
    desk.hear("c", fetchOf(C, 110));
    assert.deepEqual(desk.last("swap").swap.state.syncSet, [A, C]);
  });

  it("leaves the set as it hands over on drain, in one swap and at once", () => {
    const desk = leadingThree();
    desk.hear("c", fetchOf(C, 110));
    desk.step({ kind: "drain" });
    const { state } = desk.last("swap").swap;
    assert.deepEqual([state.leader, state.heir, state.syncSet], [undefined, "b", [B, C]]);
  });

  it("hands over to nobody who leaves as well", () => {
    const desk = leadingThree();
    desk.hear("c", fetchOf(C, 110));
    desk.hear("b", { ...fetchOf(B, 110), leaving: true });
    const { id } = desk.last("swap");
    desk.now += 400;
    desk.step({ kind: "drain" });
    swapped(desk, { kind: "swapped", id, outcome: { kind: "changed" } });
    desk.hear("c", fetchOf(C, 110));
    assert.equal(desk.last("swap").swap.state.heir, "c");
  });

  it("steps down when the state says that another leads, not because someone says so", () => {
    const desk = leading();
    desk.hear("c", { ...fetchOf(C, 110), epoch: 9 });
    assert(desk.replica.leads);
    desk.see({ revision: 8, state: stateOf({ epoch: 3, leader: C, syncSet: [A, C] }) });
    assert(!desk.replica.leads);
    assert.equal(desk.last("follow").epoch, 3);
  });
});
