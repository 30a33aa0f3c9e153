/**
 * Reading a consume queue wherever its units lie: in memory for young segments,
 * in sidecars for sealed ones.
 *
 * A place is found by walking the queue's chain of runs from the newest back,
 * with skips (consume_queues.ts): about log16 of the history in steps.
 *
 * @module
 */

import type { ConsumeQueue, ConsumeQueues, Link, Links } from "./consume_queues.ts";
import type { SidecarFile } from "./sidecar_file.ts";
import { type Sidecars, withSidecar } from "./sidecars.ts";
import { type Unit, Units } from "./units.ts";

/** A run, wherever it lies. */
interface Run {
  readonly base: number;
  readonly first: number;
  readonly count: number;
  readonly links: Links;
  units(from: number, count: number): Units | Promise<Units>;
}

/** Units with consecutive queueOffsets. */
export interface UnitSlice {
  readonly firstOffset: number;
  readonly units: readonly Unit[];
  /** Damage took what lay from here up to `firstOffset`, and all that told of it. */
  readonly lostFrom?: number;
}

/** `removed`: also what was removed by retention, as long as its segment is there. */
interface Reach {
  readonly removed?: boolean;
}

/** Where to begin: an offset, or the first unit visible at or after a log position or a time. */
export type Seek =
  | { readonly by: "offset"; readonly offset: number }
  | { readonly by: "log"; readonly logOffset: number; readonly base: number }
  | { readonly by: "time"; readonly time: number; readonly base: number };

export class QueueReader {
  readonly #queues: ConsumeQueues;
  readonly #sidecars: Sidecars;

  constructor(queues: ConsumeQueues, sidecars: Sidecars) {
    this.#queues = queues;
    this.#sidecars = sidecars;
  }

  /**
   * Up to `max` units from queueOffset `from` on; may stop short of both, then ask again at
   * `firstOffset` and what came. Where damage took all of a run it is stepped over, and told.
   */
  async read(
    queue: { readonly topicGen: number; readonly queueId: number },
    range: Reach & { readonly from: number; readonly max: number },
  ): Promise<UnitSlice> {
    const found = this.#queues.find(queue.topicGen, queue.queueId);
    if (!found) return { firstOffset: range.from, units: [] };
    for (;;) {
      const { start } = found;
      const slice = await this.#read(found, range);
      if (range.removed || found.start === start) return slice; // else what is gone might look lost
    }
  }

  async #read(
    found: ConsumeQueue,
    range: Reach & { readonly from: number; readonly max: number },
  ): Promise<UnitSlice> {
    if (range.from >= found.end) return { firstOffset: range.from, units: [] };
    const from = range.removed ? range.from : Math.max(range.from, found.start);
    const { at, newer } = await this.#runAt(found, (link) => link.first > from);
    // Past the end of its run lies a hole that damage made: go on behind it.
    const run = at && from >= at.first + at.count ? newer : at;
    if (!run) return { firstOffset: found.end, units: [], lostFrom: from };
    const skip = Math.max(0, from - run.first);
    const firstOffset = run.first + skip;
    const units = await run.units(skip, Math.min(range.max, run.count - skip));
    return {
      firstOffset,
      units: Array.from({ length: units.count }, (_, i) => units.unit(i)),
      ...(firstOffset > from && { lostFrom: from }),
    };
  }

  /** The queueOffset of the first unit there; the queue's end when there is none. */
  async seek(
    queue: { readonly topicGen: number; readonly queueId: number },
    to: Seek,
    { removed = false }: Reach = {},
  ): Promise<number> {
    const found = this.#queues.find(queue.topicGen, queue.queueId);
    if (!found) return 0;
    if (to.by === "offset") return Math.min(Math.max(to.offset, found.start), found.end);
    const { base } = to;
    const { at: run } = await this.#runAt(found, (link) => link.base > base);
    if (!run) return found.start;
    const reached = (units: Units, i: number) =>
      to.by === "log" ? units.visibleLogOffset(i) >= to.logOffset : units.visibleAt(i) >= to.time;
    const first = run.first + (await firstWhere(run, reached));
    return removed ? first : Math.max(first, found.start);
  }

  /** The unit of a message that became visible in the segment at `base`; undefined when it is gone. */
  async unitAt(
    queue: { readonly topicGen: number; readonly queueId: number },
    { base, queueOffset }: { readonly base: number; readonly queueOffset: number },
  ): Promise<Unit | undefined> {
    const found = this.#queues.find(queue.topicGen, queue.queueId);
    if (!found || queueOffset < found.start) return undefined;
    const run = await this.#run(found, base);
    const index = queueOffset - (run?.first ?? 0);
    if (!run || index < 0 || index >= run.count) return undefined;
    const units = await run.units(index, 1);
    return units.count > 0 ? units.unit(0) : undefined;
  }

  /** The newest run that is not too new, and the one looked at before; the oldest when all are too new. */
  async #runAt(
    queue: ConsumeQueue,
    tooNew: (link: Link) => boolean,
  ): Promise<{ at: Run | undefined; newer: Run | undefined }> {
    let newer: Run | undefined;
    for (let { links } = queue; ; ) {
      const at = await this.#step(queue, { links, tooNew });
      if (!at) return { at: newer, newer: undefined };
      if (!tooNew(at)) return { at, newer };
      newer = at;
      ({ links } = at);
    }
  }

  /**
   * The farthest step back that does not step over the run looked for. Where damage took a
   * run, and a sidecar built since has none, what is older is not lost with it.
   */
  async #step(
    queue: ConsumeQueue,
    { links, tooNew }: { links: Links; tooNew: (link: Link) => boolean },
  ): Promise<Run | undefined> {
    for (const link of [links.skip256, links.skip16]) {
      const run = link && tooNew(link) ? await this.#run(queue, link.base) : undefined;
      if (run) return run;
    }
    let base = links.previous?.base;
    for (; base !== undefined; base = this.#before(queue, base)) {
      const run = await this.#run(queue, base);
      if (run) return run;
    }
    return undefined;
  }

  /** An old segment is read from memory as well, while its sidecar is built again. */
  #before(queue: ConsumeQueue, base: number): number | undefined {
    const sealed = this.#sidecars.before(base);
    const young = queue.runs.findLast((run) => run.base < base)?.base;
    return sealed === undefined || (young !== undefined && young > sealed) ? young : sealed;
  }

  async #run(queue: ConsumeQueue, base: number): Promise<Run | undefined> {
    return memoryRun(queue, base) ?? (await this.#sidecarRun(queue, base));
  }

  async #sidecarRun(queue: ConsumeQueue, base: number): Promise<Run | undefined> {
    const entry = await withSidecar(this.#sidecars, base, (sidecar) => sidecar.entry(queue));
    if (!entry) return undefined;
    const { first, count, links } = entry;
    const units = async (from: number, max: number): Promise<Units> => {
      const read = async (sidecar: SidecarFile) => {
        const now = await sidecar.entry(queue);
        return now && sidecar.units(now, { from, count: max });
      };
      return (await withSidecar(this.#sidecars, base, read)) ?? NO_UNITS;
    };
    return { base, first, count, links, units };
  }
}

const NO_UNITS = new Units(new Uint8Array(0));

/** Units read at once at the end of a search. */
const SEARCH_BLOCK = 128;

/** As `Units.firstWhere`, without reading the whole run. */
async function firstWhere(
  run: Run,
  reached: (units: Units, index: number) => boolean,
): Promise<number> {
  let low = 0;
  let high = run.count;
  while (high - low > SEARCH_BLOCK) {
    const middle = (low + high) >>> 1;
    if (reached(await run.units(middle, 1), 0)) high = middle;
    else low = middle + 1;
  }
  const block = await run.units(low, high - low);
  return low + block.firstWhere((i) => reached(block, i));
}

function memoryRun(queue: ConsumeQueue, base: number): Run | undefined {
  const run = queue.runs.findLast((one) => one.base === base);
  if (!run) return undefined;
  return {
    base,
    first: run.first,
    count: run.units.count,
    links: run.links,
    units: (from, count) => new Units(run.units.slice(from, count)),
  };
}
