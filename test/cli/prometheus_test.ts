/**
 * The text format of figures.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { prometheusText } from "../../src/cli/prometheus.ts";
import { counter, type Family, gauge, Histogram, histogram } from "../../storage/base/metrics.ts";
import { Metrics } from "../fakes/metrics_reader.ts";

function observed(bounds: readonly number[], values: readonly number[]): Histogram {
  const made = new Histogram(bounds);
  for (const value of values) made.observe(value);
  return made;
}

describe("prometheusText()", () => {
  const cases: [name: string, family: Family, text: string][] = [
    [
      "writes a gauge",
      gauge({ name: "a_b", help: "What it is", value: 3 }),
      "# HELP a_b What it is\n# TYPE a_b gauge\na_b 3\n",
    ],
    [
      "writes labels in their order, escaped",
      counter({
        name: "a_total",
        help: "Back\\slash\nand line",
        samples: [{ labels: { x: 'a"b\\c\nd', y: "z" }, value: 1.5 }],
      }),
      '# HELP a_total Back\\\\slash\\nand line\n# TYPE a_total counter\na_total{x="a\\"b\\\\c\\nd",y="z"} 1.5\n',
    ],
    [
      "writes a histogram cumulatively",
      histogram({
        name: "h",
        help: "H",
        series: [{ labels: { route: "/" }, histogram: observed([0.5, 1], [0.5, 0.7, 2]) }],
      }),
      '# HELP h H\n# TYPE h histogram\nh_bucket{route="/",le="0.5"} 1\nh_bucket{route="/",le="1"} 2\nh_bucket{route="/",le="+Inf"} 3\nh_sum{route="/"} 3.2\nh_count{route="/"} 3\n',
    ],
    ["leaves out a family without samples", gauge({ name: "a", help: "A", samples: [] }), ""],
    [
      "writes what is no finite number in its words",
      gauge({
        name: "n",
        help: "N",
        samples: [Infinity, -Infinity, NaN].map((value, i) => ({ labels: { i: `${i}` }, value })),
      }),
      '# HELP n N\n# TYPE n gauge\nn{i="0"} +Inf\nn{i="1"} -Inf\nn{i="2"} NaN\n',
    ],
  ];
  for (const [name, family, text] of cases) {
    it(name, () => assert.equal(prometheusText(family), text));
  }

  it("keeps any label within its line", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (label) => {
        const family = gauge({ name: "a", help: "A", labels: { label }, value: 1 });
        const lines = prometheusText(family).split("\n");
        assert.equal(lines.length, 4);
        const [, escaped = ""] =
          /^a\{label="((?:[^"\\]|\\[\\"n])*)"\} 1$/su.exec(lines[2] ?? "") ?? [];
        const read = escaped.replaceAll(/\\([\\"n])/g, (_, c: string) => (c === "n" ? "\n" : c));
        assert.equal(read, label);
      }),
    );
  });
});

describe("Histogram", () => {
  it("counts each value once, where it belongs", () => {
    const bounds = [1, 2, 5];
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 8 })), (values) => {
        const made = observed(bounds, values);
        const between = (low: number, high: number) =>
          values.filter((value) => value > low && value <= high).length;
        const expected = [between(-1, 1), between(1, 2), between(2, 5), between(5, 9)];
        assert.deepEqual([...made.counts], expected);
        assert.equal(made.count, values.length);
        assert.equal(
          made.sum,
          values.reduce((sum, value) => sum + value, 0),
        );
        const text = prometheusText(
          histogram({ name: "h", help: "H", series: [{ histogram: made }] }),
        );
        assert.equal(new Metrics(text).value("h_count"), values.length);
      }),
    );
  });
});
