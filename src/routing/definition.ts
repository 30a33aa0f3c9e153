/**
 * A definition as the coordinator keeps it: JSON, first writer wins, changed by
 * compare-and-swap.
 *
 *   format      1
 *   generation  unique in the cluster: names this life of the thing
 *   version     1 for the first of a generation, one more with each change
 *   createdAt   milliseconds since the Unix epoch
 *   config      as brokers store it, without their share
 *   groups      of a topic: the broker groups that have its queues. Queue q is of
 *               groups[q mod their number], for all time
 *   spread      the last version that every broker group concerned is known to have
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import type { CopyKind, DefinitionCopy, ProducerGroupConfig, TopicConfig } from "../broker/api.ts";
import type { StoredGroupConfig } from "../broker/definitions.ts";
import type { Stored, StoredKind } from "./ports.ts";

interface Configs {
  readonly topic: TopicConfig;
  readonly group: StoredGroupConfig;
  readonly "producer-group": ProducerGroupConfig;
}

export interface Definition<K extends StoredKind = StoredKind> {
  readonly kind: K;
  readonly name: string;
  readonly generation: number;
  readonly version: number;
  readonly createdAt: number;
  readonly config: Configs[K];
  /** Of a topic, at least one; of others none, for they are everywhere. */
  readonly groups: readonly number[];
  readonly spread: number;
  /** Of the coordinator; 0: it is not stored yet. */
  readonly revision: number;
}

export type TopicDefinition = Definition<"topic">;
export type GroupDefinition = Definition<"group">;

const FORMAT = 1;

export function encodeDefinition(definition: Definition): string {
  const { generation, version, createdAt, config, groups, spread } = definition;
  const placed = groups.length > 0 ? { groups } : {};
  const told = spread > 0 ? { spread } : {};
  return JSON.stringify({
    format: FORMAT,
    generation,
    version,
    createdAt,
    config,
    ...placed,
    ...told,
  });
}

/** The writer is this build or one that keeps its format: callers trust the shape. @throws `data-damaged`, `not-implemented` */
export function decodeDefinition<K extends StoredKind>(
  kind: K,
  { name, value, revision }: Stored,
): Definition<K> {
  let read: Partial<Definition<K>> & { format?: number };
  try {
    read = JSON.parse(value) as typeof read;
  } catch (error) {
    const detail = `Cannot read the definition of ${kind} "${name}"`;
    throw new TidegateError("data-damaged", detail, { kind, name }, error);
  }
  if ((read.format ?? 0) > FORMAT) {
    const detail = `Cannot read the definition of ${kind} "${name}": it is of a later build`;
    throw new TidegateError("not-implemented", detail, { kind, name, format: read.format });
  }
  const { generation = 0, version = 0, createdAt = 0, groups = [], spread = 0 } = read;
  const config = read.config as Configs[K];
  return { kind, name, generation, version, createdAt, config, groups, spread, revision };
}

// Where the queues of a topic are

/** The broker groups for a new topic: no more than it has queues, beginning at a place of its name. */
export function placeTopic(
  name: string,
  { queues, among }: { readonly queues: number; readonly among: readonly number[] },
): readonly number[] {
  const from = stableHash(name) % among.length;
  const turned = [...among.slice(from), ...among.slice(0, from)];
  return turned.slice(0, Math.min(queues, among.length));
}

/** The broker group that has the queue. */
export function ownerOf({ groups }: TopicDefinition, queueId: number): number {
  return groups[queueId % groups.length] as number;
}

const COPY_KINDS = {
  topic: "topic",
  group: "group",
  "producer-group": "producerGroup",
} as const satisfies Record<StoredKind, CopyKind>;

/** What the broker group is to have of it. */
export function copyFor(definition: Definition, group: number): DefinitionCopy {
  const { kind, name, generation, version, createdAt, config, groups } = definition;
  const about = { kind: COPY_KINDS[kind], name, generation, version, createdAt };
  const index = groups.indexOf(group);
  if (kind !== "topic" || groups.length === 1) return { ...about, config };
  return { ...about, config: { ...config, share: { of: groups.length, index } } };
}

/** That this generation of it is gone. */
export function goneCopy({
  kind,
  name,
  generation,
  version,
  createdAt,
}: Definition): DefinitionCopy {
  return { kind: COPY_KINDS[kind], name, generation, version, createdAt };
}
