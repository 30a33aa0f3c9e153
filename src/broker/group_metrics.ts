/**
 * Where each consumer group stands, for whoever watches the node.
 *
 * Groups are made by clients, so their names are a bounded set only by decree: the
 * first {@linkcode NAMED_MAX}, in the order they were made, have a label of their
 * own, which stays theirs; all others are added up under `(other)`, which is no
 * name a group can have.
 *
 * Walking all queues of all groups may take long, so others get their turn in
 * between; the figures of one group are of one moment.
 *
 * @module
 */

import { type Family, gauge, type Sample } from "../../storage/base/metrics.ts";
import type { Core } from "./core.ts";
import type { GroupState, Subscription } from "./groups.ts";

export const NAMED_MAX = 1000;
const OTHER = "(other)";

/** Queues looked at without a pause: about a millisecond. */
const STEP = 5000;

const FIGURES = {
  lag_messages: "Messages of the group's topics that are neither acknowledged nor dead letters",
  ready_messages: "Messages that may be delivered now, as far as the group has looked",
  in_flight_messages: "Messages that are leased",
  dead_letters: "Messages that the group gave up on",
} as const;

const NONE = { lag_messages: 0, ready_messages: 0, in_flight_messages: 0, dead_letters: 0 };

type Figures = Record<keyof typeof FIGURES, number>;

export async function groupMetrics(core: Core, pause: () => Promise<void>): Promise<Family[]> {
  const byLabel = new Map<string, Figures>();
  let left = STEP;
  for (const group of core.fold.groups.all()) {
    const known = byLabel.size < NAMED_MAX;
    const label = known ? group.name : OTHER;
    const figures = byLabel.get(label) ?? { ...NONE };
    byLabel.set(label, figures);
    left -= 1 + addFigures(core, { group, figures });
    if (left > 0) continue;
    await pause();
    left = STEP;
  }
  return Object.entries(FIGURES).map(([name, help]) =>
    gauge({ name: `tidegate_group_${name}`, help, samples: samplesOf(byLabel, name) }),
  );
}

function samplesOf(byLabel: ReadonlyMap<string, Figures>, name: string): Sample[] {
  return Array.from(byLabel, ([group, figures]) => ({
    labels: { group },
    value: figures[name as keyof Figures],
  }));
}

/** @returns how many queues were looked at. */
function addFigures(
  core: Core,
  { group, figures }: { readonly group: GroupState; readonly figures: Figures },
): number {
  let queues = 0;
  for (const subscription of group.subscriptions.values()) {
    queues += addSubscription(core, { subscription, figures });
  }
  figures.in_flight_messages += group.tally.leased;
  figures.dead_letters += group.deadLetters.size;
  return queues;
}

function addSubscription(
  core: Core,
  { subscription, figures }: { readonly subscription: Subscription; readonly figures: Figures },
): number {
  const { topicGen } = subscription;
  const topic = topicGen === undefined ? undefined : core.fold.topics.of(topicGen);
  if (!topic || topicGen === undefined) return 0;
  for (let queueId = 0; queueId < topic.config.queues; queueId++) {
    const queue = subscription.queues[queueId];
    const taken = queue?.taken.size ?? 0;
    const fresh = Math.max(0, core.visibleEnd({ topicGen, queueId }) - (queue?.head ?? 0) - taken);
    figures.lag_messages += fresh + (queue?.open.size ?? 0);
    figures.ready_messages += fresh + (queue?.due.size ?? 0);
  }
  return topic.config.queues;
}
