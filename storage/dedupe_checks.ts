/**
 * Reading dedupe runs through before the log lets go of what they were made of.
 *
 *   segment may go ──▶ its run was read whole within the hour, or is now ──▶ it goes
 *                        │ damaged
 *                        ├─▶ the log has all it was made of: built again, and read
 *                        └─▶ the log has some of it: left alone; what is left has runs of its own
 *
 * What is promised: a segment whose keys are in the window goes only when a run holds
 * them that somebody, the scrubber or this, began to read an hour before or later and
 * found whole. What rots after that cannot be had again, and keys that lead there are
 * refused. A segment whose run cannot be built stays, a gap, for as long as its keys are
 * in the window, and no longer.
 *
 * A run is read once in an hour at most, however many segments go meanwhile, and not
 * at all when its keys are out of the window: then nothing is lost with it.
 *
 * @module
 */

import type { RunRange } from "./dedupe_run.ts";
import { RunDamage, type RunFile } from "./dedupe_run_file.ts";
import type { DedupeRuns } from "./dedupe_runs.ts";
import type { StorePorts } from "./store_ports.ts";

const CHECKED_MS = 3_600_000;

/** The log, which starts at `from`, may start at `to`. */
interface Asked extends RunRange {
  /** Keys published then or before are out of the window. */
  readonly expired: number;
}

export class DedupeChecks {
  readonly #ports: Pick<StorePorts, "clock" | "jobs">;
  readonly #runs: DedupeRuns;

  constructor(ports: Pick<StorePorts, "clock" | "jobs">, runs: DedupeRuns) {
    this.#ports = ports;
    this.#runs = runs;
  }

  /**
   * Reads what has to be read before the log may lose what is asked about, and has
   * mended what is damaged.
   *
   * @param about.asked undefined when nobody wants to know any more.
   * @returns false when what was mended is damaged again.
   */
  async read(about: {
    asked(): Asked | undefined;
    mend(damage: RunDamage): Promise<void>;
  }): Promise<boolean> {
    const mended = new Set<number>();
    for (;;) {
      const asked = about.asked();
      const run = asked && this.#next(asked);
      if (!run) return true;
      const damage = await this.#read(run);
      if (!damage || !this.#runs.list.includes(run)) continue; // or it was merged meanwhile
      if (mended.has(damage.range.from)) return false;
      mended.add(damage.range.from);
      await about.mend(damage);
    }
  }

  /** A run to be read, as nobody did lately. */
  #next({ from, to, expired }: Asked): RunFile | undefined {
    const since = this.#ports.clock.elapsed() - CHECKED_MS;
    return this.#runs.list.find(({ header, leftAlone, checkedAt }) => {
      const isAsked = header.from < to && header.to > from && header.newest > expired;
      return isAsked && !leftAlone && checkedAt < since;
    });
  }

  /** Resolves to what is wrong with it. @throws rejects when it cannot be read now. */
  async #read(run: RunFile): Promise<RunDamage | undefined> {
    const { from, to } = run.header;
    const whole = this.begin({ from, to });
    try {
      await this.#ports.jobs.run({ kind: "check", range: { from, to } });
    } catch (error) {
      if (error instanceof RunDamage) return error;
      throw error;
    }
    whole();
    return undefined;
  }

  /** Somebody begins to read the run of this range; what is returned is called when it was whole. */
  begin(range: RunRange): () => void {
    const run = this.#runs.find(range);
    const at = this.#ports.clock.elapsed();
    return () => run?.checked(at);
  }
}
