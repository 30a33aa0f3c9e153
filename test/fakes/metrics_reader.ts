/**
 * Reads what `/metrics` answers, and minds the rules of the format: each family
 * has help and a type before its samples and appears once, no sample twice,
 * buckets only grow and the last one is the count.
 *
 * @module
 */

import assert from "node:assert/strict";

export class Metrics {
  readonly #samples = new Map<string, number>();
  readonly types = new Map<string, string>();

  constructor(text: string) {
    assert(text.endsWith("\n"), "the last line ends");
    let family = "";
    for (const line of text.slice(0, -1).split("\n")) {
      const head = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
      if (head?.[1] === "HELP") family = head[2] as string;
      else if (head) this.#type(head[2] as string, { type: head[3] as string, family });
      else this.#sample(line, family);
    }
    for (const [name, type] of this.types) if (type === "histogram") this.#checkBuckets(name);
  }

  #type(name: string, { type, family }: { type: string; family: string }): void {
    assert.equal(name, family, "the type follows its help");
    assert(!this.types.has(name), `${name} comes once`);
    assert.match(type, /^(counter|gauge|histogram)$/);
    this.types.set(name, type);
  }

  #sample(line: string, family: string): void {
    const [, name, labels = "", value] = /^([a-z_:]+)(\{.*\})? (\S+)$/.exec(line) ?? [];
    assert(name !== undefined && value !== undefined, `a sample: ${line}`);
    const own =
      this.types.get(family) === "histogram" ? name.replace(/_(bucket|sum|count)$/, "") : name;
    assert.equal(own, family, `a sample of its family: ${line}`);
    const key = `${name}${labels}`;
    assert(!this.#samples.has(key), `one sample: ${key}`);
    const number = value === "+Inf" ? Infinity : Number(value);
    assert(!Number.isNaN(number), `a number: ${line}`);
    this.#samples.set(key, number);
  }

  #checkBuckets(name: string): void {
    const last = new Map<string, number>();
    for (const [key, value] of this.#samples) {
      const [, labels = ""] = /_bucket\{(.*?),?le="[^"]*"\}$/.exec(key) ?? [];
      if (!key.startsWith(`${name}_bucket`)) continue;
      assert(value >= (last.get(labels) ?? 0), `buckets grow: ${key}`);
      last.set(labels, value);
    }
    for (const [labels, value] of last) {
      assert.equal(
        value,
        this.value(`${name}_count${labels && `{${labels}}`}`),
        `${name} ${labels}`,
      );
    }
  }

  /** Of one sample, by its name with its labels as written; undefined when there is none. */
  value(sample: string): number | undefined {
    return this.#samples.get(sample);
  }

  /** Names, with labels, of the samples of a family. */
  named(name: string): string[] {
    return [...this.#samples.keys()].filter((key) => key === name || key.startsWith(`${name}{`));
  }
}
