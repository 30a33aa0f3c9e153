/** An end to waiting, on a clock that is handed in. @module */

import type { Clock } from "../../storage/base/clock.ts";

/** What `work` gives, or undefined when that takes longer than `ms`; it goes on all the same. */
export function within<T>(
  clock: Clock,
  { ms, work }: { readonly ms: number; readonly work: Promise<T> },
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => resolve(undefined));
    work.then(resolve, reject).finally(cancel);
  });
}
