/**
 * Figures about a running node, for whoever watches it.
 *
 * They are pulled: a room counts in plain numbers and {@linkcode Histogram}s as it
 * works, and makes {@linkcode Family}s of them only when somebody asks
 * ({@linkcode Collect}). So the hot path pays an addition, and no room knows in
 * which format, or whether at all, the figures leave the node.
 *
 * To add one: count it where it happens, and give it a family in the `metrics.ts`
 * of its room. A name is `tidegate_<what>_<unit>`, in seconds and bytes, with
 * `_total` when it only grows. A label has a bounded set of values: never a
 * topic, an id or anything else a stranger makes up.
 *
 * @module
 */

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

/** One histogram of a family. */
export interface Series {
  readonly labels?: Labels;
  readonly histogram: Histogram;
}

interface FamilyHead {
  readonly name: string;
  /** One sentence: what is counted, and since when or by whom where that matters. */
  readonly help: string;
}

export type Family =
  | (FamilyHead & { readonly type: "counter" | "gauge"; readonly samples: readonly Sample[] })
  | (FamilyHead & { readonly type: "histogram"; readonly series: readonly Series[] });

/** Gives the figures as they are now. */
export type Collect = () => readonly Family[] | Promise<readonly Family[]>;

type Valued = FamilyHead & (Sample | { readonly samples: readonly Sample[] });

/** What only grows while the process lives; a restart begins at 0. */
export function counter(family: Valued): Family {
  return valued("counter", family);
}

/** What goes up and down. */
export function gauge(family: Valued): Family {
  return valued("gauge", family);
}

function valued(type: "counter" | "gauge", family: Valued): Family {
  const { name, help } = family;
  const samples = "samples" in family ? family.samples : [family];
  return { type, name, help, samples };
}

export function histogram(family: FamilyHead & { readonly series: readonly Series[] }): Family {
  return { type: "histogram", ...family };
}

/** Upper bounds, in seconds, of what usually takes micro- to milliseconds. */
export const LATENCY_SECONDS: readonly number[] = [
  0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
];

/** Upper bounds of a number of things: powers of two. */
export const COUNTS: readonly number[] = [
  1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16_384,
];

/**
 * How often a value fell between which bounds. Observing walks a short array and
 * adds two numbers; nothing is allocated after the constructor.
 */
export class Histogram {
  /** Upper bounds, ascending; what exceeds the last one counts too. */
  readonly bounds: readonly number[];
  /** By bound, and one for what exceeds them all. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds } = this;
    let i = 0;
    while (i < bounds.length && value > (bounds[i] as number)) i++;
    this.counts[i] = (this.counts[i] as number) + 1;
    this.sum += value;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }
}
