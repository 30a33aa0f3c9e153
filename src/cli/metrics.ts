/**
 * All figures of a node as one text: asks every room, a family at a time.
 *
 * Making the text of a thousand groups takes milliseconds, so others get their
 * turn between families; and whoever asks while an answer is being made gets the
 * same one, so however many ask, it is made once at a time.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { Collect } from "../../storage/base/metrics.ts";
import { LoopLag } from "./loop_lag.ts";
import { processMetrics, processorMs } from "./process_metrics.ts";
import { prometheusText } from "./prometheus.ts";

export interface NodeFacts {
  /** Undefined: there is none. */
  readonly dataDir: string | undefined;
  readonly version: string;
  readonly runtime: string;
}

export class NodeMetrics {
  readonly #clock: Clock;
  readonly #sources: Collect[] = [];
  #making: Promise<string> | undefined;
  /** Ends the watch of the process. */
  readonly stop: () => void;

  /** Begins to watch the process. */
  constructor(clock: Clock, facts: NodeFacts) {
    this.#clock = clock;
    const startedAt = clock.now();
    const loopLag = new LoopLag(clock, processorMs);
    loopLag.start();
    this.stop = () => loopLag.stop();
    this.add(() => processMetrics({ ...facts, startedAt }));
    this.add(() => loopLag.metrics());
  }

  /** Figures of something that lives as long as the node. */
  add(collect: Collect): void {
    this.#sources.push(collect);
  }

  /** As Prometheus reads it. */
  text(): Promise<string> {
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  async #make(): Promise<string> {
    let text = "";
    for (const collect of this.#sources) {
      for (const family of await collect()) {
        text += prometheusText(family);
        await new Promise<void>((resolve) => this.#clock.defer(resolve));
      }
    }
    return text;
  }
}
