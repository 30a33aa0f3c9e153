/**
 * Reading a topic whose queues are in several broker groups.
 *
 *   lane of each group ─▶ the earliest head, by when it became visible ─▶ the page
 *
 * Within a broker group the order is its log's; between them, messages go by the time
 * they became visible, then by the number of the group. Each group's position is the
 * place behind what was taken of it, so reading on at any message has neither gap nor
 * repeat, whatever the clocks of the leaders say.
 *
 * A lane is asked for more before a later message of another is taken, so a page never
 * passes a lane that has something: but for a broker group that cannot be asked. What the
 * others have is given all the same, never as if it were all there is; when they have
 * nothing, the reader hears that one is away.
 *
 * A wait is held at every broker group until one of them has something, whoever leads it
 * meanwhile (keep_waiting.ts), and no longer than was asked for, whoever does not answer.
 *
 * @module
 */

import type { CallOptions, ReadPage, ReadRequest, StoredMessage } from "../broker/api.ts";
import { decodeCursor, encodeStreamCursor, type GroupPosition } from "../broker/cursor.ts";
import { type Cluster, leftAlready } from "./cluster.ts";
import { ownerOf, type TopicDefinition } from "./definition.ts";
import { keepWaiting } from "./keep_waiting.ts";
import { Lane, positionIn } from "./lane.ts";
import { mostOf } from "./most_of.ts";
import { relocated } from "./relocated.ts";

/** Others wait no longer for a broker group that does not answer. */
const GRACE_MS = 500;

export async function read(
  cluster: Cluster,
  { request, options }: { request: ReadRequest; options: CallOptions | undefined },
): Promise<ReadPage> {
  const waits = request.waitMs > 0 && !cluster.isDraining;
  if (!waits)
    return await readNow(cluster, { ...request, waitMs: 0 }, leftAlready(options?.signal));
  return await cluster.waiting(options?.signal, (signal) => readNow(cluster, request, signal));
}

function readNow(
  cluster: Cluster,
  request: ReadRequest,
  signal: AbortSignal | undefined,
): Promise<ReadPage> {
  return cluster.onTopic(request.topic, async (topic) => {
    const group = groupToRead(topic, request);
    if (group === undefined) return await readMerged(cluster, { topic, request, signal });
    return await readOne(cluster, { topic, request, signal, group });
  });
}

/** Of those who do not leave. */
const NEVER = new AbortController().signal;

/** The only broker group that has what is asked for. */
function groupToRead(topic: TopicDefinition, request: ReadRequest): number | undefined {
  const { groups } = topic;
  if (groups.length === 1) return groups[0];
  if (request.queueId !== undefined) return ownerOf(topic, request.queueId);
  if (request.start.kind !== "cursor") return undefined;
  const cursor = decodeCursor(request.start.cursor);
  return cursor.kind === "queue" ? ownerOf(topic, cursor.queueId) : undefined;
}

interface Call {
  readonly topic: TopicDefinition;
  readonly request: ReadRequest;
  readonly signal: AbortSignal | undefined;
}

function readOne(cluster: Cluster, call: Call & { readonly group: number }): Promise<ReadPage> {
  const { topic, group, request, signal } = call;
  const deadline = cluster.members.deadline() + request.waitMs;
  return cluster.ask(topic, {
    group,
    deadline,
    signal,
    repeatable: true,
    ask: ({ messages }) => messages.read(request, { signal }),
  });
}

async function readMerged(cluster: Cluster, call: Call): Promise<ReadPage> {
  const { topic, request } = call;
  const { clock, members } = cluster;
  const lanes = topic.groups.map((group) => new Lane(cluster, { topic, group, request }));
  const until = clock.elapsed() + request.waitMs;
  const deadline = request.waitMs > 0 ? until : members.deadline();
  const signal = call.signal ?? NEVER;
  const merge = new Merge(cluster, { topic, lanes, request });
  await merge.fill(lanes, { waitMs: 0, deadline: clock.elapsed(), signal });
  for (;;) {
    await merge.take(signal);
    const waitMs = Math.max(0, until - clock.elapsed());
    const away = lanes.filter((lane) => lane.away);
    const isPatient = clock.elapsed() < deadline && !signal.aborted;
    const over = !isPatient || (waitMs === 0 && away.length === 0);
    if (merge.isFilled || over) return merge.page();
    const passedOver = lanes.filter((lane) => lane.isScanning && !lane.away);
    if (passedOver.length > 0) {
      await merge.fill(passedOver, { waitMs: 0, deadline: clock.elapsed(), signal });
    } else if (waitMs > 0) await merge.waitFor(lanes, { until, signal });
    else await merge.fill(away, { waitMs: 0, deadline, signal });
  }
}

interface Fill {
  readonly waitMs: number;
  /** Until when a leader is waited for. */
  readonly deadline: number;
  readonly signal: AbortSignal;
}

class Merge {
  readonly #cluster: Cluster;
  readonly #topic: TopicDefinition;
  readonly #lanes: readonly Lane[];
  readonly #request: ReadRequest;
  readonly #messages: StoredMessage[] = [];
  readonly #cursors: string[] = [];
  #bytes = 0;
  #full = false;

  constructor(
    cluster: Cluster,
    parts: { topic: TopicDefinition; lanes: readonly Lane[]; request: ReadRequest },
  ) {
    this.#cluster = cluster;
    this.#topic = parts.topic;
    this.#lanes = parts.lanes;
    this.#request = parts.request;
  }

  get isFilled(): boolean {
    return this.#messages.length > 0;
  }

  /** Takes what comes next until the page is full, or it is not known what comes next. */
  async take(signal: AbortSignal): Promise<void> {
    while (!this.#full) {
      const empty = this.#lanes.filter((lane) => !lane.head && !lane.atEnd && !lane.away);
      if (empty.some((lane) => lane.isScanning)) return;
      if (empty.length > 0) {
        const deadline = this.#cluster.clock.elapsed();
        await this.fill(empty, { waitMs: 0, deadline, signal });
        continue;
      }
      const lane = earliest(this.#lanes);
      if (!lane) return;
      this.#takeFrom(lane);
    }
  }

  #takeFrom(lane: Lane): void {
    const { limit, maxBytes, cursors } = this.#request;
    const size = lane.head?.payload.length ?? 0;
    if (this.#messages.length > 0 && this.#bytes + size > maxBytes) {
      this.#full = true;
      return;
    }
    this.#messages.push(lane.take() as StoredMessage);
    this.#bytes += size;
    if (cursors) this.#cursors.push(this.#cursor());
    this.#full = this.#messages.length >= limit || this.#bytes >= maxBytes;
  }

  /** Asks lanes for what they have now; the others do not wait for one that does not answer. */
  async fill(lanes: readonly Lane[], { waitMs, deadline, signal }: Fill): Promise<void> {
    const limit = this.#share();
    const asked = lanes.map((lane) => this.#ask(lane, { limit, waitMs, deadline, signal }));
    const graceMs = lanes.length > 1 ? GRACE_MS : Infinity;
    const late = await mostOf(asked, { clock: this.#cluster.clock, graceMs });
    for (const i of late) lanes[i]?.giveUp();
    this.#checkKept();
  }

  /** Waits until one of the lanes has something; at each for as long as none has. */
  async waitFor(
    lanes: readonly Lane[],
    { until, signal }: { readonly until: number; readonly signal: AbortSignal },
  ): Promise<void> {
    const { clock, members } = this.#cluster;
    const found = new AbortController();
    const all = AbortSignal.any([signal, found.signal]);
    const limit = this.#share();
    const asked = lanes.map(async (lane) => {
      const ask = (waitMs: number) =>
        this.#ask(lane, { limit, waitMs, deadline: until, signal: all });
      const counts = () => lane.head !== undefined || lane.expired !== undefined;
      await keepWaiting(members, { group: lane.group, until, signal: all, ask, counts });
      if (counts()) found.abort();
      return counts() || clock.elapsed() >= until;
    });
    const counts = (isOver: boolean) => isOver;
    try {
      const late = await mostOf(asked, { clock, graceMs: GRACE_MS, counts });
      for (const i of late) lanes[i]?.giveUp();
    } finally {
      found.abort();
    }
    this.#checkKept();
  }

  /** @throws `cursor-expired` with a position that has not expired anywhere */
  #checkKept(): void {
    const expired = this.#lanes.find((lane) => lane.expired)?.expired;
    if (!expired) return;
    throw relocated(expired, () => this.#encode(this.#lanes.flatMap((one) => one.resumable ?? [])));
  }

  async #ask(lane: Lane, wish: Parameters<Lane["read"]>[0]): Promise<void> {
    try {
      await lane.read(wish);
    } catch (error) {
      throw relocated(error, (own) => this.#with(lane, own));
    }
  }

  /** So many messages a lane gives at once: a little more than its part of the page. */
  #share(): number {
    const left = this.#request.limit - this.#messages.length;
    const fair = Math.ceil((left * 5) / (4 * this.#lanes.length)) + 1;
    return Math.max(1, Math.min(left, fair));
  }

  #cursor(): string {
    const positions = this.#lanes.flatMap((lane) => lane.position ?? []);
    return this.#encode(positions);
  }

  /** The position in the whole when one lane's is another. */
  #with(lane: Lane, cursor: string): string {
    const own = positionIn(cursor, lane.group);
    if (!own) return cursor;
    const others = this.#lanes.flatMap((one) => (one === lane ? [] : (one.position ?? [])));
    return this.#encode([...others, own]);
  }

  #encode(positions: readonly GroupPosition[]): string {
    const { generation: topicGen } = this.#topic;
    const ordered = positions.toSorted((a, b) => a.brokerGroup - b.brokerGroup);
    return encodeStreamCursor({ topicGen, positions: ordered });
  }

  /** @throws why a lane is away, when there is nothing else to tell. */
  page(): ReadPage {
    const away = this.#lanes.find((lane) => lane.away)?.away;
    const isPlaced = this.#request.start.kind === "earliest" || this.#lanes.every(hasPlace);
    if (away && !(this.isFilled && isPlaced)) throw away;
    const { generation } = this.#topic;
    const upToDate = this.#lanes.every((lane) => lane.atEnd && !lane.away);
    const places = this.#request.cursors ? { cursors: this.#cursors } : {};
    return { messages: this.#messages, cursor: this.#cursor(), upToDate, generation, ...places };
  }
}

/** Of those that have something; undefined when none has. */
function earliest(lanes: readonly Lane[]): Lane | undefined {
  let found: Lane | undefined;
  for (const lane of lanes) {
    const { head } = lane;
    if (!head) continue;
    if (!found?.head || head.publishedAt < found.head.publishedAt) found = lane;
  }
  return found;
}

/** One that has none yet begins at its beginning when it is read on. */
function hasPlace(lane: Lane): boolean {
  return lane.position !== undefined;
}
