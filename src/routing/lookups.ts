/**
 * Looking up messages of a cluster. An id says nothing of where its message is, so all
 * broker groups of the topic are asked, and the newest of what they have is the answer.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type {
  BrokerGroupApi,
  ScheduledMessage,
  SearchPage,
  SearchRequest,
  StoredMessage,
  Trace,
  TraceRequest,
} from "../broker/api.ts";
import type { Cluster } from "./cluster.ts";
import type { TopicDefinition } from "./definition.ts";
import { mergePages } from "./merged_pages.ts";

const REPEATABLE = { repeatable: true };

interface Found<T> {
  readonly group: number;
  readonly value: T;
}

/** The newest of what broker groups have. @throws `message-not-found` when none has any. */
async function newest<T>(
  cluster: Cluster,
  {
    topic,
    ask,
    time,
  }: {
    readonly topic: TopicDefinition;
    ask(broker: BrokerGroupApi): Promise<T>;
    time(value: T): number;
  },
): Promise<Found<T>> {
  let missing: TidegateError | undefined;
  const answers = await cluster.askAll(
    topic,
    async (broker, group) => {
      try {
        return { group, value: await ask(broker) };
      } catch (error) {
        if (!(error instanceof TidegateError) || error.code !== "message-not-found") throw error;
        missing = error;
        return undefined;
      }
    },
    REPEATABLE,
  );
  const found = answers
    .filter((answer) => answer !== undefined)
    .toSorted((a, b) => time(b.value) - time(a.value));
  if (found[0]) return found[0];
  throw (
    missing ?? new TidegateError("message-not-found", `Cannot find the message in "${topic.name}"`)
  );
}

function newestMessage(
  cluster: Cluster,
  { topic, id }: { readonly topic: TopicDefinition; readonly id: string },
): Promise<Found<StoredMessage | ScheduledMessage>> {
  const { name } = topic;
  const ask = ({ messages }: BrokerGroupApi) => messages.get(name, id);
  return newest(cluster, { topic, ask, time: ({ publishedAt }) => publishedAt });
}

export function get(
  cluster: Cluster,
  { name, id }: { readonly name: string; readonly id: string },
): Promise<StoredMessage | ScheduledMessage> {
  return cluster.onTopic(
    name,
    async (topic) => (await newestMessage(cluster, { topic, id })).value,
  );
}

export function recall(
  cluster: Cluster,
  { name, id }: { readonly name: string; readonly id: string },
): Promise<void> {
  return cluster.onTopic(name, async (topic) => {
    const only = topic.groups.length === 1 ? topic.groups[0] : undefined;
    const group = only ?? (await newestMessage(cluster, { topic, id })).group;
    await cluster.ask(topic, { group, ask: ({ messages }) => messages.recall(name, id) });
  });
}

/** The last to become visible first, by the clocks of the leaders. */
export function search(cluster: Cluster, request: SearchRequest): Promise<SearchPage> {
  return cluster.onTopic(request.topic, async (topic) => {
    const [only, ...others] = topic.groups;
    if (only !== undefined && others.length === 0) {
      return await searchIn(cluster, { topic, group: only, request });
    }
    const { items: messages, ...rest } = await mergePages<StoredMessage>({
      ...request,
      after: request.after,
      groups: topic.groups,
      page: async (group, wish) => {
        const part = { ...request, ...wish, cursors: true };
        const page = await searchIn(cluster, { topic, group, request: part });
        return { ...page, items: page.messages, cursors: page.cursors ?? [] };
      },
      compare: (a, b) => b.publishedAt - a.publishedAt,
      sizeOf: ({ payload }) => payload.length,
    });
    return { messages, ...rest };
  });
}

function searchIn(
  cluster: Cluster,
  about: {
    readonly topic: TopicDefinition;
    readonly group: number;
    readonly request: SearchRequest;
  },
): Promise<SearchPage> {
  const { topic, group, request } = about;
  const ask = ({ messages }: BrokerGroupApi) => messages.search(request);
  return cluster.ask(topic, { group, ask, repeatable: true });
}

/** A following page is of the broker group that had the first, which its token names. */
export function trace(cluster: Cluster, request: TraceRequest): Promise<Trace> {
  return cluster.onTopic(request.topic, async (topic) => {
    const [only = 0, ...others] = topic.groups;
    if (others.length === 0) return await traceIn(cluster, { topic, group: only, request });
    if (request.after !== undefined) return await traceOn(cluster, { topic, request });
    const ask = ({ messages }: BrokerGroupApi) => messages.trace(request);
    const time = ({ events, since }: Trace) => events[0]?.at ?? since;
    const { group, value } = await newest(cluster, { topic, ask, time });
    return withGroup(value, group);
  });
}

async function traceOn(
  cluster: Cluster,
  { topic, request }: { readonly topic: TopicDefinition; readonly request: TraceRequest },
): Promise<Trace> {
  const [, number = "", after] = /^(\d{1,5})~([0-9a-v]+)$/.exec(request.after ?? "") ?? [];
  const group = Number(number);
  if (number === "" || !topic.groups.includes(group)) {
    throw new TidegateError("invalid-cursor", "Cannot read the page token: it is not one of ours");
  }
  const page = await traceIn(cluster, { topic, group, request: { ...request, after } });
  return withGroup(page, group);
}

function traceIn(
  cluster: Cluster,
  about: {
    readonly topic: TopicDefinition;
    readonly group: number;
    readonly request: TraceRequest;
  },
): Promise<Trace> {
  const { topic, group, request } = about;
  const ask = ({ messages }: BrokerGroupApi) => messages.trace(request);
  return cluster.ask(topic, { group, ask, repeatable: true });
}

function withGroup(trace: Trace, group: number): Trace {
  return trace.next === undefined ? trace : { ...trace, next: `${group}~${trace.next}` };
}
