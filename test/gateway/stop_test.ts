/**
 * The gateway's own stop signal, beside the one it stands in for.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StopListener, StopSignal } from "../../src/broker/api.ts";
import { Stop } from "../../src/gateway/stop.ts";

/** What a wait does with a signal; answers what it was told, in order. */
function observe(signal: StopSignal, abort: () => void): string[] {
  const told: string[] = [];
  const named = (name: string): StopListener => ({
    handleEvent: () => void told.push(`${name} ${signal.aborted}`),
  });
  const [early, late] = [named("early"), named("late")];
  signal.addEventListener("abort", early);
  signal.removeEventListener("abort", late);
  signal.removeEventListener("abort", early);
  signal.addEventListener("abort", () => void told.push(`function ${signal.aborted}`));
  told.push(`before ${signal.aborted}`);
  abort();
  abort();
  signal.removeEventListener("abort", late);
  signal.addEventListener("abort", late);
  abort();
  return told;
}

describe("Stop", () => {
  it("tells of the abort, once, as an AbortSignal does", () => {
    const [stop, controller] = [new Stop(), new AbortController()];
    const told = observe(stop, () => stop.abort());
    assert.deepEqual(told, ["before false", "function true"]);
    assert.deepEqual(
      observe(controller.signal, () => controller.abort()),
      told,
    );
  });

  it("refuses a second listener rather than forget one", () => {
    const stop = new Stop();
    stop.addEventListener("abort", () => {});
    assert.throws(() => stop.addEventListener("abort", () => {}), /somebody does/);
  });
});
