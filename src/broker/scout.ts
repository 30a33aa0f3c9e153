/**
 * The scout looks at messages before a group is given them: which ones the
 * filter wants, and of which key they are. It fills each queue's lookahead
 * (lookahead.ts), from which grants are made.
 *
 *   unseen ──▶ read units ──▶ hash of the tag ──▶ read messages ──▶ offer
 *                                                  (exact, or SQL)
 *
 * It works where somebody asks: for receives that wait, or for one that found
 * nothing ready. How far it has come is logged as `skip` every 10,000 messages,
 * every second, and before a receive is told that there is nothing, so a filter that matches little never starts over, and no
 * message is judged twice but after a crash.
 *
 * It also looks for people who peek, and then passes nothing over: no `skip` goes further
 * than receives looked. What was found for them is kept (`group.peeked`), and a receive that
 * comes there finds it judged.
 *
 * It awaits between chunks; whatever changed meanwhile (a seek, another filter,
 * a deleted topic) makes what it holds void, which it notices by the lookahead
 * being another one.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { MessageStore, Unit } from "../../storage/mod.ts";
import { type CompiledFilter, FilterCache, nominates } from "../filter/mod.ts";
import { loadMessages, visibleAt } from "./bodies.ts";
import { type Core, commit } from "./core.ts";
import type { Leased } from "./grant.ts";
import type { GroupState } from "./groups.ts";
import { Lookahead } from "./lookahead.ts";
import type { OpenMessage, PopQueue } from "./pop_queue.ts";
import { hasReady, isUnseen, LOOKAHEAD_MAX, refresh } from "./readiness.ts";

/** Units looked at in one go: a few milliseconds at most, also with SQL. */
const CHUNK = { units: 1000, messages: 200 } as const;

const SKIP = { messages: 10_000, ms: 1000 } as const;

interface ScoutPorts {
  readonly store: MessageStore;
  readonly clock: Clock;
  now(): number;
  flush(): void;
  /** Lets others have their turn. */
  pause(): Promise<void>;
  /** Something may be ready for those who wait. */
  found(group: GroupState): void;
  /** What a waiting receive of the group would have looked at; undefined when none would. */
  wanted(group: GroupState): Wanted | undefined;
  /** Whether a waiting receive would have looked at queues of that topic. */
  waits(group: GroupState, topic: string): boolean;
  report(error: unknown): void;
}

export interface Wanted {
  /** Only this subscription's queues. */
  readonly topic: string | undefined;
}

export class Scout {
  readonly #core: Core;
  readonly #ports: ScoutPorts;
  readonly #filters = new FilterCache();
  /** By group: the look under way. */
  readonly #looking = new Set<GroupState>();
  readonly #scanning = new Map<PopQueue, Promise<number>>();
  /** Of these, the queues a receive asked for: the others are looked at for people who peek. */
  readonly #forReceive = new Set<PopQueue>();
  /** By group: queues whose head may be moved, since when. */
  readonly #passed = new Map<GroupState, Map<PopQueue, number>>();
  #cancelTimer: (() => void) | undefined;
  #stopped = false;

  constructor(core: Core, ports: ScoutPorts) {
    this.#core = core;
    this.#ports = ports;
  }

  /** Looks ahead in the background while a waiting receive finds nothing ready. */
  start(group: GroupState): void {
    const { wanted, waits, report } = this.#ports;
    for (const queue of group.peeked) {
      if (waits(group, queue.subscription.topic)) this.#sought(queue);
    }
    if (group.unseen.size === 0 || this.#looking.has(group)) return;
    this.#looking.add(group);
    const run = async () => {
      try {
        for (let wish = wanted(group); wish; wish = wanted(group)) {
          await this.step(group, wish);
        }
      } finally {
        this.#looking.delete(group); // in the turn of the last look: what comes then is looked at anew
      }
    };
    run().catch(report);
  }

  /** Logs nothing any more: what was passed over is looked at again. */
  stop(): void {
    this.#cancelTimer?.();
    this.#stopped = true;
  }

  /** Logs how far queues were passed: those of a group, or all. */
  settleSkips(group?: GroupState): void {
    for (const one of group ? [group] : [...this.#passed.keys()]) {
      const queues = this.#passed.get(one);
      this.#passed.delete(one);
      for (const queue of queues?.keys() ?? []) this.#skip(queue);
    }
    if (this.#passed.size > 0) return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /**
   * Looks at one chunk of the queue whose turn it is, for a receive or, with `peeks`, for
   * people alone.
   *
   * @returns how many messages, at least 1; Infinity when there is nothing to look at.
   */
  async step(group: GroupState, wish: Wanted & { readonly peeks?: boolean }): Promise<number> {
    const { topic, peeks = false } = wish;
    for (const queue of group.unseen) {
      if (topic !== undefined && queue.subscription.topic !== topic) continue;
      group.unseen.delete(queue); // to the end of the line: refresh() puts it back while there is more
      if (!peeks) this.#forReceive.add(queue);
      const count = await (this.#scanning.get(queue) ?? this.#scanAlone(queue));
      return Math.max(1, count);
    }
    return Infinity;
  }

  /** A receive found nothing ready, and comes to what was peeked at: that is looked at for it, too. */
  seek(group: GroupState, topic: string | undefined): void {
    for (const queue of group.peeked) {
      if (topic === undefined || queue.subscription.topic === topic) this.#sought(queue);
    }
  }

  /** Messages were given: what was looked at behind them, and is not wanted, is passed over with them. */
  granted(leased: Iterable<Leased>): void {
    if (this.#stopped) return;
    for (const { message } of leased) {
      const { lookahead, head } = message.queue;
      if (lookahead && lookahead.sought > head) this.#noteSoon(message.queue);
    }
  }

  async #scanAlone(queue: PopQueue): Promise<number> {
    const { found, pause } = this.#ports;
    const scan = this.#scan(queue);
    this.#scanning.set(queue, scan);
    try {
      return await scan;
    } finally {
      this.#forReceive.delete(queue);
      this.#scanning.delete(queue);
      refresh(this.#core, queue);
      const { group } = queue.subscription;
      if (hasReady(group, undefined)) found(group);
      await pause(); // what lies in memory is read without one
    }
  }

  async #scan(queue: PopQueue): Promise<number> {
    const lookahead = queue.lookahead ?? (await this.#begin(queue));
    if (!lookahead || queue.lookahead !== lookahead || !isUnseen(this.#core, queue)) return 0;
    const filter = this.#filterOf(queue);
    const { store } = this.#ports;
    const from = lookahead.scanned;
    const end = this.#core.visibleEnd(queue);
    const max = Math.min(filter ? CHUNK.messages : CHUNK.units, end - from);
    const { firstOffset, units } = await store.reader.read(queue, { from, max });
    const wanted = await this.#judge(queue, { firstOffset, units, filter });
    if (queue.lookahead !== lookahead || lookahead.scanned !== from) return 0;
    for (const { queueOffset, unit } of wanted) {
      const { keyHash } = unit;
      if (!queue.isDecided(queueOffset)) lookahead.offer({ queueOffset, keyHash });
    }
    lookahead.scanned = units.length === 0 ? end : firstOffset + units.length;
    this.#looked(queue);
    return lookahead.scanned - from;
  }

  #looked(queue: PopQueue): void {
    const { group, topic } = queue.subscription;
    if (this.#forReceive.has(queue) || this.#ports.waits(group, topic)) this.#sought(queue);
    else group.peeked.add(queue);
  }

  /** All that was looked at in the queue counts as looked at for a receive. */
  #sought(queue: PopQueue): void {
    const { lookahead, subscription } = queue;
    subscription.group.peeked.delete(queue);
    if (!lookahead) return;
    lookahead.sought = lookahead.scanned;
    this.#notePassed(queue);
  }

  #filterOf({ subscription }: PopQueue): CompiledFilter | undefined {
    return subscription.filter && this.#filters.compile(subscription.filter);
  }

  /** Makes a queue's lookahead: what is on its way already holds its lane. */
  async #begin(queue: PopQueue): Promise<Lookahead | undefined> {
    const ordered = queue.subscription.group.config.mode === "ordered";
    const open = ordered ? [...queue.open.values()] : [];
    const { lookaheadEra } = queue;
    const keyHashes = await this.#keyHashes(queue, open);
    if (queue.lookaheadEra !== lookaheadEra || !this.#isCurrent(queue)) return undefined;
    const lookahead = new Lookahead(queue.head, { ordered });
    const still = open.filter((message) => queue.open.get(message.queueOffset) === message);
    for (const message of still) {
      message.keyHash = keyHashes.get(message.queueOffset) ?? 0;
      if (!message.redriven) lookahead.hold(message.keyHash);
    }
    still.sort((a, b) => a.queueOffset - b.queueOffset);
    for (const message of still) if (message.redriven) lookahead.offer(message);
    queue.lookahead = lookahead;
    return lookahead;
  }

  /** Whether its topic and subscription are still there. */
  #isCurrent(queue: PopQueue): boolean {
    const { group, topic } = queue.subscription;
    return group.subscriptions.get(topic)?.queues[queue.queueId] === queue;
  }

  async #keyHashes(queue: PopQueue, open: readonly OpenMessage[]): Promise<Map<number, number>> {
    const offsets = open.map(({ queueOffset }) => queueOffset).sort((a, b) => a - b);
    const from = { core: this.#core, store: this.#ports.store };
    const visible = await visibleAt(from, { queue, offsets });
    return new Map(visible.map(({ queueOffset, unit }) => [queueOffset, unit.keyHash]));
  }

  /** Which of the units the filter wants. One whose message is damaged is: it becomes a dead letter. */
  async #judge(
    queue: PopQueue,
    scan: {
      readonly firstOffset: number;
      readonly units: readonly Unit[];
      readonly filter: CompiledFilter | undefined;
    },
  ) {
    const { firstOffset, filter } = scan;
    const { queueId, topicGen } = queue;
    const all = scan.units.map((unit, i) => ({ queueId, queueOffset: firstOffset + i, unit }));
    if (!filter || filter.all) return all;
    const visible = all.filter(({ unit }) => unit.size === 0 || nominates(filter, unit.tagHash));
    const topic = this.#core.fold.topics.of(topicGen);
    if (!topic || visible.length === 0) return [];
    const messages = await loadMessages(this.#ports.store, { topic, visible });
    return visible.filter((_, i) => {
      const message = messages[i];
      return !message || filter.matchesPayload(message.payload);
    });
  }

  /** What was passed over is logged soon, or at once when it is much. */
  #notePassed(queue: PopQueue): void {
    const { lookahead, head } = queue;
    const passed = (lookahead?.passedTo(head) ?? head) - head;
    if (passed <= 0 || this.#stopped) return;
    const full = (lookahead?.scanned ?? head) - head >= LOOKAHEAD_MAX;
    const since = this.#noteSoon(queue);
    if (passed < SKIP.messages && !full && this.#ports.now() - since < SKIP.ms) return;
    this.#passed.get(queue.subscription.group)?.delete(queue);
    this.#skip(queue);
  }

  /** Within a second it is asked how far its head can be moved. @returns since when that is so. */
  #noteSoon(queue: PopQueue): number {
    const { group } = queue.subscription;
    const queues = this.#passed.get(group) ?? new Map<PopQueue, number>();
    const since = queues.get(queue) ?? this.#ports.now();
    this.#passed.set(group, queues.set(queue, since));
    this.#cancelTimer ??= this.#ports.clock.after(SKIP.ms, () => {
      this.#cancelTimer = undefined;
      this.settleSkips();
    });
    return since;
  }

  #skip(queue: PopQueue): void {
    const { topicGen, queueId, lookahead, head } = queue;
    const to = lookahead?.passedTo(head) ?? head;
    if (to <= head || !this.#isCurrent(queue)) return;
    const groupGen = queue.subscription.group.generation;
    commit(this.#core, {
      kind: "skip",
      record: { groupGen, topicGen, queueId, to },
      now: this.#ports.now(),
    });
    this.#ports.flush();
    refresh(this.#core, queue);
  }
}
