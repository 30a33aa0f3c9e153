/**
 * The line to another member, when its last try to connect failed: what is to be said
 * makes it anew, though not all the time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { type LinkPeer, ReplicaLinks } from "../../src/cluster/replica_links.ts";

const CANVASS = { kind: "canvass", id: 1 } as const;

/** A node that can be reached or not, and what it was told. */
class Script {
  readonly clock = new ManualClock();
  reachable = false;
  tries = 0;
  readonly told: unknown[] = [];
  readonly links = new ReplicaLinks({ clock: this.clock, connect: () => this.#connect() });

  constructor() {
    this.clock.advance(1000);
    this.links.update([{ node: "b", address: "b:1" }]);
    this.clock.advance(1000);
  }

  #connect(): LinkPeer {
    this.tries++;
    const open = this.reachable;
    return {
      isOpen: open,
      isResting: !open,
      open() {},
      close() {},
      subscribe: () => assert.fail(),
      call: async (_, message) => {
        if (!open) throw new TidegateError("unavailable", "Cannot call: it rests");
        this.told.push(message);
        return undefined as never;
      },
    };
  }
}

describe("a line to another member", () => {
  it("is made anew for what is to be said, when it rests", () => {
    const script = new Script();
    assert.equal(script.tries, 1);
    script.reachable = true; // it has come back, and nobody has noticed
    script.links.send("b", CANVASS);
    assert.deepEqual(script.told, [CANVASS]);
  });

  it("is not tried all the time", () => {
    const script = new Script();
    for (let i = 0; i < 50; i++) {
      script.links.send("b", CANVASS);
      script.clock.advance(20);
    }
    assert(script.tries >= 3 && script.tries <= 5, `${script.tries} tries in a second`);
  });

  it("stays as it is while it is open", () => {
    const script = new Script();
    script.reachable = true;
    for (let i = 0; i < 5; i++) {
      script.links.send("b", CANVASS);
      script.clock.advance(500);
    }
    assert.deepEqual([script.tries, script.told.length], [2, 5]);
  });
});
