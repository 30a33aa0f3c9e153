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
  readonly #changed = new Set<string>();
  #removed: Uint8Array[] = [];

  named(name: string): ProducerGroupState | undefined {
    return this.#byName.get(name);
  }

  names(): readonly string[] {
    return [...this.#byName.keys()].sort();
  }

  applyDefine(record: Omit<RecordOf<"define">, "entity">, describedAt: number): void {
    const { name, generation, createdAt, version } = record;
    const config = decodeConfig(record.config) as ProducerGroupConfig;
    this.#byName.set(name, { name, generation, createdAt, version, config, describedAt });
    this.#changed.add(name);
  }

  applyDrop({ name, generation }: RecordOf<"drop">): void {
    if (this.#byName.get(name)?.generation !== generation) return;
    this.#byName.delete(name);
    this.#changed.delete(name);
    this.#removed.push(keyOf("Q", [generation]));
  }

  takeChanges(): Change[] {
    const changes: Change[] = this.#removed.map((key) => [key, undefined]);
    for (const name of this.#changed) {
      changes.push(producerGroupEntry(this.#byName.get(name) as ProducerGroupState));
    }
    this.#changed.clear();
    this.#removed = [];
    return changes;
  }

  restore(generation: number, value: Uint8Array): void {
    this.describe(generation, value);
    this.#changed.clear(); // what the snapshot holds is no change
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
  const { generation, config, ...rest } = group;
  return [keyOf("Q", [generation]), write(Definition, { ...rest, config: encodeConfig(config) })];
}
