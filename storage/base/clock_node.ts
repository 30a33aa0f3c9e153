/**
 * The real clock of Bun, Deno and Node.
 *
 * What these runtimes have for measuring time stands still while the machine
 * sleeps; the kernel's uptime goes on, but some of them tell it in whole seconds.
 * So time is measured by the one and the sleep added by the other, never more
 * than there was.
 *
 * @module
 */

import { uptime } from "node:os";
import { performance } from "node:perf_hooks";
import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import type { Clock } from "./clock.ts";

const SLEEP_CHECK_MS = 1000;
/** Two readings in whole seconds are this far off together, at most. */
const ROUNDING_MS = 1000;

/** Elapsed time with the machine's sleep in it, of a clock that lacks it and one that is coarse. */
export function sleepCounting(ports: {
  /** Milliseconds awake. */
  awake(): number;
  /** Seconds since boot, sleep included, perhaps rounded. */
  uptime(): number;
}): () => number {
  const behind = () => ports.uptime() * 1000 - ports.awake();
  const before = behind();
  let slept = 0;
  let checkAt = ports.awake() + SLEEP_CHECK_MS;
  return () => {
    const awake = ports.awake();
    if (awake >= checkAt) {
      checkAt = awake + SLEEP_CHECK_MS;
      const surely = behind() - before - ROUNDING_MS;
      if (surely > slept + ROUNDING_MS) slept = surely;
    }
    return awake + slept;
  };
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: sleepCounting({ awake: () => performance.now(), uptime }),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  defer: (run) => void setImmediate(run),
};
