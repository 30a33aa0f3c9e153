/**
 * {@linkcode ShareApi} on this node: what a broker group's leader does for gateways.
 *
 * @module
 */

import type { DefinitionCopy, ShareApi, TopicEnds } from "./api_share.ts";
import { type Core, commit } from "./core.ts";
import { groupNamed } from "./define.ts";
import { encodeConfig } from "./entities.ts";
import { markAllReady } from "./groups_api.ts";
import { receiveAgain } from "./receiving.ts";
import { findLease, undo } from "./settle.ts";
import type { Shell } from "./shell.ts";
import { clearTopic } from "./transaction_decide.ts";

export function shareApi(shell: Shell): ShareApi {
  const { core } = shell;
  return {
    async define(copies) {
      const gone = await shell.decide((now) => {
        const ended = copies.flatMap((copy) => takeOver(shell, copy, now));
        shell.forwarding.wake();
        shell.timers.arm();
        return ended;
      });
      for (const generation of gone) shell.readers.wake(generation); // they find it gone
    },
    endsOf: (topics) => shell.decide(() => topics.flatMap((name) => endsOf(core, name))),
    undecidedIn: (name) =>
      shell.decide(() => {
        const topic = core.fold.topics.named(name);
        return topic ? core.fold.transactions.undecidedIn(topic.generation).length : 0;
      }),
    openIn: (name) => shell.decide(() => core.fold.groups.named(name)?.tally.open ?? 0),
    repeat: (name, wish) => receiveAgain(shell, { name, ...wish }),
    giveBack: (name, receipts) =>
      shell.decide((now) => {
        const group = groupNamed(core, name);
        const leases = receipts.flatMap((receipt) => findLease(core, { group, receipt }) ?? []);
        // What was handed out before is held by whoever got it then.
        undo(core, { leases: leases.filter((lease) => !lease.grant.repeated), now });
        shell.receivers.pump(group);
      }),
  };
}

function endsOf(core: Core, name: string): TopicEnds[] {
  const topic = core.fold.topics.named(name);
  if (!topic) return [];
  const { generation, config } = topic;
  const end = (_: unknown, queueId: number) => core.visibleEnd({ topicGen: generation, queueId });
  return [{ name, generation, endOffsets: Array.from({ length: config.queues }, end) }];
}

/** What this node has under the name. */
function known({ fold }: Core, { kind, name }: DefinitionCopy) {
  if (kind === "topic") return fold.topics.named(name);
  return kind === "group" ? fold.groups.named(name) : fold.producerGroups.named(name);
}

/** @returns generations of topics that ended with it. */
function takeOver(shell: Shell, copy: DefinitionCopy, now: number): number[] {
  const { core } = shell;
  const { generation, version, config } = copy;
  const mine = known(core, copy);
  if (mine && mine.generation > generation) return [];
  const ends = mine && (mine.generation < generation || config === undefined);
  const ended = ends && drop(shell, { ...copy, generation: mine.generation }, now);
  const isNewer = !mine || ends || mine.version < version;
  if (config !== undefined && isNewer) define(shell, { ...copy, config }, now);
  return ended ? [mine.generation] : [];
}

/** @returns whether it was a topic. */
function drop(
  shell: Shell,
  { kind: entity, name, generation }: Pick<DefinitionCopy, "kind" | "name" | "generation">,
  now: number,
): boolean {
  const { core } = shell;
  const topic = entity === "topic" ? core.fold.topics.of(generation) : undefined;
  const group = entity === "group" ? core.fold.groups.of(generation) : undefined;
  if (topic) clearTopic(core, { topic, force: true, now });
  commit(core, { kind: "drop", record: { entity, generation, name }, now });
  if (group) shell.receivers.release(group);
  if (topic) pumpSubscribers(shell, name); // its leases are void: their groups may take others
  return topic !== undefined;
}

function define(shell: Shell, copy: DefinitionCopy, now: number): void {
  const { core } = shell;
  const { kind: entity, name, generation, version, createdAt } = copy;
  const about = { entity, name, generation, version, createdAt };
  commit(core, {
    kind: "define",
    record: { ...about, config: encodeConfig(copy.config) },
    now,
  });
  const topic = entity === "topic" ? core.fold.topics.of(generation) : undefined;
  const group = entity === "group" ? core.fold.groups.of(generation) : undefined;
  if (topic) shell.expiry.redefined(topic);
  if (group) {
    markAllReady(shell, group);
    shell.receivers.pump(group);
  }
}

function pumpSubscribers(shell: Shell, topic: string): void {
  for (const { group } of shell.core.fold.groups.subscribers(topic)) shell.receivers.pump(group);
}
