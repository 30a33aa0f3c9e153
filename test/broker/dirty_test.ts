/**
 * What is taken is the state at that moment, however late and in whatever parts it is
 * read, and whatever becomes of the entities meanwhile.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Dirty } from "../../src/broker/dirty.ts";
import type { Change, Entry } from "../../storage/mod.ts";

interface Entity {
  readonly key: number;
  value: number;
}

const keyOf = ({ key }: Entity) => Uint8Array.of(key);
const entryOf = (entity: Entity): Entry => [keyOf(entity), Uint8Array.of(entity.value)];

/** One change per key: the last one. */
function tableOf(changes: Iterable<Change>): Map<number, number | undefined> {
  return new Map([...changes].map(([key, value]) => [key[0] ?? -1, value?.[0]]));
}

interface Taken {
  readonly source: Iterator<Change>;
  readonly read: Change[];
  readonly expected: ReadonlyMap<number, number | undefined>;
}

/** Entities by key, and beside the real thing a map of what changed, read at once. */
class World {
  readonly dirty = new Dirty<Entity>({ keyOf, entryOf });
  readonly entities = new Map<number, Entity>();
  #changed = new Map<number, number | undefined>();
  readonly taken: Taken[] = [];
  #value = 0;

  change(key: number): void {
    const entity = this.entities.get(key) ?? { key, value: 0 };
    this.dirty.touch(entity);
    entity.value = this.#nextValue();
    this.entities.set(key, entity);
    this.#changed.set(key, entity.value);
  }

  replace(key: number): void {
    const known = this.entities.get(key);
    if (!known) return;
    this.dirty.forget(known);
    known.value = this.#nextValue(); // nobody is to see this
    this.entities.delete(key);
    this.change(key);
  }

  remove(key: number): void {
    const known = this.entities.get(key);
    if (!known) return;
    this.dirty.remove(known);
    known.value = this.#nextValue();
    this.entities.delete(key);
    this.#changed.set(key, undefined);
  }

  take(): void {
    const source = this.dirty.take()[Symbol.iterator]();
    this.taken.push({ source, read: [], expected: this.#changed });
    this.#changed = new Map();
  }

  /** A few changes of one of those that were taken. */
  read(which: number, count: number): void {
    const one = this.taken[which % Math.max(1, this.taken.length)];
    for (let left = count; one && left > 0; left--) {
      const { done, value } = one.source.next();
      if (!done) one.read.push(value);
    }
  }

  #nextValue(): number {
    this.#value = (this.#value + 1) % 256;
    return this.#value;
  }
}

const key = fc.nat(7);
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: key.map((at) => (world: World) => world.change(at)) },
    key.map((at) => (world: World) => world.replace(at)),
    key.map((at) => (world: World) => world.remove(at)),
    { weight: 2, arbitrary: fc.constant((world: World) => world.take()) },
    fc.tuple(fc.nat(5), fc.nat(3)).map(
      ([which, count]) =>
        (world: World) =>
          world.read(which, count),
    ),
  ),
  { maxLength: 80 },
);

describe("Dirty", () => {
  it("tells what changed as it stood when it was taken", () => {
    fc.assert(
      fc.property(steps, (history) => {
        const world = new World();
        for (const step of history) step(world);
        world.take();
        for (const [at, { read, expected }] of world.taken.entries()) {
          world.read(at, 1000);
          assert.deepEqual(tableOf(read), expected); // maps are equal in any order
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("encodes nothing when it is taken, and each entity once", () => {
    let encoded = 0;
    const counting = (entity: Entity) => {
      encoded++;
      return entryOf(entity);
    };
    const dirty = new Dirty<Entity>({ keyOf, entryOf: counting });
    const entities = Array.from({ length: 100 }, (_, at): Entity => ({ key: at, value: 1 }));
    for (const entity of entities) dirty.touch(entity);
    const taken = dirty.take();
    assert.equal(encoded, 0);
    for (const entity of entities.slice(0, 10)) dirty.touch(entity);
    for (const entity of entities.slice(0, 10)) dirty.touch(entity);
    assert.equal(encoded, 10);
    assert.equal([...taken].length, 100);
    assert.equal(encoded, 100);
    assert.equal([...dirty.take()].length, 10);
  });

  it("forgets all when it is told that nothing changed", () => {
    const world = new World();
    world.change(1);
    world.change(2);
    world.remove(1);
    world.dirty.clear();
    assert.deepEqual([...world.dirty.take()], []);
  });
});
