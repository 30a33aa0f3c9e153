/**
 * The producer groups of the fold: defaults for the transactions of those who
 * produce under one name.
 *
 *   key     "Q" · generation u64
 *   value   a definition (entities.ts)
 *
 * @module
 */

import type { Change, Entry, RecordOf } from "../../storage/mod.ts";
import type { ProducerGroupConfig } from "./api.ts";
import { Dirty } from "./dirty.ts";
import { decodeConfig, Definition, encodeConfig, keyOf, read, write } from "./entities.ts";

export interface ProducerGroupState {
  readonly name: string;
  readonly generation: number;
  readonly createdAt: number;
  readonly version: number;
  readonly config: ProducerGroupConfig;
  /** Where the log describes it in full; 0: nowhere that is known. */
  describedAt: number;
}

export class ProducerGroupTable {
  readonly #byName = new Map<string, ProducerGroupState>();
  readonly #dirty = new Dirty({ keyOf: producerGroupKey, entryOf: producerGroupEntry });

  named(name: string): ProducerGroupState | undefined {
    return this.#byName.get(name);
  }

  names(): readonly string[] {
    return [...this.#byName.keys()].sort();
  }

  applyDefine(record: Omit<RecordOf<"define">, "entity">, describedAt: number): void {
    const { name, generation, createdAt, version } = record;
    const config = decodeConfig(record.config) as ProducerGroupConfig;
    const known = this.#byName.get(name);
    if (known) this.#dirty.forget(known);
    const group = { name, generation, createdAt, version, config, describedAt };
    this.#byName.set(name, group);
    this.#dirty.touch(group);
  }

  applyDrop({ name, generation }: RecordOf<"drop">): void {
    const known = this.#byName.get(name);
    if (known?.generation !== generation) return;
    this.#dirty.remove(known);
    this.#byName.delete(name);
  }

  takeChanges(): Iterable<Change> {
    return this.#dirty.take();
  }

  restore(generation: number, value: Uint8Array): void {
    this.describe(generation, value);
    this.#dirty.clear(); // what the snapshot holds is no change
  }

  /** A `state` record. */
  describe(generation: number, value: Uint8Array): void {
    this.applyDefine({ ...read(Definition, value), generation }, 0);
  }

  all(): Iterable<ProducerGroupState> {
    return this.#byName.values();
  }
}

/** As it stands in snapshots and `state` records. */
export function producerGroupEntry(group: ProducerGroupState): Entry {
  const { config, ...rest } = group;
  return [producerGroupKey(group), write(Definition, { ...rest, config: encodeConfig(config) })];
}

function producerGroupKey({ generation }: ProducerGroupState): Uint8Array {
  return keyOf("Q", [generation]);
}
